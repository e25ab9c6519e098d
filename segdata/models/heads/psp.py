"""PSPNet's pyramid of pooled context, and UPerNet, which sets a feature pyramid on it.

References
----------
Zhao et al. Pyramid Scene Parsing Network. CVPR 2017.
Xiao et al. Unified Perceptual Parsing for Scene Understanding. ECCV 2018.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdata.models.heads.head import Head, HeadOutput, gather
from segdata.models.layers import Classifier, ConvBNReLU, resize_features
from segdata.models.resizing import region_means

POOL_SIZES = (1, 2, 3, 6)
"""Cells per side of the pooled maps."""


class PyramidPooling(nn.Module):
    """Features beside four pooled, projected and upsampled versions of themselves, brought together by a 3x3.

    While training, the pooled map of one cell has one value per channel and image: batch norm needs a batch of at
    least two images, or SyncBatchNorm over several processes.
    """

    def __init__(self, in_channels: int, channels: int, *, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.paths = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), ConvBNReLU(in_channels, channels)) for size in POOL_SIZES
        )
        self.bottleneck = ConvBNReLU(in_channels + len(POOL_SIZES) * channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (N, channels, h, w)."""
        means = zip(self.paths, region_means(x, POOL_SIZES), strict=True)
        projected = [path[1](mean) for path, mean in means]  # type: ignore[index]  # path[0] is the pooling
        pooled = [resize_features(part, x.shape[-2:], align_corners=self.align_corners) for part in projected]
        return self.bottleneck(torch.cat([x, *pooled], dim=1))  # type: ignore[no-any-return]


class PSPHead(Head):
    """Pyramid pooling on the last stage and the classifier."""

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        channels: int,
        dropout: float,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.stride, self.embedding_channels = strides[-1], channels
        self.pyramid = PyramidPooling(in_channels[-1], channels, align_corners=align_corners)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = Classifier(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Return the class scores at the stride of the last stage."""
        x = self.pyramid(features[-1])
        return HeadOutput(self.classifier(self.dropout(x)), x)


class UPerHead(Head):
    """Pyramid pooling on the last stage, added top down to the finer ones; all levels classified together."""

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        channels: int,
        dropout: float,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.stride, self.embedding_channels = strides[0], channels
        self.align_corners = align_corners
        self.pyramid = PyramidPooling(in_channels[-1], channels, align_corners=align_corners)
        self.laterals = nn.ModuleList(ConvBNReLU(width, channels) for width in in_channels[:-1])
        self.smooth = nn.ModuleList(ConvBNReLU(channels, channels, 3) for _ in in_channels[:-1])
        self.bottleneck = ConvBNReLU(len(in_channels) * channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = Classifier(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Return the class scores at the stride of the finest stage."""
        level = self.pyramid(features[-1])
        levels = [level]
        for lateral, feature in zip(reversed(self.laterals), reversed(features[:-1]), strict=True):
            level = lateral(feature) + resize_features(level, feature.shape[-2:], align_corners=self.align_corners)
            levels.insert(0, level)
        finer = [smooth(level) for smooth, level in zip(self.smooth, levels, strict=False)]
        x = self.bottleneck(gather([*finer, levels[-1]], align_corners=self.align_corners))
        return HeadOutput(self.classifier(self.dropout(x)), x)
