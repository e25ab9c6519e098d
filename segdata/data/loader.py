"""From the stream of draws to batches: crops with their labels, and what is left to do to them on the device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segdata.batch.signals import leave_signals_to_parent
from segdata.config.recipe import AugmentationRecipe
from segdata.data.augmentation import Augmentation, ColorStep, aligned, draw_augmentation
from segdata.data.color import change_colors
from segdata.data.crop import CropBox, crop_image, crop_label, place_crop
from segdata.data.crop_dataset import Crop, read_photo
from segdata.data.index_sources import TrainingSource
from segdata.data.normalization import normalize
from segdata.data.samples import read_class_ids
from segdata.data.stored_targets import SCALE_STEPS, Counts, TargetStore, image_areas
from segdata.errors import SegdataError, SettingsError
from segdata.labels.classes import IGNORE_ID
from segdata.sampling.sampler import MixedClassUniformSampler
from segdata.sampling.stream import Draw, Source


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


class Batch(NamedTuple):
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
    def faults(self) -> list[str]:
        """One line for each sample that could not be had."""
        return [sample.fault for sample in self.samples if sample.fault]

    @property
    def num_valid(self) -> int:
        """Pixels that are not ignored."""
        return sum(sample.num_valid for sample in self.samples)

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
        Sides of the cells that the model's maps are trained on.
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


@dataclass(frozen=True, kw_only=True)
class TrainingDataset(Dataset[Sample]):
    """Turns draws into samples, each a pure function of seed and position; a fault in a file becomes one line.

    Attributes
    ----------
    sources : tuple of TrainingSource
        Those of the sampler, in its order.
    augmentation : AugmentationRecipe
    seed : int
    targets : PooledTargets
    """

    sources: tuple[TrainingSource, ...]
    augmentation: AugmentationRecipe
    seed: int = 0
    targets: PooledTargets = field(default_factory=PooledTargets)

    def __post_init__(self) -> None:
        for source in self.sources:
            _refuse_without_images(source.source)

    def __getitem__(self, draw: Draw) -> Sample:
        """Return the sample of a draw."""
        source = self.sources[draw.source]
        name = str(source.source.index.image_path(draw.image_id))
        try:
            return self._sample(draw, source, name)
        except SegdataError as error:
            return self._nothing(draw.position, name, str(error))

    def crop(self, draw: Draw) -> Crop:
        """Return the crop of a draw as arrays, scaled and mirrored but in its own colors.

        Raises
        ------
        SegdataError
            If the image or the label cannot be read, or they do not fit; names the file.
        """
        return self._cut(draw, draw_augmentation(self.seed, draw.position, self.augmentation))[0]

    def _cut(self, draw: Draw, random: Augmentation) -> tuple[Crop, NDArray[np.uint8]]:
        """Return the crop of a draw, and the class ids of the whole label."""
        source = self.sources[draw.source]
        files = source.sample(draw.image_id)
        class_ids = read_class_ids(files, source.table, source.encoding, confidence=source.confidence)
        image = read_photo(source.source.index, draw.image_id, class_ids.shape)
        box = self._place(draw, (class_ids.shape[0], class_ids.shape[1]), random)
        pixels, label = crop_image(image, box, fill=self._padding), crop_label(class_ids, box, fill=IGNORE_ID)
        if random.flip:
            pixels, label = pixels[:, ::-1], label[:, ::-1]
        return Crop(pixels, label, box, random.flip), class_ids

    def _sample(self, draw: Draw, source: TrainingSource, name: str) -> Sample:
        random = draw_augmentation(self.seed, draw.position, self.augmentation)
        crop, class_ids = self._cut(draw, random)
        counts = self._counts(source, draw.image_id, class_ids, crop.box, flip=crop.flipped)
        inside = _inside(crop.box)
        if crop.flipped:
            inside = (*inside[:2], crop.box.size[1] - inside[3], crop.box.size[1] - inside[2])
        image, colors = _tensor(crop.image.transpose(2, 0, 1)), random.colors
        if self.augmentation.color_on == "loader" and colors:
            image, colors = change_colors(image, colors).round_().to(torch.uint8), ()
        return Sample(
            image,
            _tensor(crop.label),
            inside,
            colors,
            {cell: torch.from_numpy(found) for cell, found in counts.items()},
            int(np.count_nonzero(crop.label != IGNORE_ID)),
            draw.position,
            name,
        )

    def _place(self, draw: Draw, size: tuple[int, int], random: Augmentation) -> CropBox:
        scale = round(random.scale * SCALE_STEPS) / SCALE_STEPS if self.targets.areas else random.scale
        box = place_crop(size, self.augmentation.crop, scale=scale, center=draw.center, where=random.where)
        if self.targets.align and scale == 1:
            return aligned(box, int(np.lcm.reduce(self.targets.cells)), draw.center)
        return box

    def _counts(
        self, source: TrainingSource, image_id: int, class_ids: NDArray[np.uint8], box: CropBox, *, flip: bool
    ) -> Counts:
        """Return the pooled targets that need not be pooled on the device."""
        cells = self.targets.cells
        if self.targets.areas:
            return image_areas(class_ids, box, cells, flip=flip, num_classes=source.table.num_classes)
        if source.store is None or not self.targets.stored:
            return {}
        return TargetStore(source.store, cells).counts(source.source.index, image_id, box, flip=flip)

    def _nothing(self, position: int, name: str, fault: str) -> Sample:
        """Return a sample that counts for nothing: every pixel is ignored and of the mean color."""
        height, width = self.augmentation.crop
        image = torch.tensor(self._padding, dtype=torch.uint8)[:, None, None].repeat(1, height, width)
        class_ids = torch.full((height, width), IGNORE_ID, dtype=torch.uint8)
        return Sample(image, class_ids, (0, 0, 0, 0), (), {}, 0, position, name, fault)

    @property
    def _padding(self) -> tuple[int, int, int]:
        red, green, blue = (round(255 * mean) for mean in self.augmentation.mean)
        return red, green, blue


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples to a batch."""
    images = torch.stack([sample.image for sample in samples])
    class_ids = torch.stack([sample.class_ids for sample in samples])
    views = zip(samples, images, class_ids, strict=True)
    return Batch(images, class_ids, [one._replace(image=image, class_ids=ids) for one, image, ids in views])


def make_loader(
    dataset: TrainingDataset, sampler: MixedClassUniformSampler, *, workers: int, pin_memory: bool = False
) -> DataLoader[Batch]:
    """Return a loader of the sampler's batches; each iteration yields what is left of an epoch.

    Parameters
    ----------
    dataset : TrainingDataset
    sampler : MixedClassUniformSampler
        Its `batch_size` is that of the batches: what one rank needs for a step.
    workers : int
        Processes that read ahead; 0 reads in this one.
    pin_memory : bool
        Put batches where a GPU copies them from without waiting.
    """
    return DataLoader(
        dataset,  # type: ignore[arg-type]  # yields samples, which `collate` makes batches of
        batch_size=sampler.batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        worker_init_fn=leave_signals_to_parent,
        generator=torch.Generator(),  # its own: the global one is not to depend on the number of loaders
    )


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
            [change_colors(image, sample.colors) for image, sample in zip(images, batch.samples, strict=True)]
        )
    prepared = normalize(images, recipe.mean, recipe.std)
    height, width = prepared.shape[2:]
    for image, sample in zip(prepared, batch.samples, strict=True):
        top, bottom, left, right = sample.inside
        if (top, bottom, left, right) != (0, height, 0, width):
            kept = image[:, top:bottom, left:right].clone()
            image.zero_()[:, top:bottom, left:right] = kept
    return prepared


def _inside(box: CropBox) -> tuple[int, int, int, int]:
    """Return top, bottom, left, right of what the crop shows of the image."""
    bounds: list[int] = []
    for axis in (box.rows(), box.columns()):
        shown = np.flatnonzero(axis >= 0)
        bounds += [int(shown[0]), int(shown[-1]) + 1] if shown.size else [0, 0]
    return bounds[0], bounds[1], bounds[2], bounds[3]


def _tensor(array: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def _refuse_without_images(source: Source) -> None:
    """Raise if an index cannot say where labels and images are."""
    index = source.index
    if index.head.settings.get("kind") == "targets":
        raise SettingsError(
            f"source '{source.name}': its index was made from pooled targets. Index the labels to train on them."
        )
    without = np.flatnonzero(np.diff(index.arrays["image_ends"], prepend=0) == 0)
    if without.size:
        raise SettingsError(
            f"source '{source.name}': {without.size} of {index.num_images} labels have no image, first "
            f"{index.label_path(int(without[0]))}. Put the images beside them, or index with --images FOLDER."
        )
