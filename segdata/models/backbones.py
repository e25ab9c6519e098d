"""Backbones by name."""

from collections.abc import Sequence
from typing import Any

from segdata.config.model import FuseUpsampling
from segdata.errors import SettingsError
from segdata.labels.names import did_you_mean
from segdata.models.backbone import Backbone
from segdata.models.efficientnet_lite import EfficientNetLite
from segdata.models.hrnet import SHAPES, build_hrnet
from segdata.models.resnet import build_resnet
from segdata.models.timm_backbone import TimmBackbone

RESNETS = ("resnet50", "resnet50_v1c", "resnet101", "resnet101_v1c", "resnet_tiny")
HRNETS = tuple(SHAPES)
EFFICIENTNETS = ("efficientnet_lite0",)


def build_backbone(
    name: str,
    *,
    output_stride: int | None = None,
    fuse_upsampling: FuseUpsampling = "bilinear",
    align_corners: bool = False,
    checkpointing: bool = False,
) -> Backbone:
    """Return a backbone with torch's initial weights.

    Parameters
    ----------
    name : str
        ``resnet50``, ``resnet101``, either with ``_v1c``; ``hrnet_w18``, ``hrnet_w32``, ``hrnet_w48``;
        ``efficientnet_lite0``; ``resnet_tiny`` and ``hrnet_tiny`` for CPU tests; or ``timm:NAME``.
    output_stride : {8, 16, 32}, optional
        Stride of the last stage of a ResNet or EfficientNet (32 if not given), or handed to timm. HRNet has strides 4
        to 32 always.
    fuse_upsampling, align_corners
        Of HRNet's exchanges; see `HRNet`.
    checkpointing : bool
        Recompute activations in the backward pass instead of keeping them.

    Raises
    ------
    SettingsError
        If the name is not known, or the backbone has no such setting.
    """
    if name.startswith("timm:"):
        backbone = TimmBackbone(name.removeprefix("timm:"), output_stride=output_stride)
        if checkpointing:
            backbone.recompute_activations()
        return backbone
    if name in RESNETS:
        return build_resnet(name, output_stride=output_stride or 32, checkpointing=checkpointing)
    if name in EFFICIENTNETS:
        return EfficientNetLite(output_stride=output_stride or 32, checkpointing=checkpointing)
    if name not in HRNETS:
        raise SettingsError(
            not_known("backbone", name, [*RESNETS, *HRNETS, *EFFICIENTNETS], "Or name any backbone of timm, timm:NAME.")
        )
    if output_stride not in (None, 32):
        raise SettingsError(f"output_stride: {output_stride} is not offered by {name}, whose strides are 4 to 32.")
    return build_hrnet(name, fuse_upsampling=fuse_upsampling, align_corners=align_corners, checkpointing=checkpointing)


def not_known(kind: str, name: Any, known: Sequence[str], hint: str = "") -> str:
    """Return the message for a name that is none of the `known`, with the nearest one."""
    guess = did_you_mean(str(name), known)
    return f"{kind}: '{name}' is not known. It is one of {', '.join(known)}.{guess}{' ' + hint if hint else ''}"
