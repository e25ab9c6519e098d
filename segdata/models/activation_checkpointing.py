"""Activation checkpointing that counts each batch once in the running statistics of batch norm."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Put the running statistics of all batch norms below `module` back when done; the batch's own are still used."""
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    kept = [(layer, name, buffer) for layer in norms for name, buffer in layer.named_buffers()]
    for layer, name, buffer in kept:
        setattr(layer, name, buffer.clone())
    try:
        yield
    finally:
        for layer, name, buffer in kept:
            setattr(layer, name, buffer)


def run(module: nn.Module, *inputs: Any, recompute: bool) -> Any:
    """Call `module`, and recompute its activations in the backward pass instead of keeping them.

    Plain where nothing is to be gained (`recompute` off, evaluation, no gradients). The second forward pass would move
    the running statistics of batch norm twice; it is run with them frozen. A compiled graph updates them once anyway:
    it recomputes values, not updates.
    """
    if not (recompute and module.training and torch.is_grad_enabled()):
        return module(*inputs)
    call: Callable[..., Any] = module
    if torch.compiler.is_compiling():
        return checkpoint(call, *inputs, use_reentrant=False)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), frozen_statistics(module)

    return checkpoint(call, *inputs, use_reentrant=False, context_fn=contexts)
