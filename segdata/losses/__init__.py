"""Losses on maps of class scores; each a sum and its normalizer over all ranks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segdata.losses.by_name import build_criterion
    from segdata.losses.cpp import CPPLoss
    from segdata.losses.criterion import LossReport, SegmentationCriterion, Targets
    from segdata.losses.cross_entropy import CrossEntropyLoss
    from segdata.losses.ohem import OHEMCrossEntropyLoss
    from segdata.losses.rmi import RMILoss

_HOMES = {
    "CPPLoss": "segdata.losses.cpp",
    "CrossEntropyLoss": "segdata.losses.cross_entropy",
    "LossReport": "segdata.losses.criterion",
    "OHEMCrossEntropyLoss": "segdata.losses.ohem",
    "RMILoss": "segdata.losses.rmi",
    "SegmentationCriterion": "segdata.losses.criterion",
    "Targets": "segdata.losses.criterion",
    "build_criterion": "segdata.losses.by_name",
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
]


def __getattr__(name: str) -> Any:
    """Load a public name with its module when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'segdata.losses' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
