"""The page of an experiment: its table, its comparisons, its curves, and each class."""

import math
from pathlib import Path

from segdata.experiments.statistics import Summary, summarize
from segdata.experiments.tables import HEADS, class_rows, fixed, sentence, summary_rows
from segdata.pages.charts import line_chart
from segdata.pages.html import Part, facts, paragraph, table


def sections_of_experiment(folder: Path) -> list[Part]:
    """Return the page of what `segdata experiment run` came to so far."""
    summary = summarize(folder)
    finished, planned = summary.num_runs
    overview = facts(
        [
            ("about", summary.grid.about or None),
            ("runs finished", f"{finished} of {planned}"),
            ("seeds", ", ".join(map(str, dict.fromkeys(summary.grid.seeds)))),
            ("minutes of a run", _minutes(summary)),
            ("fixed", fixed(summary)),
        ]
    )
    arms = table(["arm", *HEADS], [[arm, *row] for arm, row in summary_rows(summary)],
                 caption=f"{summary.measure} in percent; variance and standard deviation with n - 1")  # fmt: skip
    compared = "".join(paragraph(sentence(one, summary.measure)) for one in summary.differences)
    head, *rows = class_rows(summary)
    sections = [
        Part("Overview", overview),
        Part("Arms", arms + compared),
        Part("Over training", f'<div class="charts">{_curves(summary)}</div>'),
        Part("Classes", table(head, rows, caption="mean IoU over the runs of an arm, in percent")),
    ]
    if all(one.last and one.last.boundary_miou is not None for runs in summary.runs.values() for one in runs):
        boundary = summarize(folder, boundary=True)
        rows = [[arm, *row] for arm, row in summary_rows(boundary)]
        told = "".join(paragraph(sentence(one, boundary.measure)) for one in boundary.differences)
        sections.append(Part("Boundary IoU", table(["arm", *HEADS], rows, caption="boundary IoU in percent") + told))
    return sections


def _minutes(summary: Summary) -> str | None:
    told = [f"{arm.name} {arm.seconds / 60:.1f}" for arm in summary.arms if not math.isnan(arm.seconds)]
    return ", ".join(told) or None


def _curves(summary: Summary) -> str:
    curves = {arm: [(float(step), value) for step, value in points] for arm, points in summary.curves.items()}
    single = {
        arm: [[(float(one.step), 100 * one.miou) for one in run.evaluations] for run in runs]
        for arm, runs in summary.runs.items()
    }
    return line_chart(f"{summary.measure} in percent: mean of each arm, and its runs", curves, pale=single)
