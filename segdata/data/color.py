"""Changes of color in the loader's processes: several steps in one pass over the pixels, compiled.

`segdata.data.color_tensors` is the twin for a device. Pixels are worked on in blocks of float32 that fit the fastest
cache; each step keeps the range 0-255, and only the end rounds.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled, inlined
from segdata.data.augmentation import ColorStep

_CODES = {"add": 0, "multiply": 1, "contrast": 2, "saturation": 3, "hsv_saturation": 4, "hue": 5}
_BLOCK = 1024  # pixels
_RED, _GREEN, _BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)  # ITU-R BT.601, as Pillow
_TINY = np.float32(1e-6)
BLUR_EXTENT = 4.0
"""The kernel of a blur ends at so many standard deviations."""


def change_colors(image: NDArray[np.uint8], steps: Sequence[ColorStep]) -> NDArray[np.uint8]:
    """Apply color steps to an image, one after the other.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        Red, green, blue.
    steps : sequence of ColorStep
        A blur comes last; see `segdata.data.color_tensors.OPERATIONS` for the amounts.

    Returns
    -------
    ndarray of uint8, shape (3, H, W)
        Contiguous; rounded once, half to even.

    Examples
    --------
    >>> gray = np.full((1, 1, 3), 100, np.uint8)
    >>> change_colors(gray, [ColorStep("add", 20.0), ColorStep("multiply", 0.5)]).ravel().tolist()
    [60, 60, 60]
    """
    if not steps:
        return np.ascontiguousarray(image.transpose(2, 0, 1))
    height, width = image.shape[:2]
    samples = np.ascontiguousarray(image).reshape(-1)
    blurs = [step.amount for step in steps if step.operation == "blur"]
    assert not any(step.operation == "blur" for step in steps[: len(steps) - len(blurs)]), "a blur comes last"
    points = [step for step in steps if step.operation != "blur"]
    codes = np.array([_CODES[step.operation] for step in points], np.int64)
    amounts = np.array([step.amount for step in points], np.float32)
    means = np.zeros(len(points), np.float32)
    for at, step in enumerate(points):
        if step.operation == "contrast":
            means[at] = _mean_gray(samples, codes[:at], amounts, means)
    planes = np.empty((3, height * width), np.float32 if blurs else np.uint8)
    _apply(samples, codes, amounts, means, planes, not blurs)
    shaped = planes.reshape(3, height, width)
    for sigma in blurs:
        shaped = _blurred(shaped, sigma)
    return shaped if shaped.dtype == np.uint8 else np.rint(shaped).astype(np.uint8)


def blur_weights(sigma: float) -> list[float]:
    """Return the weights of a Gaussian blur along one axis; they sum to 1, and the middle one is the pixel's own."""
    extent = max(1, round(BLUR_EXTENT * sigma))
    weights = [math.exp(-((at / sigma) ** 2) / 2) for at in range(-extent, extent + 1)]
    return [weight / sum(weights) for weight in weights]


def _blurred(planes: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    weights = np.array(blur_weights(sigma), np.float32)
    extent = len(weights) // 2
    padded = np.pad(planes, ((0, 0), (extent, extent), (extent, extent)), mode="edge")
    blurred = np.empty_like(planes)
    _blur(padded, weights, blurred)
    return blurred


@inlined
def _load(samples, start, size, block):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Put pixels into a block plane by plane; each loop is one that LLVM makes vectors of."""
    part = samples[3 * start : 3 * (start + size)]
    for plane in range(3):
        for at in range(size):
            block[plane, at] = np.float32(part[np.uint64(3 * at + plane)])  # unsigned: no look whether it is negative


@inlined
def _clamped(value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    return min(max(value, np.float32(0)), np.float32(255))


@inlined
def _step(block, size, code, amount, mean):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0912
    """Take one step on a block."""
    red, green, blue = block[0], block[1], block[2]
    if code == 0:
        for plane in range(3):
            for at in range(size):
                block[plane, at] = _clamped(block[plane, at] + amount)
    elif code == 1:
        for plane in range(3):
            for at in range(size):
                block[plane, at] = _clamped(block[plane, at] * amount)
    elif code == 2:
        for plane in range(3):
            for at in range(size):
                block[plane, at] = _clamped(mean + amount * (block[plane, at] - mean))
    elif code == 3:
        for at in range(size):
            gray = _RED * red[at] + _GREEN * green[at] + _BLUE * blue[at]
            red[at] = _clamped(gray + amount * (red[at] - gray))
            green[at] = _clamped(gray + amount * (green[at] - gray))
            blue[at] = _clamped(gray + amount * (blue[at] - gray))
    elif code == 4:
        for at in range(size):
            largest = max(red[at], green[at], blue[at])
            range_ = largest - min(red[at], green[at], blue[at])
            limit = largest / max(range_, _TINY) if range_ > 0 else np.float32(1)
            factor = min(limit, amount)
            red[at] = _clamped(largest - (largest - red[at]) * factor)
            green[at] = _clamped(largest - (largest - green[at]) * factor)
            blue[at] = _clamped(largest - (largest - blue[at]) * factor)
    else:
        turn = np.float32(6) * amount
        for at in range(size):
            r, g, b = red[at], green[at], blue[at]
            largest = max(r, g, b)
            range_ = largest - min(r, g, b)
            per_sixth = np.float32(1) / max(range_, _TINY)
            by_blue = (r - g) * per_sixth + np.float32(4)
            by_green = (b - r) * per_sixth + np.float32(2)
            by_red = (g - b) * per_sixth
            sixths = (by_red if r == largest else (by_green if g == largest else by_blue)) + turn
            red[at] = _hue_channel(largest, range_, sixths + np.float32(5))
            green[at] = _hue_channel(largest, range_, sixths + np.float32(3))
            blue[at] = _hue_channel(largest, range_, sixths + np.float32(1))


@inlined
def _hue_channel(largest, range_, place):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    place = place - np.float32(6) * np.floor(place / np.float32(6))
    share = min(place, np.float32(4) - place)
    return _clamped(largest - range_ * min(max(share, np.float32(0)), np.float32(1)))


@compiled
def _mean_gray(
    samples: NDArray[np.uint8], codes: NDArray[np.int64], amounts: NDArray[np.float32], means: NDArray[np.float32]
) -> float:
    """Return the mean of the gray values after some steps."""
    block, sums = np.empty((3, _BLOCK), np.float32), np.zeros(_BLOCK, np.float64)
    num_pixels = samples.size // 3
    for start in range(0, num_pixels, _BLOCK):
        size = min(_BLOCK, num_pixels - start)
        _load(samples, start, size, block)
        for step in range(codes.size):
            _step(block, size, codes[step], amounts[step], means[step])
        for at in range(size):  # a sum for each place, so that none waits for the one before
            sums[at] += _RED * block[0, at] + _GREEN * block[1, at] + _BLUE * block[2, at]
    return float(sums.sum() / num_pixels)


@compiled
def _apply(
    samples: NDArray[np.uint8],
    codes: NDArray[np.int64],
    amounts: NDArray[np.float32],
    means: NDArray[np.float32],
    planes: NDArray[Any],
    rounded: bool,
) -> None:
    """Take all steps on all pixels; `planes` is uint8 or float32."""
    block = np.empty((3, _BLOCK), np.float32)
    num_pixels = samples.size // 3
    for start in range(0, num_pixels, _BLOCK):
        size = min(_BLOCK, num_pixels - start)
        _load(samples, start, size, block)
        for step in range(codes.size):
            _step(block, size, codes[step], amounts[step], means[step])
        for plane in range(3):
            part = planes[plane, start : start + size]
            if rounded:
                for at in range(size):
                    part[at] = np.uint8(np.int32(np.rint(block[plane, at])))  # to a byte at once is no vector code
            else:
                for at in range(size):
                    part[at] = block[plane, at]


@compiled
def _blur(padded: NDArray[np.float32], weights: NDArray[np.float32], blurred: NDArray[np.float32]) -> None:
    """Blur planes that are padded on all sides by half of the weights' number, rounded down."""
    _, height, width = blurred.shape
    row = np.empty(padded.shape[2], np.float32)
    for plane in range(3):
        for y in range(height):
            row[:] = 0
            for tap in range(weights.size):
                weight = weights[tap]
                for x in range(row.size):
                    row[x] += weight * padded[plane, y + tap, x]
            for x in range(width):
                blurred[plane, y, x] = 0
            for tap in range(weights.size):
                weight = weights[tap]
                for x in range(width):
                    blurred[plane, y, x] += weight * row[x + tap]
