"""The class index as data: where each class stands in each image of a data set.

An *entry* is one class in one tile of one image. Entries are stored class by class, so the tiles of a class are one
slice and the sampler needs no table of its own. docs/sampling.md describes the file field by field.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.mapped_npz import REDO, Array, check_npz, digest_arrays, encode_mapped_npz, map_npz
from segdata.errors import StoreError
from segdata.files import read_regular
from segdata.text import counted

FORMAT = 3
# Type and shape of each array. A letter is a length: N images, E entries, K one more than there are classes.
_ARRAYS: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "lookup": ("<i2", (256,)),
    "image_sizes": ("<i4", ("N", 2)),
    "image_ignored": ("<i8", ("N",)),
    "label_names": ("|u1", ("L",)),
    "label_ends": ("<i8", ("N",)),
    "image_names": ("|u1", ("P",)),
    "image_ends": ("<i8", ("N",)),
    "confidence_names": ("|u1", ("C",)),
    "confidence_ends": ("<i8", ("N",)),
    "label_bytes": ("<i8", ("N",)),
    "label_times": ("<i8", ("N",)),
    "label_digests": ("|u1", ("N", 16)),
    "confidence_bytes": ("<i8", ("N",)),
    "confidence_times": ("<i8", ("N",)),
    "confidence_digests": ("|u1", ("N", 16)),
    "class_starts": ("<i8", ("K",)),
    "entry_images": ("<u4", ("E",)),
    "entry_tiles": ("<u2", ("E",)),
    "entry_pixels": ("<u4", ("E",)),
    "entry_points": ("<u2", ("E", 4, 2)),
    "entry_centroids": ("<u2", ("E", 2)),
}
_META: dict[str, type] = {
    "class_names": list,
    "class_table": str,
    "tile": int,
    "reach": int,
    "settings": dict,
    "digest": str,
    "root": str,
}
_CHECKED = ("meta", "lookup", "class_starts")  # small, and a wrong bit in them is a wrong draw everywhere

Kind = Literal["label", "image", "confidence"]
_COMPARED: tuple[Kind, ...] = ("label", "confidence")  # what the entries were made from


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
    """Where each class occurs in the images of a data set.

    Attributes
    ----------
    head : IndexHead
        Classes, tile size and settings.
    digest : str
        Digest of all of the content; two indexes with one digest are the same.
    arrays : mapping of str to ndarray
        The content; read-only, memory-mapped when loaded.
    root : Path or None
        Folder that the names of labels and images start from.
    path : Path or None
        The file it was loaded from, absolute; another process that is sent the index maps the same file.
    """

    head: IndexHead
    digest: str
    arrays: Mapping[str, Array]
    root: Path | None = None
    path: Path | None = None

    @classmethod
    def load(cls, path: str | Path, *, root: str | Path | None = None, check: bool = True) -> "ClassIndex":
        """Map an index file and refuse it if its labels or their confidence images have changed since.

        Parameters
        ----------
        path : str or Path
            What ``segdata index`` wrote.
        root : str or Path, optional
            Where the labels lie now, if they were moved apart from the index.
        check : bool
            Compare size and time of every such file with those recorded, and the content of those whose time differs.

        Raises
        ------
        StoreError
            If the file is missing, damaged, or stale: a file is gone or has other content.
        """
        path = Path(path)
        arrays = map_npz(path, checked=_CHECKED)
        meta = _read_meta(arrays, path)
        head = IndexHead(tuple(meta["class_names"]), meta["class_table"], meta["tile"], meta["reach"], meta["settings"])
        path = path.absolute()  # the folder may change before a worker loads it again
        folder = Path(os.path.normpath(path.parent / meta["root"] if root is None else Path(root).absolute()))
        index = cls(head, meta["digest"], {name: arrays[name] for name in _ARRAYS}, folder, path)
        if check:
            index.refuse_stale()
        return index

    def __repr__(self) -> str:
        where = "" if self.path is None else f" of {self.path}"
        return (
            f"<ClassIndex{where}: {self.num_images} images, {self.num_entries} entries, "
            f"{len(self.head.class_names)} classes, tiles of {self.head.tile}>"
        )

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

    def label_name(self, image_id: int) -> PurePosixPath:
        """Return the path of an image's label below the root."""
        return PurePosixPath(self._name("label", image_id))

    def label_path(self, image_id: int) -> Path:
        """Return the path of an image's label."""
        return self._below_root(self._name("label", image_id))

    def image_path(self, image_id: int) -> Path | None:
        """Return the path of the image, None where none was found when the index was made."""
        name = self._name("image", image_id)
        return self._below_root(name) if name else None

    def confidence_path(self, image_id: int) -> Path | None:
        """Return the path of the label's confidence image, None where it has none."""
        name = self._name("confidence", image_id)
        return self._below_root(name) if name else None

    def names(self, kind: Kind) -> list[str]:
        """Return the paths below the root of the files of a kind, by image; empty where an image has none."""
        return [self._name(kind, image_id) for image_id in range(self.num_images)]

    def has_labels(self) -> bool:
        """Tell whether any of the labels is where the index says: none is where it was brought without its data set."""
        return any(_is_there(self.label_path(image_id)) for image_id in range(self.num_images))

    def encode(self, root: str) -> bytes:
        """Return the bytes of the index file; `root` leads from its folder to that of the labels."""
        return encode_mapped_npz({"meta": _encode_meta(self.head, self.digest, root), **self.arrays})

    def refuse_stale(self, *, deep: bool = False) -> None:
        """Raise for the first of the `faults`.

        Raises
        ------
        StoreError
            Naming the index, the first file that differs, and how many do.
        """
        damage = self._damage() if deep else None
        if damage:
            raise StoreError(damage)
        changes = list(self._changes(deep))
        if changes and not self.has_labels():
            raise StoreError(
                f"{self.path or 'index'}: none of its {counted(self.num_images, 'label')} is below {self.root} now. "
                "Was the data set moved? Say where it is now, as root in a mixture or in ClassIndex.load, or run "
                "segdata index again."
            )
        if changes:
            others = f" (the first of {len(changes):,} files that differ)" if len(changes) > 1 else ""
            raise StoreError(self._stale(changes[0] + others))

    def faults(self, *, deep: bool = False) -> Iterator[str]:
        """Compare labels and confidence images with what was recorded of them; yield one line for each that differs.

        Parameters
        ----------
        deep : bool
            Read every file, also those whose size and time are as they were, and test the index's own checksums.
        """
        damage = self._damage() if deep else None
        if damage:
            yield damage
        yield from (self._stale(change) for change in self._changes(deep))

    def refreshed(self) -> "ClassIndex":
        """Return the index with the times that its files have now; the index itself where these are as recorded.

        Files with other times are read to compare them. With the new times written, the next load need not do so.

        Raises
        ------
        StoreError
            If a file differs, see `refuse_stale`.
        """
        now = {f"{kind}_times": self._times_now(kind) for kind in _COMPARED}  # before the files are read
        self.refuse_stale()
        if all(np.array_equal(self.arrays[name], times) for name, times in now.items()):
            return self
        return replace(self, arrays={**self.arrays, **now}, path=None)

    def _damage(self) -> str | None:
        """Say that the index is not what its digest says, None if it is; a file is held against its checksums first."""
        if self.path is not None:
            check_npz(self.path)
        if _digest(self.head, self.arrays) == self.digest:
            return None
        return f"{self.path or 'index'}: its content does not match its digest. {REDO}"

    def _stale(self, change: str) -> str:
        return f"{self.path or 'index'}: is stale: {change}. {REDO}"

    def _changes(self, deep: bool) -> Iterator[str]:
        """Yield each file that differs from the one indexed, and how."""
        for kind in _COMPARED:
            sizes, times = self.arrays[f"{kind}_bytes"], self.arrays[f"{kind}_times"]
            for image_id in self._images_with(kind):
                change = self._change_of(kind, image_id, int(sizes[image_id]), None if deep else int(times[image_id]))
                if change:
                    yield f"{self._below_root(self._name(kind, image_id))} {change}"

    def _change_of(self, kind: Kind, image_id: int, size: int, time: int | None) -> str | None:
        """Say how a file differs from the one indexed, None if it does not; with its `time` it need not be read."""
        path = self._below_root(self._name(kind, image_id))
        try:
            status = path.stat()
            if status.st_size != size:
                return f"has {status.st_size} bytes, {size} when it was indexed"
            if status.st_mtime_ns == time:
                return None
            digest = blake2b(read_regular(path), digest_size=16).digest()
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        same = digest == self.arrays[f"{kind}_digests"][image_id].tobytes()
        return None if same else "has changed since it was indexed"

    def _images_with(self, kind: Kind) -> list[int]:
        """Return the images that have a file of a kind."""
        found: list[int] = np.flatnonzero(np.diff(self.arrays[f"{kind}_ends"], prepend=0)).tolist()
        return found

    def _times_now(self, kind: Kind) -> NDArray[np.int64]:
        """Return when each file of a kind was last changed; 0 where there is none."""
        times = np.zeros(self.num_images, np.int64)
        for image_id in self._images_with(kind):
            with contextlib.suppress(OSError):
                times[image_id] = self._below_root(self._name(kind, image_id)).stat().st_mtime_ns
        return times

    def _name(self, kind: Kind, image_id: int) -> str:
        """Return the name of a file of an image below the root; empty where there is none."""
        ends = self.arrays[f"{kind}_ends"]
        start = int(ends[image_id - 1]) if image_id else 0
        name = self.arrays[f"{kind}_names"][start : int(ends[image_id])].tobytes()
        if b"\0" in name:  # no file can have it, and looking for one would be no OSError
            raise StoreError(f"{self.path or 'index'}: the name of a {kind} in it is damaged. {REDO}")
        if name.startswith(b"/") or (kind == "label" and b".." in name.split(b"/")):
            raise StoreError(
                f"{self.path or 'index'}: a file of kind {kind} in it, {os.fsdecode(name)!r}, lies outside the folder "
                f"that it is of. "
                f"{REDO}"
            )
        return os.fsdecode(name)

    def _below_root(self, name: str) -> Path:
        assert self.root is not None, "an index without a root has no files"
        return Path(os.path.normpath(self.root / name))


def make_index(head: IndexHead, arrays: Mapping[str, Array], root: Path | None = None) -> ClassIndex:
    """Make an index of ready arrays (see docs/sampling.md), computing its digest."""
    ordered = {name: np.ascontiguousarray(arrays[name], dtype) for name, (dtype, _) in _ARRAYS.items()}
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


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except OSError:  # `Path.exists` would raise where a folder may not be entered
        return False
    return True


def _load_again(path: Path, root: Path | None, digest: str) -> ClassIndex:
    index = ClassIndex.load(path, root=root, check=False)
    if index.digest != digest:
        raise StoreError(f"{path}: was replaced by another index while it was in use. Start the run again.")
    return index


def _digest(head: IndexHead, arrays: Mapping[str, Array]) -> str:
    """Digest of head and content; times of files are left out, so that a copied data set has the same."""
    meta = np.frombuffer(json.dumps(_meta_of(head), sort_keys=True).encode(), np.uint8)
    return digest_arrays({"head": meta, **{name: arrays[name] for name in _ARRAYS if not name.endswith("_times")}})


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
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise StoreError(f"{path}: is not a class index. Expected a file that `segdata index` wrote.") from error
    if version != FORMAT:
        raise StoreError(f"{path}: has format {version}, expected {FORMAT}. {REDO}")
    for name, kind in _META.items():
        if type(meta.get(name)) is not kind:
            raise StoreError(f"{path}: '{name}' in its head is missing or of another type. {REDO}")
    if "\0" in meta["root"] or not _is_name(meta["root"]):
        raise StoreError(f"{path}: 'root' in its head, {meta['root']!r}, is not the name of a folder. {REDO}")
    for name, (dtype, _) in _ARRAYS.items():
        if name not in arrays or arrays[name].dtype != np.dtype(dtype):
            raise StoreError(f"{path}: array '{name}' is missing or of another type. {REDO}")
    if not (_shapes_fit(arrays, len(meta["class_names"])) and _bounds_fit(arrays)):
        raise StoreError(f"{path}: its arrays do not fit one another. {REDO}")
    return meta


def _is_name(name: str) -> bool:
    """Say whether the system can have a file of that name."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def _shapes_fit(arrays: Mapping[str, Array], num_classes: int) -> bool:
    """Tell whether each array has its shape, and lengths of one letter are one."""
    lengths: dict[int | str, int] = {"K": num_classes + 1}
    return all(
        len(arrays[name].shape) == len(shape)
        and all(
            found == (wanted if isinstance(wanted, int) else lengths.setdefault(wanted, found))
            for found, wanted in zip(arrays[name].shape, shape, strict=True)
        )
        for name, (_, shape) in _ARRAYS.items()
    )


def _bounds_fit(arrays: Mapping[str, Array]) -> bool:
    """Tell whether the bounds of the classes and the ends of the names lie in the arrays that they cut."""
    starts = arrays["class_starts"]
    if starts[0] != 0 or starts[-1] != arrays["entry_images"].size or (np.diff(starts) < 0).any():
        return False
    cuts = ((arrays[f"{kind}_ends"], arrays[f"{kind}_names"].size) for kind in ("label", "image", "confidence"))
    return all((int(ends[-1]) if ends.size else 0) == size for ends, size in cuts)
