"""The sources of a recipe as the sampler takes them: indexes that are named are loaded, the others made."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from segdata.batch.signals import leave_signals_to_parent
from segdata.config.recipe import DataRecipe, SourceRecipe
from segdata.data.samples import find_samples, read_class_ids
from segdata.distributed.process_group import DistributedContext
from segdata.errors import LabelError, SegdataError, SettingsError, StoreError
from segdata.files import explain_os_error, read_regular, write_atomic
from segdata.labels.classes import ClassTable
from segdata.layouts import LabeledImage
from segdata.sampling.class_index import ClassIndex, IndexHead
from segdata.sampling.merge import FileState, IndexedImage, merge_images
from segdata.sampling.scan import TileEntries, scan_label
from segdata.sampling.stream import Source


@dataclass(frozen=True)
class TrainingSource:
    """A source of crops.

    Attributes
    ----------
    source : Source
        For the sampler.
    table : ClassTable
        What its labels mean.
    encoding : str
        Which numbers of the table they hold; see `segdata.data.samples.read_class_ids`.
    confidence : float
        Pixels of auto-labels that are less sure are ignored.
    store : Path or None
        Folder of its pooled targets.
    """

    source: Source
    table: ClassTable
    encoding: str
    confidence: float
    store: Path | None = None

    def sample(self, image_id: int) -> LabeledImage:
        """Return the files of an image of the index."""
        index = self.source.index
        label = index.label_path(image_id)
        photo, confidence = index.image_path(image_id), index.confidence_path(image_id)
        return LabeledImage(label.stem, "", label, photo, index.label_name(image_id), confidence)


def open_sources(
    data: DataRecipe,
    cache: Path,
    world: DistributedContext | None = None,
    *,
    scan_all: bool = False,
    progress: bool = False,
) -> list[TrainingSource]:
    """Return the sources of a recipe, in its order.

    Parameters
    ----------
    data : DataRecipe
    cache : Path
        Where rank 0 keeps the indexes it makes; the others read them there.
    world : DistributedContext, optional
        Whose ranks must all call this together; one process alone where there is none.
    scan_all : bool
        Make whole indexes of sources that draw nothing by class as well.
    progress : bool
        Show progress on stderr.

    Raises
    ------
    SegdataError
        If there is no data, a label is bad, or an index is stale or of other classes; the same on every rank.
    """
    world = DistributedContext() if world is None else world
    sources = []
    for recipe in data.located_sources:
        path = recipe.index or cache / f"{recipe.name}.npz"
        if recipe.index is None and recipe.class_uniform == 0 and not scan_all:
            index = list_index(recipe, data)
        else:
            if recipe.index is None:
                world.on_first(partial(keep_index, recipe, data, path, progress=progress))
            index = ClassIndex.load(path, check=False)
            world.on_first(index.refuse_stale)
        _refuse_other_table(index, data.table, path)
        sources.append(_training_source(recipe, index, data.table))
    return sources


def list_index(recipe: SourceRecipe, data: DataRecipe) -> ClassIndex:
    """Return an index that names the images of a source but not what is in them: enough to draw whole images."""
    samples = find_samples(recipe)
    images = [_indexed(sample, recipe, _nothing(), FileState(), FileState()) for sample in samples]
    return merge_images(_head(recipe, data, samples, scanned=False), images, root=recipe.root)


def keep_index(recipe: SourceRecipe, data: DataRecipe, path: Path, *, progress: bool = False) -> ClassIndex:
    """Return the index of a source, from its file where that is up to date, else made and written there."""
    samples = find_samples(recipe)
    head = _head(recipe, data, samples, scanned=True)
    kept = _load_kept(path, head) if path.exists() else None
    if kept is not None:
        with suppress(StoreError):  # only saves reading the labels at each start
            if kept.path is None:
                _write(kept, recipe, path)
        return kept
    index = merge_images(head, _scan(samples, recipe, data, progress), root=recipe.root)
    _write(index, recipe, path)
    return index


def _load_kept(path: Path, head: IndexHead) -> ClassIndex | None:
    """Return the index that was kept, with the times of now; None where it is stale, damaged, or of another head."""
    try:
        index = ClassIndex.load(path, check=False)
        return index.refreshed() if index.head == head else None
    except StoreError:  # ours to make again
        return None


def _write(index: ClassIndex, recipe: SourceRecipe, path: Path) -> None:
    write_atomic(path, index.encode(os.path.relpath(recipe.root, path.parent)), durable=True)


class _Scanning(Dataset["IndexedImage | str"]):
    """The labels of a source, each scanned by the process that reads it; a bad one is a line of text."""

    def __init__(self, samples: Sequence[LabeledImage], recipe: SourceRecipe, data: DataRecipe) -> None:
        self.samples, self.recipe, self.table, self.tile = samples, recipe, data.table, data.tile

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> IndexedImage | str:
        sample = self.samples[number]
        assert sample.label is not None
        try:
            label, sure = _state_of(sample.label), _state_of(_confidence_of(sample, self.recipe))
            confidence = self.recipe.confidence
            ids = read_class_ids(sample, self.table, self.recipe.label_encoding, confidence=confidence)
            lookup = np.arange(256, dtype=np.int16)
            entries = scan_label(ids, lookup, self.table.num_classes, tile=self.tile, where=str(sample.label))
        except OSError as error:
            return explain_os_error(error, "cannot be read", error.filename or sample.label)
        except SegdataError as error:
            return str(error)
        return _indexed(sample, self.recipe, entries, label, sure)


def _scan(
    samples: Sequence[LabeledImage], recipe: SourceRecipe, data: DataRecipe, progress: bool
) -> list[IndexedImage]:
    """Scan all labels of a source; bad ones are left out or refused, as the recipe says."""
    scanning = _Scanning(samples, recipe, data)
    workers = min(data.workers, cpu_count())  # they only decode: more than cores gain nothing
    loader: Any = DataLoader(scanning, batch_size=None, num_workers=workers, worker_init_fn=leave_signals_to_parent)
    shown = tqdm(loader, total=len(samples), desc=f"index of {recipe.name}", unit="label", disable=not progress)
    images = []
    for scanned in shown:
        if isinstance(scanned, IndexedImage):
            images.append(scanned)
        elif data.bad_images == "error":
            raise LabelError(scanned)
        else:
            tqdm.write(f"left out: {scanned}")
    return images


def _indexed(
    sample: LabeledImage, recipe: SourceRecipe, entries: TileEntries, label: FileState, sure: FileState
) -> IndexedImage:
    """Return an image of the index, of these states of its label and of its confidence image."""
    return IndexedImage(
        label=_below(recipe, sample.label),
        image=_below(recipe, sample.image),
        label_state=label,
        entries=entries,
        confidence=_below(recipe, _confidence_of(sample, recipe)),
        confidence_state=sure,
    )


def _state_of(path: Path | None) -> FileState:
    """Read a file to know it again; no file has the state of none."""
    if path is None:
        return FileState()
    time = path.stat().st_mtime_ns
    return FileState.of(read_regular(path), time)


def _confidence_of(sample: LabeledImage, recipe: SourceRecipe) -> Path | None:
    """Return the confidence image of a sample, None also where the recipe takes all pixels as sure."""
    return sample.confidence if recipe.confidence > 0 else None


def _below(recipe: SourceRecipe, path: Path | None) -> str:
    """Return a path from the root of the source, empty for None."""
    return "" if path is None else os.path.relpath(path, recipe.root)


def _nothing() -> TileEntries:
    """Return the entries of a label that was not looked at."""
    return TileEntries(
        size=(0, 0),
        ignored=0,
        classes=np.empty(0, np.uint8),
        tiles=np.empty(0, np.uint16),
        pixels=np.empty(0, np.uint32),
        points=np.empty((0, 4, 2), np.uint16),
        centroids=np.empty((0, 2), np.uint16),
    )


def _head(recipe: SourceRecipe, data: DataRecipe, samples: Sequence[LabeledImage], *, scanned: bool) -> IndexHead:
    files = [path for sample in samples for path in (sample.label, sample.image, _confidence_of(sample, recipe))]
    names = "\n".join(_below(recipe, path) for path in files)
    settings = {
        "encoding": recipe.label_encoding,
        "confidence": recipe.confidence,
        "scanned": scanned,
        "files": blake2b(names.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest(),
    }
    return IndexHead(tuple(data.table.train_names), data.table.digest, data.tile, settings=settings)


def _refuse_other_table(index: ClassIndex, table: ClassTable, path: Path) -> None:
    if index.head.class_table != table.digest:
        raise SettingsError(
            f"{path}: is of another class table than '{table.name}'. Index again with --classes {table.name}, or "
            "change data.classes."
        )


def _training_source(recipe: SourceRecipe, index: ClassIndex, table: ClassTable) -> TrainingSource:
    source = Source(
        index,
        share=recipe.share,
        class_uniform=recipe.class_uniform,
        class_weights=recipe.class_weights,
        center=recipe.center,
        name=recipe.name,
    )
    known = {"encoding": recipe.label_encoding, "confidence": recipe.confidence, **index.head.settings}
    return TrainingSource(source, table, known["encoding"], known["confidence"], recipe.cpp)
