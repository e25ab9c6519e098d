"""EfficientNet-Lite0: a backbone of 3.4 million weights that a laptop can train, with published ImageNet weights.

EfficientNet's first network without squeeze-and-excitation and with ReLU6, made by TensorFlow's authors for small
devices. Convolutions are padded as TensorFlow's "SAME" does, which differs from torch's where the stride is 2: the
published weights were trained so.

References
----------
Tan, Le. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019.
"""

from typing import ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from segdata.errors import SettingsError
from segdata.models import activation_checkpointing as checkpointing
from segdata.models.backbone import Backbone


class Stage(NamedTuple):
    """Blocks of one width: how many, what their depthwise convolutions are, and what they put out."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32
LITE0 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
FEATURE_STAGES = (1, 2, 4, 6)
"""Stages of `LITE0`, counted from 0, whose output is a feature: the last of strides 4, 8, 16, 32."""


class SamePadConv(nn.Conv2d):
    """A convolution whose output has ``ceil(input / stride)`` cells, padded as TensorFlow does: more after than before.

    Where the stride is 1 that is torch's own symmetric padding.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1
    ) -> None:
        padding = dilation * (kernel - 1) // 2 if stride == 1 else 0
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (N, out_channels, ceil(h / stride), ceil(w / stride))."""
        if self.stride[0] > 1:
            (top, bottom), (left, right) = (self._padding(size) for size in x.shape[-2:])
            x = F.pad(x, (left, right, top, bottom))
        return super().forward(x)

    def _padding(self, size: int) -> tuple[int, int]:
        stride, reach = self.stride[0], self.dilation[0] * (self.kernel_size[0] - 1) + 1
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        return total // 2, total - total // 2


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)  # of the published network; the momentum is torch's


class InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise convolution, 1x1 to fewer; a residual where the shape stays."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int, stride: int, dilation: int, expansion: int
    ) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expand = nn.Identity() if expansion == 1 else nn.Conv2d(in_channels, width, 1, bias=False)
        self.expand_norm = nn.Identity() if expansion == 1 else _norm(width)
        self.depthwise = SamePadConv(width, width, kernel, stride=stride, dilation=dilation, groups=width)
        self.depthwise_norm = _norm(width)
        self.project = nn.Conv2d(width, out_channels, 1, bias=False)
        self.project_norm = _norm(out_channels)
        self.relu = nn.ReLU6(inplace=True)
        self.expands, self.has_residual = expansion > 1, stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (N, out_channels, ceil(h / stride), ceil(w / stride))."""
        out: Tensor = self.relu(self.expand_norm(self.expand(x))) if self.expands else x
        out = self.relu(self.depthwise_norm(self.depthwise(out)))
        out = self.project_norm(self.project(out))
        return out + x if self.has_residual else out


class EfficientNetLite(Backbone):
    """EfficientNet-Lite0 without its classifier; returns features of four strides, as the other backbones do.

    Parameters
    ----------
    output_stride : {8, 16, 32}
        Stride of the last feature; strides given up are replaced by dilation.
    checkpointing : bool
        Recompute each block's activations in the backward pass.

    Attributes
    ----------
    channels, strides : tuple of int
        (24, 40, 112, 320) at strides 4, 8, 16, 32.
    """

    unused_weights: ClassVar = ("_conv_head.", "_bn1.", "_fc.")
    renamed_weights: ClassVar = (
        (r"_conv_stem\.", "stem."),
        (r"_bn0\.", "stem_norm."),
        (r"_blocks\.(\d+)\._expand_conv\.", r"blocks.\1.expand."),
        (r"_blocks\.(\d+)\._bn0\.", r"blocks.\1.expand_norm."),
        (r"_blocks\.(\d+)\._depthwise_conv\.", r"blocks.\1.depthwise."),
        (r"_blocks\.(\d+)\._bn1\.", r"blocks.\1.depthwise_norm."),
        (r"_blocks\.(\d+)\._project_conv\.", r"blocks.\1.project."),
        (r"_blocks\.(\d+)\._bn2\.", r"blocks.\1.project_norm."),
    )

    def __init__(self, *, output_stride: int = 32, checkpointing: bool = False) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise SettingsError(
                f"output_stride: {output_stride} is not offered by EfficientNet-Lite0. Choose 8, 16 or 32."
            )
        self.checkpointing = checkpointing
        self.channels = tuple(LITE0[stage].channels for stage in FEATURE_STAGES)
        self.strides = tuple(min(stride, output_stride) for stride in (4, 8, 16, 32))
        self.stem = SamePadConv(3, STEM_CHANNELS, 3, stride=2)
        self.stem_norm = _norm(STEM_CHANNELS)
        self.relu = nn.ReLU6(inplace=True)
        blocks: list[InvertedResidual] = []
        self._feature_ends: list[int] = []
        channels, full_stride = STEM_CHANNELS, 2
        for number, stage in enumerate(LITE0):
            for block in range(stage.blocks):
                wanted = stage.stride if block == 0 else 1
                # As in a dilated ResNet, the block whose stride is given up keeps the dilation of the one before it.
                dilation = max(1, full_stride // output_stride)
                stride = wanted if full_stride * wanted <= output_stride else 1
                full_stride *= wanted
                blocks.append(
                    InvertedResidual(
                        channels,
                        stage.channels,
                        kernel=stage.kernel,
                        stride=stride,
                        dilation=dilation,
                        expansion=stage.expansion,
                    )
                )
                channels = stage.channels
            if number in FEATURE_STAGES:
                self._feature_ends.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of strides 4, 8, 16, 32, or of those that the output stride leaves, finest first.

        Parameters
        ----------
        images : Tensor, shape (N, 3, H, W)
            Normalized with ImageNet's mean and standard deviation.

        Returns
        -------
        list of Tensor
            Shapes ``(N, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))``.
        """
        x = self.relu(self.stem_norm(self.stem(images)))
        features = []
        for number, block in enumerate(self.blocks):
            x = checkpointing.run(block, x, recompute=self.checkpointing)
            if number in self._feature_ends:
                features.append(x)
        return features
