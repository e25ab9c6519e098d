"""How fast a run goes, and how fast it could: throughput, waiting, memory, share of the device's peak."""

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from copy import deepcopy
from typing import NamedTuple, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segdata.losses.criterion import SegmentationCriterion
from segdata.models.output import ModelOutput

Item = TypeVar("Item")

PEAK_FLOPS = {
    "B200": 2.25e15,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "V100": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""Dense operations per second in half precision by a part of the device's name, from NVIDIA's data sheets."""

_PASSES = 3  # forward, and backward twice as much: towards the inputs and towards the weights
_PROBED = 2  # images; batch norm behind a global pool wants more than one value


class Probe(NamedTuple):
    """What one forward pass told of a model without computing anything.

    Attributes
    ----------
    flops_per_image : float
        Floating-point operations of convolutions and matrix products, forward and backward, a multiply-add counted as
        two. What recomputation of activations adds is not counted.
    cells : tuple of int
        Pooling strides that its maps are trained on, where their loss takes pooled targets.
    """

    flops_per_image: float
    cells: tuple[int, ...]


def probe(model: nn.Module, criterion: SegmentationCriterion, crop: tuple[int, int]) -> Probe:
    """Let a copy of a model without storage see images of a size, in training mode."""
    shell: nn.Module = deepcopy(model).to("meta").train()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output: ModelOutput = shell(torch.empty(_PROBED, 3, *crop, device="meta"))
    cells = set()
    if criterion.main.takes_counts:
        cells.add(output.stride)
    for auxiliary in output.auxiliary:
        rule = criterion.rule_of(auxiliary.name)
        if rule.weight and rule.loss.takes_counts:
            cells.add(auxiliary.stride)
    return Probe(_PASSES * counter.get_total_flops() / _PROBED, tuple(sorted(cells)))


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Return what a device can do per second in half precision; None where that is not known, and for float32."""
    if device.type != "cuda" or precision == "float32":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process has held: on a GPU in tensors, on a CPU in all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Stopwatch:
    """Time since the last reading: all of it, and the part spent waiting for data."""

    def __init__(self) -> None:
        self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0

    def waiting(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items, and count the time until each is there as waiting."""
        iterator = iter(items)
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            self._waited += time.perf_counter() - start
            self._steps += 1
            yield item

    def read(self) -> tuple[float, float, int]:
        """Return seconds, the share of them that was waiting, and the items there were; start over."""
        seconds = max(time.perf_counter() - self._start, 1e-9)
        reading = (seconds, self._waited / seconds, self._steps)
        self._start, self._waited, self._steps = time.perf_counter(), 0.0, 0
        return reading
