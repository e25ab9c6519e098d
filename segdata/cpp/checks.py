"""What a label image must be before it is pooled: uint8, two axes, and nothing but classes and the ignored id."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segdata.cpp.kernels import IGNORED, MAX_CLASSES, MIXED, holds_unknown
from segdata.errors import LabelError, SettingsError

Ragged = Literal["ignore", "error"]
"""What to do with cells that overhang the label: count their missing pixels as ignored, or refuse them."""

MAX_CELL = 65535
"""The largest side of a cell: its count still fits in uint32."""


def checked_label(class_ids: NDArray[np.integer], num_classes: int, ignore_id: int) -> NDArray[np.uint8]:
    """Return the label as contiguous uint8 that holds classes and `IGNORED` alone.

    Parameters
    ----------
    class_ids : ndarray of any integer dtype, shape (H, W)
        Values in ``0 .. num_classes-1``, or `ignore_id`.
    num_classes : int
        In ``1 .. 254``.
    ignore_id : int
        In ``num_classes .. 255``.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        `class_ids` itself where it already is so; `ignore_id` becomes 255.

    Raises
    ------
    LabelError
        If the array is not a label, or a value is neither a class nor `ignore_id`; the message gives its first place.
    SettingsError
        If `num_classes` or `ignore_id` is out of range.
    """
    check_classes(num_classes, ignore_id)
    label = np.asarray(class_ids)
    if label.ndim != 2 or 0 in label.shape or not np.issubdtype(label.dtype, np.integer):
        raise LabelError(
            f"label: an array of {label.dtype} with shape {label.shape}. A label is an integer array of shape "
            f"(height, width), at least one pixel. Pass class ids, not colors or scores."
        )
    if label.dtype != np.uint8 and (label.min() < 0 or label.max() > 255):
        raise _unknown_id(label, num_classes, ignore_id)
    narrow = np.require(label, np.uint8, ["C", "W", "A"])  # one kind of array: kernels are compiled for it once
    if ignore_id != IGNORED:
        narrow = _ignored_as_255(narrow, ignore_id)
    if holds_unknown(narrow.reshape(-1), num_classes, 1):
        raise _unknown_id(label, num_classes, ignore_id)
    return narrow


def check_cell(cell: int) -> None:
    """Raise SettingsError unless `cell` is the side of a cell, an integer in ``1 .. MAX_CELL``."""
    if not isinstance(cell, int | np.integer) or not 1 <= cell <= MAX_CELL:
        raise SettingsError(f"scale {cell!r}: the side of a cell is a whole number of pixels, 1 to {MAX_CELL}.")


def check_divides(cell: int, size: tuple[int, int], ragged: str) -> None:
    """Raise LabelError where `ragged` is ``"error"`` and `cell` does not divide `size`, (height, width)."""
    if ragged not in {"ignore", "error"}:
        raise SettingsError(f"ragged {ragged!r}: what to do where cells overhang the label is 'ignore' or 'error'.")
    height, width = size
    if ragged == "error" and (height % cell or width % cell):
        raise LabelError(
            f"label: {height} x {width} pixels are not whole cells of {cell} x {cell}. "
            f"Pass --ragged ignore to count the missing pixels as ignored, or choose another scale."
        )


def count_dtype(cell: int) -> np.dtype[np.unsignedinteger]:
    """Return the smallest unsigned dtype that holds ``cell**2``.

    >>> count_dtype(15), count_dtype(16), count_dtype(256)
    (dtype('uint8'), dtype('uint16'), dtype('uint32'))
    """
    return np.min_scalar_type(cell * cell)


def check_classes(num_classes: int, ignore_id: int) -> None:
    """Raise SettingsError unless there are 1 to `MAX_CLASSES` classes and the ignored id lies above them, to 255."""
    if not 1 <= num_classes <= MAX_CLASSES:
        raise SettingsError(f"num_classes {num_classes}: pooled targets hold 1 to {MAX_CLASSES} classes.")
    if not num_classes <= ignore_id <= IGNORED:
        raise SettingsError(
            f"ignore_id {ignore_id}: with {num_classes} classes the ignored id is {num_classes} to {IGNORED}."
        )


def _ignored_as_255(label: NDArray[np.uint8], ignore_id: int) -> NDArray[np.uint8]:
    """Return the label with `ignore_id` as 255, and 255, which is then unknown, as 254, which is as well."""
    ids = np.arange(256, dtype=np.uint8)
    ids[IGNORED] = MIXED
    ids[ignore_id] = IGNORED
    return ids[label]


def _unknown_id(label: NDArray[np.integer], num_classes: int, ignore_id: int) -> LabelError:
    unknown = ((label < 0) | (label >= num_classes)) & (label != ignore_id)
    row, column = (int(axis[0]) for axis in np.nonzero(unknown))
    value = int(label[row, column])
    num_pixels = np.count_nonzero(label == value)
    return LabelError(
        f"label: id {value} is neither a class (0-{num_classes - 1}) nor the ignored id {ignore_id} "
        f"({num_pixels} pixels, first at row {row}, column {column})."
    )
