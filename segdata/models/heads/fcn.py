"""The plain heads: FCN on the last stage, HRNet's on all branches."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdata.models.heads.head import Head, HeadOutput, gather
from segdata.models.layers import Classifier, ConvBNReLU


class FCNHead(Head):
    """Two 3x3 convolutions on the last stage, their input concatenated to their output, one more.

    References
    ----------
    Long, Shelhamer, Darrell. Fully Convolutional Networks. CVPR 2015; the layers are those of MMSegmentation.
    """

    def __init__(
        self, in_channels: Sequence[int], strides: Sequence[int], num_classes: int, *, channels: int, dropout: float
    ) -> None:
        super().__init__()
        self.stride, self.embedding_channels = strides[-1], channels
        self.convs = nn.Sequential(ConvBNReLU(in_channels[-1], channels, 3), ConvBNReLU(channels, channels, 3))
        self.bottleneck = ConvBNReLU(in_channels[-1] + channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = Classifier(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Return the class scores at the stride of the last stage."""
        x = features[-1]
        x = self.bottleneck(torch.cat([x, self.convs(x)], dim=1))
        return HeadOutput(self.classifier(self.dropout(x)), x)


class HRNetHead(Head):
    """All branches concatenated at the finest, a 1x1 convolution that keeps the channels, the classifier.

    References
    ----------
    Wang et al. Deep High-Resolution Representation Learning. TPAMI 2020, section 3.3 (HRNetV2).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        dropout: float,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.stride, self.embedding_channels = strides[0], sum(in_channels)
        self.align_corners = align_corners
        self.bottleneck = ConvBNReLU(sum(in_channels), sum(in_channels))
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = Classifier(sum(in_channels), num_classes)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Return the class scores at the stride of the finest branch."""
        x = self.bottleneck(gather(features, align_corners=self.align_corners))
        return HeadOutput(self.classifier(self.dropout(x)), x)
