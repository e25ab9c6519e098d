"""Finding the place in a label image where nearest-neighbour downsampling loses most of a class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segdata.cpp.pooling import cpp_counts


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
    """Downsample as nearest-neighbour does: each cell takes its upper left pixel.

    >>> nearest(np.array([[1, 2, 3], [4, 5, 6]], np.uint8), 2).tolist()
    [[1, 3]]
    """
    return class_ids[::cell, ::cell]


def most_lost(class_ids: NDArray[np.uint8], scales: Sequence[int], num_classes: int, side: int) -> View:
    """Return the view, about `side` pixels wide and high, in which nearest loses most of one class.

    A class with mass m of which nearest keeps n, in the mean over the scales, scores (m - n)^3 / m^2: much is lost,
    and little is kept. The first of equal views is taken.

    Parameters
    ----------
    class_ids : ndarray of uint8, shape (H, W)
        Training ids, 255 for ignored.
    scales : sequence of int
        Cell sizes that nearest is judged at.
    num_classes : int
        Number of classes K.
    side : int
        Pixels; rounded to whole cells of the coarsest scale.
    """
    step = max(scales)
    truth = cpp_counts(class_ids, step, num_classes=num_classes)[:-1].astype(np.float64)
    kept = np.zeros(truth.shape)
    judged = [scale for scale in scales if step % scale == 0]
    for scale in judged:
        kept += _kept_by_nearest(class_ids, scale, step, num_classes) / len(judged)
    cells = max(1, round(side / step))
    high, wide = min(cells, truth.shape[1]), min(cells, truth.shape[2])
    mass, left = _window_sums(truth, high, wide), _window_sums(kept, high, wide)
    score = np.where(left < mass, (mass - left) ** 3 / np.maximum(mass, 1) ** 2, 0)
    class_id, row, column = (int(place) for place in np.unravel_index(np.argmax(score), score.shape))
    top, start = row * step, column * step
    height, width = class_ids.shape
    return View(top, start, min(high * step, height - top), min(wide * step, width - start), class_id)


def _kept_by_nearest(class_ids: NDArray[np.uint8], scale: int, step: int, num_classes: int) -> NDArray[np.float64]:
    """Return the mass, in pixels, that each class has after nearest at `scale`, per cell of `step` pixels."""
    counts = cpp_counts(nearest(class_ids, scale), step // scale, num_classes=num_classes)
    kept: NDArray[np.float64] = counts[:-1].astype(np.float64) * scale**2
    return kept


def _window_sums(values: NDArray[np.float64], high: int, wide: int) -> NDArray[np.float64]:
    """Return the sums over all windows of (high, wide) cells of (K, h, w) values, weighted towards their middle.

    Without the weights a window whose edge runs through a broad thing would seem to lose much of it.
    """
    for axis, length in ((1, high), (2, wide)):
        weights = np.sin(np.pi * (np.arange(length) + 0.5) / length)
        windows = np.lib.stride_tricks.sliding_window_view(values, length, axis=axis)
        values = windows @ weights
    return values
