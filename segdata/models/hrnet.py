"""HRNetV2: four branches at strides 4 to 32 that exchange features over and over.

Keys are those of the published ImageNet files (``hrnetv2_w48_imagenet_pretrained.pth``, timm's ``hrnet_w*``). The
published classifier upsamples by nearest neighbor where branches meet, the published segmentation model bilinearly;
the weights are the same, so the way is a setting.

References
----------
Wang et al. Deep High-Resolution Representation Learning for Visual Recognition. TPAMI 2020.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from segdata.config.model import FuseUpsampling
from segdata.models import activation_checkpointing as checkpointing
from segdata.models.backbone import Backbone
from segdata.models.layers import ConvBNReLU, resize_features
from segdata.models.resnet import Bottleneck


@dataclass(frozen=True, kw_only=True)
class HRNetShape:
    """Numbers that tell one HRNet from another; the defaults are the published ones."""

    width: int
    """Channels of the finest branch; each next one has twice as many."""
    modules: tuple[int, int, int] = (1, 4, 3)
    """Exchange modules in stages 2, 3, 4."""
    blocks: int = 4
    """Residual blocks per branch and module, and bottlenecks of stage 1."""
    stem: int = 64
    """Channels of the two stem convolutions."""


SHAPES = {
    "hrnet_w18": HRNetShape(width=18),
    "hrnet_w32": HRNetShape(width=32),
    "hrnet_w48": HRNetShape(width=48),
    "hrnet_tiny": HRNetShape(width=8, modules=(1, 1, 1), blocks=1, stem=16),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a residual; keeps channels and size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of `x`."""
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + x)  # type: ignore[no-any-return]


def _down(in_channels: int, out_channels: int, *, relu: bool) -> nn.Sequential:
    """Return a 3x3 convolution of stride 2 with norm, and ReLU on request."""
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def _exchange(widths: tuple[int, ...], target: int, source: int) -> nn.Module:
    """Return the path from branch `source` to branch `target` of an exchange."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(nn.Conv2d(widths[source], widths[target], 1, bias=False), nn.BatchNorm2d(widths[target]))
    steps = [_down(widths[source], widths[source], relu=True) for _ in range(target - source - 1)]
    return nn.Sequential(*steps, _down(widths[source], widths[target], relu=False))


class ExchangeModule(nn.Module):
    """Residual blocks on each branch, then each branch becomes the sum of all, resized."""

    def __init__(
        self, widths: tuple[int, ...], blocks: int, *, upsampling: FuseUpsampling, align_corners: bool
    ) -> None:
        super().__init__()
        self.upsampling = upsampling
        self.align_corners = align_corners
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(width) for _ in range(blocks))) for width in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_exchange(widths, target, source) for source in range(len(widths)))
            for target in range(len(widths))
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return one map per branch, each of the shape of its input."""
        branches = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        return tuple(self._fuse(paths, branches, target) for target, paths in enumerate(self.fuse_layers))

    def _fuse(self, paths: nn.Module, branches: list[Tensor], target: int) -> Tensor:
        size = branches[target].shape[-2:]
        total: Tensor | None = None
        for path, branch in zip(paths, branches, strict=True):  # type: ignore[call-overload]  # a ModuleList
            part = self._upsample(path(branch), size)
            total = part if total is None else total + part
        return self.relu(total)  # type: ignore[no-any-return]

    def _upsample(self, part: Tensor, size: tuple[int, ...]) -> Tensor:
        if part.shape[-2:] == size:
            return part
        if self.upsampling == "nearest":
            return F.interpolate(part, size=size, mode="nearest")
        return resize_features(part, size, align_corners=self.align_corners)


class HRNet(Backbone):
    """HRNetV2 without its classifier; returns the four branches.

    Parameters
    ----------
    shape : HRNetShape
    fuse_upsampling : {"bilinear", "nearest"}
        How coarser branches are brought to finer ones: bilinear in the segmentation model, nearest in the ImageNet
        classifier (timm).
    align_corners : bool
        For bilinear upsampling.
    checkpointing : bool
        Recompute each exchange module's activations in the backward pass.

    Attributes
    ----------
    channels, strides : tuple of int
        Of the four features, finest first.
    """

    unused_weights: ClassVar = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")

    def __init__(
        self,
        shape: HRNetShape,
        *,
        fuse_upsampling: FuseUpsampling = "bilinear",
        align_corners: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.channels = tuple(shape.width * 2**branch for branch in range(4))
        self.strides = (4, 8, 16, 32)
        self.conv1 = nn.Conv2d(3, shape.stem, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(shape.stem)
        self.conv2 = nn.Conv2d(shape.stem, shape.stem, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(shape.stem)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _first_stage(shape)
        before = (shape.stem * Bottleneck.expansion,)
        way: dict[str, Any] = {"upsampling": fuse_upsampling, "align_corners": align_corners}
        self.transition1 = _transition(before, self.channels[:2])
        self.stage2 = self._stage(0, shape, way)
        self.transition2 = _transition(self.channels[:2], self.channels[:3])
        self.stage3 = self._stage(1, shape, way)
        self.transition3 = _transition(self.channels[:3], self.channels)
        self.stage4 = self._stage(2, shape, way)

    def _stage(self, index: int, shape: HRNetShape, way: dict[str, Any]) -> nn.Sequential:
        widths = self.channels[: index + 2]
        return nn.Sequential(*(ExchangeModule(widths, shape.blocks, **way) for _ in range(shape.modules[index])))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the four branches, finest first.

        Parameters
        ----------
        images : Tensor, shape (N, 3, H, W)
            Normalized with ImageNet's mean and standard deviation.

        Returns
        -------
        list of Tensor
            Shapes ``(N, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))``.
        """
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.relu(self.bn2(self.conv2(x)))
        for block in self.layer1:
            x = checkpointing.run(block, x, recompute=self.checkpointing)
        branches = self._enter(self.transition1, [x])
        branches = self._exchange_all(self.stage2, branches)
        branches = self._exchange_all(self.stage3, self._enter(self.transition2, branches))
        return self._exchange_all(self.stage4, self._enter(self.transition3, branches))

    def _enter(self, transition: nn.ModuleList, branches: list[Tensor]) -> list[Tensor]:
        """Return one more branch than came in; the new one grows out of the coarsest."""
        padded = branches + branches[-1:] * (len(transition) - len(branches))
        return [step(branch) for step, branch in zip(transition, padded, strict=True)]

    def _exchange_all(self, stage: nn.Sequential, branches: list[Tensor]) -> list[Tensor]:
        for module in stage:
            branches = list(checkpointing.run(module, *branches, recompute=self.checkpointing))
        return branches


def _first_stage(shape: HRNetShape) -> nn.Sequential:
    """Return stage 1: bottlenecks at stride 4, `shape.stem` wide."""
    first = Bottleneck(shape.stem, shape.stem)
    others = (Bottleneck(shape.stem * Bottleneck.expansion, shape.stem) for _ in range(shape.blocks - 1))
    return nn.Sequential(first, *others)


def _transition(before: tuple[int, ...], after: tuple[int, ...]) -> nn.ModuleList:
    """Return the steps from the branches `before` (channels) to those `after`, one more."""
    steps: list[nn.Module] = []
    for branch, width in enumerate(after):
        if branch >= len(before):
            steps.append(nn.Sequential(_down(before[-1], width, relu=True)))
        elif width == before[branch]:
            steps.append(nn.Identity())
        else:
            steps.append(ConvBNReLU(before[branch], width, 3))
    return nn.ModuleList(steps)


def build_hrnet(name: str, **settings: Any) -> HRNet:
    """Return ``hrnet_w18``, ``hrnet_w32``, ``hrnet_w48`` or ``hrnet_tiny``."""
    return HRNet(SHAPES[name], **settings)
