"""The one builder of class indexes: one part per image, merged to one file.

The parts lie in a folder ``FILE.parts`` beside the index, each with the settings and the digest of what it was made
from, so that an interrupted or sharded run continues where it was. The run, or the last shard, that finds all parts
writes FILE, the same to the byte however it came about, and removes them.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segdata.batch.artifact import as_json, describe_difference
from segdata.batch.report import find_shard_reports, read_shard_reports
from segdata.batch.run import Job, Plan, exit_code, run_plan
from segdata.batch.runners import take_shard
from segdata.batch.work import BatchSettings, Outcome
from segdata.errors import LabelError, SettingsError, StoreError
from segdata.files import explain_os_error, only_run_in, sweep_temporaries, write_atomic
from segdata.logs import logger
from segdata.sampling.class_index import ClassIndex, IndexHead, join_names, make_index
from segdata.sampling.index_part import (
    PART_ENDING,
    IndexItem,
    IndexSettings,
    ItemBytes,
    encode_part,
    path_below,
    read_part,
    read_source,
    scan_file,
)
from segdata.sampling.merge import FileState, IndexedImage, merge_images
from segdata.sampling.scan import scan_label
from segdata.text import counted

TOOL = "index"
HOW_TO_FIX = "Choose another FILE, or pass --overwrite."
SECONDS_TO_WAIT = 3600.0
"""How long a run waits for another one that builds the index of the same labels."""


@dataclass(frozen=True, kw_only=True)
class IndexPlan(Plan[IndexItem]):
    """What a run indexes, and the file it writes.

    Attributes
    ----------
    output : Path
        FILE; `destination` is the folder of its parts, `parts_of` that.
    settings : IndexSettings
    """

    tool: str = TOOL
    output: Path
    settings: IndexSettings

    @property
    def recorded(self) -> dict[str, Any]:
        """What determines the parts."""
        return self.settings.recorded()

    @property
    def product(self) -> Path:
        """FILE."""
        return self.output

    @property
    def job(self) -> "IndexJob":
        """What is done with each image."""
        return IndexJob(self.settings, self.destination)

    def part(self, item: IndexItem) -> Path:
        """Return where the part of an image lies until all are there."""
        return self.destination / item.target

    def sources(self, item: IndexItem) -> list[Path]:
        """Return the label, its confidence image, and its image, whose size is compared."""
        return [path for path in (item.path, item.confidence, item.image_path) if path is not None]

    def targets(self, item: IndexItem) -> list[Path]:
        """Return the file that an item may write."""
        return [self.part(item)]

    def totals(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Return how many images there are."""
        return {"images": len(outcomes)}


@dataclass(frozen=True)
class IndexJob(Job[IndexItem]):
    """Scan a label, or targets, and keep what is in it as a part."""

    settings: IndexSettings
    parts: Path

    def read(self, item: IndexItem) -> ItemBytes:
        """Return the bytes of the label and of its confidence image."""
        return read_source(item, self.settings.kind)

    def match(self, item: IndexItem, source: ItemBytes) -> dict[str, Any] | None:
        """Return the facts of a part of these bytes and settings; any other is made again."""
        part = read_part(self.parts / item.target, self.settings, source.digest)
        return None if part is None else _facts(part)

    def make(self, item: IndexItem, source: ItemBytes) -> dict[str, Any]:
        """Scan the image and write its part."""
        part = scan_file(source, item, self.settings)
        write_atomic(self.parts / item.target, encode_part(part, self.settings, source.digest))
        return _facts(part)


def parts_of(output: Path) -> Path:
    """Return the folder of an index's parts."""
    return output.with_name(f"{output.name}.parts")


def run_index(plan: IndexPlan, batch: BatchSettings) -> tuple[list[Outcome], ClassIndex | None]:
    """Index what is planned.

    Returns
    -------
    outcomes : list of Outcome
        One per file of the shard.
    index : ClassIndex or None
        The whole index; None for a dry run, for a shard that is not the last to end, or where a file has an error:
        then no index is written, as it would lack that image.

    Raises
    ------
    SettingsError
        If FILE or its parts were made with other settings.
    StoreError
        If FILE cannot be written, or holds something else.
    """
    if not batch.overwrite and plan.output.exists() and not (batch.update and _is_outdated(plan)):
        return _keep_output(plan, batch)
    written: list[ClassIndex] = []

    def finish(outcomes: list[Outcome]) -> None:
        if not exit_code(outcomes):
            sweep_temporaries([plan.output])
            written.append(_write(plan, merge_parts(plan)))
            _remove_parts(plan)

    result = run_plan(plan, _refuse_other_parts(plan, batch), redo=False, finish=finish)
    return result.outcomes, written[0] if written else None


def build_index(plan: IndexPlan, batch: BatchSettings, *, desc: str = "", skip_bad: bool = False) -> ClassIndex:
    """Return the index of a plan: from its file where that is up to date, else built and written there.

    Parameters
    ----------
    plan : IndexPlan
    batch : BatchSettings
        How it is built.
    desc : str
        What the progress bar says.
    skip_bad : bool
        Leave out labels that cannot be indexed, with a warning, instead of raising.

    Raises
    ------
    LabelError
        If a label cannot be indexed; names the first.
    """
    kept = _load_if_fresh(plan, skip_bad)
    if kept is not None:
        return kept
    folder = plan.output.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be made", folder)) from error
    with only_run_in(folder, patience=SECONDS_TO_WAIT):  # runs that start together share one index
        return _load_if_fresh(plan, skip_bad) or _build(plan, batch, desc, skip_bad)


def _build(plan: IndexPlan, batch: BatchSettings, desc: str, skip_bad: bool) -> ClassIndex:
    """Build an index, whatever is there."""
    left_out: dict[str, Any] = {}
    written: list[ClassIndex] = []

    def finish(outcomes: list[Outcome]) -> None:
        bad = [outcome for outcome in outcomes if outcome.status == "error"]
        if bad and (not skip_bad or len(bad) == len(outcomes)):
            return
        items = {item.key: item for item in plan.items}
        for outcome in bad:
            logger.warning(f"left out of the index: {outcome.message}")
            left_out[outcome.key] = _times_of(items[outcome.key])
        written.append(_write(plan, merge_parts(plan, left_out)))
        _remove_parts(plan)

    batch = replace(batch, overwrite=True, fail_fast=not skip_bad)
    result = run_plan(plan, batch, redo=False, finish=finish, desc=desc)
    if not written:
        raise LabelError(next(str(outcome.message) for outcome in result.outcomes if outcome.status == "error"))
    return written[0]


def list_images(plan: IndexPlan) -> ClassIndex:
    """Return an index that names the images of a plan but not what is in them: enough to draw whole images."""
    nothing = scan_label(np.empty((0, 0), np.uint8), plan.settings.lookup, plan.settings.classes.num_classes)
    images = [IndexedImage(item.key, item.image, FileState(), nothing, item.confidence_name) for item in plan.items]
    settings = {**plan.settings.recorded(), "scanned": False}
    return merge_images(_head(plan, 1, settings), images, lookup=plan.settings.lookup, root=plan.source)


def _load_if_fresh(plan: IndexPlan, skip_bad: bool) -> ClassIndex | None:
    """Return the index that is there, with the times of now; None where it is stale, damaged, or of another plan."""
    if not plan.output.exists():
        return None
    try:
        index = ClassIndex.load(plan.output, root=plan.source, check=False)
        fresh = index.refreshed()
    except StoreError:
        return None
    settings = dict(index.head.settings)
    left_out = settings.pop("left_out", {})
    found = sorted(item.key for item in plan.items if item.key not in left_out)
    if settings != as_json(plan.settings.recorded()) or sorted(index.names("label")) != found:
        return None
    # Where nothing may be left out, reading again ends in the error of the first that was.
    if (left_out and not skip_bad) or any(
        _times_of(item) != left_out[item.key] for item in plan.items if item.key in left_out
    ):
        return None
    if left_out:
        logger.warning(f"{plan.output.name}: {counted(len(left_out), 'label')} left out, first {next(iter(left_out))}")
    if fresh is not index:
        with suppress(StoreError):  # only saves reading the labels at each start
            return _write(plan, fresh)
    return fresh


def _times_of(item: IndexItem) -> list[int]:
    """Return when a label, its image and its confidence image were last changed: any may be why it is left out."""
    paths = (item.path, item.image_path, item.confidence)
    return [path.stat().st_mtime_ns if path is not None and path.exists() else 0 for path in paths]


def merge_parts(plan: IndexPlan, left_out: Mapping[str, Any] | None = None) -> ClassIndex:
    """Make the index of all parts but those left out, in the order of their keys.

    Raises
    ------
    StoreError
        If a part is missing or damaged, or a label went away.
    """
    left_out = dict(left_out or {})
    items = sorted((item for item in plan.items if item.key not in left_out), key=lambda item: item.key)
    images = [_merged(plan, item) for item in items]
    settings = plan.settings.recorded() | ({"left_out": left_out} if left_out else {})
    point_extent = max(image.reach for image in images)  # a larger square around a point holds the class as well
    head = _head(plan, point_extent, settings)
    return merge_images(head, images, lookup=plan.settings.lookup, root=plan.source)


def _head(plan: IndexPlan, point_extent: int, settings: Mapping[str, Any]) -> IndexHead:
    table = plan.settings.classes
    return IndexHead(table.train_names, table.digest, plan.settings.tile, point_extent, settings)


def _merged(plan: IndexPlan, item: IndexItem) -> IndexedImage:
    part = read_part(plan.part(item), plan.settings)
    if part is None:
        raise StoreError(
            f"{plan.part(item)}: the part of {item.key} is missing or damaged. Run the same command again."
        )
    return replace(part, label=item.key, image=item.image, confidence=item.confidence_name)


def _facts(part: IndexedImage) -> dict[str, Any]:
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
        if plan.destination.is_dir():
            _remove_parts(plan)
    changed: Literal["todo", "done"] = "todo" if batch.dry_run else "done"
    mine = take_shard(plan.items, batch.shard)
    outcomes = [Outcome(key=item.key, status=changed if item.key in moved else "kept") for item in mine]
    return outcomes, index


def _is_outdated(plan: IndexPlan) -> bool:
    """Say whether files were added, removed or changed since the index was made, which must be of the same settings."""
    index = _load_of_same_settings(plan)
    files = [(item.key, item.confidence_name) for item in plan.items]
    names = zip(index.names("label"), index.names("confidence"), strict=True)
    try:
        index.refreshed()
    except StoreError:
        return True
    return sorted(names) != sorted(files)


def _load_of_same_settings(plan: IndexPlan) -> ClassIndex:
    index = ClassIndex.load(plan.output, root=plan.source, check=False)
    difference = describe_difference(dict(index.head.settings), plan.settings.recorded())
    if difference:
        raise SettingsError(f"{plan.output}: was made with other settings: {difference}. {HOW_TO_FIX}")
    return index


def _load_output(plan: IndexPlan) -> ClassIndex:
    """Load the index that is there, and refuse it if this run would index other images, or with other settings."""
    index = _load_of_same_settings(plan)
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
            f"alone. {HOW_TO_FIX}"
        )


def _refuse_other_parts(plan: IndexPlan, batch: BatchSettings) -> BatchSettings:
    """Return how to begin: parts done with other settings are refused, where none is done nothing stands in the way."""
    if batch.overwrite or not _parts_in(plan.destination):
        return replace(batch, overwrite=True)
    for before in read_shard_reports([plan.report, *find_shard_reports(plan.report)]):
        difference = describe_difference(before["settings"], plan.settings.recorded())
        if difference:
            raise SettingsError(f"{plan.output}: was begun with other settings: {difference}. {HOW_TO_FIX}")
    return batch


def _with_images(index: ClassIndex, images: Mapping[str, str]) -> ClassIndex:
    """Return an index with other images, given by label."""
    names, ends = join_names([images[label] for label in index.names("label")])
    return make_index(index.head, {**index.arrays, "image_names": names, "image_ends": ends}, index.root)


def _write(plan: IndexPlan, index: ClassIndex) -> ClassIndex:
    """Write the index and return it as it is loaded from its file."""
    write_atomic(plan.output, index.encode(path_below(plan.source, plan.output.parent)), durable=True)
    return ClassIndex.load(plan.output, check=False)


def _parts_in(folder: Path) -> list[Path]:
    """Return the parts in a folder; none where there is no such folder."""
    return [path for path in folder.iterdir() if path.name.endswith(PART_ENDING)] if folder.is_dir() else []


def _remove_parts(plan: IndexPlan) -> None:
    """Remove the parts and the reports beside them; a folder that holds anything else stays."""
    report = plan.report
    for path in [*_parts_in(plan.destination), *find_shard_reports(report), report]:
        path.unlink(missing_ok=True)
    if not any(plan.destination.iterdir()):
        plan.destination.rmdir()
