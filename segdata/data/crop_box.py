"""From a center to a crop: where it lies under scaling and padding, so that the drawn pixel is always inside.

A crop of h x w pixels at scale r covers (h / r) x (w / r) pixels of the image. Its grid is laid so that the center of
one of its pixels falls exactly on the center of the drawn pixel: reading the label at the nearest pixel then shows the
drawn one, also where scaling down skips its neighbors.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.photos import Photo
from segdata.compiled import compiled
from segdata.data.resampling import bicubic_taps, bilinear_taps, resample
from segdata.errors import SettingsError
from segdata.labels.reading import Window

MARGIN = 8
"""The part of a crop's side, 1 / MARGIN, that is left between the drawn pixel and the crop's edge."""


@dataclass(frozen=True)
class CropBox:
    """A crop in the coordinates of the unscaled image, in which pixel i spans from i to i + 1.

    Attributes
    ----------
    top, left : float
        Where the crop begins; negative where it is padded.
    scale : float
        Pixels of the crop per pixel of the image.
    size : (int, int)
        Height and width of the crop.
    image_size : (int, int)
        Height and width of the image.
    """

    top: float
    left: float
    scale: float
    size: tuple[int, int]
    image_size: tuple[int, int]

    def rows(self) -> NDArray[np.int64]:
        """Return the image row nearest to each row of the crop, -1 where that is padding; shape (h,)."""
        return _nearest(self.top, self.scale, self.size[0], self.image_size[0])

    def columns(self) -> NDArray[np.int64]:
        """Return the image column nearest to each column of the crop, -1 where that is padding; shape (w,)."""
        return _nearest(self.left, self.scale, self.size[1], self.image_size[1])

    def shown(self) -> Window:
        """Return the part of the image that the crop shows; empty where it shows padding alone."""
        bounds: list[int] = []
        for axis in (self.rows(), self.columns()):
            pixels = axis[axis >= 0]
            bounds += [int(pixels[0]), int(pixels[-1]) + 1] if pixels.size else [0, 0]
        return Window(*bounds)

    def inside(self) -> tuple[int, int, int, int]:
        """Return top, bottom, left, right of what the crop shows of the image; the rest of it is padding."""
        bounds: list[int] = []
        for axis in (self.rows(), self.columns()):
            shown = np.flatnonzero(axis >= 0)
            bounds += [int(shown[0]), int(shown[-1]) + 1] if shown.size else [0, 0]
        return bounds[0], bounds[1], bounds[2], bounds[3]


def place_crop(
    image_size: tuple[int, int],
    crop_size: tuple[int, int],
    *,
    scale: float = 1.0,
    center: tuple[int, int] | None = None,
    where: tuple[float, float] = (0.5, 0.5),
) -> CropBox:
    """Place a crop on a scaled image.

    Parameters
    ----------
    image_size, crop_size : (int, int)
        Height and width.
    scale : float
        How much the image is enlarged before it is cropped, above 0.
    center : (int, int), optional
        (row, column) of an image pixel that the crop must show. It may be anywhere in the crop but in the outer eighth
        along each side, where the image leaves the choice.
    where : (float, float)
        Two numbers in [0, 1): the place, for rows and for columns, among all that show the pixel and need no padding
        that can be avoided. Where the image is smaller than the crop, they place the padding.

    Returns
    -------
    CropBox

    Raises
    ------
    SettingsError
        If a size or the scale is not above 0.

    Examples
    --------
    >>> box = place_crop((10, 10), (4, 4), center=(9, 0))
    >>> box.rows().tolist(), box.columns().tolist()
    ([6, 7, 8, 9], [0, 1, 2, 3])
    """
    if scale <= 0 or min(*image_size, *crop_size) < 1:
        raise SettingsError(f"crop {crop_size} of an image of {image_size} at scale {scale}: expected all above 0.")
    centers = center if center is not None else (None, None)
    top, left = (
        _start(length, crop, scale, middle, at)
        for length, crop, middle, at in zip(image_size, crop_size, centers, where, strict=True)
    )
    return CropBox(top, left, scale, crop_size, image_size)


def crop_label(
    ids: NDArray[np.uint8], box: CropBox, *, fill: int = 255, origin: tuple[int, int] = (0, 0)
) -> NDArray[np.uint8]:
    """Return the crop of a label image, each pixel the nearest one; padding is `fill`.

    Parameters
    ----------
    ids : ndarray of uint8, shape (H, W)
        Of an image on which the box was placed, or the part of it that the box shows.
    box : CropBox
    origin : (int, int)
        Row and column of the first of the ids in the image.

    Returns
    -------
    ndarray of uint8, shape (h, w)
    """
    rows, columns = box.rows(), box.columns()
    if not ids.size:
        return np.full(box.size, fill, np.uint8)
    cropped = ids.take(np.maximum(rows - origin[0], 0), 0).take(np.maximum(columns - origin[1], 0), 1)
    cropped[rows < 0] = fill
    cropped[:, columns < 0] = fill
    return cropped


def count_crop(ids: NDArray[np.uint8], box: CropBox, *, origin: tuple[int, int] = (0, 0)) -> NDArray[np.int64]:
    """Count the pixels of each id in a crop of a label image, padding not among them: shape (256,).

    Parameters
    ----------
    ids, box, origin
        As for `crop_label`, of whose result this is the count, in a fraction of the time.
    """
    rows, columns = box.rows(), box.columns()
    return _count(ids, rows[rows >= 0] - origin[0], columns[columns >= 0] - origin[1])


@compiled
def _count(ids: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count in turn in two tables: neighbors mostly are of one class and would wait for each other's sum."""
    counts = np.zeros((2, 256), np.int64)
    for row in rows:
        for at in range(columns.size):
            counts[at & 1, ids[row, columns[at]]] += 1
    total: NDArray[np.int64] = counts[0] + counts[1]
    return total


def crop_image(
    photo: Photo,
    box: CropBox,
    *,
    fill: tuple[int, int, int] = (0, 0, 0),
    flip: bool = False,
    interpolation: Literal["bicubic", "bilinear"] = "bicubic",
) -> NDArray[np.uint8]:
    """Return the crop of an image; padding is `fill`.

    Parameters
    ----------
    photo : Photo
        Of the box's image size; the rows that the crop and its smoothing need are decoded.
    box : CropBox
    fill : (int, int, int)
        Red, green, blue.
    flip : bool
        Exchange left and right of the crop.
    interpolation : {"bicubic", "bilinear"}
        Bicubic is smoothed as scaling down needs; see `segdata.data.resampling`.

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)
        Contiguous.
    """
    top, bottom, left, right = box.inside()
    cropped = np.empty((*box.size, 3), np.uint8)
    if (bottom - top, right - left) != box.size:
        cropped[:] = fill
    if top == bottom or left == right:
        return cropped
    taps = bicubic_taps if interpolation == "bicubic" else bilinear_taps
    down = taps(*_covered(box.top, box.scale, top, bottom, box.image_size[0]), bottom - top, box.image_size[0])
    across = taps(*_covered(box.left, box.scale, left, right, box.image_size[1]), right - left, box.image_size[1])
    if flip:
        across, left, right = across.mirrored(), box.size[1] - right, box.size[1] - left
    rows = photo.rows(*down.extent, across.extent[1])
    if down.is_plain() and across.is_plain():
        part = rows[:, slice(*across.extent)]
        cropped[top:bottom, left:right] = part[:, ::-1] if flip else part
    else:
        resample(rows, down.extent[0], down, across, cropped, (top, left))
    return cropped


def _covered(start: float, scale: float, low: int, high: int, length: int) -> tuple[float, float]:
    """Return what the pixels `low` to `high` of a crop show along an axis of the image, on which it begins at start."""
    return max(0.0, start + low / scale), min(float(length), start + high / scale)


def _start(length: int, crop: int, scale: float, center: int | None, at: float) -> float:
    """Return where the crop begins along one axis, in image pixels."""
    if center is None:
        first, last = sorted((0.0, length - crop / scale))
        return first + float(np.floor(at * (np.floor(last - first) + 1)))
    # The pixel may be the crop's place 0 to crop - 1; these bounds keep the crop inside the image, or, where the image
    # is the smaller one, the image inside the crop.
    no_higher = (center + 0.5) * scale - 0.5
    no_lower = no_higher - (length * scale - crop)
    first, last = sorted((no_higher, no_lower))
    first_place = min(max(int(np.ceil(first)), 0), crop - 1)
    last_place = min(max(int(np.floor(last)), first_place), crop - 1)
    margin = crop // MARGIN
    nearest, farthest = (min(max(each, first_place), last_place) for each in (margin, crop - 1 - margin))
    place = nearest + int(at * (farthest - nearest + 1))
    return center + 0.5 - (place + 0.5) / scale


def _nearest(start: float, scale: float, size: int, length: int) -> NDArray[np.int64]:
    nearest = np.floor(start + (np.arange(size) + 0.5) / scale).astype(np.int64)
    return np.where((nearest >= 0) & (nearest < length), nearest, -1)
