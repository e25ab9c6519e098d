"""Models by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from segdata.errors import SettingsError
from segdata.models.backbone import Backbone
from segdata.models.backbones import EFFICIENTNETS, RESNETS, build_backbone, not_known
from segdata.models.heads.deeplab import DeepLabV3Head, DeepLabV3PlusHead
from segdata.models.heads.fcn import FCNHead, HRNetHead
from segdata.models.heads.head import Head
from segdata.models.heads.ocr_head import OCRHead
from segdata.models.heads.psp import PSPHead, UPerHead
from segdata.models.heads.seethrough import SeeThroughHead
from segdata.models.hierarchical import HierarchicalSegmenter
from segdata.models.layers import initialize
from segdata.models.segmenter import Segmenter
from segdata.models.settings import HierarchicalSettings, ModelSettings, SeeThroughSettings, field_names
from segdata.models.weights import load_weights

HeadBuilder = Callable[[Backbone, ModelSettings, float], Head]


@dataclass(frozen=True, kw_only=True)
class ModelKind:
    """What a model's name stands for."""

    head: HeadBuilder
    backbone: str
    """Default backbone."""
    output_stride: int | None = None
    """Default for a ResNet."""
    dropout: float = 0.1
    """Default dropout before the final classifier."""
    reads: str = "any"
    """Backbones it makes sense on: "last" reads the last stage, at stride 16 or finer; "branches" is for HRNet."""
    settings: type[ModelSettings] = ModelSettings


def _fcn(backbone: Backbone, settings: ModelSettings, dropout: float) -> Head:
    return FCNHead(
        backbone.channels, backbone.strides, settings.num_classes, channels=settings.head_channels, dropout=dropout
    )


def _hrnet(backbone: Backbone, settings: ModelSettings, dropout: float) -> Head:
    return HRNetHead(
        backbone.channels,
        backbone.strides,
        settings.num_classes,
        dropout=dropout,
        align_corners=settings.align_corners,
    )


def _plain(head: Callable[..., Head]) -> HeadBuilder:
    """Return the builder of a head that takes channels, dropout and align_corners."""

    def build(backbone: Backbone, settings: ModelSettings, dropout: float) -> Head:
        return head(
            backbone.channels,
            backbone.strides,
            settings.num_classes,
            channels=settings.head_channels,
            dropout=dropout,
            align_corners=settings.align_corners,
        )

    return build


def _see_through(backbone: Backbone, settings: ModelSettings, dropout: float) -> Head:
    assert isinstance(settings, SeeThroughSettings)
    _check_stages("coarse_stages", settings.coarse_stages, backbone)
    return SeeThroughHead(
        backbone.channels,
        backbone.strides,
        settings.num_classes,
        coarse_stages=settings.coarse_stages,
        coarse_logits=settings.aux_logits,
        coarse_channels=settings.coarse_channels,
        channels=settings.head_channels,
        dropout=dropout,
        attention_input=settings.attention_input,
        fine_to_ocr=settings.fine_to_ocr,
        supervise_fine=settings.supervise_fine,
        align_corners=settings.align_corners,
    )


_DILATED: dict[str, Any] = {"backbone": "resnet101_v1c", "output_stride": 8, "reads": "last"}

MODELS: dict[str, ModelKind] = {
    "fcn": ModelKind(head=_fcn, **_DILATED),
    "pspnet": ModelKind(head=_plain(PSPHead), **_DILATED),
    "deeplabv3": ModelKind(head=_plain(DeepLabV3Head), **_DILATED),
    "deeplabv3plus": ModelKind(head=_plain(DeepLabV3PlusHead), **_DILATED),
    "upernet": ModelKind(head=_plain(UPerHead), backbone="resnet101_v1c", output_stride=32),
    "ocrnet": ModelKind(head=_plain(OCRHead), backbone="hrnet_w48", output_stride=8, dropout=0.05),
    "hrnet": ModelKind(head=_hrnet, backbone="hrnet_w48", dropout=0.0, reads="branches"),
    "hmsa": ModelKind(
        head=_plain(OCRHead), backbone="hrnet_w48", output_stride=8, dropout=0.05, settings=HierarchicalSettings
    ),
    "seethroughnet": ModelKind(head=_see_through, backbone="hrnet_w48", dropout=0.05, settings=SeeThroughSettings),
}
"""Every model, in the order of the documentation."""


def build_model(name: str, num_classes: int, **settings: Any) -> Segmenter:
    """Return a model by name, initialized as published.

    Parameters
    ----------
    name : str
        One of `MODELS`: ``fcn``, ``pspnet``, ``deeplabv3``, ``deeplabv3plus`` (or ``deeplabv3+``), ``upernet``,
        ``ocrnet``, ``hrnet``, ``hmsa``, ``seethroughnet``.
    num_classes : int
        Classes of the final scores, the ignored one not among them (19 for Cityscapes).
    **settings
        Any field of `ModelSettings`; for ``hmsa`` of `HierarchicalSettings`; for ``seethroughnet`` of
        `SeeThroughSettings`.

    Returns
    -------
    Segmenter
        Its ``forward`` takes images (N, 3, H, W) and returns a `ModelOutput`. For ``hmsa`` and ``seethroughnet`` it
        is a `HierarchicalSegmenter`, whose ``forward`` also takes ``scales``.

    Raises
    ------
    SettingsError
        If a name or a setting is not known, out of range, or does not fit the backbone.
    SegdataError
        If the weights do not fit.

    Examples
    --------
    >>> import torch
    >>> model = build_model("hrnet", 19, backbone="hrnet_tiny", aux_stages=(1, 2, 3, 4))
    >>> output = model(torch.zeros(2, 3, 64, 128))
    >>> output.logits.shape, output.stride, [each.stride for each in output.auxiliary]
    (torch.Size([2, 19, 16, 32]), 4, [4, 8, 16, 32])
    """
    name = name.replace("+", "plus")
    if name not in MODELS:
        raise SettingsError(not_known("model", name, list(MODELS)))
    kind = MODELS[name]
    for key in settings:
        if key not in field_names(kind.settings):
            raise SettingsError(not_known(f"model {name}, setting", key, field_names(kind.settings)))
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
    }
    return _assemble(name, kind, kind.settings(num_classes=num_classes, **values))


def _assemble(name: str, kind: ModelKind, settings: ModelSettings) -> Segmenter:
    """Return the model of a kind with checked settings."""
    backbone = _backbone(kind, settings)
    _check_reading(name, kind.reads, backbone, settings.backbone or kind.backbone)
    _check_stages("aux_stages", settings.aux_stages, backbone)
    head = kind.head(backbone, settings, kind.dropout if settings.dropout is None else settings.dropout)
    if isinstance(settings, HierarchicalSettings):
        model: Segmenter = HierarchicalSegmenter(backbone, head, settings)
    else:
        model = Segmenter(backbone, head, settings)
    for part in model.children():
        own = part is model.backbone and _is_timm(settings)
        published = part is not model.backbone and isinstance(settings, HierarchicalSettings)  # as torch draws them
        if not own and not published:
            initialize(part)
    if settings.weights is not None:
        load_weights(model.backbone, settings.weights)
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    return model


def _is_timm(settings: ModelSettings) -> bool:
    """Say whether the backbone is timm's, which initializes its own layers."""
    return settings.backbone is not None and settings.backbone.startswith("timm:")


def _backbone(kind: ModelKind, settings: ModelSettings) -> Backbone:
    """Return the backbone, with the kind's output stride only where it can be dilated."""
    name = settings.backbone or kind.backbone
    default = kind.output_stride if name in (*RESNETS, *EFFICIENTNETS) else None
    return build_backbone(
        name,
        output_stride=settings.output_stride or default,
        fuse_upsampling=settings.fuse_upsampling,
        align_corners=settings.align_corners,
        checkpointing=settings.checkpointing,
    )


def _check_reading(name: str, reads: str, backbone: Backbone, backbone_name: str) -> None:
    """Refuse a head on a backbone that it cannot use well."""
    branches = backbone_name.startswith("hrnet")
    if reads == "last" and branches:
        raise SettingsError(
            f"model {name}: it reads the last stage alone, on {backbone_name} the branch at stride "
            f"{backbone.strides[-1]}. Choose a ResNet or a timm backbone, or the model hrnet, upernet or ocrnet."
        )
    if reads == "branches" and not branches:
        raise SettingsError(f"model {name}: it is made for the branches of an HRNet, not for {backbone_name}.")


def _check_stages(setting: str, stages: tuple[int, ...], backbone: Backbone) -> None:
    """Refuse stages that the backbone does not have."""
    count = len(backbone.strides)
    if stages and stages[-1] > count:
        raise SettingsError(
            f"{setting}: stage {stages[-1]} is not a stage of {type(backbone).__name__}, which has {count}."
        )
