"""A forward and backward pass as one CUDA graph: recorded once, then replayed with one launch in place of thousands."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from segdata.distributed.process_group import DistributedContext
from segdata.errors import SettingsError
from segdata.inference.predictor import is_out_of_memory
from segdata.losses.criterion import LossReport, Targets
from segdata.losses.terms import PassShare

PASSES_BEFORE = 3
"""Passes that are taken as written first: they choose algorithms, compile, and allocate what is kept."""


class RecordedPass:
    """Takes passes by replaying the first that it recorded.

    Gradients are added to those that the parameters have, and so must be kept from step to step: zeroed, not removed.
    A batch of other sizes or other dtypes than the recorded one is taken as written.

    Parameters
    ----------
    take : callable
        Takes a pass: images, targets and the pass's share of the step in, as scalars on the device; its figures out.
        Nothing in it may wait for the device, or depend on values there.
    world : DistributedContext
        One rank on a GPU.

    Raises
    ------
    SettingsError
        If there are more ranks, no GPU, or the pass cannot be recorded.
    """

    def __init__(self, take: Callable[[Tensor, Targets, PassShare], LossReport], world: DistributedContext) -> None:
        if world.device.type != "cuda" or world.num_ranks > 1:
            here = "on the CPU" if world.device.type != "cuda" else f"on {world.num_ranks} ranks"
            raise SettingsError(f"run.cuda_graphs: for a run on one GPU, and this one is {here}. Leave it out.")
        self._take = take
        self._passes = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._report: LossReport

    def __call__(self, images: Tensor, targets: Targets, share: PassShare) -> LossReport:
        """Take a pass; what it returns is overwritten by the next one."""
        if not self._passes:
            self._valid, self._pixels = images.new_empty(()), images.new_empty(())
        self._valid.fill_(share.valid)
        self._pixels.fill_(share.pixels)
        share = PassShare(self._valid, self._pixels)
        if self._graph is None:
            self._passes += 1
            if self._passes <= PASSES_BEFORE:
                return self._take(images, targets, share)
            self._record(images, targets, share)
        given = [images, *targets.tensors()]
        if self._graph is None or [_kind(each) for each in given] != [_kind(each) for each in self._inputs]:
            return self._take(images, targets, share)
        for own, each in zip(self._inputs, given, strict=True):
            own.copy_(each)
        self._graph.replay()
        targets.pooled |= self._pooled
        return self._report

    def _record(self, images: Tensor, targets: Targets, share: PassShare) -> None:
        images, targets = images.clone(), targets.clone()
        self._inputs = [images, *targets.tensors()]
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads go on meanwhile: the loader's pins memory.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._report = self._take(images, targets, share)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise SettingsError(
                f"run.cuda_graphs: a step cannot be recorded ({reason}). Set run.cuda_graphs=false."
            ) from error
        self._graph, self._pooled = graph, targets.pooled


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.stride()
