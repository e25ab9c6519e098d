"""The training loop: `train` takes a recipe, on one process or as a rank of several."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segdata.models.checkpoint import load_model
    from segdata.training.loop import train

_HOMES = {"load_model": "segdata.models.checkpoint", "train": "segdata.training.loop"}

__all__ = ["load_model", "train"]


def __getattr__(name: str) -> Any:
    """Load a public name with its module when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'segdata.training' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
