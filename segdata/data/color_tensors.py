"""Changes of color on tensors of pixels 0-255, on any device; each keeps the range, and rounds nothing."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from segdata.data.augmentation import ColorStep
from segdata.data.normalization import constants

_GRAY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow
_TINY = 1e-6
_STRIP = 64  # rows
_BLUR_REACH = 4.0  # the kernel ends at so many standard deviations


def change_colors(image: Tensor, steps: Sequence[ColorStep]) -> Tensor:
    """Apply changes one after the other.

    Parameters
    ----------
    image : Tensor of any number type, shape (3, H, W)
        Red, green, blue, 0-255.
    steps : sequence of ColorStep

    Returns
    -------
    Tensor of float32, shape (3, H, W)
        In [0, 255].

    Examples
    --------
    >>> gray = torch.full((3, 1, 1), 100, dtype=torch.uint8)
    >>> change_colors(gray, [ColorStep("add", 20.0), ColorStep("multiply", 0.5)]).flatten()
    tensor([60., 60., 60.])
    """
    changed = image.float()
    for step in steps:
        changed = OPERATIONS[step.operation](changed, step.amount).clamp_(0, 255)
    return changed


def _saturation(image: Tensor, factor: float) -> Tensor:
    """Move every pixel away from its own gray."""
    return torch.lerp(_gray(image), image, factor)


def _contrast(image: Tensor, factor: float) -> Tensor:
    """Move every pixel away from the mean gray."""
    return torch.lerp(_gray(image).mean().expand_as(image), image, factor)


def _hsv_saturation(image: Tensor, factor: float) -> Tensor:
    """Multiply the S of HSV, at most up to 1: the distance of each channel from the largest, `factor` times as far."""
    largest = image.amax(0)
    range_ = largest - image.amin(0)
    limit = torch.where(range_ > 0, largest / range_.clamp(min=_TINY), 1)
    return largest - (largest - image) * limit.clamp(max=factor)


def _hue(image: Tensor, turns: float) -> Tensor:
    """Turn the color wheel, keeping S and V of HSV: along the edges of its hexagon, channel by channel."""
    red, green, blue = image
    largest = image.amax(0)
    range_ = largest - image.amin(0)
    per_sixth = 1 / range_.clamp(min=_TINY)
    sixths = torch.where(
        red == largest,
        (green - blue) * per_sixth,
        torch.where(green == largest, (blue - red) * per_sixth + 2, (red - green) * per_sixth + 4),
    )
    offset = constants((5.0, 3.0, 1.0), image.device)[:, None, None]
    place = sixths + (6 * turns + offset)
    place = place - 6 * torch.floor(place / 6)
    return largest - range_ * torch.minimum(place, 4 - place).clamp_(0, 1)


def _in_strips(change: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor, float], Tensor]:
    """Work on a few rows at a time where the image is on a CPU: what lies between the steps then fits in its cache."""

    def run(image: Tensor, amount: float) -> Tensor:
        if not image.is_cpu:
            return change(image, amount)
        strips = image.split(_STRIP, dim=1)  # type: ignore[no-untyped-call]
        return torch.cat([change(strip, amount) for strip in strips], dim=1)

    return run


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, the border repeated outwards."""
    reach = max(1, round(_BLUR_REACH * sigma))
    weights = [math.exp(-((at / sigma) ** 2) / 2) for at in range(-reach, reach + 1)]
    blurred = F.pad(image[None], (reach, reach, reach, reach), mode="replicate")[0]
    for axis in (1, 2):  # sums of shifted images: on the CPU ten times as fast as a convolution of one channel
        length = blurred.shape[axis] - 2 * reach
        shifted = [blurred.narrow(axis, at, length) for at in range(2 * reach + 1)]
        total = shifted[0] * (weights[0] / sum(weights))
        for part, weight in zip(shifted[1:], weights[1:], strict=True):
            total.add_(part, alpha=weight / sum(weights))
        blurred = total
    return blurred


def _gray(image: Tensor) -> Tensor:
    weights = constants(_GRAY, image.device)
    return torch.einsum("c,chw->hw", weights, image)[None].expand_as(image)


OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "add": lambda image, amount: image + amount,
    "multiply": lambda image, amount: image * amount,
    "contrast": _contrast,
    "saturation": _saturation,
    "hsv_saturation": _in_strips(_hsv_saturation),
    "hue": _in_strips(_hue),
    "blur": _blur,
}
"""By name. Amounts: added levels; factors; turns of the color wheel; a standard deviation in pixels."""
