"""Is the data of a recipe there, readable and matched? Every question is asked of every source before any training."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from segdata.batch.runners import BatchSettings, stream_batch
from segdata.config.data import DataRecipe, SourceRecipe
from segdata.data.samples import list_samples, take_evenly
from segdata.errors import LayoutError, SegdataError
from segdata.jobs.check_answers import SAMPLE_CHECKS, Check, Found, answers
from segdata.jobs.check_sample import SampleItem, check_sample
from segdata.labels.classes import IGNORE_ID, ClassTable


@dataclass(frozen=True)
class DatasetsReport:
    """All answers, and the pixels of each class.

    Attributes
    ----------
    checks : tuple of Check
    pixels : dict of str to dict of str to int
        By source, class name (``ignored`` last) to pixels.
    """

    checks: tuple[Check, ...]
    pixels: dict[str, dict[str, int]]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        checks = [{**vars(check), "faults": list(check.faults), "passed": check.passed} for check in self.checks]
        return {"passed": self.passed, "checks": checks, "pixels": self.pixels}


def check_datasets(
    data: DataRecipe, settings: BatchSettings, *, deep: bool = False, limit: int | None = None, stored: bool = False
) -> DatasetsReport:
    """Check the sources and the validation source of a recipe.

    Parameters
    ----------
    data : DataRecipe
        The data part of a recipe.
    settings : BatchSettings
        How many processes.
    deep : bool
        Decode every image; by default only its header is read. Labels are always decoded.
    limit : int, optional
        Read only so many images and labels of each source, evenly spread, and leave index and pooled targets to whoever
        opens them.
    stored : bool
        Stored targets are trained on: sources that name none have them beside their root.

    Returns
    -------
    DatasetsReport
        Faults of the data are in it, and not raised.
    """
    trained = [_with_store(source) if stored else source for source in data.located_sources]
    sources = [*trained, *([data.located_validation] if data.located_validation else [])]
    found = {source.name: _find(source) for source in sources}
    for each in found.values():
        each.read = list(take_evenly(each.labeled, limit))
    _read(found, data.table, settings, deep=deep, with_targets=limit is None)
    checks = [check for each in found.values() for check in answers(each, data.table, prepared=limit is None)]
    checks += _apart(found, data)
    return DatasetsReport(tuple(checks), {name: _named(each.pixels, data.table) for name, each in found.items()})


NUM_READ_AT_START = 8
"""Labels and images of each source that are read before a training run begins."""


def refuse_faulty_data(data: DataRecipe) -> None:
    """Ask of a few images of every source what `check_datasets` asks of all, before hours are spent on them.

    Raises
    ------
    LayoutError
        With the first fault, and how many there are. Where the recipe skips bad images, these are not refused.
    """
    report = check_datasets(data, BatchSettings(), limit=NUM_READ_AT_START)
    skipped = SAMPLE_CHECKS if data.bad_images == "skip" else ()
    faults = [(check.name, fault) for check in report.checks if check.name not in skipped for fault in check.faults]
    if faults:
        name, fault = faults[0]
        more = f" (The first of {len(faults)} faults.)" if len(faults) > 1 else ""
        skip = ", and data.bad_images=skip leaves such images out" if name in SAMPLE_CHECKS else ""
        raise LayoutError(f"{fault}{more} `segdata datasets check` with the same recipe tells of all{skip}.")


def _with_store(source: SourceRecipe) -> SourceRecipe:
    """Return a source that names its targets; one of which unsure pixels are ignored has none."""
    unsure = source.annotation == "auto" and source.confidence > 0
    return source if unsure or source.cpp is not None else source.model_copy(update={"cpp": source.store})


def _find(source: SourceRecipe) -> Found:
    try:
        return Found(source, list_samples(source))
    except (SegdataError, OSError) as error:
        return Found(source, error=str(error))


def _read(
    found: Mapping[str, Found], table: ClassTable, settings: BatchSettings, *, deep: bool, with_targets: bool
) -> None:
    """Read labels, and the headers of their images, and add up what they hold."""
    items = [
        SampleItem(
            source=name,
            sample=sample,
            encoding=each.source.label_encoding,
            confidence=each.source.confidence,
            deep=deep,
            targets=each.target_of(sample) if with_targets else None,
        )
        for name, each in found.items()
        for sample in each.read
    ]
    for outcome in stream_batch(partial(check_sample, table=table), items, settings):
        if outcome.status == "error":  # nobody foresaw it: the label is at fault until it is known better
            found[outcome.key.split("/")[0]].faults["labels"].append(str(outcome.message))
            continue
        each = found[outcome.facts["source"]]
        each.ids.update(outcome.facts["ids"])
        each.pixels.update(outcome.facts["pixels"])
        for name, message in outcome.facts["faults"]:
            each.faults[name].append(message)


def _apart(found: Mapping[str, Found], data: DataRecipe) -> list[Check]:
    """Answer whether the validation images are others than those trained on."""
    if data.validation is None:
        return []
    trained = {
        _identity(sample.image): name
        for name, each in found.items()
        if name != data.validation.name
        for sample in each.labeled
    }
    held_out = [sample.image for sample in found[data.validation.name].labeled if sample.image is not None]
    shared = [
        f"{path}: is trained on in source '{name}' and evaluated on. Take its split out of data.sources.{name}.splits, "
        "name another for data.validation, or set it to null."
        for path in held_out
        if (name := trained.get(_identity(path)))
    ]
    if not held_out:
        return []  # what is missing has been said
    message = f"{len(held_out) - len(shared)} of {len(held_out)} validation images are not trained on"
    return [Check(source="recipe", name="apart", message=message, faults=tuple(shared))]


def _identity(path: Path | None) -> str:
    return "" if path is None else str(path.resolve())


def _named(pixels: Mapping[int, int], table: ClassTable) -> dict[str, int]:
    named = {name: int(pixels.get(class_id, 0)) for class_id, name in enumerate(table.train_names)}
    return {**named, "ignored": int(pixels.get(IGNORE_ID, 0))}
