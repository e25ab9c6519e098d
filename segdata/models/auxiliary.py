"""Auxiliary heads: a small classifier on any stage of the backbone, at that stage's own stride."""

from collections.abc import Sequence

from torch import Tensor, nn

from segdata.models.layers import Classifier, ConvBNReLU
from segdata.models.output import AuxiliaryOutput


class AuxiliaryHead(nn.Sequential):
    """3x3 convolution, norm, ReLU, dropout, 1x1 convolution: the auxiliary head of MMSegmentation.

    Parameters
    ----------
    in_channels, channels : int
        Before and after the 3x3 convolution.
    num_logits : int
        Classes, or classes + 1 where the ignored class is a channel of its own.
    dropout : float
        Share of channels set to 0 while training.
    """

    def __init__(self, in_channels: int, channels: int, num_logits: int, *, dropout: float = 0.1) -> None:
        super().__init__(ConvBNReLU(in_channels, channels, 3), nn.Dropout2d(dropout), Classifier(channels, num_logits))


class AuxiliaryHeads(nn.Module):
    """One auxiliary head on each chosen stage.

    Parameters
    ----------
    stages : sequence of int
        Stages counted from 1, as in "layer1" and "after its four stages".
    in_channels, strides : sequence of int
        Of all the backbone's features.
    channels, num_logits, dropout
        As for `AuxiliaryHead`.
    """

    def __init__(
        self,
        stages: Sequence[int],
        in_channels: Sequence[int],
        strides: Sequence[int],
        *,
        channels: int,
        num_logits: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.stages = tuple(stages)
        self.strides = tuple(strides[stage - 1] for stage in stages)
        self.heads = nn.ModuleList(
            AuxiliaryHead(in_channels[stage - 1], channels, num_logits, dropout=dropout) for stage in stages
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[AuxiliaryOutput, ...]:
        """Return one output per chosen stage, named ``stageN``."""
        return tuple(
            AuxiliaryOutput(head(features[stage - 1]), stride, f"stage{stage}")
            for head, stage, stride in zip(self.heads, self.stages, self.strides, strict=True)
        )
