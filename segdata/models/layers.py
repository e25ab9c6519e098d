"""Small parts that all models share: convolution with norm, resizing, initialization."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdata.models.resizing import resize_bilinear


class ConvBNReLU(nn.Sequential):
    """Convolution without bias, batch norm, ReLU; padded so that stride 1 keeps the size.

    The keys are ``0.weight`` (convolution) and ``1.*`` (norm), as in the published models.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, *, dilation: int = 1, groups: int = 1
    ) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


def separable_conv(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution as one per channel and one across channels, each with norm and ReLU."""
    return nn.Sequential(
        ConvBNReLU(in_channels, in_channels, 3, dilation=dilation, groups=in_channels),
        ConvBNReLU(in_channels, out_channels),
    )


class Classifier(nn.Conv2d):
    """The last 1x1 convolution of a head; `initialize` draws it from N(0, 0.01) as MMSegmentation does."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)


def initialize(module: nn.Module) -> None:
    """Initialize all convolutions and norms below `module` in place.

    Convolutions: Kaiming normal on the fan out, biases 0 (He et al., 2015). Classifiers: N(0, 0.01).
    Batch norm: weight 1, bias 0. Draws from torch's global generator, as torch's own layers do.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            if isinstance(layer, Classifier):
                nn.init.normal_(layer.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def resize(maps: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """Resize maps bilinearly, and return them unchanged where they have the size already.

    Parameters
    ----------
    maps : Tensor, shape (N, C, h, w)
    size : (int, int)
        Target (height, width).
    align_corners : bool
        True puts the corner pixels' centers onto each other (official HRNet); False their corners
        (MMSegmentation, NVIDIA).

    Returns
    -------
    Tensor, shape (N, C, height, width)
        Resized under autocast, it is of float32, as torch's own interpolation is.
    """
    mixed = not maps.is_meta and torch.is_autocast_enabled(maps.device.type)
    if mixed and tuple(maps.shape[-2:]) != tuple(size):
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
    return resize_bilinear(maps, size, align_corners=align_corners)


def resize_features(maps: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """Resize features as `resize` does scores, in their own dtype.

    Where torch interpolates, it does so in float32 under autocast; all that is added to the result or follows it would
    stay in it.
    """
    return resize_bilinear(maps, size, align_corners=align_corners).to(maps.dtype)
