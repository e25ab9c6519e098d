"""The sources of a recipe as the sampler takes them: indexes that are named are loaded, the others built and shared."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from segdata.batch.work import BatchSettings
from segdata.config.data import NAMED_BY_FILE
from segdata.config.recipe import DataRecipe, SourceRecipe
from segdata.data.samples import find_samples
from segdata.errors import LayoutError, SettingsError
from segdata.labels.classes import ClassTable
from segdata.labels.mapping import Encoding
from segdata.labels.reading import ENDINGS, encoding_of
from segdata.layouts import LabeledImage
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.index_builder import IndexPlan, build_index, list_images, parts_of
from segdata.sampling.index_part import IndexItem, IndexSettings, path_below
from segdata.sampling.stream import Source


@dataclass(frozen=True)
class TrainingSource:
    """A source of crops.

    Attributes
    ----------
    source : Source
        For the sampler; its index says how its labels are read.
    store : Path or None
        Folder of its pooled targets.
    """

    source: Source
    store: Path | None = None


def call(work: Callable[[], Any]) -> None:
    """Call a function: what a single process does with work for the first of all ranks."""
    work()


def open_sources(
    data: DataRecipe,
    indexes: Path,
    on_first: Callable[[Callable[[], Any]], None] = call,
    *,
    scan_all: bool = False,
    stored: bool = False,
    progress: bool = False,
) -> list[TrainingSource]:
    """Return the sources of a recipe, in its order.

    Parameters
    ----------
    data : DataRecipe
    indexes : Path
        Folder of the indexes that are built, which all ranks must see. Runs that name the same folder share them: an
        index is named by what it was made from, and built again only where that has changed.
    on_first : callable
        Calls a function on the first rank and lets the others wait; `DistributedContext.on_first`.
    scan_all : bool
        Build whole indexes of sources that draw nothing by class as well.
    stored : bool
        Stored targets are trained on: take those beside a source where the recipe names none, as precompute-cpp writes
        them, and refuse a source without. Sources of which unsure pixels are ignored have none.
    progress : bool
        Show progress.

    Raises
    ------
    SegdataError
        If there is no data, a label is bad, or an index is stale or of other classes; the same on every rank.
    """
    opened = [_open(source, data, indexes, on_first, scan_all, progress) for source in data.located_sources]
    if not stored:
        return opened
    return [
        replace(source, store=_store_of(recipe, source, data.classes))
        for recipe, source in zip(data.located_sources, opened, strict=True)
    ]


def refuse_overlap(sources: Sequence[TrainingSource], validation: Sequence[LabeledImage]) -> None:
    """Check that no label that a model is measured on is one that it is trained on.

    Raises
    ------
    SettingsError
        Naming the source, how many there are, and the first.
    """
    real_folder = cache(os.path.realpath)  # of a few folders with many files

    def identity(path: str) -> str:
        return os.path.join(real_folder(os.path.dirname(path)), os.path.basename(path))  # noqa: PTH118, PTH119, PTH120

    measured = {identity(str(each.label)): each.label for each in validation if each.label is not None}
    for each in sources:
        index = each.source.index
        if index.root is None or not measured:
            continue
        names = index.names("label")
        shared = [path for name in names if (path := identity(f"{index.root}/{name}")) in measured]
        if shared:
            where = f"data.sources.{each.source.name}.splits"
            raise SettingsError(
                f"{len(shared)} of the {len(measured)} validation labels are trained on in source "
                f"'{each.source.name}', first {measured[shared[0]]}. Take the split out of {where}, name another for "
                "data.validation, or set it to null."
            )


def plan_source(recipe: SourceRecipe, data: DataRecipe, indexes: Path) -> IndexPlan:
    """Plan the index of a source, under a name that only the same files, table and settings have.

    Raises
    ------
    LayoutError
        If there is nothing to index, or the labels hold different kinds of ids.
    """
    samples = find_samples(recipe)
    settings = IndexSettings(
        classes=data.table, encoding=_encoding(recipe, samples), tile=data.tile, confidence=recipe.confidence
    )
    items = [_item(sample, recipe) for sample in samples]
    outside = next((item.path for item in items if item.key.split("/")[0] in ("", "..")), None)
    if outside is not None:
        raise LayoutError(
            f"{outside}: lies outside {recipe.root}, the root of source '{recipe.name}'. Name a root above all labels."
        )
    hasher = blake2b(str((recipe.root.absolute(), settings.recorded())).encode(), digest_size=6)
    for item in items:
        names = "\n".join((item.key, item.image, item.confidence_name, ""))
        hasher.update(names.encode("utf-8", "surrogateescape"))
    output = indexes.absolute() / f"{recipe.name}-{hasher.hexdigest()}.index.npz"
    return IndexPlan(source=recipe.root, destination=parts_of(output), output=output, items=items, settings=settings)


def _open(
    recipe: SourceRecipe,
    data: DataRecipe,
    indexes: Path,
    on_first: Callable[[Callable[[], Any]], None],
    scan_all: bool,
    progress: bool,
) -> TrainingSource:
    if recipe.index is not None:
        index = ClassIndex.load(recipe.index, check=False)
        on_first(index.refuse_stale)
        _refuse_other_table(index, data.table, recipe.index)
        refuse_other_reading(index, recipe, recipe.index)
    else:
        plan = plan_source(recipe, data, indexes)
        if recipe.class_uniform == 0 and not scan_all:
            index = list_images(plan)
        else:
            batch = BatchSettings(jobs=max(1, data.workers), progress=progress)
            skip_bad = data.bad_images == "skip"
            on_first(lambda: build_index(plan, batch, desc=f"index of {recipe.name}", skip_bad=skip_bad))
            index = ClassIndex.load(plan.output, check=False)
    source = Source(
        index,
        share=recipe.share,
        class_uniform=recipe.class_uniform,
        class_weights=recipe.class_weights,
        center=recipe.center,
        name=recipe.name,
    )
    return TrainingSource(source, recipe.cpp)


def _store_of(recipe: SourceRecipe, source: TrainingSource, classes: str) -> Path | None:
    """Return the folder of a source's stored targets, None where they cannot be those of its labels.

    Raises
    ------
    SettingsError
        If there is no such folder; the message has the command that makes it.
    """
    index = source.source.index
    if float(index.head.settings.get("confidence", 0)) > 0 and any(index.names("confidence")):
        return None  # what is ignored depends on the confidence, which the store does not know
    folder = recipe.store
    if not folder.is_dir():
        options = "" if classes == "cityscapes" else f"--classes {classes} "
        if recipe.layout not in NAMED_BY_FILE:  # else the names of the labels tell what their ids are
            options += f"--encoding {index.head.settings.get('encoding', 'auto')} "
        raise SettingsError(
            f"{folder}: there are no stored targets of source '{recipe.name}'. Make them with: segdata precompute-cpp "
            f"{options}{recipe.root} {folder}, or set loss.targets to auto."
        )
    return folder


def _encoding(recipe: SourceRecipe, samples: list[LabeledImage]) -> Encoding:
    """Return what the ids of all labels are."""
    first_of: dict[str, Path] = {}
    for sample in samples:
        assert sample.label is not None
        first_of.setdefault(encoding_of(sample.label, recipe.label_encoding), sample.label)
    if len(first_of) > 1:
        told = ", ".join(f"{path.name} {encoding}" for encoding, path in sorted(first_of.items()))
        raise LayoutError(
            f"{recipe.root}: its labels hold different ids by their names ({told}). Split source '{recipe.name}' in "
            "two, or set its encoding."
        )
    return next(encoding for encoding in ENDINGS if encoding in first_of)


def _item(sample: LabeledImage, recipe: SourceRecipe) -> IndexItem:
    assert sample.label is not None
    confidence = sample.confidence if recipe.confidence > 0 else None  # 0 takes all pixels as sure
    return IndexItem(
        key=path_below(sample.label, recipe.root),
        path=sample.label,
        confidence=confidence,
        image="" if sample.image is None else path_below(sample.image, recipe.root),
        confidence_name="" if confidence is None else path_below(confidence, recipe.root),
        image_path=sample.image,
    )


def refuse_other_reading(index: ClassIndex, recipe: SourceRecipe, path: Path) -> None:
    """Check that a source says of its labels what their index says, by which they are read.

    Raises
    ------
    SettingsError
        If the index at `path` was made with another encoding or confidence.
    """
    made = index.head.settings
    told: dict[str, Any] = {"encoding": None if recipe.label_encoding == "auto" else recipe.label_encoding}
    if recipe.annotation == "auto" or any(index.names("confidence")):
        told["confidence"] = recipe.confidence
    for key, value in told.items():
        if value not in (None, made.get(key)):
            raise SettingsError(
                f"{path}: was made with --{key} {made.get(key)}, source '{recipe.name}' has {value}. Index again with "
                f"--{key} {value}, or change the source."
            )


def _refuse_other_table(index: ClassIndex, table: ClassTable, path: Path) -> None:
    if index.head.class_table != table.digest:
        raise SettingsError(
            f"{path}: is of another class table than '{table.name}'. Index again with --classes {table.name}, or "
            "change data.classes."
        )
