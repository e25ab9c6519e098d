"""Losses, data and loop in torch. A name is loaded with its module when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segdata.training.checkpoint import load_model
    from segdata.training.loop import train
    from segdata.training.losses.build import build_criterion
    from segdata.training.losses.combine import LossReport, SegmentationCriterion, Targets
    from segdata.training.losses.cpp import CPPLoss
    from segdata.training.losses.cross_entropy import CrossEntropyLoss
    from segdata.training.losses.ohem import OHEMCrossEntropyLoss
    from segdata.training.losses.rmi import RMILoss

_HOMES = {
    "CPPLoss": "segdata.training.losses.cpp",
    "CrossEntropyLoss": "segdata.training.losses.cross_entropy",
    "LossReport": "segdata.training.losses.combine",
    "OHEMCrossEntropyLoss": "segdata.training.losses.ohem",
    "RMILoss": "segdata.training.losses.rmi",
    "SegmentationCriterion": "segdata.training.losses.combine",
    "Targets": "segdata.training.losses.combine",
    "build_criterion": "segdata.training.losses.build",
    "load_model": "segdata.training.checkpoint",
    "train": "segdata.training.loop",
}

__all__ = [
    "CPPLoss",
    "CrossEntropyLoss",
    "LossReport",
    "OHEMCrossEntropyLoss",
    "RMILoss",
    "SegmentationCriterion",
    "Targets",
    "build_criterion",
    "load_model",
    "train",
]


def __getattr__(name: str) -> Any:
    """Load a public name with its module when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'segdata.training' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
