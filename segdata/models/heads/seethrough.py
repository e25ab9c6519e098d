"""SeeThroughNet's head: coarse maps per scale, blended by attention into a fine map, which OCR makes final.

What is known of it and what is chosen here is said part by part in docs/models.md.

References
----------
Han, Yoo, Oh. SeeThroughNet: Resurrection of Auxiliary Loss by Preserving Class Probability Information. CVPR 2022.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segdata.config.model import AttentionInput, FineToOCR
from segdata.models.attention import ScaleAttention, blend_coarser
from segdata.models.heads.head import Head, HeadOutput, gather
from segdata.models.layers import Classifier, ConvBNReLU, resize, resize_features
from segdata.models.ocr import OCRBlock, region_head
from segdata.models.output import AuxiliaryOutput


class CoarseHead(nn.Module):
    """3x3 convolution, norm, ReLU, 1x1 convolution; returns the features before the classifier beside the scores."""

    def __init__(self, in_channels: int, channels: int, num_logits: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_channels, channels, 3)
        self.classifier = Classifier(channels, num_logits)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Return class scores (N, num_logits, h, w) and features (N, channels, h, w)."""
        embedding = self.conv(feature)
        return self.classifier(embedding), embedding


class SeeThroughHead(Head):
    """The head of SeeThroughNet.

    Parameters
    ----------
    in_channels, strides : sequence of int
        Of the backbone's features.
    num_classes : int
        Of the final scores.
    coarse_stages : sequence of int
        Stages with a coarse head, counted from 1, ascending.
    coarse_logits : int
        Channels of the coarse and fine maps: classes, or classes + 1.
    coarse_channels : int
        Of a coarse head's 3x3 convolution and of the attention's.
    channels, dropout
        Of the OCR block.
    attention_input : {"coarser", "both"}
        Features the attention between two scales reads.
    fine_to_ocr : {"regions", "concat"}
        How the fine map enters OCR: as its soft object regions, or as further pixel features.
    supervise_fine : bool
        Put the fine map out for a loss of its own.
    align_corners : bool
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        coarse_stages: Sequence[int],
        coarse_logits: int,
        coarse_channels: int,
        channels: int,
        dropout: float,
        attention_input: AttentionInput,
        fine_to_ocr: FineToOCR,
        supervise_fine: bool,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.stride, self.embedding_channels = strides[0], channels
        self.stages = tuple(coarse_stages)
        self.coarse_strides = tuple(strides[stage - 1] for stage in coarse_stages)
        self.attention_input, self.fine_to_ocr = attention_input, fine_to_ocr
        self.supervise_fine, self.align_corners = supervise_fine, align_corners
        self.coarse = nn.ModuleList(
            CoarseHead(in_channels[stage - 1], coarse_channels, coarse_logits) for stage in coarse_stages
        )
        read_channels = coarse_channels * (2 if attention_input == "both" else 1)
        self.attention = nn.ModuleList(
            ScaleAttention(read_channels, coarse_channels) for _ in coarse_stages[1:]
        )  # attention[i] blends map i + 1 into map i
        pixel_channels = sum(in_channels) + (coarse_logits if fine_to_ocr == "concat" else 0)
        self.regions = region_head(pixel_channels, pixel_channels, num_classes) if fine_to_ocr == "concat" else None
        self.ocr = OCRBlock(pixel_channels, channels, channels // 2, dropout=dropout)
        self.classifier = Classifier(channels, num_classes)

    def forward(self, features: Sequence[Tensor]) -> HeadOutput:
        """Return the final scores, and the coarse maps as auxiliary ones."""
        chosen = [features[stage - 1] for stage in self.stages]
        maps, embeddings = zip(*(head(feature) for head, feature in zip(self.coarse, chosen, strict=True)), strict=True)
        fine = self._aggregate(maps, embeddings)
        auxiliary = [
            AuxiliaryOutput(coarse, stride, f"coarse{stage}")
            for coarse, stride, stage in zip(maps, self.coarse_strides, self.stages, strict=True)
        ]
        if self.supervise_fine:
            auxiliary.append(AuxiliaryOutput(fine, self.coarse_strides[0], "fine"))
        pixels = gather(features, align_corners=self.align_corners)
        fine = resize(fine, pixels.shape[-2:], align_corners=self.align_corners)
        regions = fine
        if self.regions is not None:
            pixels = torch.cat([pixels, fine], dim=1)
            regions = self.regions(pixels)
        embedding = self.ocr(pixels, regions)
        own_regions = None if self.regions is None else regions
        return HeadOutput(self.classifier(embedding), embedding, own_regions, tuple(auxiliary))

    def _aggregate(self, maps: Sequence[Tensor], embeddings: Sequence[Tensor]) -> Tensor:
        """Blend the maps from the coarsest to the finest, ``X_s = up(a X_{s+1}) + (1 - up(a)) C_s``."""
        fine = maps[-1]
        for finer in range(len(maps) - 2, -1, -1):
            attention = self._attend(finer, embeddings)
            fine = blend_coarser(fine, attention, maps[finer], align_corners=self.align_corners)
        return fine

    def _attend(self, finer: int, embeddings: Sequence[Tensor]) -> Tensor:
        """Return how much the map after `finer` is trusted against it, at the size of the former."""
        read = embeddings[finer + 1]
        if self.attention_input == "both":
            beside = resize_features(embeddings[finer], read.shape[-2:], align_corners=self.align_corners)
            read = torch.cat([read, beside], dim=1)
        attention: Tensor = self.attention[finer](read)
        return attention
