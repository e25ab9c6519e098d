"""One image of an index: read, scanned, and kept as a part until all are there."""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segdata.cpp.store import decode_cpp, read_cpp_bytes
from segdata.errors import LabelError, SettingsError, StoreError
from segdata.labels.classes import ClassTable, train_id_lookup
from segdata.labels.png import decode_bands, decode_label, read_bytes, read_label
from segdata.labels.png_chunks import split_png
from segdata.layouts import Encoding
from segdata.sampling.from_targets import scan_targets
from segdata.sampling.merge import IndexedImage
from segdata.sampling.scan import TileEntries, band_multiple, scan_bands, scan_confidence, scan_label
from segdata.sampling.scan_kernels import NUM_POINTS

Kind = Literal["labels", "targets"]


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
    part : Path
        Where its part goes.
    confidence : Path or None
        The confidence image of an auto-label.
    picture : str
        Path of the picture below SRC, empty where there is none.
    """

    key: str
    path: Path
    part: Path
    confidence: Path | None = None
    picture: str = ""


def scan_file(data: bytes, time: int, item: IndexItem, settings: IndexSettings) -> IndexedImage:
    """Index one file from its bytes.

    Parameters
    ----------
    data : bytes
        The whole file.
    time : int
        When the file was last changed, in nanoseconds, as it was before it was read.
    item : IndexItem
    settings : IndexSettings

    Raises
    ------
    LabelError, StoreError, SettingsError
        If the file is damaged, holds ids that are no class, or its confidence image does not fit.
    """
    where = str(item.path)
    if settings.kind == "targets":
        targets = decode_cpp(data, where)
        _refuse_other_classes(targets.meta, settings, where)
        entries = scan_targets(targets, tile=settings.tile, where=where)
    else:
        entries = _scan_bytes(data, item, settings, where)
    return IndexedImage(
        label=item.key,
        picture=item.picture,
        label_bytes=len(data),
        label_time=time,
        label_digest=blake2b(data, digest_size=16).digest(),
        entries=entries,
        confidence="" if item.confidence is None else beside(item.key, item.confidence),
    )


def encode_part(part: IndexedImage, settings: IndexSettings, digest: str) -> bytes:
    """Return the bytes of one image's part: a checksum, a line of JSON, and its entries as a table."""
    entries = part.entries
    meta = {
        "settings": settings.recorded(),
        "digest": digest,
        "size": entries.size,
        "ignored": entries.ignored,
        "label_bytes": part.label_bytes,
        "label_time": part.label_time,
        "label_digest": part.label_digest.hex(),
    }
    points = entries.points.reshape(entries.classes.size, 2 * NUM_POINTS)
    numbers = np.stack([entries.classes, entries.tiles, entries.pixels], axis=1)
    table = np.hstack([numbers, points, entries.centroids]).astype("<u4")
    payload = json.dumps(meta, sort_keys=True).encode() + b"\n" + table.tobytes()
    return blake2b(payload, digest_size=16).digest() + payload


def read_part(path: Path, settings: IndexSettings, digest: str | None = None) -> IndexedImage | None:
    """Read a part; None where it is missing, damaged, of other settings, or of other bytes than `digest` names.

    Its names are left empty.
    """
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if blake2b(data[16:], digest_size=16).digest() != data[:16]:
        return None
    line, _, rows = data[16:].partition(b"\n")
    meta = json.loads(line)
    if meta["settings"] != settings.recorded() or digest not in (None, meta["digest"]):
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
    return IndexedImage("", "", meta["label_bytes"], meta["label_time"], bytes.fromhex(meta["label_digest"]), entries)


def read_source(item: IndexItem, kind: Kind) -> tuple[bytes, int]:
    """Return the bytes of a file, and when it was last changed as it was before they were read."""
    time = item.path.stat().st_mtime_ns if item.path.exists() else 0  # reading it says best why it is not there
    return (read_bytes(item.path) if kind == "labels" else read_cpp_bytes(item.path)), time


def digest_of_item(item: IndexItem, data: bytes) -> str:
    """Return the digest of all bytes that an image's entries are made from."""
    hasher = blake2b(data, digest_size=16)
    if item.confidence is not None:
        hasher.update(read_bytes(item.confidence))
    return hasher.hexdigest()


def _scan_bytes(data: bytes, item: IndexItem, settings: IndexSettings, where: str) -> TileEntries:
    num_classes, tile = settings.classes.num_classes, settings.tile
    if item.confidence is not None:
        ids, lookup = _confident(decode_label(data, where), item.confidence, settings, where)
        return scan_label(ids, lookup, num_classes, tile=tile, where=where)
    parts = split_png(data, where)
    size = (parts.header.height, parts.header.width)
    bands = decode_bands(parts, where, band_multiple(tile))
    return scan_bands(bands, size, settings.lookup, num_classes, tile=tile, where=where)


def _confident(
    ids: NDArray[np.uint8], path: Path, settings: IndexSettings, where: str
) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Return class ids with unsure pixels ignored, and the look-up that reads them."""
    confidence = read_label(path)
    if confidence.shape != ids.shape:
        raise LabelError(f"{path}: has {confidence.shape} pixels, its label {where} {ids.shape}. Expected the same.")
    lookup = train_id_lookup(settings.classes.num_classes)
    return scan_confidence(ids, confidence, settings.lookup, settings.confidence), lookup


def _refuse_other_classes(meta: Any, settings: IndexSettings, where: str) -> None:
    told = meta.get("about", {}).get("settings", {}).get("classes_digest", settings.classes.digest)
    if told != settings.classes.digest or meta["num_classes"] != settings.classes.num_classes:
        raise StoreError(f"{where}: was pooled by another class table than '{settings.classes.name}'. Pass --classes.")


def beside(key: str, path: Path) -> str:
    """Return the name of a file that lies in the folder of the label `key`."""
    return (Path(key).parent / path.name).as_posix()
