"""Which class was predicted where which class stands: pixels counted exactly, as whole numbers.

One pass over the pixels counts pairs of stored values, whatever they mean. What they mean is then settled on the small
table of pairs: encodings, ignored ids, ids that mean nothing.
"""

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled
from segdata.labels.classes import IGNORE_ID, train_id_lookup

NO_CLASS = -1
"""In a look-up: the value is named by no class."""


def count_pairs(labels: NDArray[np.uint8], predictions: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count how often each value of a label image meets each value of a prediction.

    Parameters
    ----------
    labels, predictions : ndarray of uint8, shape (H, W)
        Any values, each image in an encoding of its own.

    Returns
    -------
    ndarray of int64, shape (256, 256)
        ``[y, p]`` is the number of pixels with label y and prediction p.

    Examples
    --------
    >>> pairs = count_pairs(np.array([[7, 7, 0]], np.uint8), np.array([[7, 8, 8]], np.uint8))
    >>> {(int(y), int(p)): int(pairs[y, p]) for y, p in np.argwhere(pairs)}
    {(0, 8): 1, (7, 7): 1, (7, 8): 1}
    """
    assert labels.shape == predictions.shape, f"label {labels.shape}, prediction {predictions.shape}"
    pairs = np.zeros((256, 256), np.int64)
    _count(labels.reshape(-1), predictions.reshape(-1), pairs)
    return pairs


def fold_pairs(
    pairs: NDArray[np.int64], label_lookup: NDArray[np.int16], prediction_lookup: NDArray[np.int16], num_classes: int
) -> NDArray[np.int64]:
    """Turn pairs of stored values into pairs of classes.

    Parameters
    ----------
    pairs : ndarray of int64, shape (256, 256)
        From `count_pairs`, or a sum of such.
    label_lookup, prediction_lookup : ndarray of int16, shape (256,)
        Training id of each stored value, `IGNORE_ID` for one that is not trained. Values that occur must not be
        `NO_CLASS`.
    num_classes : int
        Number of training classes K.

    Returns
    -------
    ndarray of int64, shape (K, K + 1)
        ``[y, p]``: pixels of class y predicted as class p; the last column: as none of the classes. Pixels whose label
        is ignored are left out.

    Examples
    --------
    >>> trained = np.full(256, IGNORE_ID, np.int16)
    >>> trained[[7, 8]] = 0, 1
    >>> pairs = count_pairs(np.array([[7, 7, 8, 0]], np.uint8), np.array([[7, 8, 0, 7]], np.uint8))
    >>> fold_pairs(pairs, trained, trained, 2).tolist()
    [[1, 1, 0], [0, 0, 1]]
    """
    counts = np.zeros((num_classes, num_classes + 1), np.int64)
    label_values, predicted_values = np.nonzero(pairs)
    rows, columns = label_lookup[label_values], prediction_lookup[predicted_values]
    assert (rows != NO_CLASS).all(), "a label value without a meaning"
    assert (columns != NO_CLASS).all(), "a predicted value without a meaning"
    counted = rows != IGNORE_ID
    columns = np.where(columns == IGNORE_ID, num_classes, columns)
    np.add.at(counts, (rows[counted], columns[counted]), pairs[label_values, predicted_values][counted])
    return counts


def count_classes(labels: NDArray[np.uint8], predictions: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Count pairs of classes in two images of training ids.

    Parameters
    ----------
    labels, predictions : ndarray of uint8, shape (H, W)
        ``0 .. num_classes-1``, or 255: an ignored pixel of the label, a pixel predicted as no class.
    num_classes : int
        Number of classes K.

    Returns
    -------
    ndarray of int64, shape (K, K + 1)
        As `fold_pairs` gives it.
    """
    lookup = train_id_lookup(num_classes)
    return fold_pairs(count_pairs(labels, predictions), lookup, lookup, num_classes)


@compiled
def _count(labels: NDArray[np.uint8], predictions: NDArray[np.uint8], pairs: NDArray[np.int64]) -> None:
    """Add the pairs of two flat images, run by run: neighbors are alike, and a counter is touched once per run."""
    if labels.size == 0:
        return
    label, prediction, start = labels[0], predictions[0], 0
    for i in range(labels.size):
        if labels[i] != label or predictions[i] != prediction:
            pairs[label, prediction] += i - start
            label, prediction, start = labels[i], predictions[i], i
    pairs[label, prediction] += labels.size - start
