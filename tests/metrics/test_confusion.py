"""Pairs of label and prediction, counted exactly."""

import numpy as np
import pytest

from segdata.labels.classes import ClassTable, train_id_lookup
from segdata.metrics.confusion import count_classes, count_pairs, fold_pairs


def test_every_pixel_is_counted_once_under_its_pair():
    labels = np.array([[0, 0, 255], [1, 1, 1]], np.uint8)
    predictions = np.array([[0, 1, 1], [1, 1, 7]], np.uint8)
    pairs = count_pairs(labels, predictions)
    assert {(y, p): pairs[y, p] for y, p in np.argwhere(pairs).tolist()} == {
        (0, 0): 1,
        (0, 1): 1,
        (255, 1): 1,
        (1, 1): 2,
        (1, 7): 1,
    }


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (37, 41), (0, 5)])
def test_pairs_are_those_of_a_plain_count(rng, shape):
    labels, predictions = (rng.integers(0, 256, shape).astype(np.uint8) for _ in range(2))
    expected = np.zeros((256, 256), np.int64)
    np.add.at(expected, (labels, predictions), 1)
    np.testing.assert_array_equal(count_pairs(labels, predictions), expected)


def test_views_that_are_not_contiguous_are_read_as_they_look(rng):
    image = rng.integers(0, 5, (20, 30)).astype(np.uint8)
    view = image[::2, ::-3]
    np.testing.assert_array_equal(count_pairs(view, view.copy()), np.diag(np.bincount(view.ravel(), minlength=256)))


def test_ignored_labels_are_left_out_and_ignored_predictions_are_misses():
    labels = np.array([[0, 0, 1, 255, 255]], np.uint8)
    predictions = np.array([[0, 255, 0, 0, 255]], np.uint8)
    assert count_classes(labels, predictions, 2).tolist() == [[1, 0, 1], [1, 0, 0]]


def test_label_and_prediction_may_differ_in_encoding():
    table = ClassTable.load("cityscapes")
    labels = np.array([[7, 8, 26, 0]], np.uint8)  # labelIds of road, sidewalk, car, unlabeled
    predictions = np.array([[0, 0, 13, 5]], np.uint8)
    pairs = count_pairs(labels, predictions)
    counts = fold_pairs(pairs, table.value_lookup("labelIds"), table.value_lookup("trainIds"), 19)
    assert {(y, p): counts[y, p] for y, p in np.argwhere(counts).tolist()} == {(0, 0): 1, (1, 0): 1, (13, 13): 1}


def test_several_ids_of_one_class_are_added_up():
    lookup = train_id_lookup(2)
    lookup[[5, 6]] = 1
    pairs = count_pairs(np.array([[5, 6, 6]], np.uint8), np.array([[1, 1, 0]], np.uint8))
    assert fold_pairs(pairs, lookup, train_id_lookup(2), 2).tolist() == [[0, 0, 0], [1, 2, 0]]


def test_a_value_without_meaning_is_our_own_fault():
    with pytest.raises(AssertionError, match="a predicted value without a meaning"):
        count_classes(np.zeros((1, 1), np.uint8), np.full((1, 1), 2, np.uint8), 2)


def test_counts_beyond_32_bits_stay_exact():
    lookup = train_id_lookup(1)
    pairs = np.zeros((256, 256), np.int64)
    pairs[0, 0] = 2**53 + 1
    assert fold_pairs(pairs, lookup, lookup, 1)[0, 0] == 2**53 + 1
