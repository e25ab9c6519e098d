"""From a draw to arrays: image, label and pooled targets of a crop. A `Dataset` for any DataLoader; no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from segdata.config.recipe import AugmentationRecipe
from segdata.cpp.pooling import cpp_counts
from segdata.data.color import change_colors
from segdata.data.crops import Crop, CropReader, images_of, refuse_without_images
from segdata.errors import SettingsError
from segdata.sampling.stream import Draw, Source


class CropDataset:
    """Turns draws into crops: ``dataset[draw]``, with a `MixedClassUniformSampler` as the DataLoader's sampler.

    Scale, place, flip and colors of a crop are a pure function of the seed and the draw's position, so they are the
    same in any worker and after any resumption; and the same as those of the trainer.

    Parameters
    ----------
    sources : sequence of Source
        Those of the sampler, in its order.
    crop_size : (int, int)
        Height and width.
    scales : sequence of float
        Factors by which an image is scaled: two are the ends of a range, others are drawn from.
    resize : (int, int), optional
        Longer and shorter side that an image is fitted into first, up or down.
    interpolation : {"bicubic", "bilinear"}
        Of scaled images.
    cat_max_ratio : float
        Place a crop anew, up to ten times, while one class has this part or more of its labeled pixels.
    flip : bool
        Mirror a crop left to right with probability 0.5.
    color : {"none", "photometric", "jitter"}
        Photometric distortion as in MMSegmentation, or color jitter as in hierarchical multi-scale attention.
    cells : sequence of int
        Pooling strides that the crop's label is pooled to.
    seed : int
        May be that of the sampler.
    row_indexes : Path, optional
        Folder that keeps where the rows of JPEG files begin, a few kilobytes for each, so that a crop decodes its own
        rows alone; made and filled as images are read.

    Raises
    ------
    SettingsError
        If an index names no images or was made from pooled targets, or a setting is out of range.

    Notes
    -----
    An item is a dict: ``image`` (3, h, w) uint8, ``label`` (h, w) uint8, ``counts`` (cell to (K + 1, h / cell,
    w / cell), see `segdata.cpp_counts`), and the draw's ``position``, ``source`` and ``class_id`` (-1 for None). The
    targets are exact: pooled from the label as it was cropped and scaled.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        crop_size: tuple[int, int],
        *,
        scales: tuple[float, ...] = (1.0, 1.0),
        resize: tuple[int, int] | None = None,
        interpolation: Literal["bicubic", "bilinear"] = "bicubic",
        cat_max_ratio: float = 1.0,
        flip: bool = False,
        color: Literal["none", "photometric", "jitter"] = "none",
        cells: Sequence[int] = (),
        seed: int = 0,
        row_indexes: Path | None = None,
    ) -> None:
        try:
            augmentation = AugmentationRecipe(
                crop=crop_size,
                scale=scales,
                resize=resize,
                interpolation=interpolation,
                cat_max_ratio=cat_max_ratio,
                flip=0.5 if flip else 0.0,
                color=color,
            )
        except ValidationError as error:
            told = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise SettingsError(f"crop_size {crop_size}, scales {scales}, color {color!r}: {told}") from None
        refuse_without_images(sources)
        self.cells = tuple(cells)
        self._reader = CropReader(sources=tuple(sources), augmentation=augmentation, seed=seed, row_indexes=row_indexes)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The sources that draws refer to."""
        return self._reader.sources

    def __len__(self) -> int:
        """Return the number of images; the sampler decides how many are drawn."""
        return images_of(self.sources)

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        """Return the crop of a draw and its targets, as a DataLoader collates them.

        Raises
        ------
        LabelError
            If the image or the label cannot be read, or they do not fit; names the file.
        """
        crop = self.crop(draw)
        num_classes = len(self.sources[0].index.head.class_names)
        return {
            "image": change_colors(crop.image, crop.random.colors),
            "label": crop.label,
            "counts": {cell: cpp_counts(crop.label, cell, num_classes=num_classes) for cell in self.cells},
            "position": draw.position,
            "source": draw.source,
            "class_id": -1 if draw.class_id is None else draw.class_id,
        }

    def crop(self, draw: Draw) -> Crop:
        """Return the crop of a draw as arrays, in its own colors; see `__getitem__`."""
        return self._reader.read(draw)
