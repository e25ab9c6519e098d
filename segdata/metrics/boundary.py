"""Boundary IoU: how well the borders of the classes are drawn, whatever the size of their insides.

References
----------
Cheng, Girshick, Dollar, Berg, Kirillov. Boundary IoU: Improving Object-Centric Image Segmentation Evaluation.
CVPR 2021 (arXiv 2103.16562).
"""

import math

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled
from segdata.labels.classes import IGNORE_ID

DILATION_RATIO = 0.02
"""Width of the border as a share of the image's diagonal (the paper's choice)."""


def boundary_distance(size: tuple[int, int], ratio: float = DILATION_RATIO) -> int:
    """Return the width of the border in pixels for an image of (height, width), at least 1.

    >>> boundary_distance((1024, 2048)), boundary_distance((3, 4))
    (46, 1)
    """
    return max(1, round(ratio * math.hypot(*size)))


def find_boundary(class_ids: NDArray[np.uint8], distance: int) -> NDArray[np.bool_]:
    """Mark the pixels that lie near the border of their own class.

    Parameters
    ----------
    class_ids : ndarray of uint8, shape (H, W)
    distance : int
        Width of the border in pixels, at least 1.

    Returns
    -------
    ndarray of bool, shape (H, W)
        True where the square of side ``2 * distance + 1`` around a pixel holds another value, or reaches beyond the
        image. For each class it is its mask less the mask eroded `distance` times by a 3 x 3 square, for all classes
        in one pass.

    Examples
    --------
    >>> find_boundary(np.array([[1, 1, 1, 1, 2], [1, 1, 1, 1, 2], [1, 1, 1, 1, 2]], np.uint8), 1).astype(int)
    array([[1, 1, 1, 1, 1],
           [1, 0, 0, 1, 1],
           [1, 1, 1, 1, 1]])
    """
    assert distance >= 1, f"distance {distance}"
    boundary = np.ones(class_ids.shape, np.bool_)
    _clear_insides(class_ids, distance, boundary)
    return boundary


def count_boundary(
    labels: NDArray[np.uint8], predictions: NDArray[np.uint8], num_classes: int, ratio: float = DILATION_RATIO
) -> NDArray[np.int64]:
    """Count the border pixels of each class in a label and its prediction, and those they share.

    Parameters
    ----------
    labels, predictions : ndarray of uint8, shape (H, W)
        Training ids; 255 for an ignored pixel of the label, or one predicted as no class.
    num_classes : int
        Number of classes K.
    ratio : float
        Width of the border as a share of the diagonal.

    Returns
    -------
    ndarray of int64, shape (K, 3)
        Border pixels of the class in both, in the label, in the prediction. IoU: both / (label + prediction - both).

    Notes
    -----
    Ignored pixels belong to no border, and the prediction is cut out where the label ignores: what is ignored bounds
    both alike, so that a prediction equal to the label has an IoU of 1.
    """
    ignored = labels == IGNORE_ID
    predictions = np.where(ignored, np.uint8(IGNORE_ID), predictions)
    distance = boundary_distance((labels.shape[0], labels.shape[1]), ratio)
    of_label, of_prediction = find_boundary(labels, distance), find_boundary(predictions, distance)
    shared = of_label & of_prediction & (labels == predictions)
    counts = [_histogram(labels[shared]), _histogram(labels[of_label]), _histogram(predictions[of_prediction])]
    return np.stack(counts, axis=1)[:num_classes]


def _histogram(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.bincount(values, minlength=256).astype(np.int64)


@compiled
def _clear_insides(class_ids: NDArray[np.uint8], distance: int, boundary: NDArray[np.bool_]) -> None:
    """Clear what is the middle of a square of one class.

    A run of ``2 * distance + 1`` equal values along a row says that the one in its middle is inside along the row; a
    run of as many such pixels of one class down a column, that the one in their middle is inside both ways.
    """
    height, width = class_ids.shape
    side = 2 * distance + 1
    runs_down = np.zeros(width, np.int32)
    for i in range(height):
        run = 0
        for j in range(width):
            run = run + 1 if j > 0 and class_ids[i, j] == class_ids[i, j - 1] else 1
            middle = j - distance
            if middle < 0:
                continue
            if run < side:
                runs_down[middle] = 0
                continue
            goes_on = i > 0 and class_ids[i, middle] == class_ids[i - 1, middle]
            runs_down[middle] = runs_down[middle] + 1 if goes_on else 1
            if runs_down[middle] >= side:
                boundary[i - distance, middle] = False
