"""torch.compile over a model and its losses, whole or region by region."""

import warnings
from collections.abc import Iterator
from copy import deepcopy
from itertools import chain
from typing import cast

import torch
from torch import nn

from segdata.config.steps import CompiledPart
from segdata.losses.criterion import SegmentationCriterion
from segdata.losses.terms import SegmentationLoss

CONVOLUTIONS_OF_A_BLOCK = 4
"""A block is a largest part of a model with at most so many: residual blocks, heads' layers, steps between branches."""
GRAPHS = 256
"""Graphs that torch keeps of one function; all blocks share one, and torch's own limit of 8 would stop at the ninth."""


def compiled_model(model: nn.Module, part: CompiledPart | None) -> nn.Module:
    """Return a model as steps call it; parameters and buffers are the bare one's, which evaluation calls.

    Blocks that are alike share their code, so they are compiled in a fraction of the time that the whole model takes.
    Between them the model runs as written.
    """
    if part is None:
        return model
    if part == "model":
        return cast(nn.Module, torch.compile(model))
    limits = torch._dynamo.config
    name = next(name for name in ("recompile_limit", "cache_size_limit") if hasattr(limits, name))  # newer, older
    setattr(limits, name, max(GRAPHS, getattr(limits, name)))
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    twin = deepcopy(model, shared)
    for block in blocks_of(twin):
        # Not block.compile(): it leaves torch's own modules, such as nn.Sequential, as they are.
        block.forward = torch.compile(block.forward, dynamic=False)
    return twin


def blocks_of(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the largest modules below a model that have few convolutions; those that cannot be called are opened."""
    for child in model.children():
        convolutions = sum(isinstance(each, nn.Conv2d) for each in child.modules())
        container = isinstance(child, nn.ModuleList | nn.ModuleDict)
        if not container and 0 < convolutions <= CONVOLUTIONS_OF_A_BLOCK and not isinstance(child, nn.Conv2d):
            yield child
        elif convolutions:
            yield from blocks_of(child)


def compile_losses(criterion: SegmentationCriterion) -> None:
    """Compile what each loss does to a map; the sums over ranks between them stay outside: nothing breaks off."""
    # Dynamo looks at the gradient of every input, and torch warns of those that have none.
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
    for loss in criterion.modules():
        if isinstance(loss, SegmentationLoss):
            loss.terms = torch.compile(loss.terms, fullgraph=True)  # type: ignore[method-assign]


def compiled_graphs() -> tuple[int, int]:
    """Return how many graphs torch.compile has made in this process, and in how many places it broke off."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"]), sum(counters["graph_break"].values())
