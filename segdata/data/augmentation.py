"""What happens to an image on its way to the model, as numbers: a pure function of seed and position in the stream.

The numbers are drawn here, without a pixel at hand; `segdata.data.crop_box` and `segdata.data.color_tensors` obey them.
So a crop is the same in any worker, on any rank, after any resumption.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from segdata.config.recipe import AugmentationRecipe
from segdata.data.crop_box import CropBox
from segdata.sampling.uniforms import CROPS, named_key, uniforms

Operation = Literal["add", "multiply", "contrast", "saturation", "hsv_saturation", "hue", "blur"]

_NUM_NUMBERS = 16  # more than any kind of augmentation takes; the first four are those of `CropDataset`
_JITTERS: tuple[Operation, ...] = ("multiply", "contrast", "saturation", "hue")


class ColorStep(NamedTuple):
    """One change of an image's colors; see `segdata.data.color_tensors.OPERATIONS` for what the amount means."""

    operation: Operation
    amount: float


class Augmentation(NamedTuple):
    """All that is random about one sample.

    Attributes
    ----------
    scale : float
        How much the image is enlarged before it is cropped.
    where : (float, float)
        Two numbers in [0, 1) that place the crop, for `segdata.data.crop_box.place_crop`.
    flip : bool
        Whether the crop is mirrored left to right.
    colors : tuple of ColorStep
        What is done to its colors, in this order; blur comes last.
    """

    scale: float
    where: tuple[float, float]
    flip: bool
    colors: tuple[ColorStep, ...]


def draw_augmentation(seed: int, position: int, recipe: AugmentationRecipe) -> Augmentation:
    """Return what happens to the sample at a position of the stream.

    Parameters
    ----------
    seed, position : int
        Name the randomness; nothing else does.
    recipe : AugmentationRecipe
        The ranges.

    Examples
    --------
    >>> recipe = AugmentationRecipe(crop=(4, 4), scale=(1.0, 1.0), color="none")
    >>> draw_augmentation(0, 7, recipe) == draw_augmentation(0, 7, recipe) != draw_augmentation(0, 8, recipe)
    True
    """
    numbers = uniforms(named_key(seed, CROPS), position, _NUM_NUMBERS).tolist()
    scale, row, column, mirror, blur, sigma, *colors = numbers
    steps = list(_COLORS[recipe.color](iter(colors), recipe))
    if blur < recipe.blur:
        steps.append(ColorStep("blur", _between(sigma, *recipe.blur_sigma)))
    return Augmentation(_scale(scale, recipe.scale), (row, column), mirror < recipe.flip, tuple(steps))


def other_places(seed: int, position: int) -> Iterator[tuple[float, float]]:
    """Yield where else the crop at a position of the stream may lie, for one that does not please: ten places.

    Pairs as `Augmentation.where`; ten as in MMSegmentation.
    """
    for attempt in range(1, 11):
        row, column = uniforms(named_key(seed, CROPS, attempt), position, 2).tolist()
        yield row, column


def align_box(box: CropBox, step: int, center: tuple[int, int] | None) -> CropBox:
    """Move a crop by less than a step so that it begins on a multiple of it, in pixels of the image.

    Parameters
    ----------
    box : CropBox
    step : int
        Side of the cells of stored targets, in pixels of the image.
    center : (int, int) or None
        (row, column) of a pixel that must stay in the crop.

    Returns
    -------
    CropBox
        Along an axis where the image is smaller than the crop, the image stays inside the crop if that is possible;
        where it is larger, the crop may reach beyond its end by less than a step.

    Examples
    --------
    >>> box = align_box(CropBox(3.0, 9.0, 1.0, (8, 8), (32, 32)), 4, None)
    >>> box.top, box.left
    (0.0, 8.0)
    """
    axes = zip((box.top, box.left), box.size, box.image_size, center or (None, None), strict=True)
    top, left = (_aligned_start(start, crop / box.scale, length, step, middle) for start, crop, length, middle in axes)
    return CropBox(float(top), float(left), box.scale, box.size, box.image_size)


def _aligned_start(start: float, crop: float, length: int, step: int, middle: int | None) -> int:
    """Return the multiple of a step below the start, or the one above where the crop would lose what it must show.

    Of starts from which the next one reaches beyond the image, half take it: else no crop would show the last rows.
    """
    below = math.floor(start / step) * step
    if length < crop:
        return below + step if below + crop < length and below + step <= 0 else below
    if middle is not None:
        return below + step if middle >= below + crop else below
    left = length - crop - below
    return below + step if left < step and 2 * (start - below) > left else below


def _photometric(numbers: Iterator[float], _recipe: AugmentationRecipe) -> Iterator[ColorStep]:
    """Photometric distortion with the amounts of MMSegmentation: each change with probability 0.5.

    Contrast is changed early or late.

    Its hue is in OpenCV's units of two degrees, a whole number from -18 to 17.
    """
    late = next(numbers) < 0.5
    brightness, contrast, saturation, hue = ((next(numbers) < 0.5, next(numbers)) for _ in range(4))
    contrast_steps = [ColorStep("multiply", _between(contrast[1], 0.5, 1.5))] if contrast[0] else []
    if brightness[0]:
        yield ColorStep("add", _between(brightness[1], -32, 32))
    yield from [] if late else contrast_steps
    if saturation[0]:
        yield ColorStep("hsv_saturation", _between(saturation[1], 0.5, 1.5))
    if hue[0]:
        yield ColorStep("hue", (int(hue[1] * 36) - 18) / 180)
    yield from contrast_steps if late else []


def _jitter(numbers: Iterator[float], recipe: AugmentationRecipe) -> Iterator[ColorStep]:
    """Color jitter as torchvision names it: four changes of even spread, in random order."""
    spreads = (recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue)
    order = sorted(range(4), key=lambda _: next(numbers))
    for which in order:
        middle = 0.0 if _JITTERS[which] == "hue" else 1.0
        yield ColorStep(_JITTERS[which], middle + _between(next(numbers), -spreads[which], spreads[which]))


_COLORS = {"none": lambda _numbers, _recipe: iter(()), "photometric": _photometric, "jitter": _jitter}


def _scale(number: float, scales: tuple[float, ...]) -> float:
    """Return a factor of a range, or one of several."""
    if len(scales) == 2:
        return _between(number, *scales)
    return scales[int(number * len(scales))]


def _between(number: float, low: float, high: float) -> float:
    return low + number * (high - low)
