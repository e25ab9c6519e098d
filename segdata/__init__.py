"""Semantic-segmentation data with class probabilities preserved: convert, pool, sample, train.

`import segdata` is light: a name is loaded with its module when it is first used, and none needs torch.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from segdata.errors import SegdataError

if TYPE_CHECKING:
    from segdata.cpp.pooling import cpp_counts, cpp_pool
    from segdata.cpp.store import CPPTargets, load_cpp
    from segdata.labels.classes import ClassTable
    from segdata.labels.mapping import LabelMapping
    from segdata.labels.remap import remap_labels
    from segdata.sampling.class_index import ClassIndex
    from segdata.sampling.sampler import MixedClassUniformSampler
    from segdata.sampling.stream import Draw, Source

_HOMES = {
    "CPPTargets": "segdata.cpp.store",
    "ClassIndex": "segdata.sampling.class_index",
    "ClassTable": "segdata.labels.classes",
    "Draw": "segdata.sampling.stream",
    "LabelMapping": "segdata.labels.mapping",
    "MixedClassUniformSampler": "segdata.sampling.sampler",
    "Source": "segdata.sampling.stream",
    "cpp_counts": "segdata.cpp.pooling",
    "cpp_pool": "segdata.cpp.pooling",
    "load_cpp": "segdata.cpp.store",
    "remap_labels": "segdata.labels.remap",
}

__all__ = [
    "CPPTargets",
    "ClassIndex",
    "ClassTable",
    "Draw",
    "LabelMapping",
    "MixedClassUniformSampler",
    "SegdataError",
    "Source",
    "cpp_counts",
    "cpp_pool",
    "load_cpp",
    "remap_labels",
]

try:
    __version__ = version("segdata")
except PackageNotFoundError:  # a bare checkout
    __version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load a public name with its module when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'segdata' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
