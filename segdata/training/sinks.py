"""Where the figures of a run go beside its own file: TensorBoard, Weights & Biases, MLflow.

Each is a library of its own that is loaded where it is asked for, and is set up as its own users do, by its own
environment variables. A resumed run continues in the same place.
"""

import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from segdata.errors import SettingsError
from segdata.files import read_regular, write_atomic
from segdata.logs import logger

TENSORBOARD, MLFLOW_RUN = "tensorboard", "mlflow-run.txt"
PROJECT = "segdata"
"""Project of Weights & Biases and experiment of MLflow where their environment variables name none."""


class Sink(Protocol):
    """What takes figures and images of a run."""

    def figures(self, values: Mapping[str, float], step: int) -> None:
        """Take single numbers by name, as ``train/loss``."""

    def image(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Take an image, uint8 of shape (H, W, 3)."""

    def close(self) -> None:
        """Write what is left."""


def open_sinks(
    names: tuple[str, ...], out: Path, step: int, recipe: Mapping[str, Any], *, tensorboard: bool
) -> list[Sink]:
    """Open the sinks of a run.

    Parameters
    ----------
    names : tuple of {"wandb", "mlflow"}
    out : Path
        Folder of the run, whose name they show.
    step : int
        Where the run continues.
    recipe : mapping
        Every setting, which they show beside the figures.
    tensorboard : bool
        Write TensorBoard files too, where it is installed.

    Raises
    ------
    SettingsError
        If a library that is asked for is not installed, or refuses.
    """
    sinks: list[Sink] = []
    if tensorboard:
        try:
            sinks.append(_TensorBoard(out / TENSORBOARD, step))
        except ImportError:
            logger.info("TensorBoard is not installed: no curves, only metrics.jsonl (pip install tensorboard)")
    for name in names:
        sinks.append(_opened(name, out, recipe))
    return sinks


def _opened(name: str, out: Path, recipe: Mapping[str, Any]) -> Sink:
    package, kind = _KINDS[name]
    try:
        sink: Sink = kind(out, recipe)
    except ImportError as error:
        raise SettingsError(f"run.loggers: '{name}' needs a package: pip install {package} ({error}).") from error
    except Exception as error:  # each library has its own ways to fail
        told = " ".join(str(error).split())
        raise SettingsError(f"run.loggers: '{name}' cannot be used ({type(error).__name__}: {told}).") from error
    return sink


class _TensorBoard:
    def __init__(self, folder: Path, step: int) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def figures(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def image(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    """Figures carry their step as a value: W&B's own counter only grows, and a resumed run takes steps again."""

    def __init__(self, out: Path, recipe: Mapping[str, Any]) -> None:
        import wandb

        name = blake2b(os.fsencode(out.absolute()), digest_size=8).hexdigest()
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self._library: Any = wandb
        self._run: Any = wandb.init(
            project=project, name=out.name, id=name, dir=str(out), config=dict(recipe), resume="allow"
        )
        self._run.define_metric("*", step_metric="step")

    def figures(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, "step": step})

    def image(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        self._run.log({name: self._library.Image(pixels), "step": step})

    def close(self) -> None:
        self._run.finish()


class _MLflow:
    def __init__(self, out: Path, recipe: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric, self._client = Metric, MlflowClient()
        path = out / MLFLOW_RUN
        if path.exists():
            self._run = read_regular(path).decode().strip()
            self._client.update_run(self._run, status="RUNNING")
            return
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(experiment)
        number = self._client.create_experiment(experiment) if found is None else found.experiment_id
        self._run = self._client.create_run(number, run_name=out.name).info.run_id
        told = {key: str(value) for key, value in _flat(recipe).items()}
        settings = [Param(key, text) for key, text in told.items() if len(text) <= _LONGEST_PARAM]
        for start in range(0, len(settings), _MOST_PARAMS):
            self._client.log_batch(self._run, params=settings[start : start + _MOST_PARAMS])
        write_atomic(path, f"{self._run}\n".encode())

    def figures(self, values: Mapping[str, float], step: int) -> None:
        from time import time

        now = int(time() * 1000)
        metrics = [self._metric(_name(key), value, now, step) for key, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def image(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        from PIL import Image

        self._client.log_image(self._run, Image.fromarray(pixels), f"{_name(name)}-{step:08d}.png")

    def close(self) -> None:
        self._client.set_terminated(self._run)


_KINDS: dict[str, tuple[str, Any]] = {"wandb": ("wandb", _WeightsAndBiases), "mlflow": ("mlflow-skinny", _MLflow)}
_LONGEST_PARAM, _MOST_PARAMS = 500, 100  # what MLflow takes at a time


def _name(text: str) -> str:
    """Return a name of characters that MLflow takes."""
    return "".join(each if each.isalnum() or each in "_-./ " else "_" for each in text)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a mapping of mappings by dotted keys.

    >>> _flat({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
