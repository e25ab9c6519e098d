"""Figures of arms and differences between them, against SciPy's own tests and the paper's tables."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from segdata.errors import SettingsError, StoreError
from segdata.experiments import tables
from segdata.experiments.grid import GRID, RESULTS
from segdata.experiments.results import Evaluation, RunResult, read_result
from segdata.experiments.statistics import ArmSummary, compare, summarize


def arm(name, values, classes=None):
    return ArmSummary(name, tuple(values), 60.0, classes or {"road": tuple(values)})


def test_classes_are_compared_in_the_pairs_that_the_mean_is():
    found = compare(arm("a", [50, 52]), arm("b", [49, 51, 65]), [0, 1], [0, 1, 2])
    assert (found.test, found.mean) == ("paired t-test", 1.0)
    assert found.classes == {"road": 1.0}


def test_arms_that_share_their_seeds_are_compared_in_pairs():
    first, second = [77.1, 78.4, 77.9, 77.2], [76.9, 77.6, 78.1, 76.0]
    found = compare(arm("a", first), arm("b", second), [0, 1, 2, 3], [0, 1, 2, 3])
    judged = stats.ttest_rel(first, second)
    interval = judged.confidence_interval(0.95)
    assert (found.test, found.num_runs) == ("paired t-test", 4)
    np.testing.assert_allclose(
        (found.mean, found.low, found.high, found.p_value),
        (np.mean(first) - np.mean(second), interval.low, interval.high, judged.pvalue),
    )


def test_only_shared_seeds_count_and_each_is_laid_against_its_own():
    first, second = [77.1, 78.4, 77.9], [77.6, 70.0, 76.9, 60.0]
    found = compare(arm("a", first), arm("b", second), [0, 1, 2], [1, 5, 0, 6])
    judged = stats.ttest_rel([77.1, 78.4], [76.9, 77.6])
    assert found.num_runs == 2
    np.testing.assert_allclose((found.mean, found.p_value), (0.5, judged.pvalue))


@pytest.mark.parametrize(("seeds", "others"), [([0, 1, 2], [3, 4, 5]), ([9802] * 3, [9802] * 3)])
def test_arms_without_pairs_are_independent_samples(seeds, others):
    first, second = [77.1, 78.4, 77.9], [76.9, 77.6, 75.0]
    found = compare(arm("a", first), arm("b", second), seeds, others)
    judged = stats.ttest_ind(first, second, equal_var=False)
    interval = judged.confidence_interval(0.95)
    assert found.test == "Welch's t-test"
    np.testing.assert_allclose(
        (found.low, found.high, found.p_value), (interval.low, interval.high, judged.pvalue), rtol=1e-9
    )


def test_arms_that_never_vary_have_an_interval_of_no_width():
    same = compare(arm("a", [5.0, 5.0]), arm("b", [5.0, 5.0]), [0, 1], [0, 1])
    assert (same.mean, same.low, same.high, same.p_value, same.is_shown) == (0, 0, 0, 1, False)
    apart = compare(arm("a", [6.0, 6.0]), arm("b", [5.0, 5.0]), [0, 1], [2, 3])
    assert (apart.low, apart.high, apart.p_value, apart.is_shown) == (1, 1, 0, True)


def test_variance_and_standard_deviation_have_n_minus_1():
    figures = arm("a", [1.0, 2.0, 4.0]).figures
    assert figures["variance"] == pytest.approx(7 / 3)
    assert figures["std"] == pytest.approx(math.sqrt(7 / 3))
    assert math.isnan(arm("a", [1.0]).variance)


def experiment(folder, values, seeds=(0, 1), boundary=None, **grid):
    """Write an experiment of finished runs: last mIoU by arm."""
    arms = {name: {} for name in values}
    told = {"about": "a test", "config": "camvid-pspnet-ce", "arms": arms, "seeds": list(seeds), **grid}
    (folder / RESULTS).mkdir(parents=True)
    (folder / GRID).write_text(json.dumps(told))
    for name, each in values.items():
        for seed, value in zip(seeds, each, strict=False):
            evaluations = tuple(
                Evaluation(step, miou, 0.9, {"road": miou, "pole": None}, boundary, {"road": boundary, "pole": None})
                for step, miou in ((1, value + 0.01), (2, value))
            )
            fixed = {"deterministic": False, "threads": 1}
            result = RunResult(f"{name}-seed{seed}", name, seed, True, 90.0, "digest", fixed, evaluations)
            (folder / RESULTS / f"{result.name}.json").write_text(json.dumps(asdict(result)))
    return folder


def test_the_table_is_that_of_the_paper_with_a_sentence_for_each_pair(tmp_path):
    folder = experiment(tmp_path, {"ce": [0.60, 0.62, 0.61], "cpp": [0.65, 0.66, 0.66]}, seeds=(0, 1, 2))
    assert tables.as_text(summarize(folder), classes=True) == (
        "a test\n"
        "\n"
        "     runs    min    max  average    var.    std.\n"
        "ce      3  60.00  62.00    61.00  1.0000  1.0000\n"
        "cpp     3  65.00  66.00    65.67  0.3333  0.5774\n"
        "\n"
        "cpp against ce: +4.67 points of mIoU, 95% interval +3.23 to +6.10 (paired t-test, 3 pairs, p = 0.005): "
        "cpp is better.\n"
        "\n"
        "class     ce    cpp  cpp - ce\n"
        "road   61.00  65.67     +4.67\n"
        "pole       -      -         -\n"
        "\n"
        "mIoU in percent, variance and standard deviation with n - 1; minutes of a run: ce 1.5, cpp 1.5\n"
        "fixed: seed 0, 1, 2; deterministic False; threads 1"
    )


def test_what_is_not_shown_is_not_claimed(tmp_path):
    text = tables.as_text(summarize(experiment(tmp_path, {"ce": [0.60, 0.66], "cpp": [0.65, 0.64]})))
    assert text.count("no difference is shown") == 1
    assert "better" not in text


def test_two_or_three_arms_are_compared_with_each_other_more_with_the_first(tmp_path):
    three = summarize(experiment(tmp_path / "3", {name: [0.5, 0.6] for name in "abc"}))
    assert [(one.better, one.than) for one in three.differences] == [("b", "a"), ("c", "a"), ("c", "b")]
    four = summarize(experiment(tmp_path / "4", {name: [0.5, 0.6] for name in "abcd"}))
    assert [(one.better, one.than) for one in four.differences] == [("b", "a"), ("c", "a"), ("d", "a")]


def test_single_runs_make_a_table_without_comparisons(tmp_path):
    text = tables.as_text(summarize(experiment(tmp_path, {"0.1": [0.6], "0.2": [0.7]}, seeds=(0,))))
    assert "0.2     1  70.00  70.00    70.00     -     -" in text
    assert "against" not in text


def test_unfinished_runs_are_counted_and_left_out(tmp_path):
    folder = experiment(tmp_path, {"ce": [0.60], "cpp": [0.65, 0.66]})
    assert "3 of 4 runs are finished" in tables.as_text(summarize(folder))


def test_the_best_evaluation_is_taken_only_on_request(tmp_path):
    folder = experiment(tmp_path, {"ce": [0.60, 0.62]})
    assert summarize(folder).arms[0].values == pytest.approx((60, 62))
    assert summarize(folder, best=True).arms[0].values == pytest.approx((61, 63))


def test_boundary_iou_where_it_was_measured(tmp_path):
    assert summarize(experiment(tmp_path / "a", {"ce": [0.6]}, boundary=0.25), boundary=True).arms[0].values == (25,)
    with pytest.raises(SettingsError, match="boundary IoU was not measured"):
        summarize(experiment(tmp_path / "b", {"ce": [0.6]}), boundary=True)


def test_csv_has_a_line_for_each_evaluation_and_latex_the_table(tmp_path):
    summary = summarize(experiment(tmp_path, {"a_b": [0.6, 0.62]}))
    lines = tables.as_csv(summary).split("\n")
    assert lines[0] == "arm,seed,step,miou,boundary_miou,seconds,road,pole"
    assert lines[2] == "a_b,0,2,0.6,,90.0,0.6,"
    assert len(lines) == 5
    assert r"a\_b & 2 & 60.00 & 62.00 & 61.00 & 2.0000 & 1.4142 \\" in tables.as_latex(summary)


def test_json_holds_all_of_it_and_no_nan(tmp_path):
    told = summarize(experiment(tmp_path, {"ce": [0.6]})).as_dict()
    assert told["arms"]["ce"]["variance"] is None
    assert told["curves"] == {"ce": [(1, pytest.approx(61)), (2, pytest.approx(60))]}
    assert "NaN" not in json.dumps(told)


def test_an_experiment_without_a_finished_run_and_a_damaged_result_are_refused(tmp_path):
    folder = experiment(tmp_path, {"ce": []})
    with pytest.raises(SettingsError, match="no run is finished yet"):
        summarize(folder)
    (folder / RESULTS / "ce-seed0.json").write_text('{"name": 3}')
    with pytest.raises(StoreError, match="is no result of a run"):
        read_result(folder, "ce-seed0")
