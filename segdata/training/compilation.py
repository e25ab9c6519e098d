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

LAYERS_OF_A_BLOCK = 4
"""A block is a largest part of a model with at most so many convolutions and linear layers: the residual blocks of
ResNets, HRNets and vision transformers, the layers of heads, the steps between branches."""
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
    """Yield the largest parts of a model that have few layers; parts that cannot be called are opened."""
    for child in model.children():
        layers = sum(isinstance(each, nn.Conv2d | nn.Linear) for each in child.modules())
        alone = not any(child.children())
        if 0 < layers <= LAYERS_OF_A_BLOCK and not alone and not isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield child
        elif layers:
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
