"""One image of an index: read, scanned, and kept as a part until all are there."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdata.codecs.png import decode_bands, decode_label, decode_pixels, read_bytes
from segdata.codecs.png_chunks import split_png
from segdata.cpp.store import decode_cpp, read_cpp_bytes
from segdata.errors import LabelError, SettingsError, StoreError
from segdata.files import open_regular, read_regular
from segdata.labels.classes import ClassTable, train_id_lookup
from segdata.labels.mapping import Encoding
from segdata.labels.reading import LabelMeaning, ignore_unsure, read_ids, refuse_contradiction, to_class_ids
from segdata.sampling.class_index import FORMAT
from segdata.sampling.from_targets import scan_targets
from segdata.sampling.merge import FileState, IndexedImage
from segdata.sampling.scan import TileEntries, band_multiple, scan_bands, scan_label
from segdata.sampling.scan_kernels import NUM_POINTS

Kind = Literal["labels", "targets"]
PART_ENDING = ".part"


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """What decides the content of an index.

    Attributes
    ----------
    classes : ClassTable
        What the ids mean.
    encoding : {"trainIds", "labelIds"}
        Which numbers of the table the labels hold.
    tile : int
        Side of a tile in pixels.
    confidence : float
        Pixels of auto-labels less sure than this, from 0 to 1, are ignored.
    kind : {"labels", "targets"}
        Whether label images or ``.cpp.npz`` files are indexed.
    """

    classes: ClassTable
    encoding: Encoding = "trainIds"
    tile: int = 1024
    confidence: float = 0.5
    kind: Kind = "labels"

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise SettingsError(f"confidence {self.confidence}: expected a threshold from 0 to 1.")
        if self.tile < 8 or self.tile % 8:
            raise SettingsError(f"tile {self.tile}: expected a side of 8 pixels or a multiple of it.")

    def recorded(self) -> dict[str, Any]:
        """Return what parts, report and index say of the settings."""
        return {
            "classes": self.classes.name,
            "classes_digest": self.classes.digest,
            "encoding": self.encoding,
            "tile": self.tile,
            "confidence": self.confidence,
            "kind": self.kind,
        }

    @cached_property
    def lookup(self) -> NDArray[np.int16]:
        """The class id of each id in a label file: int16 of shape (256,), 255 ignored, -1 for ids that may not be."""
        return self.classes.value_lookup(self.encoding)


@dataclass(frozen=True, kw_only=True)
class IndexItem:
    """One file to index.

    Attributes
    ----------
    key : str
        Its path below SRC.
    path : Path
        The label or the targets, absolute.
    confidence : Path or None
        The confidence image of an auto-label.
    image, confidence_name : str
        Paths of the image and of the confidence image below SRC, empty where there is none.
    image_path : Path or None
        The image, absolute; its size is compared with that of the label.
    """

    key: str
    path: Path
    confidence: Path | None = None
    image: str = ""
    confidence_name: str = ""
    image_path: Path | None = None

    @property
    def source(self) -> str:
        """`path` as a path below SRC, for the report."""
        return self.key

    @property
    def target(self) -> str:
        """Name of the file that holds its part."""
        return blake2b(os.fsencode(self.key), digest_size=12).hexdigest() + PART_ENDING


@dataclass(frozen=True)
class FileBytes:
    """A file that was read.

    Attributes
    ----------
    data : bytes
        The whole of it.
    time : int
        When it was last changed, in nanoseconds, as it was before it was read.
    """

    data: bytes
    time: int

    @property
    def state(self) -> FileState:
        """What the index records of it."""
        return FileState.of(self.data, self.time)


@dataclass(frozen=True)
class ItemBytes:
    """All that an image's entries are made from: its label or targets, and the confidence image if it has one."""

    label: FileBytes
    confidence: FileBytes | None = None

    @property
    def digest(self) -> str:
        """The digest of all of it."""
        hasher = blake2b(self.label.data, digest_size=16)
        if self.confidence is not None:
            hasher.update(self.confidence.data)
        return hasher.hexdigest()


def scan_file(source: ItemBytes, item: IndexItem, settings: IndexSettings) -> IndexedImage:
    """Index one file from its bytes.

    Parameters
    ----------
    source : ItemBytes
    item : IndexItem
    settings : IndexSettings

    Raises
    ------
    LabelError, StoreError, SettingsError
        If the file is damaged, holds ids that are not classes, or its confidence image does not fit.
    """
    where, reach = str(item.path), 1
    if settings.kind == "targets":
        targets = decode_cpp(source.label.data, where)
        _refuse_other_classes(targets.meta, settings, where)
        entries, reach = scan_targets(targets, tile=settings.tile, where=where), min(targets.grids)
    else:
        entries = _scan_bytes(source, item, settings, where)
        _refuse_other_size(item, entries.size)
    return IndexedImage(
        label=item.key,
        image=item.image,
        label_state=source.label.state,
        entries=entries,
        confidence=item.confidence_name,
        confidence_state=FileState() if source.confidence is None else source.confidence.state,
        reach=reach,
    )


def encode_part(part: IndexedImage, settings: IndexSettings, digest: str) -> bytes:
    """Return the bytes of one image's part: a checksum, a line of JSON, and its entries as a table."""
    entries = part.entries
    meta = {
        "format": FORMAT,
        "settings": settings.recorded(),
        "digest": digest,
        "size": entries.size,
        "ignored": entries.ignored,
        "label": _state_to_json(part.label_state),
        "confidence": _state_to_json(part.confidence_state),
        "reach": part.reach,
    }
    points = entries.points.reshape(entries.classes.size, 2 * NUM_POINTS)
    numbers = np.stack([entries.classes, entries.tiles, entries.pixels], axis=1)
    table = np.hstack([numbers, points, entries.centroids]).astype("<u4")
    payload = json.dumps(meta, sort_keys=True).encode() + b"\n" + table.tobytes()
    return blake2b(payload, digest_size=16).digest() + payload


def read_part(path: Path, settings: IndexSettings, digest: str | None = None) -> IndexedImage | None:
    """Read a part; None where it is missing, damaged, of another format or settings, or of other bytes than `digest`.

    Its names are left empty.
    """
    try:
        data = read_regular(path)
    except OSError:
        return None
    if blake2b(data[16:], digest_size=16).digest() != data[:16]:
        return None
    line, _, rows = data[16:].partition(b"\n")
    meta = json.loads(line)
    if meta.get("format") != FORMAT or meta["settings"] != settings.recorded():
        return None
    if digest not in (None, meta["digest"]):
        return None
    table = np.frombuffer(rows, "<u4").reshape(-1, 5 + 2 * NUM_POINTS)
    entries = TileEntries(
        size=tuple(meta["size"]),
        ignored=meta["ignored"],
        classes=table[:, 0].astype(np.uint8),
        tiles=table[:, 1].astype(np.uint16),
        pixels=table[:, 2],
        points=table[:, 3:-2].astype(np.uint16).reshape(-1, NUM_POINTS, 2),
        centroids=table[:, -2:].astype(np.uint16),
    )
    return IndexedImage(
        label="",
        image="",
        label_state=_state_from_json(meta["label"]),
        entries=entries,
        confidence_state=_state_from_json(meta["confidence"]),
        reach=meta["reach"],
    )


def read_source(item: IndexItem, kind: Kind) -> ItemBytes:
    """Return the bytes that an image's entries are made from.

    Raises
    ------
    LabelError, StoreError
        If a file cannot be read.
    """
    label = _read(item.path, read_bytes if kind == "labels" else read_cpp_bytes)
    return ItemBytes(label, None if item.confidence is None else _read(item.confidence, read_bytes))


def _read(path: Path, reader: Callable[[Path], bytes]) -> FileBytes:
    time = path.stat().st_mtime_ns if path.exists() else 0  # reading it says best why it is not there
    return FileBytes(reader(path), time)


def _state_to_json(state: FileState) -> list[Any]:
    return [state.size, state.time, state.digest.hex()]


def _state_from_json(values: list[Any]) -> FileState:
    size, time, digest = values
    return FileState(size, time, bytes.fromhex(digest))


def _scan_bytes(source: ItemBytes, item: IndexItem, settings: IndexSettings, where: str) -> TileEntries:
    num_classes, tile, data = settings.classes.num_classes, settings.tile, source.label.data
    parts = None if item.path.suffix == ".mat" else split_png(data, where)
    if parts is not None:
        refuse_contradiction(parts.text, where, LabelMeaning.of(settings.classes, settings.encoding))
    if parts is not None and source.confidence is None:
        size = (parts.header.height, parts.header.width)
        bands = decode_bands(parts, where, band_multiple(tile))
        return scan_bands(bands, size, settings.lookup, num_classes, tile=tile, where=where)
    ids = read_ids(item.path) if parts is None else decode_pixels(parts, where)
    class_ids = to_class_ids(ids, settings.lookup, where=where, meaning=f"'{settings.classes.name}'")
    if source.confidence is not None:
        confidence = decode_label(source.confidence.data, str(item.confidence))
        class_ids = ignore_unsure(class_ids, confidence, settings.confidence, where=str(item.confidence))
    return scan_label(class_ids, train_id_lookup(num_classes), num_classes, tile=tile, where=where)


def _refuse_other_size(item: IndexItem, size: tuple[int, int]) -> None:
    """Raise where the image of a label has another size; only its header is read, and what cannot be read is left."""
    if item.image_path is None:
        return
    try:
        with open_regular(item.image_path) as file, Image.open(file) as image:
            found = (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return
    if found != size:
        raise LabelError(
            f"{item.path}: has {size[0]}x{size[1]} pixels (height x width), its image {item.image_path} "
            f"{found[0]}x{found[1]}. Expected the same. Are they a pair?"
        )


def _refuse_other_classes(meta: Any, settings: IndexSettings, where: str) -> None:
    told = meta.get("about", {}).get("settings", {}).get("classes_digest", settings.classes.digest)
    if told != settings.classes.digest or meta["num_classes"] != settings.classes.num_classes:
        raise StoreError(f"{where}: was pooled by another class table than '{settings.classes.name}'. Pass --classes.")


def path_below(path: Path, root: Path) -> str:
    """Return a path as it is written in an index: relative to the root, with slashes."""
    return Path(os.path.relpath(path, root)).as_posix()
