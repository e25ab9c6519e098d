"""A model of several image scales, fused by attention: HMSA, and SeeThroughNet around its own head.

References
----------
Tao, Sapra, Catanzaro. Hierarchical Multi-Scale Attention for Semantic Segmentation. 2020 (arXiv 2005.10821).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from segdata.models.attention import ScaleAttention, ScalePrediction, fuse_scales
from segdata.models.backbone import Backbone
from segdata.models.heads.head import Head, HeadOutput
from segdata.models.layers import resize
from segdata.models.output import AuxiliaryOutput, ModelOutput, ScaleOutput
from segdata.models.segmenter import Segmenter
from segdata.models.settings import HierarchicalSettings, check_scales


def scaled_size(size: Sequence[int], scale: float) -> tuple[int, int]:
    """Return the (height, width) of an image at a scale, rounded up.

    Rounding up makes features of the halved image at stride s as large as those of the whole one at stride 2 s.

    >>> scaled_size((101, 200), 0.5)
    (51, 100)
    """
    height, width = (math.ceil(length * scale - 1e-6) for length in size)
    return height, width


class _Pass(NamedTuple):
    """One image scale's way through the network."""

    scale: float
    size: tuple[int, int]
    """At which this scale's maps are fused."""
    out: HeadOutput
    attention: Tensor | None


class HierarchicalSegmenter(Segmenter):
    """A segmenter run at several image scales, its maps fused by an attention that the smaller scale predicts.

    Parameters
    ----------
    backbone : Backbone
    head : Head
    settings : HierarchicalSettings

    Notes
    -----
    In training the scales are ``settings.scales``, two as published. In evaluation any set of scales that holds 1.0
    may be named in the call: the attention was learnt between neighbors and is chained, from the largest scale down.

    Scales go through the network from the smallest up, and in training the attention looks at the largest too, whose
    answer nothing uses: so the averages of batch norm become those of the published code.
    """

    settings: HierarchicalSettings

    def __init__(self, backbone: Backbone, head: Head, settings: HierarchicalSettings) -> None:
        super().__init__(backbone, head, settings)
        self.attention = ScaleAttention(head.embedding_channels, settings.head_channels // 2)

    def forward(self, images: Tensor, scales: Sequence[float] | None = None) -> ModelOutput:
        """Return the class scores of images seen at several scales.

        Parameters
        ----------
        images : Tensor, shape (N, 3, H, W)
            Normalized with ImageNet's mean and standard deviation.
        scales : sequence of float, optional
            Positive factors in any order, 1.0 among them; ``settings.scales`` if not given.

        Returns
        -------
        ModelOutput
            The fused scores, at stride 1 or the head's (`fuse_at`). In training mode also the auxiliary maps and each
            scale's own scores.

        Raises
        ------
        SettingsError
            If the scales cannot be fused.
        """
        chosen = self.settings.scales if scales is None else tuple(scales)
        check_scales(chosen)
        passes = [self._pass(images, scale, largest=scale == max(chosen)) for scale in sorted(chosen)]
        stride = 1 if self.settings.fuse_at == "image" else self.head.stride
        logits = self._fuse(passes, [one.out.logits for one in passes])
        if not self.training:
            return ModelOutput(logits, stride)
        singles = tuple(ScaleOutput(one.out.logits, one.scale) for one in passes)
        return ModelOutput(logits, stride, self._auxiliary_outputs(passes, stride), singles)

    def _pass(self, images: Tensor, scale: float, *, largest: bool) -> _Pass:
        size = scaled_size(images.shape[-2:], scale)
        with_auxiliary = self.training and (scale == 1 or self.settings.auxiliary_scales == "all")
        resized = resize(images, size, align_corners=self.settings.align_corners)
        out = self.encode(resized, with_auxiliary=with_auxiliary)
        attention = self.attention(out.embedding) if self.training or not largest else None
        if self.settings.fuse_at == "stride":
            size = (out.logits.shape[-2], out.logits.shape[-1])
        return _Pass(scale, size, out, attention)

    def _fuse(self, passes: list[_Pass], maps: list[Tensor]) -> Tensor:
        """Fuse one map of each pass, every map at the size where its scale takes part."""
        predictions = [
            ScalePrediction(one.scale, one.size, each, one.attention) for one, each in zip(passes, maps, strict=True)
        ]
        return fuse_scales(predictions, align_corners=self.settings.align_corners)

    def _auxiliary_outputs(self, passes: list[_Pass], stride: int) -> tuple[AuxiliaryOutput, ...]:
        """Return the fused object regions, and the maps of single scales."""
        outputs = []
        regions = [one.out.regions for one in passes if one.out.regions is not None]
        if regions:
            outputs.append(AuxiliaryOutput(self._fuse(passes, regions), stride, "regions"))
        for one in reversed(passes):
            if one.scale == 1:
                outputs.extend(one.out.auxiliary)
            elif self.settings.auxiliary_scales == "all":
                outputs.extend(_at_scale(each, one.scale) for each in one.out.auxiliary)
        return tuple(outputs)


def _at_scale(output: AuxiliaryOutput, scale: float) -> AuxiliaryOutput:
    """Return an auxiliary map of a resized image with its stride in pixels of the whole one."""
    return AuxiliaryOutput(output.logits, round(output.stride / scale), f"{output.name}@{scale:g}")
