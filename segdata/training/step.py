"""One step of the optimizer: forward and backward passes over a batch, agreed on by all ranks."""

import math
from collections import Counter
from contextlib import nullcontext
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segdata.config.recipe import Recipe
from segdata.cpp.tensors import cpp_counts
from segdata.data.loader import Batch, prepare_images
from segdata.distributed.process_group import DistributedContext
from segdata.labels.classes import IGNORE_ID
from segdata.losses.criterion import LossReport, SegmentationCriterion, Targets
from segdata.losses.terms import PassShare
from segdata.training.compilation import compile_losses, compiled_model
from segdata.training.determinism import DROPOUT, seed_from
from segdata.training.optimizer import copy_all
from segdata.training.recorded_pass import RecordedPass


class StepReport(NamedTuple):
    """What a step came to.

    Attributes
    ----------
    values : dict of str to Tensor
        ``loss``; ``parts/NAME``, the loss of each map; ``floors/NAME``, the entropy of its targets. This rank's part of
        the figures: averaged over ranks they are those of the batch.
    gradient_norm : float
        Over all weights, before it was clipped; the same on every rank.
    finite : bool
        Whether loss and gradient of every rank were; if not, nothing was changed.
    targets : Counter
        Pooled targets of single images on this rank, by where they came from: ``stored``, ``measured`` by area,
        ``pooled``.
    """

    values: dict[str, Tensor]
    gradient_norm: float
    finite: bool
    targets: "Counter[str]"


class Stepper:
    """Takes steps with a model.

    Parameters
    ----------
    model : nn.Module
        The bare model on its device.
    criterion : SegmentationCriterion
        On the same device.
    optimizer : torch.optim.Optimizer
        Over the parameters of the bare model.
    recipe : Recipe
    world : DistributedContext

    Attributes
    ----------
    scaler : torch.amp.GradScaler
        Of the loss; does nothing but with float16.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: SegmentationCriterion,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        world: DistributedContext,
    ) -> None:
        self.model, self.criterion, self.optimizer, self.recipe, self.world = model, criterion, optimizer, recipe, world
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=recipe.run.precision == "float16")
        self.dtype = getattr(torch, recipe.run.precision)
        self.images_per_pass, _ = recipe.schedule.per_rank(world.num_ranks)
        self.parameters = [each for each in model.parameters() if each.requires_grad]
        self.buffers = list(model.buffers())
        self._before = [buffer.clone() for buffer in self.buffers]
        self.wrapped = _wrapped(model, criterion, recipe, world)
        self._recorded = RecordedPass(self._forward_backward, world) if recipe.run.cuda_graphs else None
        if recipe.run.compile:
            compile_losses(criterion)

    def run(self, batch: Batch, shares: list[float]) -> StepReport:
        """Take a step.

        Parameters
        ----------
        batch : Batch
            This rank's images of the step.
        shares : list of float
            Of each forward pass its share of the batch's valid pixels on all ranks.
        """
        copy_all(self._before, self.buffers)
        self.wrapped.train()
        values: dict[str, Tensor] = {}
        targets: Counter[str] = Counter()
        parts = list(batch.parts(self.images_per_pass))
        for number, (part, valid) in enumerate(zip(parts, shares, strict=True), 1):
            share = PassShare(valid, 1 / len(parts))
            report = self._pass(part, share, last=number == len(parts), targets=targets)
            for name, value in _named(report):
                values[name] = values.get(name, 0) + value
        norm, finite = self._finish(values["loss"])
        return StepReport(values, norm, finite, targets)

    def _pass(self, part: Batch, share: PassShare, *, last: bool, targets: "Counter[str]") -> LossReport:
        """Add the gradient of one forward pass; only the last of a step reduces them over the ranks."""
        images = prepare_images(part, self.world.device, self.recipe.augmentation)
        towards = batch_targets(part, self.world.device, self.recipe.table.num_classes)
        seed_from(self.recipe.seed, DROPOUT, part.samples[0].position)
        apart = (
            nullcontext() if last or not isinstance(self.wrapped, DistributedDataParallel) else self.wrapped.no_sync()
        )
        take = self._recorded or self._forward_backward
        with apart:
            report = take(images, towards, share)
        targets.update(count_targets(part, towards, measured=self.recipe.loss.areas == "image"))
        return report

    def _forward_backward(self, images: Tensor, towards: Targets, share: PassShare) -> LossReport:
        mixed = self.dtype != torch.float32
        with torch.autocast(self.world.device.type, self.dtype if mixed else None, enabled=mixed):
            report: LossReport = self.criterion(self.wrapped(images), towards, share)
        loss: Tensor = self.scaler.scale(report.loss)
        loss.backward()  # type: ignore[no-untyped-call]
        return report._replace(loss=report.loss.detach())

    def _finish(self, loss: Tensor) -> tuple[float, bool]:
        """Move the weights if all ranks found loss and gradient finite; else put back what the passes moved."""
        self.scaler.unscale_(self.optimizer)
        gradients = [each.grad for each in self.parameters if each.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        here, length = torch.stack([loss.float(), norm.float()]).tolist()  # the one wait for the device in a step
        finite = self.world.largest(float(not (math.isfinite(here) and math.isfinite(length))))[0] == 0
        if finite:
            clip = self.recipe.optimizer.clip_norm
            if clip is not None and length > clip:
                torch._foreach_mul_(gradients, clip / length)
            self.scaler.step(self.optimizer)
        else:
            copy_all(self.buffers, self._before)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=self._recorded is None)
        return length, finite


def batch_targets(batch: Batch, device: torch.device, num_classes: int) -> Targets:
    """Return what a batch is trained towards: labels on the device, and the pooled targets that are at hand.

    Where only some images have those of a cell, the others are pooled on the device.
    """
    labels = batch.class_ids.to(device, non_blocking=True)
    counts: dict[int, Tensor] = {}
    for cell in {cell for sample in batch.samples for cell in sample.counts}:
        rows = [
            sample.counts[cell].to(device, non_blocking=True)
            if cell in sample.counts
            else cpp_counts(labels[number], cell, num_classes=num_classes, ignore_id=IGNORE_ID)
            for number, sample in enumerate(batch.samples)
        ]
        counts[cell] = torch.stack(_alike(rows))
    return Targets(labels, counts, num_classes=num_classes, ignore_id=IGNORE_ID)


def count_targets(batch: Batch, targets: Targets, *, measured: bool = False) -> "Counter[str]":
    """Count the pooled targets of single images by where they came from; those that came along may be measured ones."""
    cells = {cell for sample in batch.samples for cell in sample.counts}
    given = sum(len(sample.counts) for sample in batch.samples)
    pooled = len(batch.samples) * (len(cells) + len(targets.pooled)) - given
    return Counter({"measured" if measured else "stored": given, "pooled": pooled})


def _alike(rows: list[Tensor]) -> list[Tensor]:
    """Return tensors of one dtype, the widest of theirs."""
    widest = max((row.dtype for row in rows), key=lambda dtype: dtype.itemsize)
    return [row.to(widest) for row in rows]


def _named(report: LossReport) -> list[tuple[str, Tensor]]:
    parts = [(f"parts/{name}", value) for name, value in report.parts.items()]
    floors = [(f"floors/{name}", value) for name, value in report.entropy_floors.items()]
    return [("loss", report.loss), *parts, *floors]


def _wrapped(
    model: nn.Module, criterion: SegmentationCriterion, recipe: Recipe, world: DistributedContext
) -> nn.Module:
    """Return the model as steps call it: compiled and reduced over ranks; parameters are shared with the bare one."""
    called = compiled_model(model, recipe.run.compile)
    if world.num_ranks == 1:
        return called
    names = ("forward_sync_buffers", "broadcast_buffers")  # the newer torch's, and the older's
    even_buffers = next(name for name in names if name in signature(DistributedDataParallel).parameters)
    settings: dict[str, Any] = {
        "device_ids": [world.device.index] if world.device.type == "cuda" else None,
        "find_unused_parameters": any(rule.weight == 0 for rule in criterion.rules),
        "gradient_as_bucket_view": True,
        even_buffers: False,  # `DistributedContext.from_first` does it, where it matters
    }
    return DistributedDataParallel(called, **settings)
