"""Figures from a confusion matrix, worked by hand."""

import json
import math

import numpy as np
import pytest

from segdata.metrics.scores import Scores, format_scores, mean_of_known

NAMES = ("road", "sky", "car")
# 10 road: 6 right, 2 as sky, 1 as car, 1 as no class. 5 sky: 4 right, 1 as road. No car.
COUNTS = np.array([[6, 2, 1, 1], [1, 4, 0, 0], [0, 0, 0, 0]])
SCORES = Scores(NAMES, COUNTS, num_images=2)


def test_iou_precision_and_recall_of_each_class():
    assert SCORES.iou.tolist() == [6 / 11, 4 / 7, 0.0]
    assert SCORES.precision.tolist() == [6 / 7, 4 / 6, 0.0]
    np.testing.assert_array_equal(SCORES.recall, [6 / 10, 4 / 5, math.nan])


def test_means_and_accuracy():
    assert SCORES.miou == (6 / 11 + 4 / 7 + 0.0) / 3
    assert SCORES.mean_recall == (6 / 10 + 4 / 5) / 2
    assert SCORES.pixel_accuracy == 10 / 15


def test_a_class_without_label_and_prediction_does_not_count_in_the_mean():
    scores = Scores(("road", "train"), np.array([[3, 0, 1], [0, 0, 0]]), num_images=1)
    assert math.isnan(scores.iou[1])
    assert scores.miou == 0.75


def test_precision_is_of_what_was_predicted_and_recall_of_what_is_there():
    scores = Scores(("rare", "rest"), np.array([[1, 9, 0], [0, 90, 0]]), num_images=1)
    assert (scores.precision[0], scores.recall[0]) == (1.0, 0.1)


def test_scores_of_two_sets_add_up_to_those_of_both(rng):
    parts = [Scores(NAMES, rng.integers(0, 99, (3, 4)), 1, rng.integers(0, 9, (3, 3)), k) for k in (0, 1)]
    both = parts[0] + parts[1]
    np.testing.assert_array_equal(both.confusion, parts[0].confusion + parts[1].confusion)
    np.testing.assert_array_equal(both.boundary, parts[0].boundary + parts[1].boundary)
    assert (both.num_images, both.num_tiled) == (2, 1)


def test_boundary_iou_divides_what_is_shared_by_what_is_in_either():
    scores = Scores(("road", "sky"), np.zeros((2, 3), np.int64), 1, np.array([[2, 4, 6], [0, 0, 0]]))
    np.testing.assert_array_equal(scores.boundary_iou, [2 / 8, math.nan])
    assert scores.mean_boundary_iou == 0.25


def test_no_image_has_no_figures():
    empty = Scores.empty(NAMES)
    assert math.isnan(empty.miou)
    assert math.isnan(empty.pixel_accuracy)
    assert math.isnan(empty.mean_boundary_iou)


def test_the_dict_is_strict_json_with_none_for_what_is_not_known():
    found = json.loads(json.dumps(SCORES.as_dict(), allow_nan=False))
    assert found["classes"]["car"] == {"iou": 0.0, "precision": 0.0, "recall": None, "pixels": 0}
    assert found["confusion"] == [[6, 2, 1], [1, 4, 0], [0, 0, 0]]
    assert found["predicted_as_none"] == [1, 0, 0]
    assert (found["miou"], found["num_images"]) == (SCORES.miou, 2)


def test_means_are_added_in_order_without_nan():
    values = [0.1, math.nan, 0.2, 0.3]
    assert mean_of_known(values) == ((0.0 + 0.1) + 0.2 + 0.3) / 3


def test_the_table_shows_percent_and_a_dash_for_what_is_not_known():
    lines = format_scores(SCORES).splitlines()
    assert lines[0].split() == ["class", "IoU", "precision", "recall", "pixels"]
    assert lines[3].split() == ["car", "0.00", "0.00", "-", "0"]
    assert lines[-2] == "mIoU 37.23, pixel accuracy 66.67, mean recall 70.00 (2 images)"
    assert lines[-1] == "to compare: mIoU 33.33 if all were road, 35.00 by chance"


def test_the_baselines_are_those_of_labels_that_were_drawn():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 200_000, p=[0.7, 0.2, 0.1])
    guesses = rng.permutation(labels)
    counts = np.zeros((4, 5), np.int64)
    np.add.at(counts, (labels, guesses), 1)
    guessed = Scores(("a", "b", "c", "absent"), counts, num_images=1)
    assert guessed.chance_iou[:3] == pytest.approx(guessed.iou[:3], abs=0.005)
    assert np.isnan(guessed.chance_iou[3])
    assert guessed.majority.iou.tolist()[:3] == [pytest.approx(0.7, abs=0.005), 0, 0]
    assert guessed.majority.miou == pytest.approx(0.7 / 3, abs=0.005)


@pytest.mark.parametrize("num_tiled", [0, 2])
def test_tiled_images_are_named_only_where_there_are_some(num_tiled):
    scores = Scores(NAMES, COUNTS, 2, np.zeros((3, 3), np.int64), num_tiled)
    assert ("2 in tiles" in format_scores(scores)) == bool(num_tiled)
    assert "boundary" in format_scores(scores).splitlines()[0]
