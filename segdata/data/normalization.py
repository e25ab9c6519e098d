"""From stored pixels to what the models are fed: less the mean, over the deviation, of the images of their weights."""

from collections.abc import Sequence

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Of red, green, blue, in units of 255."""
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize(images: Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> Tensor:
    """Return pixels 0-255 as numbers of mean about 0 and deviation about 1.

    Parameters
    ----------
    images : Tensor of any number type, shape (N, 3, H, W)
        Red, green, blue, 0-255.
    mean, std : sequence of three floats
        Per channel, in units of 255.

    Returns
    -------
    Tensor of float32, shape (N, 3, H, W)
        ``(value / 255 - mean) / std``, on the same device.

    Examples
    --------
    >>> normalize(torch.zeros(1, 3, 1, 1, dtype=torch.uint8)).flatten()
    tensor([-2.1179, -2.0357, -1.8044])
    """
    center = constants(mean, images.device).mul(255).view(1, 3, 1, 1)
    spread = constants(std, images.device).mul(255).view(1, 3, 1, 1)
    return (images.float() - center) / spread


def constants(values: Sequence[float], device: torch.device) -> Tensor:
    """Return numbers as a tensor of float32 on a device, shape (n,), made there: copying them would wait for it."""
    return torch.stack([torch.full((), value, device=device) for value in values])
