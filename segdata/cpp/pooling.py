"""Class-probability-preserving pooling of one label image, as dense arrays.

Several scales at once, or without the zeros: `segdata.cpp.sparse.pool_label`.
"""

from math import isqrt

import numpy as np
from numpy.typing import NDArray

from segdata.cpp.checks import Ragged, check_cell, count_dtype
from segdata.cpp.sparse import pool_label
from segdata.errors import SettingsError

__all__ = ["Ragged", "cell_side", "coarsen_counts", "cpp_counts", "cpp_pool"]


def cpp_counts(
    class_ids: NDArray[np.integer],
    cell: int,
    *,
    num_classes: int = 19,
    ignore_id: int = 255,
    ragged: Ragged = "ignore",
) -> NDArray[np.unsignedinteger]:
    """Count the pixels of each class in each cell of a label image.

    Parameters
    ----------
    class_ids : ndarray of uint8 (or any integer dtype), shape (H, W)
        Values in ``0 .. num_classes-1``, or `ignore_id`.
    cell : int
        Side of a cell in pixels, at least 1.
    num_classes : int
        Number of classes K, at most 254.
    ignore_id : int
        Id of the pixels that count for no class.
    ragged : {"ignore", "error"}
        Where `cell` does not divide the size, the missing pixels of the last cells count as ignored, or it is an error.

    Returns
    -------
    ndarray of uint8, shape (K + 1, ceil(H / cell), ceil(W / cell))
        Pixels per class; the last channel counts the ignored ones, so every cell sums to ``cell**2``. The dtype is
        uint16 where ``cell**2 > 255`` and uint32 where it is over 65535.

    Raises
    ------
    LabelError
        If a value is neither a class nor `ignore_id` (the message gives its first place), or sizes do not fit.
    SettingsError
        If an argument is out of range.

    Notes
    -----
    Equal to ``cell**2`` times the non-overlapping average pooling of the one-hot label.

    Examples
    --------
    >>> label = np.array([[0, 0, 1, 255], [0, 1, 1, 1]], dtype=np.uint8)
    >>> cpp_counts(label, 2, num_classes=2)[:, 0]
    array([[3, 0],
           [1, 3],
           [0, 1]], dtype=uint8)
    """
    grids = pool_label(class_ids, [cell], num_classes=num_classes, ignore_id=ignore_id, ragged=ragged)
    return grids[cell].counts()


def cpp_pool(
    class_ids: NDArray[np.integer],
    cell: int,
    *,
    num_classes: int = 19,
    ignore_id: int = 255,
    ragged: Ragged = "ignore",
) -> NDArray[np.float32]:
    """Downsample a label image to class probabilities, losing no class mass.

    Parameters
    ----------
    class_ids, cell, num_classes, ignore_id, ragged
        As in `cpp_counts`.

    Returns
    -------
    ndarray of float32, shape (K + 1, ceil(H / cell), ceil(W / cell))
        Fractions in [0, 1]; the last channel is the ignored fraction, so every cell sums to 1.

    Raises
    ------
    LabelError, SettingsError
        As in `cpp_counts`.

    Notes
    -----
    With b the pixels of a cell, ``p[k] = |{i in b : y_i = k}| / cell**2`` [1]_. Linear, hence pooling by 2 twice is
    pooling by 4, and the mean over cells is the image's class frequency.

    References
    ----------
    .. [1] Han, Yoo, Oh. SeeThroughNet. CVPR 2022, supplementary, Algorithm 1.

    Examples
    --------
    >>> cpp_pool(np.array([[0, 1], [1, 1]], dtype=np.uint8), 2, num_classes=2).ravel()
    array([0.25, 0.75, 0.  ], dtype=float32)
    """
    grids = pool_label(class_ids, [cell], num_classes=num_classes, ignore_id=ignore_id, ragged=ragged)
    return grids[cell].probabilities()


def coarsen_counts(counts: NDArray[np.unsignedinteger], factor: int) -> NDArray[np.unsignedinteger]:
    """Sum counts over `factor` x `factor` cells: the counts of cells `factor` times as wide.

    Parameters
    ----------
    counts : ndarray of an unsigned dtype, shape (K + 1, h, w)
        As `cpp_counts` gives them.
    factor : int
        How many cells become one, along each axis. Missing cells count as wholly ignored.

    Returns
    -------
    ndarray of an unsigned dtype, shape (K + 1, ceil(h / factor), ceil(w / factor))
        Equal to `cpp_counts` of the label with ``cell * factor``.

    Raises
    ------
    SettingsError
        If `factor` is below 1 or the cells become too wide.

    Examples
    --------
    >>> coarsen_counts(cpp_counts(np.eye(4, dtype=np.uint8), 2, num_classes=2), 2).ravel()
    array([12,  4,  0], dtype=uint8)
    """
    cell = cell_side(counts)
    check_cell(factor)
    check_cell(cell * factor)
    num_channels, height, width = counts.shape
    whole = ((0, 0), (0, -height % factor), (0, -width % factor))
    padded = np.pad(counts.astype(np.uint32), whole)
    padded[-1, height:, :] = padded[-1, :, width:] = cell * cell
    blocks = padded.reshape(num_channels, padded.shape[1] // factor, factor, padded.shape[2] // factor, factor)
    return np.asarray(blocks.sum(axis=(2, 4)), count_dtype(cell * factor))


def cell_side(counts: NDArray[np.unsignedinteger]) -> int:
    """Return the side in pixels of the cells that `counts`, shape (K + 1, h, w), were taken over."""
    area = int(counts[:, 0, 0].sum(dtype=np.int64))
    side = isqrt(area)
    if side * side != area:
        raise SettingsError(f"counts: the first cell holds {area} pixels. Cells are square; pass whole counts.")
    return side
