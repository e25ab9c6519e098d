"""ResNet-50 and -101, v1 and v1c, with dilation for output strides 8 and 16.

Keys are those of torchvision and timm, so their files load as they are. As in torchvision ("v1.5"), a bottleneck's
stride stands in its 3x3 convolution. The first block of a dilated stage keeps the dilation of the stage before it,
as torchvision, timm and MMSegmentation's `contract_dilation` have it.

References
----------
He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from segdata.errors import SettingsError
from segdata.models import activation_checkpointing as checkpointing
from segdata.models.backbone import Backbone

DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
"""Bottlenecks per stage."""


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a residual; puts out four times `width` channels."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape (N, 4 * width, ceil(h / stride), ceil(w / stride))."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        residual = x if self.downsample is None else self.downsample(x)
        return self.relu(self.bn3(self.conv3(out)) + residual)  # type: ignore[no-any-return]


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Return the 1x1 convolution on a residual that changes shape, or None where it does not."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )


def _stem(deep: bool, width: int) -> nn.Module:
    """Return the first convolution: 7x7, or three 3x3 at half width in v1c."""
    if not deep:
        return nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
    half = width // 2
    return nn.Sequential(
        nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        nn.Conv2d(half, half, 3, padding=1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(inplace=True),
        nn.Conv2d(half, width, 3, padding=1, bias=False),
    )


class ResNet(Backbone):
    """A ResNet of bottlenecks that returns the features after each of its four stages.

    Parameters
    ----------
    blocks : four ints
        Bottlenecks per stage.
    deep_stem : bool
        Three 3x3 convolutions in place of the 7x7 (v1c).
    output_stride : {8, 16, 32}
        Stride of the last stage; strides given up are replaced by dilation.
    width : int
        Channels of the stem and of the first stage's bottlenecks (64 as published).
    checkpointing : bool
        Recompute each bottleneck's activations in the backward pass.

    Attributes
    ----------
    channels, strides : tuple of int
        Of the four features, finest first.
    """

    unused_weights: ClassVar = ("fc.",)
    renamed_weights: ClassVar = ((r"stem\.7\.", "bn1."), (r"stem\.([0-6])\.", r"conv1.\1."))  # MMSegmentation's v1c

    def __init__(
        self,
        blocks: tuple[int, int, int, int],
        *,
        deep_stem: bool = False,
        output_stride: int = 32,
        width: int = 64,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16, 32):
            raise SettingsError(f"output_stride: {output_stride} is not offered by ResNet. Choose 8, 16 or 32.")
        self.conv1 = _stem(deep_stem, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.checkpointing = checkpointing
        self.channels = tuple(width * Bottleneck.expansion * 2**stage for stage in range(4))
        self.strides = tuple(min(4 * 2**stage, output_stride) for stage in range(4))
        self.layer1 = self._stage(0, width, blocks[0])
        self.layer2 = self._stage(1, self.channels[0], blocks[1])
        self.layer3 = self._stage(2, self.channels[1], blocks[2])
        self.layer4 = self._stage(3, self.channels[2], blocks[3])

    def _stage(self, stage: int, in_channels: int, blocks: int) -> nn.Sequential:
        """Return one stage; what its stride loses against 4 * 2**stage it gains in dilation."""
        stride_before = self.strides[stage - 1] if stage else 4
        stride = self.strides[stage] // stride_before
        dilation = 4 * 2**stage // self.strides[stage]
        width = self.channels[stage] // Bottleneck.expansion
        first = Bottleneck(in_channels, width, stride=stride, dilation=max(1, dilation // 2))
        others = (Bottleneck(self.channels[stage], width, dilation=dilation) for _ in range(blocks - 1))
        return nn.Sequential(first, *others)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features after the four stages, finest first.

        Parameters
        ----------
        images : Tensor, shape (N, 3, H, W)
            Normalized with ImageNet's mean and standard deviation.

        Returns
        -------
        list of Tensor
            Shapes ``(N, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))``.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = checkpointing.run(block, x, recompute=self.checkpointing)
            features.append(x)
        return features


def build_resnet(name: str, **settings: Any) -> ResNet:
    """Return ``resnet50``, ``resnet101``, their ``..._v1c`` or ``resnet_tiny`` (v1c, one block a stage, width 8)."""
    if name == "resnet_tiny":
        return ResNet((1, 1, 1, 1), deep_stem=True, width=8, **settings)
    base = name.removesuffix("_v1c")
    blocks = DEPTHS[base]
    return ResNet((blocks[0], blocks[1], blocks[2], blocks[3]), deep_stem=base != name, **settings)
