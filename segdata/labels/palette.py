"""Label images and class probabilities in the colors of their class table."""

import numpy as np
from numpy.typing import NDArray

from segdata.labels.classes import ClassTable

IGNORED_COLOR = (0, 0, 0)


def class_colors(table: ClassTable) -> NDArray[np.uint8]:
    """Return the colors of the training classes and, last, of what is ignored: uint8, shape (K + 1, 3)."""
    return np.concatenate([table.train_colors, np.array([IGNORED_COLOR], np.uint8)])


def color_image(class_ids: NDArray[np.uint8], table: ClassTable) -> NDArray[np.uint8]:
    """Paint each pixel in the color of its class.

    Parameters
    ----------
    class_ids : ndarray of uint8, shape (H, W)
        Training ids; every other value is painted as ignored.
    table : ClassTable

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    colors = class_colors(table)
    return colors[np.minimum(class_ids, table.num_classes)]


def mixture_image(counts: NDArray[np.unsignedinteger], table: ClassTable) -> NDArray[np.uint8]:
    """Paint each cell in the mean of its class colors, weighted by the counts.

    Parameters
    ----------
    counts : ndarray of unsigned integers, shape (K + 1, h, w)
        As `segdata.cpp_counts` gives them; the last channel is the ignored mass.
    table : ClassTable

    Returns
    -------
    ndarray of uint8, shape (h, w, 3)

    Examples
    --------
    >>> table = ClassTable.load("cityscapes")  # road is (128, 64, 128)
    >>> counts = np.zeros((20, 1, 1), np.uint8)
    >>> counts[0], counts[19] = 2, 2
    >>> mixture_image(counts, table).tolist()
    [[[64, 32, 64]]]
    """
    share = counts / np.maximum(counts.sum(axis=0, dtype=np.int64), 1)
    mixed = np.tensordot(share, class_colors(table), axes=(0, 0))
    painted: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return painted
