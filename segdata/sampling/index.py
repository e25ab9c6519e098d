"""The class index as data: where each class stands in each image of a data set.

An *entry* is one class in one tile of one image. Entries are stored class by class, so the tiles of a class are one
slice and the sampler needs no table of its own. docs/sampling.md describes the file field by field.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.errors import StoreError
from segdata.sampling.mapped_npz import Array, check_npz, digest_arrays, encode_npz, map_npz

FORMAT = 1
_ARRAYS: dict[str, str] = {
    "lookup": "<i2",
    "image_sizes": "<i4",
    "image_ignored": "<i8",
    "label_names": "|u1",
    "label_ends": "<i8",
    "picture_names": "|u1",
    "picture_ends": "<i8",
    "confidence_names": "|u1",
    "confidence_ends": "<i8",
    "label_bytes": "<i8",
    "label_times": "<i8",
    "label_digests": "|u1",
    "class_starts": "<i8",
    "entry_images": "<u4",
    "entry_tiles": "<u2",
    "entry_pixels": "<u4",
    "entry_points": "<u2",
    "entry_centroids": "<u2",
}
_PER_IMAGE = ("image_sizes", "image_ignored", "label_ends", "picture_ends", "confidence_ends")
_PER_FILE = ("label_bytes", "label_times", "label_digests")
_AGAIN = "Run `segdata index --overwrite` to redo it."


@dataclass(frozen=True)
class IndexHead:
    """What determines an index.

    Attributes
    ----------
    class_names : tuple of str
        Names of the classes, by training id.
    class_table : str
        Digest of the class table.
    tile : int
        Side of a tile in pixels; the tiles at the right and bottom edge may be smaller.
    reach : int
        A point stands for the square of this side that begins at it: 1 means that the pixel is of the class, s that
        the s x s cell there holds some of it.
    settings : dict
        What else made the index, such as the encoding; JSON-able.
    """

    class_names: tuple[str, ...]
    class_table: str
    tile: int = 1024
    reach: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassIndex:
    """Which classes stand where in the images of a data set.

    Attributes
    ----------
    head : IndexHead
        Classes, tile size and settings.
    digest : str
        Digest of all of the content; two indexes with one digest are the same.
    arrays : mapping of str to ndarray
        The content; read-only, memory-mapped when loaded.
    root : Path or None
        Folder that the names of labels and pictures start from.
    path : Path or None
        The file it was loaded from; another process that is sent the index maps the same file.
    """

    head: IndexHead
    digest: str
    arrays: Mapping[str, Array]
    root: Path | None = None
    path: Path | None = None

    @classmethod
    def load(cls, path: str | Path, *, root: str | Path | None = None, check: bool = True) -> "ClassIndex":
        """Map an index file and refuse it if its labels have changed since.

        Parameters
        ----------
        path : str or Path
            What ``segdata index`` wrote.
        root : str or Path, optional
            Where the labels lie now, if they were moved apart from the index.
        check : bool
            Compare size and time of every label with those recorded, and the content of those whose time differs.

        Raises
        ------
        StoreError
            If the file is missing, damaged, or stale: a label is gone or has other content.
        """
        path = Path(path)
        arrays = map_npz(path)
        meta = _read_meta(arrays, path)
        head = IndexHead(tuple(meta["class_names"]), meta["class_table"], meta["tile"], meta["reach"], meta["settings"])
        folder = Path(root) if root is not None else Path(os.path.normpath(path.absolute().parent / meta["root"]))
        index = cls(head, meta["digest"], {name: arrays[name] for name in _ARRAYS}, folder, path)
        if check:
            index.refuse_stale()
        return index

    def __reduce__(self) -> tuple[Any, ...]:
        if self.path is None:
            return ClassIndex, (self.head, self.digest, dict(self.arrays), self.root)
        return _load_again, (self.path, self.root, self.digest)

    @property
    def num_images(self) -> int:
        """How many images are indexed."""
        return int(self.arrays["image_sizes"].shape[0])

    @property
    def num_entries(self) -> int:
        """How many pairs of a tile and a class in it there are."""
        return int(self.arrays["entry_images"].size)

    @property
    def tiles_per_class(self) -> NDArray[np.int64]:
        """In how many tiles each class stands; int64 of shape (num_classes,)."""
        return np.diff(self.arrays["class_starts"])

    def entries_of(self, class_id: int) -> slice:
        """Return the slice of the entry arrays that belongs to a class, sorted by image and tile."""
        return slice(*(int(bound) for bound in self.arrays["class_starts"][class_id : class_id + 2]))

    def label_name(self, image: int) -> PurePosixPath:
        """Return the path of an image's label below the root."""
        return PurePosixPath(self._name("label", image))

    def label_path(self, image: int) -> Path:
        """Return the path of an image's label."""
        return self._below_root(self._name("label", image))

    def picture_path(self, image: int) -> Path | None:
        """Return the path of the picture, None where none was found when the index was made."""
        name = self._name("picture", image)
        return self._below_root(name) if name else None

    def confidence_path(self, image: int) -> Path | None:
        """Return the path of the label's confidence image, None where it has none."""
        name = self._name("confidence", image)
        return self._below_root(name) if name else None

    def encode(self, root: str) -> bytes:
        """Return the bytes of the index file; `root` leads from its folder to that of the labels."""
        return encode_npz({"meta": _encode_meta(self.head, self.digest, root), **self.arrays})

    def refuse_stale(self, *, deep: bool = False) -> None:
        """Raise for the first of the `faults`.

        Raises
        ------
        StoreError
            Naming the index and the label that differs.
        """
        fault = next(self.faults(deep=deep), None)
        if fault:
            raise StoreError(fault)

    def faults(self, *, deep: bool = False) -> Iterator[str]:
        """Compare the labels with what was recorded of them; yield one line for each that differs.

        Parameters
        ----------
        deep : bool
            Read every label, also those whose size and time are as they were, and test the file's own checksums.
        """
        where = self.path or "index"
        if deep and self.path is not None:
            check_npz(self.path)
        if deep and _digest(self.head, self.arrays) != self.digest:
            yield f"{where}: its content does not match its digest. {_AGAIN}"
        sizes, times = self.arrays["label_bytes"].tolist(), self.arrays["label_times"].tolist()
        for image in range(self.num_images):
            fault = self._fault_of(image, sizes[image], times[image], deep)
            if fault:
                yield f"{where}: is stale: {self.label_path(image)} {fault}. {_AGAIN}"

    def _fault_of(self, image: int, size: int, time: int, deep: bool) -> str | None:
        """Say how a label differs from the one indexed, None if it does not."""
        path = self.label_path(image)
        try:
            status = path.stat()
            if status.st_size != size:
                return f"has {status.st_size} bytes, {size} when it was indexed"
            if not deep and status.st_mtime_ns == time:
                return None
            digest = blake2b(path.read_bytes(), digest_size=16).digest()
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        return None if digest == self.arrays["label_digests"][image].tobytes() else "has changed since it was indexed"

    def _name(self, kind: str, image: int) -> str:
        """Return the name of an image's label or picture below the root; empty where there is none."""
        ends = self.arrays[f"{kind}_ends"]
        start = int(ends[image - 1]) if image else 0
        return os.fsdecode(self.arrays[f"{kind}_names"][start : int(ends[image])].tobytes())

    def _below_root(self, name: str) -> Path:
        assert self.root is not None, "an index without a root has no files"
        return Path(os.path.normpath(self.root / name))


def make_index(head: IndexHead, arrays: Mapping[str, Array], root: Path | None = None) -> ClassIndex:
    """Make an index of ready arrays (see docs/sampling.md), computing its digest."""
    ordered = {name: np.ascontiguousarray(arrays[name], dtype) for name, dtype in _ARRAYS.items()}
    return ClassIndex(head, _digest(head, ordered), ordered, root)


def join_names(names: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Store names one after the other: their bytes, and where each ends.

    Examples
    --------
    >>> text, ends = join_names(["ab", "", "c"])
    >>> text.tobytes(), ends.tolist()
    (b'abc', [2, 2, 3])
    """
    parts = [os.fsencode(name) for name in names]
    return np.frombuffer(b"".join(parts), np.uint8), np.cumsum([len(part) for part in parts], dtype=np.int64)


def _load_again(path: Path, root: Path | None, digest: str) -> ClassIndex:
    index = ClassIndex.load(path, root=root, check=False)
    if index.digest != digest:
        raise StoreError(f"{path}: was replaced by another index while it was in use. Begin the run anew.")
    return index


def _digest(head: IndexHead, arrays: Mapping[str, Array]) -> str:
    """Digest of head and content; times of files are left out, so that a copied data set has the same."""
    meta = np.frombuffer(json.dumps(_meta_of(head), sort_keys=True).encode(), np.uint8)
    return digest_arrays({"head": meta, **{name: arrays[name] for name in _ARRAYS if name != "label_times"}})


def _meta_of(head: IndexHead) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "class_names": list(head.class_names),
        "class_table": head.class_table,
        "tile": head.tile,
        "reach": head.reach,
        "settings": dict(head.settings),
    }


def _encode_meta(head: IndexHead, digest: str, root: str) -> NDArray[np.uint8]:
    meta = _meta_of(head) | {"digest": digest, "root": root}
    return np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)


def _read_meta(arrays: Mapping[str, Array], path: Path) -> dict[str, Any]:
    """Return what the file says of itself, after holding its arrays against the format."""
    try:
        meta: dict[str, Any] = json.loads(arrays["meta"].tobytes())
        version = meta["format"]
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{path}: is no class index. Expected a file that `segdata index` wrote.") from error
    if version != FORMAT:
        raise StoreError(f"{path}: has format {version}, expected {FORMAT}. {_AGAIN}")
    for name, dtype in _ARRAYS.items():
        if name not in arrays or arrays[name].dtype != np.dtype(dtype):
            raise StoreError(f"{path}: array '{name}' is missing or of another type. {_AGAIN}")
    images = {arrays[name].shape[0] for name in _ARRAYS if name in _PER_IMAGE}
    entries = {arrays[name].shape[0] for name in _ARRAYS if name.startswith("entry_")}
    starts = arrays["class_starts"]
    if len(images) != 1 or entries != {int(starts[-1])} or starts.size != len(meta["class_names"]) + 1:
        raise StoreError(f"{path}: its arrays do not fit one another. {_AGAIN}")
    return meta
