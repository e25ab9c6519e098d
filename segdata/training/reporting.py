"""What a run writes down: the figures of a step, of an evaluation, of a fault, and images."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segdata.data.loader import Batch, prepare_images
from segdata.errors import StoreError
from segdata.files import explain_os_error, write_atomic
from segdata.labels.classes import IGNORE_ID
from segdata.logs import logger, progress_bar
from segdata.metrics.scores import Scores
from segdata.models.layers import resize
from segdata.training.setup import Run
from segdata.training.sinks import Sink, open_sinks


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
            step, chosen = self.run.progress.step, self.recipe.run
            recipe = self.recipe.model_dump(mode="json")
            sinks = open_sinks(chosen.loggers, self.run.out, step, recipe, tensorboard=chosen.tensorboard)
            metrics = MetricsLogger(self.run.out, step, self.run.num_steps, sinks, progress=self._show)
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
    brief = {name: told[name] for name in ("miou", "pixel_accuracy", "num_images")} | {"iou": classes}
    if scores.boundary is not None:
        borders = {name: figures["boundary_iou"] for name, figures in told["classes"].items()}
        brief |= {"mean_boundary_iou": told["mean_boundary_iou"], "boundary_iou": borders}
    return brief


METRICS = "metrics.jsonl"


class MetricsLogger:
    """What happens in a run, line by line in ``metrics.jsonl``, curves in the sinks, a bar on the terminal.

    Parameters
    ----------
    out : Path
        Folder of the run.
    step : int
        Where the run continues; lines of later steps, which it takes again, are removed.
    num_steps : int
        Of the whole run.
    sinks : sequence of Sink
        Get curves and images too; are closed with the logger.
    progress : bool
        Show the bar.
    """

    def __init__(
        self, out: Path, step: int, num_steps: int, sinks: Sequence[Sink] = (), *, progress: bool = True
    ) -> None:
        path = out / METRICS
        keep_until(path, step)
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise StoreError(explain_os_error(error, "cannot be written", path)) from error
        self._path = path
        self._sinks = tuple(sinks)
        self._bar = progress_bar(total=num_steps, initial=step, unit="steps", desc="training", enabled=progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._file.close()
        self._give(lambda sink: sink.close())

    @property
    def takes_images(self) -> bool:
        """Whether images are kept."""
        return bool(self._sinks)

    def step(self) -> None:
        """Move the bar on."""
        self._bar.update()

    def record(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Write a line of figures.

        Parameters
        ----------
        kind : str
            ``train``, ``evaluation``, ``fault``.
        step : int
            Steps taken.
        values : mapping
            JSON-able; single numbers, also in mappings within, become curves.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        try:
            self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            raise StoreError(explain_os_error(error, "cannot be written", self._path)) from error
        if kind == "train":
            self._bar.set_postfix(loss=f"{values['loss']:.4g}", lr=f"{values['lr']:.3g}", refresh=False)
        figures = {f"{kind}/{name}": value for name, value in _numbers(values)}
        if figures:
            self._give(lambda sink: sink.figures(figures, step))

    def image(self, name: str, step: int, pixels: NDArray[np.uint8]) -> None:
        """Keep an image, uint8 of shape (H, W, 3)."""
        self._give(lambda sink: sink.image(name, pixels, step))

    def _give(self, action: Callable[[Sink], None]) -> None:
        """Act on every sink; one that fails gets nothing more, and the run continues without it."""
        for sink in self._sinks:
            try:
                action(sink)
            except Exception as error:  # of a network or a service: each library has its own
                self._sinks = tuple(other for other in self._sinks if other is not sink)
                told = " ".join(str(error).split())
                name = type(sink).__name__.lstrip("_")
                logger.warning(
                    f"{name} fails and gets nothing more ({type(error).__name__}: {told}); metrics.jsonl does"
                )


def keep_until(path: Path, step: int) -> None:
    """Remove the lines of a metrics file that are of later steps, and a last line that was cut short."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if _is_until(line, step)]
    if len(kept) < len(lines):
        write_atomic(path, "".join(kept).encode())


def _is_until(line: str, step: int) -> bool:
    try:
        return bool(line.endswith("\n") and json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False


def _numbers(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Return every single number in a mapping, by path."""
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((f"{prefix}{name}", float(value)))
    return found
