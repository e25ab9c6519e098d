"""How weights follow gradients: groups of parameters, the rate of each step, and the moving average."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from segdata.config.recipe import OptimizerRecipe, ScheduleRecipe


class HasBackbone(Protocol):
    """A model one part of which was trained before."""

    backbone: nn.Module


def parameter_groups(model: nn.Module, recipe: OptimizerRecipe) -> list[dict[str, Any]]:
    """Return the trained parameters of a model in groups of one rate and one decay.

    Parameters
    ----------
    model : nn.Module
        With a `backbone`.
    recipe : OptimizerRecipe

    Returns
    -------
    list of dict
        Groups for an optimizer of torch, none of them empty; ``lr_factor`` is what a group's rate is multiplied with.
    """
    in_backbone = {id(parameter) for parameter in model.backbone.parameters()}  # type: ignore[union-attr]
    undecayed = set() if recipe.decay_norms else {id(parameter) for parameter in _norms_and_biases(model)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            factor = 1.0 if id(parameter) in in_backbone else recipe.head_lr_factor
            decay = 0.0 if id(parameter) in undecayed else recipe.weight_decay
            groups.setdefault((factor, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": recipe.lr * factor, "lr_factor": factor, "weight_decay": decay}
        for (factor, decay), parameters in groups.items()
    ]


def build_optimizer(model: nn.Module, recipe: OptimizerRecipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over a model, fused into one kernel per group."""
    groups = parameter_groups(model, recipe)
    if recipe.name == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, fused=True)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True)


def learning_rate(step: int, num_steps: int, lr: float, recipe: ScheduleRecipe) -> float:
    """Return the learning rate of a step: a pure function, so that nothing of a schedule needs to be saved.

    Parameters
    ----------
    step : int
        From 0 to ``num_steps - 1``.
    num_steps : int
        Steps of the whole run.
    lr : float
        The rate at the start.
    recipe : ScheduleRecipe

    Notes
    -----
    ``(lr - min_lr) (1 - step / num_steps) ** power + min_lr``, as mmcv has it (mmengine's falls the same over one step
    less), times a factor that rises in a straight line from `warmup_factor` at step 0 to 1 at step `warmup_iterations`.

    Examples
    --------
    >>> recipe = ScheduleRecipe(batch_size=1, iterations=4, power=2.0)
    >>> [learning_rate(step, 4, 1.6, recipe) for step in range(4)]
    [1.6, 0.9, 0.4, 0.1]
    """
    rate: float = (lr - recipe.min_lr) * (1 - step / num_steps) ** recipe.power + recipe.min_lr
    if step >= recipe.warmup_iterations:
        return rate
    return rate * (recipe.warmup_factor + (1 - recipe.warmup_factor) * step / recipe.warmup_iterations)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of every group to `rate` times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]


class MovingAverage:
    """An exponential moving average of the weights of a model.

    Parameters
    ----------
    model : nn.Module
        What is averaged; the average begins as a copy of it.
    decay : float
        Weight of what was before, per step. In the first steps it is less, ``(1 + t) / (10 + t)``, so that the
        beginning is forgotten soon.

    Attributes
    ----------
    model : nn.Module
        The average, in evaluation mode. Buffers are copies of the newest ones.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards a model after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mean = [parameter.detach() for parameter in self.model.parameters()]
        new = [parameter.detach() for parameter in model.parameters()]
        torch._foreach_lerp_(mean, new, 1 - decay)
        self.copy_buffers(model)

    def copy_buffers(self, model: nn.Module) -> None:
        """Take over the buffers of a model, such as the statistics of its batch norms."""
        copy_all(list(self.model.buffers()), list(model.buffers()))


@torch.no_grad()
def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy tensors into others, pair by pair; on a GPU in one launch for all of one type."""
    by_type: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for target, source in zip(targets, sources, strict=True):
        pairs = by_type.setdefault(target.dtype, ([], []))
        pairs[0].append(target)
        pairs[1].append(source)
    for of_type in by_type.values():
        torch._foreach_copy_(*of_type)


def _norms_and_biases(model: nn.Module) -> Iterable[nn.Parameter]:
    for layer in model.modules():
        if isinstance(layer, _NormBase):
            yield from layer.parameters(recurse=False)
        elif isinstance(getattr(layer, "bias", None), nn.Parameter):
            yield layer.bias  # type: ignore[misc]
