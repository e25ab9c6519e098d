"""What runs came to: read from their metrics, kept as one small file each."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from platform import processor, python_version
from typing import Any

from segdata.config.recipe import Recipe, recipe_digest
from segdata.errors import StoreError
from segdata.experiments.grid import RESULTS, RUNS, Grid, PlannedRun
from segdata.files import explain_os_error, read_regular, write_atomic

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Evaluation:
    """Scores after a number of steps, as parts of 1.

    Attributes
    ----------
    step : int
    miou, pixel_accuracy : float
    iou : dict of str to float or None
        By class; None for a class that stands in no label and no prediction.
    boundary_miou : float, optional
        Mean boundary IoU, where it was measured.
    boundary_iou : dict of str to float or None, optional
    """

    step: int
    miou: float
    pixel_accuracy: float
    iou: dict[str, float | None]
    boundary_miou: float | None = None
    boundary_iou: dict[str, float | None] | None = None


@dataclass(frozen=True)
class RunResult:
    """What one run came to.

    Attributes
    ----------
    name, arm : str
    seed : int
    finished : bool
    seconds : float
        Of the processes, all attempts together.
    recipe : str
        Digest of what determines the trained weights.
    fixed : dict
        What was held fixed: seed, deterministic algorithms, threads, and on what it was run.
    evaluations : tuple of Evaluation
        In order of steps; of the moving average where the recipe has one.
    """

    name: str
    arm: str
    seed: int
    finished: bool
    seconds: float
    recipe: str
    fixed: dict[str, Any]
    evaluations: tuple[Evaluation, ...]

    @property
    def last(self) -> Evaluation | None:
        """The evaluation at the end of the run."""
        return self.evaluations[-1] if self.evaluations else None

    @property
    def best(self) -> Evaluation | None:
        """The evaluation of the highest mIoU, chosen on the images that it is measured on."""
        return max(self.evaluations, key=lambda one: one.miou, default=None)


def result_of_run(out: Path, run: PlannedRun, *, finished: bool, seconds: float) -> RunResult:
    """Put together what a run came to so far."""
    weights = "model" if run.recipe.optimizer.ema_decay is None else "average"
    records = read_metrics(out / RUNS / run.name / METRICS)
    evaluations = tuple(
        _evaluation(record)
        for record in records
        if record.get("kind") == "evaluation" and record.get("weights") == weights
    )
    fixed = _fixed(run.recipe)
    return RunResult(
        run.name, run.arm, run.seed, finished, round(seconds, 1), recipe_digest(run.recipe), fixed, evaluations
    )


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics; none where there is no file, and without a last line that is cut short.

    Raises
    ------
    StoreError
        If the file cannot be read.
    """
    try:
        lines = read_regular(path).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be read", path)) from error
    records = []
    for line in lines:
        with suppress(ValueError):
            record = json.loads(line)
            records += [record] if isinstance(record, dict) else []
    return records


def write_result(out: Path, result: RunResult) -> None:
    """Keep what a run came to, in the folder of its experiment."""
    text = json.dumps(asdict(result), indent=1)
    write_atomic(out / RESULTS / f"{result.name}.json", f"{text}\n".encode())


def read_result(out: Path, name: str) -> RunResult | None:
    """Return what a run came to, None if it has not been kept yet.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    path = out / RESULTS / f"{name}.json"
    try:
        told = json.loads(read_regular(path))
        evaluations = tuple(Evaluation(**one) for one in told.pop("evaluations"))
        return RunResult(**told, evaluations=evaluations)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be read", path)) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(
            f"{path}: is no result of a run ({type(error).__name__}). Delete it and run the experiment again: the run "
            "itself is kept."
        ) from error


def read_results(out: Path, grid: Grid) -> dict[str, list[RunResult]]:
    """Return the finished runs of an experiment by arm, in the order of the grid, those with an evaluation."""
    found: dict[str, list[RunResult]] = {arm: [] for arm in grid.arms}
    for path in sorted((out / RESULTS).glob("*.json")):
        result = read_result(out, path.stem)
        if result is not None and result.finished and result.arm in found and result.last is not None:
            found[result.arm].append(result)
    order = {seed: number for number, seed in reversed(list(enumerate(grid.seeds)))}
    return {arm: sorted(results, key=lambda one: (order.get(one.seed, 0), one.name)) for arm, results in found.items()}


def _evaluation(record: Mapping[str, Any]) -> Evaluation:
    return Evaluation(
        record["step"],
        record["miou"],
        record["pixel_accuracy"],
        record["iou"],
        record.get("mean_boundary_iou"),
        record.get("boundary_iou"),
    )


def _fixed(recipe: Recipe) -> dict[str, Any]:
    return {
        "deterministic": recipe.deterministic,
        "threads": recipe.run.threads,
        "precision": recipe.run.precision,
        "torch": version("torch"),
        "python": python_version(),
        "machine": _device(recipe),
    }


def _device(recipe: Recipe) -> str:
    import torch

    if recipe.run.device != "cpu" and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return _cpu_name()


def _cpu_name() -> str:
    try:
        lines = read_regular(Path("/proc/cpuinfo")).decode(errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else processor() or "CPU"
