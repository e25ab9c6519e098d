"""The pooled targets of one label: any scale they can give, cropped and mirrored without being unpacked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.cpp.checks import Ragged, check_cell
from segdata.cpp.sparse import SparseCounts, nearest_below, pool_label
from segdata.errors import SettingsError


@dataclass(frozen=True, kw_only=True, eq=False)
class CPPTargets:
    """Class counts and probabilities of one label at several scales.

    Only the scales that are not multiples of a finer one are held; the others are sums of these, made when asked for.

    Attributes
    ----------
    size : tuple of int
        Height and width of the label in pixels.
    scales : tuple of int
        Pooling strides the targets were made for, in pixels, ascending.
    num_classes : int
        Number of classes K; the last channel of counts and probabilities, K, is the ignored mass.
    grids : mapping of int to SparseCounts
        The scales that are held, by side.
    meta : mapping
        What the file says of itself; empty for targets made in memory, and for a crop or a mirror image.

    Examples
    --------
    >>> targets = pool_targets(np.array([[0, 0, 1, 1], [0, 1, 1, 1]], dtype=np.uint8), [2], num_classes=2)
    >>> targets.counts(2)[:2]
    array([[[3, 0]],
    <BLANKLINE>
           [[1, 4]]], dtype=uint8)
    >>> targets.crop(0, 2, 2, 2).probabilities(2).ravel()
    array([0., 1., 0.], dtype=float32)
    """

    size: tuple[int, int]
    scales: tuple[int, ...]
    num_classes: int
    grids: Mapping[int, SparseCounts]
    meta: Mapping[str, Any] = field(default_factory=dict)
    _made: dict[int, SparseCounts] = field(default_factory=dict, init=False, repr=False)

    def __repr__(self) -> str:
        scales = ", ".join(map(str, self.scales))
        return f"<CPPTargets: {self.size[0]}x{self.size[1]} pixels, {self.num_classes} classes, scales {scales}>"

    @property
    def step(self) -> int:
        """Corners of a crop are multiples of so many pixels: of 2 where the scales are 2, 4 and 8."""
        return lcm(*self.grids)

    def grid(self, scale: int) -> SparseCounts:
        """Return the grid of a scale in its sparse form; those of `scales` are kept once made.

        Parameters
        ----------
        scale : int
            Any multiple of a held scale, whether in `scales` or not.

        Raises
        ------
        SettingsError
            If no held scale divides it.
        """
        check_cell(scale)
        at_hand = {**self._made, **self.grids}
        if not any(scale % held == 0 for held in at_hand):
            told = ", ".join(map(str, self.scales))
            raise SettingsError(f"scale {scale}: these targets are of scales {told}, and give multiples of them alone.")
        grid = at_hand[scale] if scale in at_hand else nearest_below(at_hand, scale)
        if scale in self.scales:
            self._made[scale] = grid
        return grid

    def counts(self, scale: int) -> NDArray[np.unsignedinteger]:
        """Return pixels per class and cell: shape (K + 1, ceil(H / scale), ceil(W / scale)).

        Equal to `segdata.cpp_counts` of the label, or of its crop or mirror image; see `grid` for the scales.
        """
        return self.grid(scale).counts()

    def probabilities(self, scale: int) -> NDArray[np.float32]:
        """Return class probabilities per cell: float32, shape (K + 1, ceil(H / scale), ceil(W / scale)).

        Equal to `segdata.cpp_pool` of the label, or of its crop or mirror image; see `grid` for the scales.
        """
        return self.grid(scale).probabilities()

    def pixels(self) -> NDArray[np.int64]:
        """Return the label's pixels of each class and, last, its ignored ones: shape (K + 1,), summing to H * W."""
        height, width = self.size
        grid = self.grids[max(self.grids)]
        totals = grid.totals()
        totals[-1] -= grid.map.size * grid.cell**2 - height * width
        return totals

    def crop(self, top: int, left: int, height: int, width: int) -> "CPPTargets":
        """Return the targets of a box of the label.

        Parameters
        ----------
        top, left : int
            Its upper left corner in label pixels, multiples of `step`.
        height, width : int
            Its size in label pixels: multiples of `step`, or up to the lower or right edge.

        Returns
        -------
        CPPTargets
            Those of the cut label, to the last count: cells of coarser scales begin at the box's own corner.

        Raises
        ------
        SettingsError
            If the box leaves the label or its sides lie between cells.
        """
        _check_side("rows", top, height, self.size[0], self.step)
        _check_side("columns", left, width, self.size[1], self.step)
        grids = {
            cell: grid.crop(top // cell, left // cell, -(-height // cell), -(-width // cell))
            for cell, grid in self.grids.items()
        }
        return CPPTargets(size=(height, width), scales=self.scales, num_classes=self.num_classes, grids=grids)

    def flip(self) -> "CPPTargets":
        """Return the targets of the label mirrored left for right.

        Returns
        -------
        CPPTargets
            Exact: those of the mirrored label, to the last count.

        Raises
        ------
        SettingsError
            If the width is not a multiple of `step`: then the mirrored label's cells lie elsewhere, and what they hold
            cannot be known from these. Crop to a multiple first.
        """
        if self.size[1] % self.step:
            raise SettingsError(
                f"flip: {self.size[1]} columns are not multiples of {self.step} pixels, so the cells of the mirrored "
                f"label are not those of the label. Crop to {self.size[1] // self.step * self.step} columns first."
            )
        grids = {cell: grid.flip() for cell, grid in self.grids.items()}
        return CPPTargets(size=self.size, scales=self.scales, num_classes=self.num_classes, grids=grids)


def pool_targets(
    class_ids: NDArray[np.integer],
    scales: Iterable[int],
    *,
    num_classes: int = 19,
    ignore_id: int = 255,
    ragged: Ragged = "ignore",
) -> CPPTargets:
    """Pool a label image at several scales, as `segdata.cpp_counts` does at one.

    Parameters
    ----------
    class_ids, num_classes, ignore_id, ragged
        As in `segdata.cpp_counts`.
    scales : iterable of int
        Pooling strides in pixels, at least one.

    Raises
    ------
    LabelError, SettingsError
        As in `segdata.cpp_counts`.
    """
    wanted = check_scales(scales)
    grids = pool_label(class_ids, wanted, num_classes=num_classes, ignore_id=ignore_id, ragged=ragged)
    held = {cell: grids[cell] for cell in held_scales(wanted)}
    height, width = np.shape(class_ids)
    return CPPTargets(size=(height, width), scales=wanted, num_classes=num_classes, grids=held)


def check_scales(scales: Iterable[int]) -> tuple[int, ...]:
    """Return the scales ascending and each once, or raise SettingsError where one is not a scale or there is none."""
    wanted = tuple(scales)
    for scale in wanted:
        check_cell(scale)
    if not wanted:
        raise SettingsError("scales: none given. Name at least one, such as 2 4 8.")
    return tuple(sorted({int(scale) for scale in wanted}))


def held_scales(scales: Iterable[int]) -> tuple[int, ...]:
    """Return the scales that are not multiples of a finer one; all others are sums of these.

    Examples
    --------
    >>> held_scales([2, 3, 4, 6, 7, 14])
    (2, 3, 7)
    """
    held: list[int] = []
    for scale in sorted(scales):
        if all(scale % finer for finer in held):
            held.append(scale)
    return tuple(held)


def _check_side(axis: str, start: int, length: int, size: int, step: int) -> None:
    end = start + length
    if start < 0 or length < 1 or end > size:
        raise SettingsError(f"crop: {axis} {start} to {end} leave the label's {size}. Move or shrink the box.")
    if start % step or (end % step and end != size):
        raise SettingsError(
            f"crop: {axis} {start} to {end} lie between cells. Begin and end on multiples of {step} pixels."
        )
