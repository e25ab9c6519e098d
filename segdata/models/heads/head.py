"""What all heads have in common."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from segdata.models.layers import resize_features
from segdata.models.output import AuxiliaryOutput


class HeadOutput(NamedTuple):
    """What a head hands to its model."""

    logits: Tensor
    """Final scores, shape (N, K, h, w)."""
    embedding: Tensor
    """The features that the last classifier read, shape (N, C, h, w); the attention between scales reads them too."""
    regions: Tensor | None = None
    """OCR's soft object regions, shape (N, K, h, w): scores that several image scales fuse like the final ones."""
    auxiliary: tuple[AuxiliaryOutput, ...] = ()
    """Maps that belong to one image scale and are not fused."""


class Head(nn.Module):
    """A head; `stride` is that of its logits, `embedding_channels` those of its embedding."""

    stride: int
    embedding_channels: int

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Return the class scores of `features`, finest first."""
        raise NotImplementedError


def gather(features: Sequence[Tensor], *, align_corners: bool) -> Tensor:
    """Concatenate features of all strides at the finest one's size, upsampled bilinearly."""
    size = features[0].shape[-2:]
    return torch.cat([resize_features(feature, size, align_corners=align_corners) for feature in features], dim=1)
