"""DeepLabV3's atrous pyramid, and DeepLabV3+, which adds a finer stage to it.

References
----------
Chen et al. Rethinking Atrous Convolution for Semantic Image Segmentation. 2017 (arXiv 1706.05587).
Chen et al. Encoder-Decoder with Atrous Separable Convolution. ECCV 2018.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdata.models.heads.head import Head, HeadOutput
from segdata.models.layers import Classifier, ConvBNReLU, resize_features, separable_conv


def dilations(stride: int) -> tuple[int, int, int]:
    """Return the dilations of the atrous paths: 12, 24, 36 at output stride 8, fewer cells at coarser strides.

    >>> dilations(8), dilations(16)
    ((12, 24, 36), (6, 12, 18))
    """
    return 96 // stride, 192 // stride, 288 // stride


class AtrousPyramid(nn.Module):
    """A 1x1 path, three dilated 3x3 paths and the image's mean, brought together by a 3x3.

    While training, the mean has one value per channel and image: batch norm needs a batch of at least two images, or
    SyncBatchNorm over several processes.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, *, separable: bool, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.image_path = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvBNReLU(in_channels, channels))
        atrous = [
            separable_conv(in_channels, channels, dilation=dilation)
            if separable
            else ConvBNReLU(in_channels, channels, 3, dilation=dilation)
            for dilation in dilations(stride)
        ]
        self.paths = nn.ModuleList([ConvBNReLU(in_channels, channels), *atrous])
        self.bottleneck = ConvBNReLU(5 * channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (N, channels, h, w)."""
        mean = resize_features(self.image_path(x), x.shape[-2:], align_corners=self.align_corners)
        return self.bottleneck(torch.cat([mean, *(path(x) for path in self.paths)], dim=1))  # type: ignore[no-any-return]


class DeepLabV3Head(Head):
    """The atrous pyramid on the last stage and the classifier."""

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
        self.pyramid = AtrousPyramid(
            in_channels[-1], channels, strides[-1], separable=False, align_corners=align_corners
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = Classifier(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Return the class scores at the stride of the last stage."""
        x = self.pyramid(features[-1])
        return HeadOutput(self.classifier(self.dropout(x)), x)


class DeepLabV3PlusHead(Head):
    """The separable atrous pyramid, upsampled, beside a narrow projection of the first stage; two separable 3x3."""

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        channels: int,
        dropout: float,
        align_corners: bool,
        fine_channels: int = 48,
    ) -> None:
        super().__init__()
        self.stride, self.embedding_channels = strides[0], channels
        self.align_corners = align_corners
        self.pyramid = AtrousPyramid(
            in_channels[-1], channels, strides[-1], separable=True, align_corners=align_corners
        )
        self.fine = ConvBNReLU(in_channels[0], fine_channels)
        self.decoder = nn.Sequential(
            separable_conv(channels + fine_channels, channels), separable_conv(channels, channels)
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = Classifier(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Return the class scores at the stride of the first stage."""
        fine = self.fine(features[0])
        context = resize_features(self.pyramid(features[-1]), fine.shape[-2:], align_corners=self.align_corners)
        x = self.decoder(torch.cat([context, fine], dim=1))
        return HeadOutput(self.classifier(self.dropout(x)), x)
