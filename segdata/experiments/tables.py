"""The tables of an experiment: as text, as LaTeX, and as a line for each run."""

import csv
import io
import math

from segdata.experiments.statistics import Difference, Summary
from segdata.text import aligned

HEADS = ("runs", "min", "max", "average", "var.", "std.")


def as_text(summary: Summary, classes: bool = False) -> str:
    """Return the table of arms, the differences between them in words, and what was held fixed.

    Parameters
    ----------
    summary : Summary
    classes : bool
        A table of the classes below.
    """
    finished, planned = summary.num_runs
    lines = [summary.grid.about] if summary.grid.about else []
    if finished < planned:
        lines.append(f"{finished} of {planned} runs are finished")
    lines += ["", *aligned([["", *HEADS], *([arm, *row] for arm, row in summary_rows(summary))])]
    lines += ["", *(sentence(one, summary.measure) for one in summary.differences)]
    if len(summary.differences) > 1:
        lines.append("Intervals and p are of each comparison alone, not corrected for their number.")
    if classes:
        lines += ["", *aligned(class_rows(summary))]
    lines += ["", f"{summary.measure} in percent, {_units(summary)}", f"fixed: {fixed(summary)}"]
    return "\n".join(lines)


def as_latex(summary: Summary, classes: bool = False) -> str:
    """Return the table of arms, or of classes, for LaTeX with booktabs."""
    rows = class_rows(summary) if classes else [["", *HEADS], *([arm, *row] for arm, row in summary_rows(summary))]
    width = len(rows[0])
    head, *body = [" & ".join(_escaped(cell) for cell in row) + r" \\" for row in rows]
    begin = rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"])


def as_csv(summary: Summary, _classes: bool = False) -> str:
    """Return a line for each finished run and evaluation: arm, seed, step, mean and each class, as parts of 1."""
    runs = [result for results in summary.runs.values() for result in results]
    names = list(runs[0].evaluations[0].iou)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["arm", "seed", "step", "miou", "boundary_miou", "seconds", *names])
    for result in runs:
        for one in result.evaluations:
            cells = [one.iou.get(name) for name in names]
            writer.writerow([result.arm, result.seed, one.step, one.miou, one.boundary_miou, result.seconds, *cells])
    return file.getvalue().rstrip("\n")


def summary_rows(summary: Summary) -> list[tuple[str, list[str]]]:
    """Return a name and the columns of `HEADS` for each arm."""
    figures = [(arm, arm.figures) for arm in summary.arms]
    digits = {"variance": 4, "std": 4}
    return [
        (arm.name, [str(len(arm.values)), *(_number(value, digits.get(name, 2)) for name, value in row.items())])
        for arm, row in figures
    ]


def class_rows(summary: Summary) -> list[list[str]]:
    """Return the mean of each class by arm, and its change where two arms or three are compared."""
    told = list(summary.arms)
    names = list(dict.fromkeys(name for arm in told for name in arm.classes))
    head = ["class", *(arm.name for arm in told), *(f"{one.better} - {one.than}" for one in summary.differences)]
    return [
        head,
        *(
            [
                name,
                *(_number(arm.classes.get(name, math.nan)) for arm in told),
                *(_signed(one.classes.get(name, math.nan)) for one in summary.differences),
            ]
            for name in names
        ),
    ]


def sentence(one: Difference, measure: str) -> str:
    """Say in one plain sentence what was found between two arms."""
    runs = f"{one.num_runs} {'pairs' if one.test == 'paired t-test' else 'runs'}"
    found = f"{_signed(one.mean)} points of {measure}, 95% interval {_signed(one.low)} to {_signed(one.high)}"
    if not one.is_shown:
        verdict = "no difference is shown"
    else:
        verdict = f"{one.better} is {'better' if one.mean > 0 else 'worse'}"
    return f"{one.better} against {one.than}: {found} ({one.test}, {runs}, p = {_p_value(one.p_value)}): {verdict}."


def _p_value(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _units(summary: Summary) -> str:
    minutes = [f"{arm.name} {arm.seconds / 60:.1f}" for arm in summary.arms if not math.isnan(arm.seconds)]
    return f"variance and standard deviation with n - 1; minutes of a run: {', '.join(minutes)}"


def fixed(summary: Summary) -> str:
    """Return what was held fixed in all runs as a line."""
    seeds = sorted(set(summary.grid.seeds))
    told = ["seed " + ", ".join(str(seed) for seed in seeds)]
    for name, values in summary.fixed.items():
        told.append(f"{name} {' or '.join('not set' if value is None else str(value) for value in values)}")
    return "; ".join(told)


def _number(value: float, digits: int = 2) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.2f}"


def _escaped(cell: str) -> str:
    return "".join("\\" + char if char in "&%$#_{}" else char for char in cell)
