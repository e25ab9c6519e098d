"""Finding the place in a label image where nearest-neighbor downsampling loses most of a thin thing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segdata.cpp.pooling import cpp_counts
from segdata.labels.classes import IGNORE_ID


@dataclass(frozen=True)
class View:
    """A rectangle of a label image, and the class that is looked at in it.

    Attributes
    ----------
    top, left, height, width : int
        In pixels; top and left are multiples of every scale that divides the coarsest.
    class_id : int
        Training id.
    """

    top: int
    left: int
    height: int
    width: int
    class_id: int

    def cut(self, image: NDArray[np.generic], cell: int) -> NDArray[np.generic]:
        """Return this view of an (..., h, w) image whose cells are `cell` pixels wide."""
        rows = slice(self.top // cell, -(-(self.top + self.height) // cell))
        columns = slice(self.left // cell, -(-(self.left + self.width) // cell))
        return image[..., rows, columns]


def nearest(class_ids: NDArray[np.uint8], cell: int) -> NDArray[np.uint8]:
    """Downsample as nearest-neighbor does: each cell takes its upper left pixel.

    >>> nearest(np.array([[1, 2, 3], [4, 5, 6]], np.uint8), 2).tolist()
    [[1, 3]]
    """
    return class_ids[::cell, ::cell]


def thinner_than(class_ids: NDArray[np.uint8], cell: int) -> NDArray[np.bool_]:
    """Mark the pixels where a class is narrower than a cell in one direction at least.

    Parameters
    ----------
    class_ids : ndarray of uint8, shape (H, W)
        Training ids; 255 is a class like the others here.
    cell : int
        Side of a cell in pixels, 2 or more.

    Returns
    -------
    ndarray of bool, shape (H, W)
        True where no square of `cell` pixels that shows one class alone covers the pixel.

    Notes
    -----
    It is what the morphological opening of each class by such a square removes, for all classes at once: a square of
    one class lies in the mask of that class and of no other. Beyond the image its outermost pixels continue, so that a
    broad thing does not become thin where the image cuts it.

    Examples
    --------
    >>> thinner_than(np.array([[4, 4, 5, 7, 7]], np.uint8), 2).astype(int).tolist()
    [[0, 0, 1, 0, 0]]
    """
    padded = np.pad(class_ids, cell, mode="edge")
    rows = _all_of(padded[:, 1:] == padded[:, :-1], cell - 1, axis=1)  # `cell` pixels of one class side by side
    column = _all_of(padded[1:] == padded[:-1], cell - 1, axis=0)
    square = _all_of(rows, cell, axis=0) & column[:, : rows.shape[1]]  # joins its rows by its left column
    uncovered = _all_of(_all_of(~np.pad(square, cell - 1), cell, axis=0), cell, axis=1)
    return uncovered[cell:-cell, cell:-cell]


def _all_of(marks: NDArray[np.bool_], length: int, axis: int) -> NDArray[np.bool_]:
    """Tell for each run of `length` marks along an axis whether all are set, in about log2(length) steps."""
    reach = 1
    marks = np.moveaxis(marks, axis, 0)
    while reach < length:
        step = min(reach, length - reach)
        marks = marks[:-step] & marks[step:]
        reach += step
    return np.moveaxis(marks, 0, axis)


def most_lost(
    class_ids: NDArray[np.uint8], scales: Sequence[int], num_classes: int, side: int, preferred: Sequence[int] = ()
) -> View | None:
    """Return the view, about `side` pixels wide and high, in which nearest loses most of what is thin of one class.

    Parameters
    ----------
    class_ids : ndarray of uint8, shape (H, W)
        Training ids, 255 for ignored.
    scales : sequence of int
        Cell sizes that nearest is judged at, each 2 or more.
    num_classes : int
        Number of classes K.
    side : int
        Pixels; rounded to whole cells of the coarsest scale.
    preferred : sequence of int
        Classes of which one is shown if any of them loses something; others only where none does.

    Returns
    -------
    View or None
        The first of equal views; None where nearest loses nothing that is thinner than a cell.

    Notes
    -----
    A class with mass m in a view, of which nearest loses the thin mass l in the mean over the scales, and of whose
    pixels in the whole label the share t is thin, scores t l^2.5 / m^1.5: much is lost, little else of the class is in
    the view, and the class is not one that is broad elsewhere, as a road is that shows between two poles. Where broad
    parts gain by their place what thin ones lose, l is what the class loses in all, so that the shares tell of it.
    Sums over a view, but for the last, have weights that grow towards its middle, and bring the thing there.
    """
    step = max(scales)
    mass = _mass(class_ids, step, num_classes)
    judged = [scale for scale in scales if step % scale == 0]
    thin, lost_thin, lost = _thin_and_lost(class_ids, judged, step, num_classes)
    thin_share = thin.sum(axis=(1, 2)) / np.maximum(mass.sum(axis=(1, 2)), 1)
    cells = max(1, round(side / step))
    high, wide = min(cells, mass.shape[1]), min(cells, mass.shape[2])
    lost_there = np.minimum(_window_sums(lost_thin, high, wide), _window_sums(lost, high, wide, weighted=False))
    score = _score(_window_sums(mass, high, wide), lost_there) * thin_share[:, None, None]
    wanted = np.isin(np.arange(num_classes), preferred)
    if score[wanted].any():
        score[~wanted] = 0
    class_id, row, column = (int(place) for place in np.unravel_index(np.argmax(score), score.shape))
    if not score[class_id, row, column]:
        return None
    top, left = row * step, column * step
    height, width = class_ids.shape
    return View(top, left, min(high * step, height - top), min(wide * step, width - left), class_id)


def _thin_and_lost(
    class_ids: NDArray[np.uint8], scales: Sequence[int], step: int, num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return each class's thin mass, what nearest loses of it, and what nearest loses of the class in all.

    They are means over the scales, per cell of `step` pixels; a loss is negative where nearest gains.
    """
    thin, lost_thin, lost = np.zeros((3, num_classes, *(-(-length // step) for length in class_ids.shape)))
    mass = _mass(class_ids, step, num_classes)
    for scale in scales:
        only_thin = np.where(thinner_than(class_ids, scale), class_ids, np.uint8(IGNORE_ID))
        thin_mass = _mass(only_thin, step, num_classes)
        thin += thin_mass / len(scales)
        lost_thin += (thin_mass - _kept_by_nearest(only_thin, scale, step, num_classes)) / len(scales)
        lost += (mass - _kept_by_nearest(class_ids, scale, step, num_classes)) / len(scales)
    return thin, lost_thin, lost


def _kept_by_nearest(class_ids: NDArray[np.uint8], scale: int, step: int, num_classes: int) -> NDArray[np.float64]:
    """Return the mass, in pixels, that each class has after nearest at `scale`, per cell of `step` pixels."""
    return _mass(nearest(class_ids, scale), step // scale, num_classes) * scale**2


def _mass(class_ids: NDArray[np.uint8], cell: int, num_classes: int) -> NDArray[np.float64]:
    """Return the pixels of each class, per cell."""
    counts: NDArray[np.float64] = cpp_counts(class_ids, cell, num_classes=num_classes)[:-1].astype(np.float64)
    return counts


def _score(mass: NDArray[np.float64], lost: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return l^2.5 / m^1.5, and 0 where no more is lost than what rounding the weights leaves."""
    lost = np.where(lost > 1e-6, lost, 0)
    scores: NDArray[np.float64] = lost**2.5 / np.maximum(mass, 1) ** 1.5
    return scores


def _window_sums(values: NDArray[np.float64], high: int, wide: int, *, weighted: bool = True) -> NDArray[np.float64]:
    """Return the sums over all windows of (high, wide) cells of (K, h, w) values, weighted towards their middle."""
    for axis, length in ((1, high), (2, wide)):
        weights = np.sin(np.pi * (np.arange(length) + 0.5) / length) if weighted else np.ones(length)
        windows = np.lib.stride_tricks.sliding_window_view(values, length, axis=axis)
        values = windows @ weights
    return values
