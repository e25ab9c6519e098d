"""The metrics of a run: lines of JSON, TensorBoard where it is installed, a progress bar; rank 0 writes it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from segdata.errors import StoreError
from segdata.files import explain_os_error, write_atomic
from segdata.logs import logger, progress_bar

METRICS, TENSORBOARD = "metrics.jsonl", "tensorboard"


class MetricsLogger:
    """What happens in a run, line by line in ``metrics.jsonl``, curves in ``tensorboard/``, a bar on the terminal.

    Parameters
    ----------
    out : Path
        Folder of the run.
    step : int
        Where the run goes on; lines of later steps, which it takes again, are removed.
    num_steps : int
        Of the whole run.
    tensorboard : bool
        Write curves and images too, if TensorBoard is installed.
    progress : bool
        Show the bar.
    """

    def __init__(
        self, out: Path, step: int, num_steps: int, *, tensorboard: bool = True, progress: bool = True
    ) -> None:
        path = out / METRICS
        keep_until(path, step)
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise StoreError(explain_os_error(error, "cannot be written", path)) from error
        self._path = path
        self._writer = _summary_writer(out / TENSORBOARD, step) if tensorboard else None
        self._bar = progress_bar(total=num_steps, initial=step, unit="steps", desc="training", enabled=progress)
        if tensorboard and self._writer is None:
            logger.info("TensorBoard is not installed: no curves, only metrics.jsonl (pip install tensorboard)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    @property
    def takes_images(self) -> bool:
        """Whether images are kept."""
        return self._writer is not None

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
        if self._writer is not None:
            for name, value in _numbers(values):
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def image(self, name: str, step: int, pixels: NDArray[np.uint8]) -> None:
        """Keep an image, uint8 of shape (H, W, 3)."""
        if self._writer is not None:
            self._writer.add_image(name, pixels, step, dataformats="HWC")


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


def _summary_writer(folder: Path, step: int) -> Any:
    """Return TensorBoard's writer; None where it is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step)
