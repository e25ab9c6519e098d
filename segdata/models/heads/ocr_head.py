"""OCRNet's head: object-contextual representations on all HRNet branches, or on a ResNet's last stage."""

from collections.abc import Sequence

from torch import Tensor

from segdata.models.heads.head import Head, HeadOutput, gather
from segdata.models.layers import Classifier
from segdata.models.ocr import OCRBlock, region_head


class OCRHead(Head):
    """Soft object regions, the OCR block and the classifier.

    On a backbone whose last stage is coarser than stride 16 (HRNet), pixels and regions are read from all features
    concatenated at the finest (720 channels at 1/4 on W48). On a dilated one (ResNet) the pixels are read from the
    last stage and the regions from the one before, through a 3x3 convolution, as the authors did.
    """

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
        self.align_corners = align_corners
        self.embedding_channels = channels
        self.joined = strides[-1] > 16
        if self.joined:
            self.stride, pixel_channels = strides[0], sum(in_channels)
            self.regions = region_head(pixel_channels, pixel_channels, num_classes)
        else:
            self.stride, pixel_channels = strides[-1], in_channels[-1]
            self.regions = region_head(in_channels[-2], channels, num_classes, kernel=3)
        self.ocr = OCRBlock(pixel_channels, channels, channels // 2, dropout=dropout)
        self.classifier = Classifier(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Return class scores and soft object regions at the head's stride."""
        if self.joined:
            pixels = source = gather(features, align_corners=self.align_corners)
        else:
            pixels, source = features[-1], features[-2]
        regions = self.regions(source)
        embedding = self.ocr(pixels, regions)
        return HeadOutput(self.classifier(embedding), embedding, regions)
