"""Any backbone of timm by name, as an optional extra."""

import importlib
from types import ModuleType
from typing import ClassVar

from torch import Tensor

from segdata.errors import SettingsError
from segdata.models.backbone import Backbone


class TimmBackbone(Backbone):
    """A timm model with ``features_only=True``; returns its last four features, or as many as it has.

    Parameters
    ----------
    name : str
        Of timm, such as ``convnext_tiny``.
    output_stride : int, optional
        Handed to timm for the models that take it.

    Attributes
    ----------
    channels, strides : tuple of int
        Of the features, finest first.

    Notes
    -----
    timm cuts off what comes after the last feature, a part named differently in each model: every key of a weight
    file that this backbone does not have is therefore listed as unused, while a missing or misshapen one is refused.
    """

    unused_weights: ClassVar = ("",)
    renamed_weights: ClassVar = (
        (r"([a-z_]+)\.(\d+)\.", r"model.\1_\2."),
        (r"", "model."),
    )  # timm flattens the first level

    def __init__(self, name: str, *, output_stride: int | None = None) -> None:
        super().__init__()
        timm = _import_timm()
        options = {} if output_stride is None else {"output_stride": output_stride}
        try:
            self.model = timm.create_model(name, features_only=True, pretrained=False, **options)
        except (RuntimeError, TypeError, NotImplementedError, AssertionError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SettingsError(
                f"backbone 'timm:{name}', output_stride {output_stride}: timm does not build it ({reason}). "
                "Choose a name from timm.list_models(), or leave output_stride out."
            ) from error
        info = self.model.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())[-4:]
        self.strides: tuple[int, ...] = tuple(info.reduction())[-4:]
        self.channels_at_end = str(getattr(self.model, "output_fmt", "NCHW")).endswith("NHWC")

    def recompute_activations(self) -> None:
        """Turn timm's own activation checkpointing on, or raise `SettingsError` where the model has none."""
        if not hasattr(self.model, "set_grad_checkpointing"):
            raise SettingsError(f"checkpointing: timm's {type(self.model).__name__} does not offer it. Leave it out.")
        self.model.set_grad_checkpointing(True)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features of shapes (N, channels[i], h, w), finest first."""
        features = self.model(images)[-len(self.channels) :]
        if self.channels_at_end:
            features = [feature.permute(0, 3, 1, 2) for feature in features]
        return list(features)


def _import_timm() -> ModuleType:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise SettingsError(
            f"backbone 'timm:...': timm cannot be imported ({error}). Install it with: pip install 'segdata[timm]'."
        ) from error
