"""What a run tells of itself: the figures of a step, of an evaluation, of a fault, and images."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segdata.data.loader import Batch, prepare_images
from segdata.labels.classes import IGNORE_ID
from segdata.metrics.scores import Scores
from segdata.models.layers import resize
from segdata.training.logs import MetricsLogger
from segdata.training.setup import Run
from segdata.training.speed import Stopwatch, peak_flops, peak_memory
from segdata.training.step import StepReport


class Reporter:
    """Puts the figures of all ranks together, and has rank 0 write them down.

    Parameters
    ----------
    run : Run
    progress : bool
        Show a bar on stderr.

    Attributes
    ----------
    watch : Stopwatch
        To wait for data with.
    """

    def __init__(self, run: Run, *, progress: bool = True) -> None:
        self.run, self.world, self.recipe, self.progress = run, run.world, run.recipe, run.progress
        self.watch = Stopwatch()
        self.targets: Counter[str] = Counter()
        self._show = progress
        self._stack = ExitStack()
        self._diary: MetricsLogger | None = None

    def __enter__(self) -> Self:
        if self.world.is_first:
            diary = MetricsLogger(
                self.run.out,
                self.progress.step,
                self.run.num_steps,
                tensorboard=self.recipe.run.tensorboard,
                progress=self._show,
            )
            self._diary = self._stack.enter_context(diary)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @property
    def shows_progress(self) -> bool:
        """Whether this rank has a bar."""
        return self._show and self._diary is not None

    def step(self, report: StepReport) -> None:
        """Take note of a step."""
        self.targets.update(report.targets)
        if self._diary is not None:
            self._diary.step()

    def fault(self, what: str, step: int, lines: list[str], *, show: bool = False) -> None:
        """Write down what went wrong in a step: files left out, images of numbers that were not finite."""
        if self._diary is not None:
            self._diary.record("fault", step, {what: lines})
            for line in lines if show else []:
                self._diary.say(f"{what.replace('_', ' ')}: {line}")

    def evaluation(self, weights: str, scores: Scores) -> None:
        """Write down an evaluation, and show its mean."""
        if self._diary is not None:
            self._diary.record("evaluation", self.progress.step, {"weights": weights, **_brief(scores)})
            self._diary.say(f"step {self.progress.step}: mIoU {100 * scores.miou:.2f} of the {weights}")

    def log(self, report: StepReport, rate: float) -> None:
        """Write down the figures of a step; all ranks call it."""
        names = list(report.values)
        here = torch.stack([report.values[name].float() for name in names]).tolist()
        figures = {
            name: total / self.world.num_ranks for name, total in zip(names, self.world.total(*here), strict=True)
        }
        self.add_targets()
        progress = self.progress
        record = {
            "loss": figures["loss"],
            "lr": rate,
            "gradient_norm": report.gradient_norm,
            "parts": _below("parts/", figures),
            "floors": _below("floors/", figures),
            "epoch": progress.step * self.recipe.schedule.batch_size / self.run.epoch_size,
            "skipped_steps": progress.skipped,
            "left_out_images": progress.left_out,
            "targets": {"stored": progress.stored, "measured": progress.measured, "pooled": progress.pooled},
            "speed": self._speed(),
        }
        if self._diary is not None:
            self._diary.record("train", progress.step, record)

    def _speed(self) -> dict[str, float | None]:
        seconds, waiting, steps = self.watch.read()
        images_per_second = steps * self.recipe.schedule.batch_size / seconds
        peak = peak_flops(self.world.device, self.recipe.run.precision)
        per_rank = images_per_second / self.world.num_ranks
        return {
            "images_per_second": images_per_second,
            "waiting_for_data": waiting,
            "memory_gib": peak_memory(self.world.device) / 2**30,
            "mfu": None if peak is None else per_rank * self.run.probe.flops_per_image / peak,
        }

    def add_targets(self) -> None:
        """Add to the progress where the targets of all ranks came from since the last time."""
        origins = ("stored", "measured", "pooled")
        for origin, number in zip(origins, self.world.total(*(self.targets[one] for one in origins)), strict=True):
            setattr(self.progress, origin, getattr(self.progress, origin) + int(number))
        self.targets.clear()

    @torch.no_grad()
    def image(self, batch: Batch) -> None:
        """Keep a crop beside its label and what the model makes of it."""
        if self._diary is None or not self._diary.takes_images:
            return
        one = next(batch.parts(1))
        model = self.run.model.eval()
        images = prepare_images(one, self.world.device, self.recipe.augmentation)
        predicted = resize(model(images).logits, images.shape[-2:]).argmax(1)[0]
        panels = [one.images[0].permute(1, 2, 0).numpy(), self._painted(one.class_ids[0]), self._painted(predicted)]
        self._diary.image("image, label, prediction", self.progress.step, np.concatenate(panels, axis=1))

    def _painted(self, class_ids: Tensor) -> NDArray[np.uint8]:
        colors = np.zeros((256, 3), np.uint8)
        colors[: self.recipe.table.num_classes] = self.recipe.table.train_colors
        colors[IGNORE_ID] = 0
        painted: NDArray[np.uint8] = colors[class_ids.cpu().numpy()]
        return painted


def _below(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}


def _brief(scores: Scores) -> dict[str, Any]:
    """Return the figures of an evaluation without the confusion matrix."""
    told = scores.as_dict()
    classes = {name: figures["iou"] for name, figures in told["classes"].items()}
    means = {name: told[name] for name in ("miou", "pixel_accuracy", "num_images")}
    return {**means, "iou": classes}
