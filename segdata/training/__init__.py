"""Losses, data and loop in torch. A name is loaded with its module when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segdata.losses.build import build_criterion
    from segdata.losses.cpp import CPPLoss
    from segdata.losses.criterion import LossReport, SegmentationCriterion, Targets
    from segdata.losses.cross_entropy import CrossEntropyLoss
    from segdata.losses.ohem import OHEMCrossEntropyLoss
    from segdata.losses.rmi import RMILoss
    from segdata.models.checkpoint import load_model
    from segdata.training.loop import train

_HOMES = {
    "CPPLoss": "segdata.losses.cpp",
    "CrossEntropyLoss": "segdata.losses.cross_entropy",
    "LossReport": "segdata.losses.criterion",
    "OHEMCrossEntropyLoss": "segdata.losses.ohem",
    "RMILoss": "segdata.losses.rmi",
    "SegmentationCriterion": "segdata.losses.criterion",
    "Targets": "segdata.losses.criterion",
    "build_criterion": "segdata.losses.build",
    "load_model": "segdata.models.checkpoint",
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
