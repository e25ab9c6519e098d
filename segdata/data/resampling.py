"""Part of an image at another size: bicubic, smoothed where it is scaled down, or bilinear, in one pass over the rows.

The bicubic filter is Pillow's BICUBIC (Keys 1981, a = -0.5), stretched by the factor of scaling down. What differs
from Pillow is rounding: once, at the end, where Pillow also rounds and clamps between its two passes. Values differ by
1, seldom by 2, and by more only where a sharp edge overshoots white or black. Bilinear is OpenCV's and torch's: of the
nearest two pixels, however much it is scaled down.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled

_REACH = 2.0  # of the filter to each side, in pixels of whichever image is the coarser


class Taps(NamedTuple):
    """What each pixel along one axis of the result is made of.

    Attributes
    ----------
    starts : ndarray of int64, shape (n,)
        The first pixel of the image that each looks at.
    weights : ndarray of float32, shape (n, t)
        Of that one and those after it; each row sums to 1.
    """

    starts: NDArray[np.int64]
    weights: NDArray[np.float32]

    @property
    def extent(self) -> tuple[int, int]:
        """Return the first pixel of the image that is looked at, and the one after the last."""
        return int(self.starts.min()), int(self.starts.max()) + self.weights.shape[1]

    def is_plain(self) -> bool:
        """Say whether each pixel is one of the image, and they follow one another, in whichever order."""
        return self.weights.shape[1] == 1 and self.extent[1] - self.extent[0] == len(self.starts)

    def mirrored(self) -> "Taps":
        """Return the same pixels in the opposite order."""
        return Taps(self.starts[::-1].copy(), self.weights[::-1].copy())


def bicubic_taps(begin: float, end: float, number: int, length: int) -> Taps:
    """Return how the part from `begin` to `end` of an axis becomes a number of pixels.

    Parameters
    ----------
    begin, end : float
        In pixels of the image, in which pixel i spans from i to i + 1; within it.
    number : int
        Pixels of the result.
    length : int
        Pixels of the image.

    Examples
    --------
    >>> bicubic_taps(0.0, 2.0, 2, 4).weights.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    ratio = (end - begin) / number
    stretch = max(1.0, ratio)
    centers = begin + (np.arange(number) + 0.5) * ratio
    first = np.maximum(np.floor(centers - _REACH * stretch + 0.5), 0).astype(np.int64)
    last = np.minimum(np.floor(centers + _REACH * stretch + 0.5), length).astype(np.int64)
    most = int((last - first).max())
    starts = np.minimum(first, length - most)
    places = starts[:, np.newaxis] + np.arange(most)
    weights = _cubic((places + 0.5 - centers[:, np.newaxis]) / stretch)
    weights[(places < first[:, np.newaxis]) | (places >= last[:, np.newaxis])] = 0
    used = np.flatnonzero(weights.any(axis=0))  # where the part is not scaled, the neighbors weigh nothing
    weights = weights[:, used[0] : used[-1] + 1]
    weights /= weights.sum(axis=1, keepdims=True)
    return Taps(starts + used[0], weights.astype(np.float32))


def bilinear_taps(begin: float, end: float, number: int, length: int) -> Taps:
    """Return how the part from `begin` to `end` of an axis becomes a number of pixels, each of the nearest two.

    Parameters
    ----------
    begin, end, number, length
        As for `bicubic_taps`.

    Examples
    --------
    >>> bilinear_taps(0.0, 4.0, 2, 4).weights.tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    ratio = (end - begin) / number
    centers = np.clip(begin + (np.arange(number) + 0.5) * ratio - 0.5, 0, length - 1)
    starts = np.minimum(np.floor(centers).astype(np.int64), max(length - 2, 0))
    second = centers - starts
    weights = np.stack([1 - second, second], axis=1)
    weights = weights[:, : 2 if second.any() else 1]
    return Taps(starts, weights.astype(np.float32))


def scale_to_fit(size: tuple[int, int], sides: tuple[int, int] | None) -> float:
    """Return the factor by which an image just fits a longer and a shorter side; 1 where none are given.

    Parameters
    ----------
    size : (int, int)
        Of the image, in either order.
    sides : (int, int) or None
        Longer and shorter.

    Examples
    --------
    >>> scale_to_fit((375, 500), (2048, 512)), scale_to_fit((500, 250), (520, 520))
    (1.3653333333333333, 1.04)
    """
    return min(sides[0] / max(size), sides[1] / min(size)) if sides else 1.0


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(distance)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def resample(
    rows: NDArray[np.uint8],
    first_row: int,
    down: Taps,
    across: Taps,
    out: NDArray[np.uint8],
    at: tuple[int, int] = (0, 0),
) -> None:
    """Resize a part of an image.

    Parameters
    ----------
    rows : ndarray of uint8, shape (n, W, 3), contiguous
        The rows of the image that `down` looks at, from `first_row` on.
    down, across : Taps
        Of h rows and of w columns.
    out : ndarray of uint8, shape (H', W', 3), contiguous
        Where the result goes, all of it or a part.
    at : (int, int)
        The first row and column of that part.
    """
    pixels = rows.reshape(len(rows), -1).view()
    pixels.flags.writeable = False  # one type for the kernel, whoever gives the rows
    left, right = across.extent
    samples, (top, start) = out.reshape(len(out), -1), at
    part = samples[top : top + len(down.starts)]
    _resample(
        pixels,
        down.starts - first_row,
        down.weights,
        3 * left,
        3 * right,
        across.starts,
        across.weights,
        part,
        3 * start,
    )


@compiled
def _resample(
    pixels: NDArray[np.uint8],
    row_starts: NDArray[np.int64],
    row_weights: NDArray[np.float32],
    left: int,
    right: int,
    column_starts: NDArray[np.int64],
    column_weights: NDArray[np.float32],
    out: NDArray[np.uint8],
    start: int,
) -> None:
    half = np.float32(0.5)
    sums, line = np.empty(right - left, np.float32), np.empty(3 * column_starts.size, np.float32)
    for i in range(row_starts.size):
        row = pixels[row_starts[i], left:right]
        weight = row_weights[i, 0]
        for j in range(sums.size):
            sums[j] = weight * np.float32(row[j])
        for tap in range(1, row_weights.shape[1]):
            row = pixels[row_starts[i] + tap, left:right]
            weight = row_weights[i, tap]
            for j in range(sums.size):
                sums[j] += weight * np.float32(row[j])
        for j in range(column_starts.size):
            place = np.uint64(3 * column_starts[j] - left)  # unsigned: no look at whether it counts from the end
            red, green, blue = half, half, half
            for tap in range(column_weights.shape[1]):
                weight = column_weights[j, tap]
                red += weight * sums[place]
                green += weight * sums[place + np.uint64(1)]
                blue += weight * sums[place + np.uint64(2)]
                place += np.uint64(3)
            at = np.uint64(3 * j)
            line[at], line[at + np.uint64(1)], line[at + np.uint64(2)] = red, green, blue
        samples = out[i, start : start + line.size]
        for j in range(line.size):  # a loop that LLVM makes vectors of; to a byte at once it does not
            samples[j] = np.uint8(np.int32(min(max(line[j], np.float32(0)), np.float32(255))))
