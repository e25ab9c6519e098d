"""Index whole folders of labels or of pooled targets: one part per image, merged to one file.

The parts lie in a folder ``FILE.parts`` beside the index, each with the settings and the digest of what it was made
from, so that an interrupted or sharded run goes on where it was. The run that finds all parts writes FILE, the same to
the byte however it came about, and removes them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from segdata.cpp.store import read_cpp_bytes, read_meta
from segdata.errors import LayoutError, SettingsError, StoreError
from segdata.files import write_atomic
from segdata.labels.classes import ClassTable
from segdata.layouts import Encoding, LabelledImage, folder, open_labels
from segdata.sampling.index import ClassIndex, IndexHead
from segdata.sampling.merge import IndexedImage, merge_images
from segdata.tools.batch import BatchSettings, Outcome, run_batch, take_shard
from segdata.tools.index_part import (
    IndexItem,
    IndexSettings,
    Kind,
    beside,
    digest_of_item,
    encode_part,
    read_part,
    read_source,
    scan_file,
)
from segdata.tools.report import describe_difference, find_shard_reports, open_run

TOOL = "index"
TARGETS_ENDING = ".cpp.npz"
PART_ENDING = ".part"


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
        data, time = read_source(item, self.settings.kind)
        digest = digest_of_item(item, data)
        part = read_part(item.part, self.settings, digest)
        status: Literal["kept", "todo", "done"] = "kept"
        if part is None:
            status = "todo" if self.dry_run else "done"
            if not self.dry_run:
                part = scan_file(data, time, item, self.settings)
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
    confidence = "" if item.confidence is None else beside(item.key, item.confidence)
    return replace(part, label=item.key, picture=item.picture, confidence=confidence)


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
