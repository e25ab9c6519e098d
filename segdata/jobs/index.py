"""Index whole folders of labels or of pooled targets: one part per image, merged to one file.

The parts lie in a folder ``FILE.parts`` beside the index, each with the settings and the digest of what it was made
from, so that an interrupted or sharded run goes on where it was. The run that finds all parts writes FILE, the same to
the byte however it came about, and removes them.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from segdata.batch.report import describe_difference, find_shard_reports, open_run, read_report
from segdata.batch.run import BatchSettings, Outcome, run_batch, take_shard
from segdata.errors import LayoutError, SettingsError, StoreError
from segdata.files import write_atomic
from segdata.jobs.index_part import IndexItem, IndexSettings, Kind, encode_part, read_part, read_source, scan_file
from segdata.labels.classes import ClassTable
from segdata.layouts import Encoding, LabeledImage, folder, open_labels
from segdata.sampling.class_index import ClassIndex, IndexHead, join_names, make_index
from segdata.sampling.merge import IndexedImage, merge_images

TOOL = "index"
TARGETS_ENDING = ".cpp.npz"
PART_ENDING = ".part"
WAY_OUT = "Choose another FILE, or pass --overwrite."


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
        source = read_source(item, self.settings.kind)
        digest = source.digest
        part = read_part(item.part, self.settings, digest)
        status: Literal["kept", "todo", "done"] = "kept"
        if part is None:
            status = "todo" if self.dry_run else "done"
            if not self.dry_run:
                part = scan_file(source, item, self.settings)
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
    images: Path | None = None,
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
    images : Path, optional
        For a folder of labels: where the images lie, at the same relative paths with any ending.

    Raises
    ------
    LayoutError, MappingError, SettingsError
        If nothing is found, there is no such table, or a setting is out of range.
    """
    table = ClassTable.load(classes)
    found, meaning, kind = _find(source, encoding)
    settings = IndexSettings(classes=table, encoding=meaning, tile=tile, confidence=confidence, kind=kind)
    parts = output.with_name(f"{output.name}.parts")
    by_stem = _images_by_stem(images) if images is not None else {}
    items = [_item(label, source, parts, by_stem) for label in found]
    if images is not None and not any(item.image for item in items):
        raise LayoutError(f"{images}: no image here has the path of a label in {source}. Pass another --images.")
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
    if not batch.overwrite and plan.output.exists():
        return _keep_output(plan, batch)
    work = IndexWork(settings=plan.settings, dry_run=batch.dry_run)
    mine = take_shard(plan.items, batch.shard)
    with open_run(
        plan.parts / f"{TOOL}.json",
        tool=TOOL,
        source=plan.source,
        settings=plan.settings.recorded(),
        batch=_refuse_other_parts(plan, batch),
        targets=[plan.output, *(item.part for item in mine)],
    ) as run:
        outcomes = run_batch(work, plan.items, batch)
        _, faults = run.conclude(outcomes, {"images": len(outcomes)})
        outcomes += faults
        if batch.dry_run or batch.shard[1] > 1 or len(outcomes) < len(plan.items):
            return outcomes, None
        if any(outcome.status == "error" for outcome in outcomes):
            return outcomes, None
        index = _write(plan, merge_parts(plan))
        _remove_parts(plan)
    return outcomes, index


def merge_parts(plan: IndexPlan) -> ClassIndex:
    """Make the index of all parts, in the order of their keys.

    Raises
    ------
    StoreError
        If a part is missing or damaged, or a label went away.
    """
    images = [_merged(item, plan.settings) for item in sorted(plan.items, key=lambda item: item.key)]
    settings = plan.settings
    reach = max(image.reach for image in images)  # a larger square around a point holds the class as well
    head = IndexHead(settings.classes.train_names, settings.classes.digest, settings.tile, reach, settings.recorded())
    return merge_images(head, images, lookup=settings.lookup, root=plan.source)


def _merged(item: IndexItem, settings: IndexSettings) -> IndexedImage:
    part = read_part(item.part, settings)
    if part is None:
        raise StoreError(f"{item.part}: the part of {item.key} is missing or damaged. Run the same command again.")
    return replace(part, label=item.key, image=item.image, confidence=item.confidence_name)


def _find(source: Path, encoding: str) -> tuple[list[LabeledImage], Encoding, Kind]:
    """Find labels, or where there are none, pooled targets."""
    try:
        return *open_labels(source, encoding), "labels"
    except LayoutError as no_labels:
        try:
            return folder.find(source, suffix=TARGETS_ENDING), "trainIds", "targets"
        except LayoutError:
            raise no_labels from None


def _item(label: LabeledImage, source: Path, parts: Path, images: dict[str, Path]) -> IndexItem:
    assert label.label is not None
    key = str(label.relative)
    image = label.image or images.get(_stem(label.relative))
    name = blake2b(os.fsencode(key), digest_size=12).hexdigest()
    return IndexItem(
        key=key,
        path=label.label,
        part=parts / f"{name}{PART_ENDING}",
        confidence=label.confidence,
        image="" if image is None else _relative(image, source),
    )


def _images_by_stem(images: Path) -> dict[str, Path]:
    """Return the images of a folder by their relative path without ending."""
    endings = (".jpg", ".jpeg", ".png")
    found = [path for path in sorted(images.rglob("*")) if path.suffix.lower() in endings]
    return {path.relative_to(images).with_suffix("").as_posix(): path for path in found}


def _stem(relative: PurePosixPath) -> str:
    """Return the path of a label or of targets without its ending."""
    if relative.name.lower().endswith(TARGETS_ENDING):
        return str(relative)[: -len(TARGETS_ENDING)]
    return str(relative.with_suffix(""))


def _facts(part: IndexedImage | None) -> dict[str, Any]:
    if part is None:
        return {}
    return {"digest": part.label_state.digest.hex(), "entries": int(part.entries.classes.size)}


def _keep_output(plan: IndexPlan, batch: BatchSettings) -> tuple[list[Outcome], ClassIndex]:
    """Return the index that is there; what it says of images and times is brought up to date.

    Raises
    ------
    SettingsError, StoreError
        If it is of other settings, other images or other bytes, or no index.
    """
    index = _load_output(plan)
    image_of = dict(zip(index.names("label"), index.names("image"), strict=True))
    moved: set[str] = set()
    if any(item.image for item in plan.items):  # a run that looks for no images has nothing to say of them
        moved = {item.key for item in plan.items if image_of[item.key] != item.image}
    fresh = index.refreshed()
    if not batch.dry_run:
        if moved:
            index = _write(plan, _with_images(fresh, {item.key: item.image for item in plan.items}))
        elif fresh is not index:
            with suppress(StoreError):  # only saves reading the labels at each load
                index = _write(plan, fresh)
        if plan.parts.is_dir():
            _remove_parts(plan)
    changed: Literal["todo", "done"] = "todo" if batch.dry_run else "done"
    mine = take_shard(plan.items, batch.shard)
    outcomes = [Outcome(key=item.key, status=changed if item.key in moved else "kept") for item in mine]
    return outcomes, index


def _load_output(plan: IndexPlan) -> ClassIndex:
    """Load the index that is there, and refuse it if this run would index other images, or with other settings."""
    index = ClassIndex.load(plan.output, root=plan.source, check=False)
    difference = describe_difference(dict(index.head.settings), plan.settings.recorded())
    if difference:
        raise SettingsError(f"{plan.output}: was made with other settings: {difference}. {WAY_OUT}")
    _refuse_others(plan, "images", index.names("label"), [item.key for item in plan.items])
    now = [item.confidence_name for item in plan.items]
    _refuse_others(plan, "confidence images", index.names("confidence"), now)
    return index


def _refuse_others(plan: IndexPlan, what: str, indexed: Sequence[str], found: Sequence[str]) -> None:
    """Raise where the names in the index are not those found now; empty ones stand for no file."""
    there, now = set(indexed) - {""}, set(found) - {""}
    if there != now:
        other = sorted(there ^ now)[0]
        raise SettingsError(
            f"{plan.output}: holds {len(there)} {what}, {plan.source} has {len(now)}; '{other}' is in one of them "
            f"alone. {WAY_OUT}"
        )


def _refuse_other_parts(plan: IndexPlan, batch: BatchSettings) -> BatchSettings:
    """Return how to begin: parts done with other settings are refused, where none is done nothing stands in the way."""
    if batch.overwrite or not any(plan.parts.glob(f"*{PART_ENDING}")):
        return replace(batch, overwrite=True)
    before = read_report(plan.parts / f"{TOOL}.json")
    difference = before and describe_difference(before["settings"], plan.settings.recorded())
    if difference:
        raise SettingsError(f"{plan.output}: was begun with other settings: {difference}. {WAY_OUT}")
    return batch


def _with_images(index: ClassIndex, images: Mapping[str, str]) -> ClassIndex:
    """Return an index with other images, given by label."""
    names, ends = join_names([images[label] for label in index.names("label")])
    return make_index(index.head, {**index.arrays, "image_names": names, "image_ends": ends}, index.root)


def _write(plan: IndexPlan, index: ClassIndex) -> ClassIndex:
    """Write the index and return it as it is loaded from its file."""
    write_atomic(plan.output, index.encode(_relative(plan.source, plan.output.parent)), durable=True)
    return ClassIndex.load(plan.output, check=False)


def _remove_parts(plan: IndexPlan) -> None:
    """Remove the parts and the reports beside them; a folder that holds anything else stays."""
    report = plan.parts / f"{TOOL}.json"
    for path in [*plan.parts.glob(f"*{PART_ENDING}"), *find_shard_reports(report), report]:
        path.unlink(missing_ok=True)
    if not any(plan.parts.iterdir()):
        plan.parts.rmdir()


def _relative(path: Path, start: Path) -> str:
    return Path(os.path.relpath(path, start)).as_posix()
