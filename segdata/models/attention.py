"""Attention between scales, and the one formula by which two maps are blended with it.

References
----------
Tao, Sapra, Catanzaro. Hierarchical Multi-Scale Attention for Semantic Segmentation. 2020 (arXiv 2005.10821).
"""

from typing import NamedTuple

from torch import Tensor, nn

from segdata.models.layers import ConvBNReLU, resize


class ScaleAttention(nn.Sequential):
    """How much the coarser of two maps is trusted at each place, in [0, 1].

    Two 3x3 convolutions with norm and ReLU, a 1x1 convolution without bias to one channel, a sigmoid.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(
            ConvBNReLU(in_channels, channels, 3),
            ConvBNReLU(channels, channels, 3),
            nn.Conv2d(channels, 1, 1, bias=False),
            nn.Sigmoid(),
        )


class ScalePrediction(NamedTuple):
    """The maps of one scale that take part in a fusion."""

    scale: float
    size: tuple[int, int]
    """(height, width) at which the scale takes part; its maps are resized to it when their turn comes."""
    maps: Tensor
    """Shape (N, C, h, w)."""
    attention: Tensor | None
    """Shape (N, 1, h, w), or None at the largest scale, whose attention nothing uses."""


def blend_coarser(coarser: Tensor, attention: Tensor, finer: Tensor, *, align_corners: bool = False) -> Tensor:
    """Return ``up(a * coarser) + (1 - up(a)) * finer``: the coarser map where its attention trusts it.

    Parameters
    ----------
    coarser : Tensor, shape (N, C, h, w)
    attention : Tensor, shape (N, 1, h, w)
        Predicted from the coarser scale.
    finer : Tensor, shape (N, C, H, W)
    align_corners : bool
        For the bilinear upsampling.

    Returns
    -------
    Tensor, shape (N, C, H, W)

    Examples
    --------
    >>> import torch
    >>> coarser, finer = torch.full((1, 1, 1, 1), 8.0), torch.zeros(1, 1, 1, 2)
    >>> blend_coarser(coarser, torch.full((1, 1, 1, 1), 0.25), finer).flatten().tolist()
    [2.0, 2.0]
    """
    size = finer.shape[-2:]
    trust = resize(attention, size, align_corners=align_corners)
    return resize(attention * coarser, size, align_corners=align_corners) + (1 - trust) * finer


def fuse_scales(predictions: list[ScalePrediction], *, align_corners: bool = False) -> Tensor:
    """Fuse maps of several image scales hierarchically into one at scale 1.

    From the largest scale down: a scale s >= 1 takes its own map by its attention and the fusion so far, resized to
    it, by the rest, ``a_s P_s + (1 - a_s) resize(P)``; a scale s < 1 is blended in by `blend_coarser`.

    Parameters
    ----------
    predictions : list of ScalePrediction
        One per scale, in any order, scale 1 among them; all with attention except perhaps the largest.
    align_corners : bool
        For the bilinear resizing.

    Returns
    -------
    Tensor, shape (N, C, height, width)
        Of the size at which scale 1 takes part.
    """
    first, *others = sorted(predictions, key=lambda prediction: -prediction.scale)
    fused = resize(first.maps, first.size, align_corners=align_corners)
    for scale, size, maps, attention in others:
        assert attention is not None, "only the largest scale goes without attention"
        trust = resize(attention, size, align_corners=align_corners)
        own = resize(maps, size, align_corners=align_corners)
        if scale < 1:
            fused = blend_coarser(own, trust, fused, align_corners=align_corners)
        else:
            fused = trust * own + (1 - trust) * resize(fused, size, align_corners=align_corners)
    return fused
