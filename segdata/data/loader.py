"""From the stream of draws to batches: crops with their labels, and what is left to do to them on the device."""

import math
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segdata.batch.signals import leave_signals_to_parent
from segdata.config.recipe import AugmentationRecipe
from segdata.data import color_tensors
from segdata.data.augmentation import ColorStep
from segdata.data.color import change_colors
from segdata.data.crops import Crop, CropReader, refuse_without_images
from segdata.data.normalization import normalize
from segdata.data.sources import TrainingSource
from segdata.data.stored_targets import SCALE_STEPS, Counts, TargetStore, image_areas
from segdata.errors import LabelError, SegdataError
from segdata.labels.classes import IGNORE_ID
from segdata.logs import logger
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.sampler import MixedClassUniformSampler
from segdata.sampling.stream import Draw


class Sample(NamedTuple):
    """One crop.

    Attributes
    ----------
    image : Tensor of uint8, shape (3, h, w)
        Red, green, blue.
    class_ids : Tensor of uint8, shape (h, w)
        255 for ignored pixels and padding.
    inside : tuple of four int
        Top, bottom, left, right of what is image; the rest of the crop is padding.
    colors : tuple of ColorStep
        Changes that are left to the device.
    counts : dict of int to Tensor
        Pooled targets that are at hand, by side of the cell: (K + 1, h / cell, w / cell).
    num_valid : int
        Pixels that are not ignored.
    position : int
        Place in the stream.
    name : str
        The image's file.
    fault : str
        Why it could not be had, in one line; empty if it could. It is then all ignored.
    skippable : bool
        Whether a fault is one of this image or label, without which a run may go on; not of stored targets, an index or
        the settings.
    """

    image: Tensor
    class_ids: Tensor
    inside: tuple[int, int, int, int]
    colors: tuple[ColorStep, ...]
    counts: dict[int, Tensor]
    num_valid: int
    position: int
    name: str
    fault: str = ""
    skippable: bool = True


@dataclass(frozen=True)
class Batch:
    """Samples whose images and labels are stacked.

    Attributes
    ----------
    images : Tensor of uint8, shape (N, 3, h, w)
    class_ids : Tensor of uint8, shape (N, h, w)
    samples : list of Sample
        All else of each; their images and labels are views of the stacked ones.
    """

    images: Tensor
    class_ids: Tensor
    samples: list[Sample]

    @property
    def names(self) -> list[str]:
        """The images' files."""
        return [sample.name for sample in self.samples]

    @property
    def faults(self) -> list[tuple[str, bool]]:
        """One line for each sample that could not be had, and whether a run may go on without it."""
        return [(sample.fault, sample.skippable) for sample in self.samples if sample.fault]

    @property
    def num_valid(self) -> int:
        """Pixels that are not ignored."""
        return sum(sample.num_valid for sample in self.samples)

    def pin_memory(self) -> "Batch":
        """Return the same in memory from which a GPU copies without waiting; torch's loader calls it."""
        counts = [{cell: held.pin_memory() for cell, held in one.counts.items()} for one in self.samples]
        samples = [one._replace(counts=pinned) for one, pinned in zip(self.samples, counts, strict=True)]
        return _joined(self.images.pin_memory(), self.class_ids.pin_memory(), samples)

    def parts(self, images_per_part: int) -> Iterator["Batch"]:
        """Yield the batch in parts of so many images."""
        for start in range(0, len(self.samples), images_per_part):
            part = slice(start, start + images_per_part)
            yield Batch(self.images[part], self.class_ids[part], self.samples[part])


@dataclass(frozen=True, kw_only=True)
class PooledTargets:
    """Which pooled targets come with the samples.

    Attributes
    ----------
    cells : tuple of int
        Pooling strides that the model's maps are trained on.
    stored : bool
        Take those that are stored and exact.
    align : bool
        Begin unscaled crops on whole cells, so that stored targets are exact there.
    areas : bool
        Measure them by exact area of the image.
    """

    cells: tuple[int, ...] = ()
    stored: bool = False
    align: bool = False
    areas: bool = False


class TrainingDataset(Dataset[Sample]):
    """Turns draws into samples, each a pure function of seed and position; a fault in a file becomes one line.

    Parameters
    ----------
    sources : sequence of TrainingSource
        Those of the sampler, in its order.
    augmentation : AugmentationRecipe
    seed : int
    targets : PooledTargets
    row_indexes : Path, optional
        Folder that keeps where rows of JPEG files begin; see `segdata.codecs.photos.open_photo`.
    """

    def __init__(
        self,
        sources: Sequence[TrainingSource],
        augmentation: AugmentationRecipe,
        *,
        seed: int = 0,
        targets: PooledTargets | None = None,
        row_indexes: Path | None = None,
    ) -> None:
        self.sources, self.augmentation = tuple(sources), augmentation
        self.targets = PooledTargets() if targets is None else targets
        drawn = tuple(source.source for source in sources)
        refuse_without_images(drawn)
        self.reader = CropReader(
            sources=drawn,
            augmentation=augmentation,
            seed=seed,
            fill=_fill(augmentation),
            align=math.lcm(*self.targets.cells) if self.targets.align else 1,
            scale_steps=SCALE_STEPS if self.targets.areas else None,
            whole_labels=self.targets.areas,
            row_indexes=row_indexes,
        )

    def __getitem__(self, draw: Draw) -> Sample:
        """Return the sample of a draw."""
        index = self.sources[draw.source].source.index
        name = str(index.image_path(draw.image_id))
        try:
            return self._sample(draw, index, name)
        except SegdataError as error:
            return self._nothing(draw.position, name, error)

    def _sample(self, draw: Draw, index: ClassIndex, name: str) -> Sample:
        crop = self.reader.read(draw)
        counts = self._counts(draw, index, crop)
        top, bottom, left, right = crop.box.inside()
        if crop.flipped:
            left, right = crop.box.size[1] - right, crop.box.size[1] - left
        colors = crop.random.colors
        now, later = (colors, ()) if self.augmentation.color_on == "loader" else ((), colors)
        return Sample(
            torch.from_numpy(change_colors(crop.image, now)),
            torch.from_numpy(crop.label),
            (top, bottom, left, right),
            later,
            {cell: torch.from_numpy(found) for cell, found in counts.items()},
            int(np.count_nonzero(crop.label != IGNORE_ID)),
            draw.position,
            name,
        )

    def _counts(self, draw: Draw, index: ClassIndex, crop: Crop) -> Counts:
        """Return the pooled targets that need not be pooled on the device."""
        cells, store = self.targets.cells, self.sources[draw.source].store
        if crop.whole_label is not None:
            num_classes = len(index.head.class_names)
            return image_areas(crop.whole_label, crop.box, cells, flip=crop.flipped, num_classes=num_classes)
        if store is None or not self.targets.stored:
            return {}
        return TargetStore(store, cells).counts(index, draw.image_id, crop.box, flip=crop.flipped)

    def _nothing(self, position: int, name: str, error: SegdataError) -> Sample:
        """Return a sample that counts for nothing: every pixel is ignored and of the mean color."""
        height, width = self.augmentation.crop
        image = torch.tensor(self.reader.fill, dtype=torch.uint8)[:, None, None].repeat(1, height, width)
        class_ids = torch.full((height, width), IGNORE_ID, dtype=torch.uint8)
        skippable = isinstance(error, LabelError)
        return Sample(image, class_ids, (0, 0, 0, 0), (), {}, 0, position, name, str(error), skippable)


def _fill(augmentation: AugmentationRecipe) -> tuple[int, int, int]:
    """Return the mean color, which padding has until it is set to 0 behind the normalization."""
    red, green, blue = (round(255 * mean) for mean in augmentation.mean)
    return red, green, blue


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples to a batch."""
    images = torch.stack([sample.image for sample in samples])
    class_ids = torch.stack([sample.class_ids for sample in samples])
    return _joined(images, class_ids, samples)


def _joined(images: Tensor, class_ids: Tensor, samples: Sequence[Sample]) -> Batch:
    """Return a batch whose samples' images and labels are views of the stacked ones."""
    views = zip(samples, images, class_ids, strict=True)
    return Batch(images, class_ids, [one._replace(image=image, class_ids=ids) for one, image, ids in views])


class BatchLoader:
    """Yields the sampler's batches; each iteration what is left of an epoch.

    Batches come from the loader's processes through shared memory; where ``/dev/shm`` is too small for them, as in a
    container by default, through pipes, which copies them once more.

    Parameters
    ----------
    dataset : TrainingDataset
    sampler : MixedClassUniformSampler
        Its `batch_size` is that of the batches: what one rank needs for a step.
    workers : int
        Processes that read ahead; 0 reads in this one.
    pin_memory : bool
        Put batches where a GPU copies them from without waiting.
    timeout : float
        Seconds to wait for a batch before it is an error.
    """

    def __init__(
        self,
        dataset: TrainingDataset,
        sampler: MixedClassUniformSampler,
        *,
        workers: int,
        pin_memory: bool = False,
        timeout: float = 600.0,
    ) -> None:
        height, width = dataset.augmentation.crop
        ahead = (2 * workers + 1) * sampler.batch_size * height * width * _BYTES_PER_PIXEL
        self.through_pipes = workers > 0 and ahead > _free_shared_memory()
        if self.through_pipes:
            logger.warning(
                f"{SHARED_MEMORY} has {_free_shared_memory() / 2**20:.0f} MiB free and {workers} processes read up to "
                f"{ahead / 2**20:.0f} MiB ahead, so batches go through pipes, which is slower. Enlarge it, as with "
                "docker run --shm-size=8g."
            )
        # More processes than cores are of use where files come over a network.
        warnings.filterwarnings("ignore", "This DataLoader will create")
        self._loader: DataLoader[Any] = DataLoader(
            dataset,  # yields samples, which `collate` makes batches of
            batch_size=sampler.batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=_collate_for_pipe if self.through_pipes else collate,
            pin_memory=pin_memory and not self.through_pipes,
            persistent_workers=workers > 0,
            worker_init_fn=leave_signals_to_parent,
            timeout=timeout if workers > 0 else 0,
            generator=torch.Generator(),  # its own: the global one is not to depend on the number of loaders
        )

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches.

        Raises
        ------
        SegdataError
            If a process of the loader died, or no batch came in time.
        """
        batches = iter(self._loader)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                free = _free_shared_memory() / 2**20
                raise SegdataError(
                    f"no batch from the loader's processes: {str(error).splitlines()[0]} {SHARED_MEMORY} has "
                    f"{free:.0f} MiB free. Enlarge it (docker run --shm-size=8g), lower data.workers, or raise "
                    "run.data_timeout."
                ) from error
            yield _from_pipe(batch) if self.through_pipes else batch

    def close(self) -> None:
        """End the loader's processes; those of a run that failed would be killed, with a traceback, as Python ends."""
        iterator: Any = self._loader._iterator
        if iterator is not None:
            iterator._shutdown_workers()


SHARED_MEMORY = "/dev/shm"
_BYTES_PER_PIXEL = 6  # of an image, its label, and its pooled targets at the finest stride


def _free_shared_memory() -> float:
    """Return the free bytes of shared memory; without limit where the system has no such folder."""
    try:
        return float(shutil.disk_usage(SHARED_MEMORY).free)
    except OSError:
        return math.inf


def _collate_for_pipe(samples: Sequence[Sample]) -> Any:
    """Stack samples to a batch without tensors, whose memory torch would share."""
    batch = collate(samples)
    rest = [(one.counts, one._asdict()) for one in batch.samples]
    plain = [
        {**fields, "image": None, "class_ids": None, "counts": {cell: held.numpy() for cell, held in counts.items()}}
        for counts, fields in rest
    ]
    return batch.images.numpy(), batch.class_ids.numpy(), plain


def _from_pipe(piped: Any) -> Batch:
    images, class_ids = torch.from_numpy(piped[0]), torch.from_numpy(piped[1])
    samples = []
    for fields, image, ids in zip(piped[2], images, class_ids, strict=True):
        counts = {cell: torch.from_numpy(held) for cell, held in fields["counts"].items()}
        samples.append(Sample(**{**fields, "image": image, "class_ids": ids, "counts": counts}))
    return Batch(images, class_ids, samples)


def prepare_images(batch: Batch, device: torch.device, recipe: AugmentationRecipe) -> Tensor:
    """Return the images as the model is fed: colors changed where that was left, normalized, padding 0.

    Parameters
    ----------
    batch : Batch
    device : torch.device
    recipe : AugmentationRecipe
        For mean and standard deviation.

    Returns
    -------
    Tensor of float32, shape (N, 3, h, w)
        On the device.
    """
    images = batch.images.to(device, non_blocking=True)
    if any(sample.colors for sample in batch.samples):
        images = torch.stack(
            [
                color_tensors.change_colors(image, sample.colors)
                for image, sample in zip(images, batch.samples, strict=True)
            ]
        )
    prepared = normalize(images, recipe.mean, recipe.std)
    height, width = prepared.shape[2:]
    for image, sample in zip(prepared, batch.samples, strict=True):
        top, bottom, left, right = sample.inside
        if (top, bottom, left, right) != (0, height, 0, width):
            kept = image[:, top:bottom, left:right].clone()
            image.zero_()[:, top:bottom, left:right] = kept
    return prepared
