"""From a draw to arrays: the crop of image and label, and its pooled targets. A `Dataset` for any DataLoader."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdata.codecs.png import read_label
from segdata.cpp.pooling import cpp_counts
from segdata.data.crop import CropBox, crop_image, crop_label, place_crop
from segdata.errors import LabelError, SettingsError
from segdata.sampling import seeding as keys
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.scan import scan_confidence
from segdata.sampling.stream import Draw, Source
from segdata.sampling.uniforms import uniforms


@dataclass(frozen=True)
class Crop:
    """What a draw gave.

    Attributes
    ----------
    image : ndarray of uint8, shape (h, w, 3)
    label : ndarray of uint8, shape (h, w)
        Class ids, 255 for ignored and padding.
    box : CropBox
        Where it lies in the image; mirrored crops lie where they would lie unmirrored.
    flipped : bool
        Whether left and right are exchanged.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    box: CropBox
    flipped: bool


class CropDataset:
    """Turns draws into crops: ``dataset[draw]``, with a `MixedClassUniformSampler` as the DataLoader's sampler.

    Scale, place and mirroring of a crop are a pure function of the seed and the draw's position, so they are the same
    in any worker and after any resumption.

    Parameters
    ----------
    sources : sequence of Source
        Those of the sampler, in its order.
    crop_size : (int, int)
        Height and width.
    seed : int
        May be that of the sampler.
    scales : (float, float)
        Least and largest scale; drawn evenly between.
    flip : bool
        Mirror half of the crops.
    cells : sequence of int
        Sides of the cells that the crop's label is pooled to.

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
        seed: int = 0,
        scales: tuple[float, float] = (1.0, 1.0),
        flip: bool = False,
        cells: Sequence[int] = (),
    ) -> None:
        if not 0 < scales[0] <= scales[1]:
            raise SettingsError(f"scales {scales}: expected two numbers above 0, the smaller first.")
        if min(crop_size) < 1:
            raise SettingsError(f"crop_size {crop_size}: expected a height and a width of at least 1.")
        for place, source in enumerate(sources):
            _refuse_without_files(source, place)
        self.sources = tuple(sources)
        self.crop_size, self.scales, self.flip, self.cells = crop_size, scales, flip, tuple(cells)
        self._key = keys.named_key(seed, keys.CROPS)

    def __len__(self) -> int:
        """Return the number of images; the sampler decides how many are drawn."""
        return sum(source.index.num_images for source in self.sources)

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
            "image": np.ascontiguousarray(crop.image.transpose(2, 0, 1)),
            "label": crop.label,
            "counts": {cell: cpp_counts(crop.label, cell, num_classes=num_classes) for cell in self.cells},
            "position": draw.position,
            "source": draw.source,
            "class_id": -1 if draw.class_id is None else draw.class_id,
        }

    def crop(self, draw: Draw) -> Crop:
        """Return the crop of a draw as arrays; see `__getitem__`."""
        index = self.sources[draw.source].index
        scale, row, column, mirror = uniforms(self._key, draw.position, 4)
        ids = read_class_ids(index, draw.image_id)
        box = place_crop(
            (ids.shape[0], ids.shape[1]),
            self.crop_size,
            scale=self.scales[0] + scale * (self.scales[1] - self.scales[0]),
            center=draw.center,
            where=(row, column),
        )
        image, label = crop_image(read_photo(index, draw.image_id, ids.shape), box), crop_label(ids, box)
        if self.flip and mirror < 0.5:
            return Crop(image[:, ::-1], np.ascontiguousarray(label[:, ::-1]), box, flipped=True)
        return Crop(image, label, box, flipped=False)


def read_class_ids(index: ClassIndex, image_id: int) -> NDArray[np.uint8]:
    """Read a label of an index as class ids: uint8 of shape (H, W), 255 for ignored and unsure pixels.

    Raises
    ------
    LabelError
        If it cannot be read, or has another size than when it was indexed.
    """
    path = index.label_path(image_id)
    ids = read_label(path)
    size = tuple(index.arrays["image_sizes"][image_id].tolist())
    if ids.shape != size:
        raise LabelError(f"{path}: has {ids.shape} pixels, {size} when it was indexed. Run `segdata index` again.")
    confidence = index.confidence_path(image_id)
    if confidence is not None:
        threshold = float(index.head.settings["confidence"])
        return scan_confidence(ids, read_label(confidence), index.arrays["lookup"], threshold)
    return np.take(index.arrays["lookup"].astype(np.uint8), ids)


def read_photo(index: ClassIndex, image_id: int, size: tuple[int, ...]) -> Image.Image:
    """Read the photograph of an image of an index, in RGB.

    Raises
    ------
    LabelError
        If it is not there, cannot be read, or has not the `size` (height, width) of its label.
    """
    path = index.image_path(image_id)
    assert path is not None, "checked when the data set was made"
    try:
        with Image.open(path) as photo:
            photo.load()
            read = photo.convert("RGB")
    except FileNotFoundError:
        raise LabelError(f"{path}: no such image; it was there when the index was made. Put it back.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise LabelError(f"{path}: the image cannot be read ({error}). Copy it again from its source.") from None
    if (read.height, read.width) != size:
        raise LabelError(f"{path}: has {read.height}x{read.width} pixels, its label {size[0]}x{size[1]}.")
    return read


def _refuse_without_files(source: Source, place: int) -> None:
    """Raise if an index cannot say where labels and images are."""
    where = f"source '{source.name}'" if source.name else f"source {place}"
    index = source.index
    if index.head.settings.get("kind") == "targets":
        raise SettingsError(f"{where}: its index was made from pooled targets. Index the labels to crop them.")
    lengths = np.diff(index.arrays["image_ends"], prepend=0)
    if not lengths.all():
        first: Path = index.label_path(int(np.argmin(lengths)))
        raise SettingsError(
            f"{where}: {np.count_nonzero(lengths == 0)} of {index.num_images} labels have no image in the index, "
            f"first {first}. Index with --images FOLDER."
        )
