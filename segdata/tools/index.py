"""Index whole folders of labels or of pooled targets: one part per image, merged to one file.

The parts lie in a folder ``FILE.parts`` beside the index, each with the settings and the digest of what it was made
from, so that an interrupted or sharded run goes on where it was. The run that finds all parts writes FILE, the same to
the byte however it came about, and removes them.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segdata.cpp.store import decode_cpp, read_cpp_bytes, read_meta
from segdata.errors import LabelError, LayoutError, SettingsError, StoreError
from segdata.files import explain_os_error, write_atomic
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.labels.png import decode_label, read_bytes, read_label
from segdata.layouts import Encoding, LabelledImage, folder, open_labels
from segdata.sampling.from_targets import scan_targets
from segdata.sampling.index import ClassIndex, IndexHead
from segdata.sampling.merge import IndexedImage, merge_images
from segdata.sampling.scan import NUM_POINTS, TileEntries, scan_confidence, scan_label
from segdata.tools.batch import BatchSettings, Outcome, run_batch, take_shard
from segdata.tools.report import describe_difference, find_shard_reports, open_run

TOOL = "index"
TARGETS_ENDING = ".cpp.npz"
PART_ENDING = ".part"
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
        if self.encoding == "labelIds":
            lookup = self.classes.id_to_train_id()
        else:
            lookup = np.where(np.arange(256) < self.classes.num_classes, np.arange(256), -1).astype(np.int16)
        if lookup[IGNORE_ID] < 0:
            lookup[IGNORE_ID] = IGNORE_ID
        return lookup


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


@dataclass(frozen=True, kw_only=True)
class IndexPlan:
    """What a run indexes, and the file it writes."""

    source: Path
    output: Path
    items: Sequence[IndexItem]
    settings: IndexSettings

    @property
    def parts(self) -> Path:
        """The folder of the parts."""
        return self.output.with_name(f"{self.output.name}.parts")


@dataclass(frozen=True, kw_only=True)
class IndexWork:
    """The work of a run on one item; picklable, for other processes and machines."""

    settings: IndexSettings
    dry_run: bool = False

    def __call__(self, item: IndexItem) -> Outcome:
        """Write the part of one image, unless it is there and valid."""
        data = _read(item, self.settings.kind)
        digest = _digest_of(item, data)
        part = read_part(item.part, self.settings, digest)
        status: Literal["kept", "todo", "done"] = "kept"
        if part is None:
            status = "todo" if self.dry_run else "done"
            if not self.dry_run:
                part = scan_file(data, item, self.settings)
                write_atomic(item.part, encode_part(part, self.settings, digest))
        return Outcome(key=item.key, status=status, facts={"source": item.key, **_facts(part)})


def plan_index(
    source: Path,
    output: Path,
    *,
    classes: str | Path = "cityscapes",
    encoding: str = "auto",
    tile: int = 1024,
    confidence: float = 0.5,
    pictures: Path | None = None,
) -> IndexPlan:
    """Plan the index of a Cityscapes root, a folder of label images, or a folder of pooled targets.

    Parameters
    ----------
    source, output : Path
        SRC and FILE, absolute. A folder that holds ``.cpp.npz`` files and no PNG is one of targets.
    classes : str or Path
        Name or file of the class table.
    encoding : {"auto", "trainIds", "labelIds"}
        What the ids mean; see `segdata.layouts.open_labels`.
    tile, confidence
        See `IndexSettings`.
    pictures : Path, optional
        For a folder of labels: where the pictures lie, at the same relative paths with any ending.

    Raises
    ------
    LayoutError, MappingError, SettingsError
        If nothing is found, there is no such table, or a setting is out of range.
    """
    table = ClassTable.load(classes)
    found, meaning, kind = _find(source, encoding)
    settings = IndexSettings(classes=table, encoding=meaning, tile=tile, confidence=confidence, kind=kind)
    parts = output.with_name(f"{output.name}.parts")
    beside = _pictures_by_stem(pictures) if pictures is not None else {}
    items = [_item(label, source, parts, beside) for label in found]
    if pictures is not None and not any(item.picture for item in items):
        raise LayoutError(f"{pictures}: no picture here has the path of a label in {source}. Pass another --pictures.")
    return IndexPlan(source=source, output=output, items=items, settings=settings)


def run_index(plan: IndexPlan, batch: BatchSettings) -> tuple[list[Outcome], ClassIndex | None]:
    """Index what is planned.

    Returns
    -------
    outcomes : list of Outcome
        One per file of the shard.
    index : ClassIndex or None
        The whole index; None for a shard, a dry run, or where a file has an error: then no index is written, as it
        would lack that image.

    Raises
    ------
    SettingsError
        If FILE or its parts were made with other settings.
    StoreError
        If FILE cannot be written, or holds something else.
    """
    if not batch.overwrite and (index := _kept_output(plan)) is not None:
        kept = [Outcome(key=item.key, status="kept") for item in take_shard(plan.items, batch.shard)]
        return kept, index
    work = IndexWork(settings=plan.settings, dry_run=batch.dry_run)
    mine = take_shard(plan.items, batch.shard)
    with open_run(
        plan.parts / f"{TOOL}.json",
        tool=TOOL,
        source=plan.source,
        settings=plan.settings.recorded(),
        batch=batch,
        targets=[plan.output, *(item.part for item in mine)],
    ) as run:
        outcomes = run_batch(work, plan.items, batch)
        run.finish(outcomes, {"images": len(outcomes)})
        if batch.dry_run or batch.shard[1] > 1 or len(outcomes) < len(plan.items):
            return outcomes, None
        if any(outcome.status == "error" for outcome in outcomes):
            return outcomes, None
        index = merge_parts(plan)
        write_atomic(plan.output, index.encode(_relative(plan.source, plan.output.parent)), durable=True)
        _remove_parts(plan)
    return outcomes, ClassIndex.load(plan.output, check=False)


def scan_file(data: bytes, item: IndexItem, settings: IndexSettings) -> IndexedImage:
    """Index one file from its bytes.

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
        ids, lookup = decode_label(data, where), settings.lookup
        if item.confidence is not None:
            ids, lookup = _confident(ids, item.confidence, settings, where)
        entries = scan_label(ids, lookup, settings.classes.num_classes, tile=settings.tile, where=where)
    return IndexedImage(
        label=item.key,
        picture=item.picture,
        label_bytes=len(data),
        label_time=0,  # the time of the file is read when the parts are merged
        label_digest=blake2b(data, digest_size=16).digest(),
        entries=entries,
        confidence="" if item.confidence is None else _beside(item.key, item.confidence),
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
    return IndexedImage("", "", meta["label_bytes"], 0, bytes.fromhex(meta["label_digest"]), entries)


def merge_parts(plan: IndexPlan) -> ClassIndex:
    """Make the index of all parts, in the order of their keys.

    Raises
    ------
    StoreError
        If a part is missing or damaged, or a label went away.
    """
    images = [_merged(item, plan.settings) for item in sorted(plan.items, key=lambda item: item.key)]
    settings = plan.settings
    reach = max((_reach(item) for item in plan.items[:1]), default=1) if settings.kind == "targets" else 1
    head = IndexHead(settings.classes.train_names, settings.classes.digest, settings.tile, reach, settings.recorded())
    return merge_images(head, images, lookup=settings.lookup, root=plan.source)


def _merged(item: IndexItem, settings: IndexSettings) -> IndexedImage:
    part = read_part(item.part, settings)
    if part is None:
        raise StoreError(f"{item.part}: the part of {item.key} is missing or damaged. Run the same command again.")
    confidence = "" if item.confidence is None else _beside(item.key, item.confidence)
    try:
        time = item.path.stat().st_mtime_ns
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be read")) from error
    return IndexedImage(item.key, item.picture, part.label_bytes, time, part.label_digest, part.entries, confidence)


def _find(source: Path, encoding: str) -> tuple[list[LabelledImage], Encoding, Kind]:
    """Find labels, or where there are none, pooled targets."""
    try:
        return *open_labels(source, encoding), "labels"
    except LayoutError as no_labels:
        try:
            return folder.find(source, suffix=TARGETS_ENDING), "trainIds", "targets"
        except LayoutError:
            raise no_labels from None


def _item(label: LabelledImage, source: Path, parts: Path, pictures: dict[str, Path]) -> IndexItem:
    assert label.label is not None
    key = str(label.relative)
    picture = label.image or pictures.get(str(label.relative.with_suffix("")))
    name = blake2b(os.fsencode(key), digest_size=12).hexdigest()
    return IndexItem(
        key=key,
        path=label.label,
        part=parts / f"{name}{PART_ENDING}",
        confidence=label.confidence,
        picture="" if picture is None else _relative(picture, source),
    )


def _pictures_by_stem(pictures: Path) -> dict[str, Path]:
    """Return the pictures of a folder by their relative path without ending."""
    endings = (".jpg", ".jpeg", ".png")
    found = [path for path in sorted(pictures.rglob("*")) if path.suffix.lower() in endings]
    return {path.relative_to(pictures).with_suffix("").as_posix(): path for path in found}


def _read(item: IndexItem, kind: Kind) -> bytes:
    return read_bytes(item.path) if kind == "labels" else read_cpp_bytes(item.path)


def _digest_of(item: IndexItem, data: bytes) -> str:
    """Return the digest of all bytes that an image's entries are made from."""
    hasher = blake2b(data, digest_size=16)
    if item.confidence is not None:
        hasher.update(read_bytes(item.confidence))
    return hasher.hexdigest()


def _confident(
    ids: NDArray[np.uint8], path: Path, settings: IndexSettings, where: str
) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Return class ids with unsure pixels ignored, and the look-up that reads them."""
    confidence = read_label(path)
    if confidence.shape != ids.shape:
        raise LabelError(f"{path}: has {confidence.shape} pixels, its label {where} {ids.shape}. Expected the same.")
    lookup = np.where(np.arange(256) < settings.classes.num_classes, np.arange(256), -1).astype(np.int16)
    lookup[IGNORE_ID] = IGNORE_ID
    return scan_confidence(ids, confidence, settings.lookup, settings.confidence), lookup


def _refuse_other_classes(meta: Any, settings: IndexSettings, where: str) -> None:
    told = meta.get("about", {}).get("settings", {}).get("classes_digest", settings.classes.digest)
    if told != settings.classes.digest or meta["num_classes"] != settings.classes.num_classes:
        raise StoreError(f"{where}: was pooled by another class table than '{settings.classes.name}'. Pass --classes.")


def _reach(item: IndexItem) -> int:
    return int(min(read_meta(read_cpp_bytes(item.path), str(item.path))["stored"]))


def _facts(part: IndexedImage | None) -> dict[str, Any]:
    if part is None:
        return {}
    return {"digest": part.label_digest.hex(), "entries": int(part.entries.classes.size)}


def _kept_output(plan: IndexPlan) -> ClassIndex | None:
    """Return the index that is there if it is what this run would write; None where there is none.

    Raises
    ------
    SettingsError, StoreError
        If it is of other settings, other images or other bytes, or no index.
    """
    if not plan.output.exists():
        return None
    way_out = "Choose another FILE, or pass --overwrite."
    index = ClassIndex.load(plan.output, root=plan.source, check=False)
    difference = describe_difference(dict(index.head.settings), plan.settings.recorded())
    if difference:
        raise SettingsError(f"{plan.output}: was made with other settings: {difference}. {way_out}")
    there, now = {str(index.label_name(image)) for image in range(index.num_images)}, {item.key for item in plan.items}
    if there != now:
        other = sorted(there ^ now)[0]
        raise SettingsError(
            f"{plan.output}: holds {len(there)} images, {plan.source} has {len(now)}; '{other}' is in one of them "
            f"alone. {way_out}"
        )
    index.refuse_stale()
    if plan.parts.is_dir():
        _remove_parts(plan)
    return index


def _remove_parts(plan: IndexPlan) -> None:
    """Remove the parts and the reports beside them; a folder that holds anything else stays."""
    report = plan.parts / f"{TOOL}.json"
    for path in [*plan.parts.glob(f"*{PART_ENDING}"), *find_shard_reports(report), report]:
        path.unlink(missing_ok=True)
    if not any(plan.parts.iterdir()):
        plan.parts.rmdir()


def _relative(path: Path, start: Path) -> str:
    return Path(os.path.relpath(path, start)).as_posix()


def _beside(key: str, path: Path) -> str:
    """Return the name of a file that lies in the folder of the label `key`."""
    return (Path(key).parent / path.name).as_posix()
