"""CPP targets of a grid over a resized, cropped and flipped image, exact, from the labels as they are.

A pixel of an image scaled by r covers ``1/r`` source pixels, hence a cell of side s covers ``s/r``. The target counts
every class by the area it has in that window. Scales are fractions, so areas are whole numbers of a small unit.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled
from segdata.cpp.checks import checked_label
from segdata.cpp.kernels import IGNORED
from segdata.errors import LabelError, SettingsError

Box = tuple[int, int, int, int]
"""Top, left, height, width of a crop, in pixels of the scaled image."""


class AxisOverlaps(NamedTuple):
    """Which source rows (or columns) each row (or column) of cells covers, and how much of each.

    Both arrays are int64 of shape (cells, taps). Where a cell covers fewer than `taps` source pixels, or reaches
    outside the image or the box, overlaps are 0.
    """

    pixel: NDArray[np.int64]
    overlap: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ScaledGrid:
    """A grid of square cells over a box of a scaled, then perhaps mirrored, image.

    Parameters
    ----------
    source_size : (int, int)
        Height and width of the label as it is stored, in pixels.
    scale : (Fraction, Fraction)
        Scaled pixels per source pixel, along rows and columns.
    cell : int
        Side of a cell, in scaled pixels: the stride of the head that the target is for.
    box : (int, int, int, int)
        Top, left, height and width of the crop, in pixels of the scaled and mirrored image. It may reach outside
        the image, and need not be whole cells; what is outside the image or the box counts as ignored.
    flip : bool
        Whether the scaled image is mirrored left to right before the crop.

    Raises
    ------
    SettingsError
        If a size, scale or cell is not positive, a scale is not a fraction, or a cell's area overflows 63 bits.
    """

    source_size: tuple[int, int]
    scale: tuple[Fraction, Fraction]
    cell: int
    box: Box
    flip: bool = False

    def __post_init__(self) -> None:
        """Refuse what describes no grid."""
        if not isinstance(self.cell, int | np.integer) or self.cell < 1:
            raise SettingsError(f"scaled grid: cell {self.cell!r}. The side of a cell is a whole number, 1 or more.")
        if min(self.source_size) < 1 or min(self.box[2:]) < 1:
            raise SettingsError(f"scaled grid: source {self.source_size}, box {self.box}. Sizes are 1 pixel or more.")
        if not all(isinstance(scale, int | Fraction) and scale > 0 for scale in self.scale):
            raise SettingsError(
                f"scaled grid: scale {self.scale!r}. A scale is a positive fraction, so that areas are exact. "
                f"Pass Fraction(1, 2), or the resized size to ScaledGrid.resized."
            )
        if self.total >= 2**63:
            raise SettingsError(
                f"scaled grid: a cell of side {self.cell} at scale {self.scale} has {self.total} units of area, "
                f"and 2**63 do not fit. Choose a scale with a smaller denominator."
            )

    @classmethod
    def resized(
        cls,
        source_size: tuple[int, int],
        scaled_size: tuple[int, int],
        *,
        cell: int,
        box: Box | None = None,
        flip: bool = False,
    ) -> "ScaledGrid":
        """Return the grid over an image of `source_size` that was resized to `scaled_size`; `box` defaults to all.

        The scale is the ratio of the sizes: that is what a resize really does to an image, whatever ratio was asked
        for before the size was rounded to whole pixels.
        """
        if min(source_size) < 1 or min(scaled_size) < 1:
            raise SettingsError(f"scaled grid: {source_size} resized to {scaled_size}. Sizes are 1 pixel or more.")
        scale = (Fraction(scaled_size[0], source_size[0]), Fraction(scaled_size[1], source_size[1]))
        return cls(source_size=source_size, scale=scale, cell=cell, box=box or (0, 0, *scaled_size), flip=flip)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells; the last ones may overhang the box."""
        return -(-self.box[2] // self.cell), -(-self.box[3] // self.cell)

    @property
    def total(self) -> int:
        """The area of a cell in units: what the channels of a cell sum to. It is ``cell**2`` at scale 1."""
        return self.cell**2 * self.scale[0].denominator * self.scale[1].denominator

    def rows(self) -> AxisOverlaps:
        """Return what the rows of cells cover of the source rows."""
        return axis_overlaps(self.source_size[0], self.scale[0], self.cell, self.box[0], self.box[2])

    def columns(self) -> AxisOverlaps:
        """Return what the columns of cells cover of the source columns."""
        return axis_overlaps(self.source_size[1], self.scale[1], self.cell, self.box[1], self.box[3], flip=self.flip)


def axis_overlaps(
    source: int, scale: Fraction, cell: int, start: int, length: int, *, flip: bool = False
) -> AxisOverlaps:
    """Return the exact overlaps of cells with source pixels along one axis.

    Parameters
    ----------
    source : int
        Source pixels along the axis.
    scale : Fraction
        Scaled pixels per source pixel, p / q.
    cell, start, length : int
        Side of a cell, and start and length of the box, in scaled pixels.
    flip : bool
        Whether the axis is mirrored before the box is cut.

    Returns
    -------
    AxisOverlaps
        Of ``ceil(length / cell)`` cells. The unit of length is 1/q of a scaled pixel, which is 1/p of a source pixel:
        a source pixel is p units long, a scaled pixel q, a cell ``cell * q``.

    Examples
    --------
    Four pixels at scale 3/4, cells of 2 scaled pixels: each cell is 8 units, each source pixel 3.

    >>> pixel, overlap = axis_overlaps(4, Fraction(3, 4), cell=2, start=0, length=3)
    >>> overlap
    array([[3, 3, 2],
           [1, 3, 0]])
    >>> pixel
    array([[0, 1, 2],
           [2, 3, 3]])
    """
    pixel_length, unit = scale.numerator, scale.denominator
    extent = source * pixel_length
    starts = start + cell * np.arange(-(-length // cell), dtype=np.int64)
    low = np.clip(starts * unit, 0, extent)
    high = np.clip(np.minimum(starts + cell, start + length) * unit, 0, extent)
    if flip:
        low, high = extent - high, extent - low
    first = low // pixel_length
    taps = max(1, int((-(-high // pixel_length) - first).max()))
    pixel = first[:, None] + np.arange(taps)
    overlap = np.minimum(high[:, None], (pixel + 1) * pixel_length) - np.maximum(low[:, None], pixel * pixel_length)
    return AxisOverlaps(np.minimum(pixel, source - 1), np.maximum(overlap, 0))


def scaled_counts(
    class_ids: NDArray[np.integer], grid: ScaledGrid, *, num_classes: int = 19, ignore_id: int = 255
) -> NDArray[np.unsignedinteger]:
    """Measure the area of each class in each cell of a grid over the scaled image.

    Parameters
    ----------
    class_ids : ndarray of uint8 (or any integer dtype), shape (H, W)
        The label as it is stored, not resized. Values in ``0 .. num_classes-1``, or `ignore_id`.
    grid : ScaledGrid
        The scaling, flip and crop, and the cells on the crop.
    num_classes : int
        Number of classes K, at most 254.
    ignore_id : int
        Id of the pixels that count for no class.

    Returns
    -------
    ndarray of an unsigned dtype, shape (K + 1, h, w)
        Areas in units of which a cell has ``grid.total``; the last channel is what is ignored or outside. The dtype is
        the smallest that holds the total.

    Raises
    ------
    LabelError
        If a value is neither a class nor `ignore_id`, or the label is not of the grid's source size.

    Notes
    -----
    With ``R[l, i]`` and ``C[m, j]`` the overlaps of rows and columns, ``n[k, l, m] = sum over (i, j) with y[i, j] = k
    of R[l, i] C[m, j]``. At scale 1, unflipped, these are the counts of `segdata.cpp.pooling.cpp_counts` of the crop.

    Examples
    --------
    One row of four pixels at 3/4: the first cell covers pixels 0, 1 and two thirds of 2, of 8 units in all.

    >>> grid = ScaledGrid(source_size=(1, 4), scale=(Fraction(1), Fraction(3, 4)), cell=1, box=(0, 0, 1, 3))
    >>> scaled_counts(np.array([[0, 1, 1, 1]], np.uint8), grid, num_classes=2)[:, 0]
    array([[3, 0, 0],
           [1, 4, 4],
           [0, 0, 0]], dtype=uint8)
    """
    label = checked_label(class_ids, num_classes, ignore_id)
    if label.shape != grid.source_size:
        raise LabelError(
            f"label: {label.shape[0]} x {label.shape[1]} pixels, and the grid is over {grid.source_size[0]} x "
            f"{grid.source_size[1]}. Pass the label as it is stored; the grid does the scaling."
        )
    areas = np.empty((num_classes + 1, *grid.shape), np.min_scalar_type(grid.total))
    _measure(label, grid.rows(), grid.columns(), areas, grid.total)
    return areas


def scaled_pool(
    class_ids: NDArray[np.integer], grid: ScaledGrid, *, num_classes: int = 19, ignore_id: int = 255
) -> NDArray[np.float32]:
    """Return `scaled_counts` as fractions of a cell: shape (K + 1, h, w), float32, every cell summing to 1."""
    counts = scaled_counts(class_ids, grid, num_classes=num_classes, ignore_id=ignore_id)
    return (counts / np.float64(grid.total)).astype(np.float32)


@compiled
def _measure(
    label: NDArray[np.uint8], rows: AxisOverlaps, columns: AxisOverlaps, areas: NDArray[np.unsignedinteger], total: int
) -> None:
    """Write the area of every class in every cell, and in the last channel what is left of `total`."""
    num_classes, num_rows, num_columns = areas.shape[0] - 1, areas.shape[1], areas.shape[2]
    line_areas = np.zeros((num_columns, num_classes), np.int64)
    for row in range(num_rows):
        line_areas[:] = 0
        for tap in range(rows.pixel.shape[1]):
            if rows.overlap[row, tap] > 0:
                _add_line(label[rows.pixel[row, tap]], rows.overlap[row, tap], columns, line_areas)
        areas[num_classes, row] = total
        for class_id in range(num_classes):
            for column in range(num_columns):
                areas[class_id, row, column] = line_areas[column, class_id]
                areas[num_classes, row, column] -= line_areas[column, class_id]


@compiled
def _add_line(line: NDArray[np.uint8], height: int, columns: AxisOverlaps, line_areas: NDArray[np.int64]) -> None:
    """Add the overlaps of one source row, `height` of which lies in the row of cells; ignored pixels add nothing."""
    for column in range(columns.pixel.shape[0]):
        for tap in range(columns.pixel.shape[1]):
            class_id = line[columns.pixel[column, tap]]
            if class_id != IGNORED:
                line_areas[column, class_id] += height * columns.overlap[column, tap]
