"""Pooled targets as a map of pure cells and a list of mixed ones: small, exact, and quick to coarsen, crop and flip.

Few cells of a street scene hold more than one class (about 1.5, 4 and 9 in a hundred at 1/2, 1/4 and 1/8), so a byte
per cell and a list of the few say all. A label image is the level of cell 1, with no mixed cells, and
`SparseCounts.coarsen` goes from any level to a coarser one; all else is made of that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segdata.cpp.checks import Ragged, check_cell, check_divides, checked_label, count_dtype
from segdata.cpp.kernels import (
    IGNORED,
    MIXED,
    Finer,
    Parts,
    cells_per_id,
    merge_blocks,
    merge_fours,
    places_of_mixed,
    pure_blocks,
    pure_pairs,
    spread,
)
from segdata.errors import SettingsError

DType = TypeVar("DType", bound=np.generic)


@dataclass(frozen=True, kw_only=True, eq=False)
class SparseCounts:
    """Pixels per class of each cell of one grid, zeros left out.

    Attributes
    ----------
    cell : int
        Side of a cell in label pixels.
    num_classes : int
        Number of classes K; ids are ``0 .. K-1`` and 255 for ignored.
    map : ndarray of uint8, shape (h, w)
        The id of all pixels of a cell, or 254 where they differ.
    mixed : ndarray of int64, shape (m,)
        Where the map holds 254, as ascending flat indices: ``row * w + column``.
    part_starts : ndarray of int64, shape (m + 1,)
        Where the parts of each mixed cell begin, and at last where they end.
    part_ids : ndarray of uint8, shape (parts,)
        Ids of a mixed cell, two or more, ascending.
    part_counts : ndarray of uint32, shape (parts,)
        Pixels of that id; those of one cell sum to ``cell**2``.
    """

    cell: int
    num_classes: int
    map: NDArray[np.uint8]
    mixed: NDArray[np.int64]
    part_starts: NDArray[np.int64]
    part_ids: NDArray[np.uint8]
    part_counts: NDArray[np.uint32]

    def coarsen(self, factor: int) -> "SparseCounts":
        """Return the grid of cells `factor` times as wide; missing cells count as wholly ignored.

        Each step takes the smallest prime, since halves are found fastest.
        """
        check_cell(self.cell * factor)
        level = self
        for prime in _prime_factors(factor):
            level = _coarsened(level, prime)
        return level

    def crop(self, top: int, left: int, height: int, width: int) -> "SparseCounts":
        """Return the grid of a box given in cells, which lies within this one."""
        columns = self.map.shape[1]
        first, last = np.searchsorted(self.mixed, (top * columns, (top + height) * columns))
        rows, from_left = np.divmod(self.mixed[first:last], columns)
        inside = np.flatnonzero((from_left >= left) & (from_left < left + width))
        cells = np.ascontiguousarray(self.map[top : top + height, left : left + width])
        mixed = (rows[inside] - top) * width + from_left[inside] - left
        return self._with_cells(cells, mixed, first + inside)

    def flip(self) -> "SparseCounts":
        """Return the grid of the mirrored label, left for right, where the cells divide its width."""
        columns = self.map.shape[1]
        mirrored = self.mixed + columns - 1 - 2 * (self.mixed % columns)
        order = np.argsort(mirrored)
        return self._with_cells(np.ascontiguousarray(self.map[:, ::-1]), mirrored[order], order)

    def counts(self) -> NDArray[np.unsignedinteger]:
        """Return dense counts, shape (K + 1, h, w), as `segdata.cpp_counts` gives them."""
        dtype = count_dtype(self.cell)
        return self._dense(dtype.type(self.cell**2), self.part_counts.astype(dtype))

    def probabilities(self) -> NDArray[np.float32]:
        """Return dense probabilities, shape (K + 1, h, w), as `segdata.cpp_pool` gives them."""
        return self._dense(np.float32(1), np.divide(self.part_counts, np.float32(self.cell**2), dtype=np.float32))

    def totals(self) -> NDArray[np.int64]:
        """Return the pixels of each class and, last, of the ignored, shape (K + 1,); sums to the area of the grid."""
        cells = cells_per_id(self.map.reshape(-1))
        cells[MIXED] = 0
        pixels = cells * self.cell**2
        pixels += np.bincount(self.part_ids, self.part_counts, 256).astype(np.int64)  # exact: far below 2**53
        return np.append(pixels[: self.num_classes], pixels[IGNORED])

    def _dense(self, whole: DType, amounts: NDArray[DType]) -> NDArray[DType]:
        dense = np.zeros((self.num_classes + 1, *self.map.shape), amounts.dtype)
        parts = Parts(self.part_starts, self.part_ids, self.part_counts)
        spread(self.map.reshape(-1), self.mixed, parts, amounts, whole, dense.reshape(self.num_classes + 1, -1))
        return dense

    def _with_cells(
        self, cells: NDArray[np.uint8], mixed: NDArray[np.int64], chosen: NDArray[np.int64]
    ) -> "SparseCounts":
        """Return a grid with another map, whose mixed cells, now at `mixed`, are `chosen` of this one's."""
        lengths = np.diff(self.part_starts)[chosen]
        part_starts = _running_sum(lengths)
        parts = np.repeat(self.part_starts[chosen] - part_starts[:-1], lengths) + np.arange(part_starts[-1])
        return replace(
            self,
            map=cells,
            mixed=mixed,
            part_starts=part_starts,
            part_ids=self.part_ids[parts],
            part_counts=self.part_counts[parts],
        )


def pool_label(
    class_ids: NDArray[np.integer],
    cells: Iterable[int],
    *,
    num_classes: int = 19,
    ignore_id: int = 255,
    ragged: Ragged = "ignore",
) -> dict[int, SparseCounts]:
    """Pool a label image at several scales, each from the coarsest wanted one that divides it.

    Parameters
    ----------
    class_ids, num_classes, ignore_id, ragged
        As in `segdata.cpp_counts`.
    cells : iterable of int
        Pooling strides in pixels, each at least 1.

    Returns
    -------
    dict of int to SparseCounts
        One grid per side, ascending.

    Raises
    ------
    LabelError, SettingsError
        As in `segdata.cpp_counts`.

    Examples
    --------
    >>> grid = pool_label(np.array([[7, 7, 1, 2]] * 2, dtype=np.uint8), [2])[2]
    >>> grid.map, grid.part_ids, grid.part_counts
    (array([[  7, 254]], dtype=uint8), array([1, 2], dtype=uint8), array([2, 2], dtype=uint32))
    """
    wanted = sorted(set(cells))
    for cell in wanted:
        check_cell(cell)
    label = checked_label(class_ids, num_classes, ignore_id)
    for cell in wanted:
        check_divides(cell, label.shape, ragged)
    return pyramid([unpooled(label, num_classes)], wanted)


def unpooled(label: NDArray[np.uint8], num_classes: int) -> SparseCounts:
    """Return a label of classes and 255 as the grid of its pixels: cell 1, nothing mixed."""
    return SparseCounts(
        cell=1,
        num_classes=num_classes,
        map=label,
        mixed=np.zeros(0, np.int64),
        part_starts=np.zeros(1, np.int64),
        part_ids=np.zeros(0, np.uint8),
        part_counts=np.zeros(0, np.uint32),
    )


def pyramid(bases: Iterable[SparseCounts], cells: Iterable[int]) -> dict[int, SparseCounts]:
    """Return the grids of `cells`, each from the coarsest grid at hand (bases and earlier ones) that divides it."""
    at_hand = {base.cell: base for base in bases}
    for cell in sorted(set(cells)):
        at_hand[cell] = nearest_below(at_hand, cell)
    return {cell: at_hand[cell] for cell in sorted(set(cells))}


def nearest_below(at_hand: Mapping[int, SparseCounts], cell: int) -> SparseCounts:
    """Return the grid of `cell`, made from the coarsest one in `at_hand` whose cell divides it."""
    divisors = [finer for finer in at_hand if cell % finer == 0]
    if not divisors:
        raise SettingsError(f"scale {cell}: no multiple of {', '.join(map(str, sorted(at_hand)))}, the scales at hand.")
    finer = max(divisors)
    return at_hand[finer].coarsen(cell // finer)


def find_mixed(cells: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the flat indices of the mixed cells of a map, ascending."""
    flat = cells.reshape(-1)
    mixed: NDArray[np.int64] = places_of_mixed(flat, flat[: flat.size // 8 * 8].view(np.uint64))
    return mixed


def _coarsened(level: SparseCounts, factor: int) -> SparseCounts:
    fine = _whole_cells(level, factor)
    height, width = fine.map.shape[0] // factor, fine.map.shape[1] // factor
    cells = np.empty((height, width), np.uint8)
    if factor == 2:
        pure_pairs(fine.map.view(np.uint16), cells)
    else:
        pure_blocks(fine.map, factor, cells)
    mixed = find_mixed(cells)
    parts = _merged(fine, factor, mixed)
    return SparseCounts(
        cell=level.cell * factor,
        num_classes=level.num_classes,
        map=cells,
        mixed=mixed,
        part_starts=parts.starts,
        part_ids=parts.ids,
        part_counts=parts.counts,
    )


def _merged(level: SparseCounts, factor: int, mixed: NDArray[np.int64]) -> Parts:
    row_starts = np.searchsorted(level.mixed, np.arange(len(level.map) + 1) * level.map.shape[1])
    area = np.uint32(level.cell**2)
    fine = Finer(level.map, row_starts, level.part_starts, level.part_ids, level.part_counts, area)
    most = len(mixed) * min(level.num_classes + 1, (factor * level.cell) ** 2)
    parts = Parts(np.zeros(len(mixed) + 1, np.int64), np.empty(most, np.uint8), np.empty(most, np.uint32))
    num_parts = merge_fours(fine, mixed, parts) if factor == 2 else merge_blocks(fine, factor, mixed, parts)
    return Parts(parts.starts, parts.ids[:num_parts].copy(), parts.counts[:num_parts].copy())


def _whole_cells(level: SparseCounts, factor: int) -> SparseCounts:
    """Return the grid with ignored cells added below and to the right until `factor` divides its sides."""
    height, width = level.map.shape
    below, right = -height % factor, -width % factor
    if not below and not right:
        return level
    cells = np.pad(level.map, ((0, below), (0, right)), constant_values=IGNORED)
    return replace(level, map=cells, mixed=level.mixed + level.mixed // width * right)


def _prime_factors(number: int) -> list[int]:
    factors, prime = [], 2
    while number > 1:
        while number % prime == 0:
            factors.append(prime)
            number //= prime
        prime = prime + 1 if prime * prime <= number else number
    return factors


def _running_sum(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return where each of several runs begins, and at last where they end."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts
