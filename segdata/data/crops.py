"""From a draw to a crop: the one way, for the public data set and for the trainer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.photos import open_photo
from segdata.codecs.png_chunks import MAX_PIXELS
from segdata.config.recipe import AugmentationRecipe
from segdata.data.augmentation import Augmentation, align_box, draw_augmentation, other_places
from segdata.data.crop_box import CropBox, count_crop, crop_image, crop_label, place_crop
from segdata.data.resampling import scale_to_fit
from segdata.errors import LabelError, SettingsError
from segdata.labels.classes import IGNORE_ID
from segdata.labels.reading import LabelMeaning, Window, read_class_ids
from segdata.logs import logger
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
    whole_label : ndarray of uint8, shape (H, W), or None
        Class ids of the whole image, not scaled, where the reader keeps them.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    box: CropBox
    random: Augmentation
    whole_label: NDArray[np.uint8] | None

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
        Size, scales and flips, and how much of a crop one class may have.
    seed : int
    fill : (int, int, int)
        Red, green, blue of padding.
    align : int
        Crops begin on multiples of this many of their pixels, where that is a whole number of pixels of the image.
    scale_steps : int, optional
        Scales are rounded to multiples of 1 / `scale_steps`.
    whole_labels : bool
        Read labels as a whole and keep them, rather than the part that a crop shows.
    row_indexes : Path, optional
        Folder that keeps where rows of JPEG files begin; see `segdata.codecs.photos.open_photo`.
    """

    sources: tuple[Source, ...]
    augmentation: AugmentationRecipe
    seed: int = 0
    fill: tuple[int, int, int] = (0, 0, 0)
    align: int = 1
    scale_steps: int | None = None
    whole_labels: bool = False
    row_indexes: Path | None = None

    def read(self, draw: Draw) -> Crop:
        """Return the crop of a draw.

        Raises
        ------
        LabelError
            If the image or the label cannot be read, or they do not fit; names the file.
        """
        random = draw_augmentation(self.seed, draw.position, self.augmentation)
        index = self.sources[draw.source].index
        path = index.image_path(draw.image_id)
        assert path is not None, "see refuse_without_images"
        photo = open_photo(path, self.row_indexes)
        if photo.size != (expected := index_size(index, draw.image_id)) and any(expected):
            (height, width), (rows, columns) = expected, photo.size
            raise LabelError(f"{path}: has {rows}x{columns} pixels, its label {height}x{width}.")
        box = self.place(draw, photo.size, random)
        window = None if self.whole_labels else box.shown()
        class_ids = read_label_of(index, draw.image_id, window, photo.size)
        origin = (0, 0) if window is None else (window.top, window.left)
        if self._is_of_one_class(class_ids, box, origin):
            class_ids = read_label_of(index, draw.image_id, None, photo.size) if window is not None else class_ids
            box, origin = self.place_on(draw, class_ids), (0, 0)
        label = crop_label(class_ids, box, fill=IGNORE_ID, origin=origin)
        if random.flip:
            label = np.ascontiguousarray(label[:, ::-1])
        whole_label = class_ids if self.whole_labels else None
        del class_ids  # of a large image as much memory as its rows, which come next
        image = crop_image(photo, box, fill=self.fill, flip=random.flip, interpolation=self.augmentation.interpolation)
        return Crop(image, label, box, random, whole_label)

    def place_on(self, draw: Draw, class_ids: NDArray[np.uint8]) -> CropBox:
        """Return where the crop of a draw lies in an image, given its whole label, shape (H, W).

        Anew while one class has too much of it; after ten times as it is.
        """
        random = draw_augmentation(self.seed, draw.position, self.augmentation)
        size = (class_ids.shape[0], class_ids.shape[1])
        box = self.place(draw, size, random)
        for where in other_places(self.seed, draw.position):
            if not self._is_of_one_class(class_ids, box):
                break
            box = self.place(draw, size, random._replace(where=where))
        return box

    def _is_of_one_class(self, class_ids: NDArray[np.uint8], box: CropBox, origin: tuple[int, int] = (0, 0)) -> bool:
        """Say whether one class has so much of a crop's labeled pixels that it is to be placed anew."""
        if self.augmentation.cat_max_ratio == 1:
            return False
        counts = count_crop(class_ids, box, origin=origin)[:IGNORE_ID]
        return bool(counts.max() >= self.augmentation.cat_max_ratio * counts.sum())

    def place(self, draw: Draw, size: tuple[int, int], random: Augmentation) -> CropBox:
        """Return where the crop of a draw lies first in an image of a size (height, width); see `place_on`."""
        scale = random.scale * scale_to_fit(size, self.augmentation.resize)
        if self.scale_steps is not None:
            scale = round(scale * self.scale_steps) / self.scale_steps
        box = place_crop(size, self.augmentation.crop, scale=scale, center=draw.center, where=random.where)
        step = self.align / scale
        return align_box(box, int(step), draw.center) if self.align > 1 and step.is_integer() else box

    def read_label(self, source: int, image_id: int) -> NDArray[np.uint8]:
        """Return the class ids of a whole label; see `read_label_of`."""
        return read_label_of(self.sources[source].index, image_id)


def index_size(index: ClassIndex, image_id: int) -> tuple[int, int]:
    """Return the size of a label when it was indexed; (0, 0) where labels were listed alone."""
    height, width = index.arrays["image_sizes"][image_id].tolist()
    return height, width


def read_label_of(
    index: ClassIndex, image_id: int, window: Window | None = None, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Read a label of an index as class ids: uint8, 255 for ignored and unsure pixels.

    Parameters
    ----------
    index : ClassIndex
    image_id : int
    window : Window, optional
        The part that is wanted.
    size : (int, int), optional
        Size of the image that it belongs to.

    Raises
    ------
    LabelError
        If it cannot be read, or has another size than when it was indexed, or than its image.
    """
    indexed, settings = index_size(index, image_id), index.head.settings
    classes, encoding = settings.get("classes", ""), settings.get("encoding")
    read_as = LabelMeaning(encoding, classes, index.head.class_table) if encoding else None
    return read_class_ids(
        index.label_path(image_id),
        index.arrays["lookup"],
        meaning=f"the class table '{classes}' of its index",
        read_as=read_as,
        confidence=index.confidence_path(image_id),
        threshold=float(settings.get("confidence", 0)),
        window=window,
        size=indexed if any(indexed) else size,
        size_of="when it was indexed. Run `segdata index` again" if any(indexed) else "in its image",
    )


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


def refuse_far_crops(sources: Sequence[Source], augmentation: AugmentationRecipe, *, warn: bool = True) -> None:
    """Warn of crops that are larger than every image at every scale, and refuse those that no memory holds.

    Raises
    ------
    SettingsError
        If a crop has more than 2^28 pixels.
    """
    height, width = augmentation.crop
    if height * width > MAX_PIXELS:
        raise SettingsError(f"a crop of {height}x{width} has more than {MAX_PIXELS:,} pixels. Choose a smaller one.")
    sizes = np.unique(np.concatenate([source.index.arrays["image_sizes"] for source in sources]), axis=0)
    sizes = sizes[sizes.all(axis=1)]  # labels that were listed alone have none
    factors = [scale_to_fit((rows, columns), augmentation.resize) for rows, columns in sizes.tolist()]
    scaled = sizes * np.array(factors).reshape(-1, 1) * max(augmentation.scale)
    rows, columns = scaled.max(axis=0, initial=0).astype(int)
    if warn and 0 < rows < height and 0 < columns < width:
        logger.warning(
            f"crops of {height}x{width} are larger than every image at every scale, {rows}x{columns} at most: the rest "
            "of each is padding."
        )


def images_of(sources: Sequence[Source]) -> int:
    """Return the number of images of all sources."""
    return sum(source.index.num_images for source in sources)
