"""What a run writes down: the figures of a step, of an evaluation, of a fault, and images."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segdata.data.loader import Batch, prepare_images
from segdata.labels.classes import IGNORE_ID
from segdata.logs import logger
from segdata.metrics.scores import Scores
from segdata.models.layers import resize
from segdata.training.metrics_logger import MetricsLogger
from segdata.training.setup import Run


class Reporter:
    """Has rank 0 write down what it is told; it changes nothing of the run.

    Parameters
    ----------
    run : Run
    progress : bool
        Show a bar on stderr.
    """

    def __init__(self, run: Run, *, progress: bool = True) -> None:
        self.run, self.recipe = run, run.recipe
        self._show = progress
        self._stack = ExitStack()
        self._metrics: MetricsLogger | None = None

    def __enter__(self) -> Self:
        if self.run.world.is_first:
            metrics = MetricsLogger(
                self.run.out,
                self.run.progress.step,
                self.run.num_steps,
                tensorboard=self.recipe.run.tensorboard,
                progress=self._show,
            )
            self._metrics = self._stack.enter_context(metrics)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @property
    def shows_progress(self) -> bool:
        """Whether this rank has a bar."""
        return self._show and self._metrics is not None

    def step(self) -> None:
        """Move the bar on."""
        if self._metrics is not None:
            self._metrics.step()

    def fault(self, what: str, step: int, lines: list[str], *, show: bool = False) -> None:
        """Write down what went wrong in a step: files left out, images of numbers that were not finite."""
        if self._metrics is not None:
            self._metrics.record("fault", step, {what: lines})
            for line in lines if show else []:
                logger.warning(f"{what.replace('_', ' ')}: {line}")

    def evaluation(self, weights: str, scores: Scores) -> None:
        """Write down an evaluation, and show its mean."""
        if self._metrics is not None:
            step = self.run.progress.step
            self._metrics.record("evaluation", step, {"weights": weights, **_brief(scores)})
            logger.info(f"step {step}: mIoU {100 * scores.miou:.2f} of the {weights}")

    def train(self, record: Mapping[str, Any]) -> None:
        """Write down the figures of a step."""
        if self._metrics is not None:
            self._metrics.record("train", self.run.progress.step, record)

    @torch.no_grad()
    def image(self, batch: Batch) -> None:
        """Keep a crop beside its label and what the model makes of it."""
        if self._metrics is None or not self._metrics.takes_images:
            return
        one = next(batch.parts(1))
        model = self.run.model.eval()
        images = prepare_images(one, self.run.world.device, self.recipe.augmentation)
        predicted = resize(model(images).logits, images.shape[-2:]).argmax(1)[0]
        panels = [one.images[0].permute(1, 2, 0).numpy(), self._painted(one.class_ids[0]), self._painted(predicted)]
        self._metrics.image("image, label, prediction", self.run.progress.step, np.concatenate(panels, axis=1))

    def _painted(self, class_ids: Tensor) -> NDArray[np.uint8]:
        colors = np.zeros((256, 3), np.uint8)
        colors[: self.recipe.table.num_classes] = self.recipe.table.train_colors
        colors[IGNORE_ID] = 0
        painted: NDArray[np.uint8] = colors[class_ids.cpu().numpy()]
        return painted


def _brief(scores: Scores) -> dict[str, Any]:
    """Return the figures of an evaluation without the confusion matrix."""
    told = scores.as_dict()
    classes = {name: figures["iou"] for name, figures in told["classes"].items()}
    means = {name: told[name] for name in ("miou", "pixel_accuracy", "num_images")}
    return {**means, "iou": classes}
