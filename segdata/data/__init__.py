"""From a draw to a sample: photographs, crops, augmentation and pooled targets."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segdata.data.crop_dataset import CropDataset

__all__ = ["CropDataset"]


def __getattr__(name: str) -> Any:
    """Load the public name with its module when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'segdata.data' has no attribute {name!r}")
    return import_module("segdata.data.crop_dataset").CropDataset


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
