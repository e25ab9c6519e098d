"""The borders of classes, against erosion as the paper defines it."""

import numpy as np
import pytest
from scipy import ndimage

from segdata.metrics.boundary import boundary_distance, count_boundary, find_boundary


def blocks(rng, shape, num_classes=4, side=7):
    """Return a label image of patches."""
    small = rng.integers(0, num_classes, [-(-length // side) for length in shape])
    return np.kron(small, np.ones((side, side)))[: shape[0], : shape[1]].astype(np.uint8)


def eroded_border(mask, distance):
    """Return a mask less what is left of it when it is eroded, as Boundary IoU's own code does with OpenCV."""
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)


@pytest.mark.parametrize("distance", [1, 2, 5])
@pytest.mark.parametrize("shape", [(40, 50), (11, 3), (3, 30), (1, 1)])
def test_borders_are_those_of_erosion(rng, shape, distance):
    class_ids = blocks(rng, shape)
    expected = np.zeros(shape, bool)
    for k in range(4):
        expected |= eroded_border(class_ids == k, distance)
    np.testing.assert_array_equal(find_boundary(class_ids, distance), expected)


def test_counts_are_those_of_the_masks_of_each_class(rng):
    labels, predictions = blocks(rng, (60, 80)), blocks(rng, (60, 80), side=9)
    distance = boundary_distance((60, 80))
    expected = []
    for k in range(4):
        of_label, of_prediction = (eroded_border(ids == k, distance) for ids in (labels, predictions))
        expected.append([(of_label & of_prediction).sum(), of_label.sum(), of_prediction.sum()])
    assert distance == 2
    assert count_boundary(labels, predictions, 4).tolist() == expected


def test_what_is_ignored_bounds_label_and_prediction_alike(rng):
    truth = blocks(rng, (50, 50))
    labels = truth.copy()
    labels[10:30, 20:45] = 255
    shared, of_label, of_prediction = count_boundary(labels, truth, 4).T
    np.testing.assert_array_equal(shared, of_label)
    np.testing.assert_array_equal(shared, of_prediction)


def test_the_width_is_two_percent_of_the_diagonal():
    assert boundary_distance((1024, 2048)) == round(0.02 * (1024**2 + 2048**2) ** 0.5)
    assert boundary_distance((1024, 2048), 0.005) == 11
