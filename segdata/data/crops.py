"""From a draw to a crop: the one way, for the public data set and for the trainer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.photos import read_photo
from segdata.config.recipe import AugmentationRecipe
from segdata.data.augmentation import Augmentation, aligned, draw_augmentation
from segdata.data.crop_box import CropBox, crop_image, crop_label, place_crop
from segdata.errors import LabelError, SettingsError
from segdata.labels.classes import IGNORE_ID
from segdata.labels.reading import read_class_ids
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.stream import Draw, Source


@dataclass(frozen=True)
class Crop:
    """What a draw gave, in its own colors.

    Attributes
    ----------
    image : ndarray of uint8, shape (h, w, 3)
    label : ndarray of uint8, shape (h, w)
        Class ids, 255 for ignored and padding.
    box : CropBox
        Where it lies in the image; mirrored crops lie where they would lie unmirrored.
    random : Augmentation
        What was drawn for it; its color steps are not taken yet.
    whole_label : ndarray of uint8, shape (H, W)
        Class ids of the whole image, not scaled.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    box: CropBox
    random: Augmentation
    whole_label: NDArray[np.uint8]

    @property
    def flipped(self) -> bool:
        """Whether left and right are exchanged."""
        return self.random.flip


@dataclass(frozen=True, kw_only=True)
class CropReader:
    """Reads the crops that draws ask for, each a pure function of seed and position.

    Attributes
    ----------
    sources : tuple of Source
        Those of the sampler, in its order; see `refuse_without_images`.
    augmentation : AugmentationRecipe
        Size, scales and flips.
    seed : int
    fill : (int, int, int)
        Red, green, blue of padding.
    align : int
        Crops begin on multiples of this many of their pixels, where that is a whole number of pixels of the image.
    scale_steps : int, optional
        Scales are rounded to multiples of 1 / `scale_steps`.
    """

    sources: tuple[Source, ...]
    augmentation: AugmentationRecipe
    seed: int = 0
    fill: tuple[int, int, int] = (0, 0, 0)
    align: int = 1
    scale_steps: int | None = None

    def read(self, draw: Draw) -> Crop:
        """Return the crop of a draw.

        Raises
        ------
        LabelError
            If the image or the label cannot be read, or they do not fit; names the file.
        """
        random = draw_augmentation(self.seed, draw.position, self.augmentation)
        index = self.sources[draw.source].index
        class_ids = read_label_of(index, draw.image_id)
        path = index.image_path(draw.image_id)
        assert path is not None, "see refuse_without_images"
        photo = read_photo(path)
        if (photo.height, photo.width) != class_ids.shape:
            height, width = class_ids.shape
            raise LabelError(f"{path}: has {photo.height}x{photo.width} pixels, its label {height}x{width}.")
        box = self.place(draw, (photo.height, photo.width), random)
        image, label = crop_image(photo, box, fill=self.fill), crop_label(class_ids, box, fill=IGNORE_ID)
        if random.flip:
            image, label = image[:, ::-1], np.ascontiguousarray(label[:, ::-1])
        return Crop(image, label, box, random, class_ids)

    def place(self, draw: Draw, size: tuple[int, int], random: Augmentation | None = None) -> CropBox:
        """Return where the crop of a draw lies in an image of a size (height, width)."""
        random = draw_augmentation(self.seed, draw.position, self.augmentation) if random is None else random
        scale = random.scale
        if self.scale_steps is not None:
            scale = round(scale * self.scale_steps) / self.scale_steps
        box = place_crop(size, self.augmentation.crop, scale=scale, center=draw.center, where=random.where)
        step = self.align / scale
        return aligned(box, int(step), draw.center) if self.align > 1 and step.is_integer() else box

    def read_label(self, source: int, image_id: int) -> NDArray[np.uint8]:
        """Return the class ids of a whole label; see `read_label_of`."""
        return read_label_of(self.sources[source].index, image_id)


def read_label_of(index: ClassIndex, image_id: int) -> NDArray[np.uint8]:
    """Read a label of an index as class ids: uint8 of shape (H, W), 255 for ignored and unsure pixels.

    Raises
    ------
    LabelError
        If it cannot be read, or has another size than when it was indexed.
    """
    path = index.label_path(image_id)
    class_ids = read_class_ids(
        path,
        index.arrays["lookup"],
        meaning=f"the class table '{index.head.settings.get('classes', '')}' of its index",
        confidence=index.confidence_path(image_id),
        threshold=float(index.head.settings.get("confidence", 0)),
    )
    size = tuple(index.arrays["image_sizes"][image_id].tolist())
    if class_ids.shape != size and any(size):  # (0, 0) where labels were listed alone
        raise LabelError(
            f"{path}: has {class_ids.shape} pixels, {size} when it was indexed. Run `segdata index` again."
        )
    return class_ids


def refuse_without_images(sources: Sequence[Source]) -> None:
    """Check that indexes say where labels and images are.

    Raises
    ------
    SettingsError
        If one names no images, or was made from pooled targets.
    """
    for place, source in enumerate(sources):
        where = f"source '{source.name}'" if source.name else f"source {place}"
        index = source.index
        if index.head.settings.get("kind") == "targets":
            raise SettingsError(f"{where}: its index was made from pooled targets. Index the labels to crop them.")
        lengths = np.diff(index.arrays["image_ends"], prepend=0)
        if not lengths.all():
            first = index.label_path(int(np.argmin(lengths)))
            raise SettingsError(
                f"{where}: {np.count_nonzero(lengths == 0)} of {index.num_images} labels have no image in the index, "
                f"first {first}. Put the images beside them, or index with --images FOLDER."
            )


def images_of(sources: Sequence[Source]) -> int:
    """Return the number of images of all sources."""
    return sum(source.index.num_images for source in sources)
