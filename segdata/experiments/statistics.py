"""What the results of runs say: the paper's five figures of an arm, and the difference between two arms."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segdata.errors import SettingsError
from segdata.experiments.grid import Grid, planned_grid
from segdata.experiments.results import Evaluation, RunResult, read_results
from segdata.metrics.scores import mean_of_known

Test = Literal["paired t-test", "Welch's t-test"]
MOST_PAIRED_ARMS = 3
"""Up to so many arms, each is compared with each; of more, each with the first."""


@dataclass(frozen=True)
class ArmSummary:
    """The runs of an arm, in percent.

    Attributes
    ----------
    name : str
    values : tuple of float
        One for each finished run.
    seconds : float
        Mean duration of a run.
    class_values : dict of str to tuple of float
        By class, one for each finished run; nan where it does not occur.
    """

    name: str
    values: tuple[float, ...]
    seconds: float
    class_values: dict[str, tuple[float, ...]]

    @property
    def classes(self) -> dict[str, float]:
        """Mean over runs by class; nan for a class that occurs in none."""
        return {name: mean_of_known(values) for name, values in self.class_values.items()}

    def of_runs(self, places: Sequence[int]) -> "ArmSummary":
        """Return what some of the runs alone come to, by their places."""
        by_class = {name: tuple(values[at] for at in places) for name, values in self.class_values.items()}
        return replace(self, values=tuple(self.values[at] for at in places), class_values=by_class)

    @property
    def mean(self) -> float:
        """Mean over runs, nan if there is none."""
        return float(np.mean(self.values)) if self.values else math.nan

    @property
    def variance(self) -> float:
        """Variance of the runs, with n - 1; nan of fewer than two."""
        return float(np.var(self.values, ddof=1)) if len(self.values) > 1 else math.nan

    @property
    def std(self) -> float:
        """Standard deviation of the runs, with n - 1; nan of fewer than two."""
        return math.sqrt(self.variance)

    @property
    def figures(self) -> dict[str, float]:
        """The columns of the paper's Tables 2 and 3."""
        lowest, highest = (min(self.values), max(self.values)) if self.values else (math.nan, math.nan)
        return {"min": lowest, "max": highest, "mean": self.mean, "variance": self.variance, "std": self.std}


@dataclass(frozen=True)
class Difference:
    """How much higher one arm's mean is than another's, in percentage points.

    Attributes
    ----------
    better, than : str
        The arm that is looked at, and the one it is compared with.
    mean, low, high : float
        The difference and its 95% interval.
    p_value : float
        Of the hypothesis that there is none.
    test : str
        Paired where the arms share their seeds, run by run; else Welch's, for unequal variances.
    num_runs : int
        Pairs, or runs of both arms.
    classes : dict of str to float
        Difference of the means by class.
    """

    better: str
    than: str
    mean: float
    low: float
    high: float
    p_value: float
    test: Test
    num_runs: int
    classes: dict[str, float]

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Summary:
    """All that `segdata experiment show` tells.

    Attributes
    ----------
    grid : Grid
    measure : str
        ``mIoU`` or ``boundary IoU``.
    runs : dict of str to list of RunResult
        The finished runs, by arm.
    arms : tuple of ArmSummary
    differences : tuple of Difference
        Only between arms of two runs and more.
    fixed : dict of str to list
        What was held fixed: each setting with every value that occurs.
    curves : dict of str to list of (int, float)
        By arm: steps, and the mean over its runs.
    """

    grid: Grid
    measure: str
    runs: dict[str, list[RunResult]]
    arms: tuple[ArmSummary, ...]
    differences: tuple[Difference, ...]
    fixed: dict[str, list[Any]]
    curves: dict[str, list[tuple[int, float]]]

    @property
    def num_runs(self) -> tuple[int, int]:
        """Finished and planned runs."""
        return sum(len(arm.values) for arm in self.arms), len(self.grid.arms) * len(self.grid.seeds)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data; what cannot be told is None."""
        return {
            "about": self.grid.about,
            "measure": self.measure,
            "runs": {"finished": self.num_runs[0], "planned": self.num_runs[1]},
            "seeds": list(self.grid.seeds),
            "fixed": self.fixed,
            "arms": {
                arm.name: {
                    "values": list(arm.values),
                    **{name: _or_none(value) for name, value in arm.figures.items()},
                    "seconds": _or_none(arm.seconds),
                    "classes": {name: _or_none(value) for name, value in arm.classes.items()},
                }
                for arm in self.arms
            },
            "differences": [
                {**vars(one), "classes": {name: _or_none(value) for name, value in one.classes.items()}}
                for one in self.differences
            ],
            "curves": self.curves,
        }


def summarize(folder: Path, *, best: bool = False, boundary: bool = False) -> Summary:
    """Read the results of an experiment and compare its arms.

    Parameters
    ----------
    folder : Path
        Of an experiment.
    best : bool
        Take each run's best evaluation, which was chosen on the images that it is measured on, in place of its last.
    boundary : bool
        Take boundary IoU.

    Raises
    ------
    SettingsError
        If the folder holds no experiment, no run is finished, or boundary IoU was not measured.
    """
    grid = planned_grid(folder)
    runs = read_results(folder, grid)
    if not any(runs.values()):
        raise SettingsError(f"{folder}: no run is finished yet. Continue it with `segdata experiment run`.")
    chosen = {arm: [_chosen(result, best) for result in results] for arm, results in runs.items()}
    if boundary and any(one.boundary_miou is None for ones in chosen.values() for one in ones):
        raise SettingsError(
            f"{folder}: boundary IoU was not measured. Set evaluation.boundary=true, in another folder: it is part of "
            "what a run is."
        )
    arms = tuple(_summary_of_arm(name, runs[name], chosen[name], boundary) for name in grid.arms)
    pairs = [(arms[0], arm) for arm in arms[1:]] if len(arms) > MOST_PAIRED_ARMS else list(combinations(arms, 2))
    differences = tuple(
        compare(second, first, _seeds(runs[second.name]), _seeds(runs[first.name]))
        for first, second in pairs
        if min(len(first.values), len(second.values)) > 1
    )
    curves = {name: _curve(results, boundary) for name, results in runs.items()}
    measure = "boundary IoU" if boundary else "mIoU"
    return Summary(grid, measure, runs, arms, differences, _fixed(runs), curves)


def compare(arm: ArmSummary, other: ArmSummary, seeds: Sequence[int], other_seeds: Sequence[int]) -> Difference:
    """Return the difference between two arms of at least two runs each.

    Runs are paired where each seed occurs once in both arms and the arms share two seeds or more: then only the pairs
    count. Otherwise the arms are independent samples.
    """
    from scipy import stats

    shared = [seed for seed in seeds if seed in other_seeds]
    once = len(set(seeds)) == len(seeds) and len(set(other_seeds)) == len(other_seeds)
    test: Test
    if once and len(shared) > 1:
        test, number = "paired t-test", len(shared)
        arm = arm.of_runs([list(seeds).index(seed) for seed in shared])
        other = other.of_runs([list(other_seeds).index(seed) for seed in shared])
        apart = np.subtract(arm.values, other.values)
        mean, error, freedom = float(apart.mean()), float(apart.std(ddof=1)) / math.sqrt(number), float(number - 1)
    else:
        test, number = "Welch's t-test", len(arm.values) + len(other.values)
        parts = [one.variance / len(one.values) for one in (arm, other)]
        mean, error = arm.mean - other.mean, math.sqrt(sum(parts))
        below = sum(part**2 / (len(one.values) - 1) for part, one in zip(parts, (arm, other), strict=True))
        freedom = sum(parts) ** 2 / below if below else math.inf
    reach = float(stats.t.ppf(0.975, freedom)) * error
    # Where nothing varies, the mean itself says whether there is a difference.
    p_value = 2 * float(stats.t.sf(abs(mean) / error, freedom)) if error else float(mean == 0)
    classes = {name: arm.classes[name] - other.classes.get(name, math.nan) for name in arm.classes}
    return Difference(arm.name, other.name, mean, mean - reach, mean + reach, p_value, test, number, classes)


def _summary_of_arm(
    name: str, results: Sequence[RunResult], evaluations: Sequence[Evaluation], boundary: bool
) -> ArmSummary:
    values = tuple(100 * _value(one, boundary) for one in evaluations)
    seconds = float(np.mean([result.seconds for result in results])) if results else math.nan
    of_runs = [(one.boundary_iou if boundary else one.iou) or {} for one in evaluations]
    names = dict.fromkeys(class_name for of_run in of_runs for class_name in of_run)
    by_class = {each: tuple(_percent(of_run.get(each)) for of_run in of_runs) for each in names}
    return ArmSummary(name, values, seconds, by_class)


def _percent(value: float | None) -> float:
    return math.nan if value is None else 100 * value


def _chosen(result: RunResult, best: bool) -> Evaluation:
    chosen = result.best if best else result.last
    assert chosen is not None  # `read_results` leaves out runs without one
    return chosen


def _value(one: Evaluation, boundary: bool) -> float:
    value = one.boundary_miou if boundary else one.miou
    return math.nan if value is None else value


def _seeds(results: Sequence[RunResult]) -> list[int]:
    return [result.seed for result in results]


def _curve(results: Sequence[RunResult], boundary: bool) -> list[tuple[int, float]]:
    """Return the mean over runs at the steps at which all of them were evaluated."""
    by_step: dict[int, list[float]] = {}
    for result in results:
        for one in result.evaluations:
            by_step.setdefault(one.step, []).append(100 * _value(one, boundary))
    return [(step, float(np.mean(each))) for step, each in sorted(by_step.items()) if len(each) == len(results)]


def _fixed(runs: Mapping[str, Sequence[RunResult]]) -> dict[str, list[Any]]:
    """Return each setting that was held fixed, with every value that occurs."""
    found: dict[str, list[Any]] = {}
    for result in (result for results in runs.values() for result in results):
        for name, value in result.fixed.items():
            values = found.setdefault(name, [])
            if value not in values:
                values.append(value)
    return found


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
