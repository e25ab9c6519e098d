"""Kernels between the inflated rows of a PNG and ids: undo its filters, and map, count and filter in one pass.

A label is mostly flat: eight pixels at a time are nearly always equal to the eight above, or have eight zero
residuals. Each kernel takes such words of 8 bytes at once and goes byte by byte only where classes meet.
One byte per pixel throughout, so the "left" byte of PNG's filters is the byte before.
"""

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled

NO_FILTER, SUB, UP, AVERAGE, PAETH = range(5)
_WORD = 8
_SPREAD = np.uint64(0x0101010101010101)  # times a byte: that byte eight times


def undo_filters(raw: NDArray[np.uint8], height: int, row_bytes: int) -> NDArray[np.uint8] | None:
    """Undo the filters of one pass of rows (PNG specification, section 9).

    Parameters
    ----------
    raw : ndarray of uint8, shape (height * (1 + row_bytes),)
        Each row after its filter byte.
    height, row_bytes : int
        Rows, and bytes of packed samples in each.

    Returns
    -------
    ndarray of uint8, shape (height, row_bytes), or None
        The packed samples; None if a filter byte is none of PNG's five.

    Examples
    --------
    >>> undo_filters(np.array([1, 5, 1, 1, 2, 0, 0, 3], np.uint8), height=2, row_bytes=3).tolist()
    [[5, 6, 7], [5, 6, 10]]
    """
    rows = np.empty((height + 1, row_bytes), np.uint8)
    rows[0] = 0  # PNG's row above the first
    raw_words = _word_view(raw, 1, height, 1 + row_bytes)
    row_words = _word_view(rows.reshape(-1), 0, height + 1, row_bytes)
    known = _undo_filters(raw.reshape(height, 1 + row_bytes), raw_words, rows, row_words)
    return rows[1:] if known else None


class RowMapper:
    """Map ids, count them and Up-filter the result in one pass, band by band.

    Parameters
    ----------
    height, width : int
        Size of the whole image.
    lookup : ndarray of uint8, shape (256,)
        The new value of every id.

    Attributes
    ----------
    counts : ndarray of int64, shape (256,)
        Pixels of every id before the mapping, once all rows were given.

    Examples
    --------
    >>> mapper = RowMapper(2, 2, np.arange(10, 266).astype(np.uint8))
    >>> mapper.map_rows(np.array([[0, 1, 1], [0, 1, 2]], np.uint8)).tolist()
    [2, 11, 11, 2, 0, 1]
    >>> mapper.counts[:3].tolist()
    [0, 3, 1]
    """

    def __init__(self, height: int, width: int, lookup: NDArray[np.uint8]) -> None:
        self.counts = np.zeros(256, np.int64)
        self._rows_left = height
        self._stride = 1 + width
        self._lookup = lookup
        self._above: NDArray[np.uint8] | None = None
        self._filtered = np.empty(0, np.uint8)

    def map_rows(self, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Map and filter the next rows.

        Parameters
        ----------
        rows : ndarray of uint8, shape (n, 1 + width)
            Ids, each row behind one byte that is not looked at.

        Returns
        -------
        ndarray of uint8, shape (n * (1 + width),)
            The rows with PNG's Up filter, ready to deflate: residuals of flat regions are 0. It is overwritten by
            the next call.
        """
        rows = rows.view()
        rows.flags.writeable = False  # one type for the kernel, whoever gives the rows
        if self._filtered.size < rows.size:
            self._filtered = np.empty(rows.size, np.uint8)
        filtered = self._filtered[: rows.size].reshape(rows.shape)
        done = 0
        if self._above is None:
            self._map_first_row(rows[0], filtered[0])
            done = 1
        _map_rows(
            rows if self._above is None else rows,
            _word_view(rows),
            self._lookup,
            filtered,
            _word_view(filtered),
            self.counts,
            self._rows_left,
        )
        return filtered.reshape(-1)


def _word_view(data: NDArray[np.uint8], offset: int, height: int, stride: int) -> NDArray[np.uint64]:
    """View what follows `offset` in rows of `stride` bytes as whole words, (height, words), at any alignment."""
    words = (stride - offset) // _WORD
    return np.ndarray((height, words), np.uint64, data.data, offset=offset if words else 0, strides=(stride, _WORD))


@compiled
def _map_and_filter(
    raw: NDArray[np.uint8],
    raw_words: NDArray[np.uint64],
    lookup: NDArray[np.uint8],
    filtered: NDArray[np.uint8],
    filtered_words: NDArray[np.uint64],
    counts: NDArray[np.int64],
) -> None:
    # The counts of a row are those of the row above, corrected where words differ: flat regions are never counted.
    row_counts = np.zeros(256, np.int64)
    height, stride = raw.shape
    num_words = raw_words.shape[1]
    for j in range(1, stride):
        row_counts[raw[0, j]] += 1
        filtered[0, j] = lookup[raw[0, j]]
    counts += row_counts
    filtered[:, 0] = UP
    for i in range(1, height):
        for k in range(num_words):
            if raw_words[i, k] == raw_words[i - 1, k]:
                filtered_words[i, k] = 0
            else:
                _map_bytes(raw[i - 1], raw[i], 1 + 8 * k, 9 + 8 * k, lookup, filtered[i], row_counts)
        _map_bytes(raw[i - 1], raw[i], 1 + 8 * num_words, stride, lookup, filtered[i], row_counts)
        counts += row_counts


@compiled
def _map_bytes(
    above: NDArray[np.uint8],
    row: NDArray[np.uint8],
    start: int,
    stop: int,
    lookup: NDArray[np.uint8],
    filtered: NDArray[np.uint8],
    row_counts: NDArray[np.int64],
) -> None:
    for j in range(start, stop):
        row_counts[above[j]] -= 1
        row_counts[row[j]] += 1
        filtered[j] = lookup[row[j]] - lookup[above[j]]


@compiled
def _undo_filters(
    raw: NDArray[np.uint8], raw_words: NDArray[np.uint64], rows: NDArray[np.uint8], row_words: NDArray[np.uint64]
) -> bool:
    for i in range(raw.shape[0]):
        filter_type, above, row = raw[i, 0], rows[i], rows[i + 1]
        if filter_type == NO_FILTER:
            row[:] = raw[i, 1:]
        elif filter_type == UP:
            for j in range(row.size):
                row[j] = raw[i, 1 + j] + above[j]
        elif filter_type <= PAETH:
            _undo_row(filter_type, raw[i, 1:], raw_words[i], above, row_words[i], row, row_words[i + 1])
        else:
            return False
    return True


@compiled
def _undo_row(
    filter_type: int,
    residuals: NDArray[np.uint8],
    residual_words: NDArray[np.uint64],
    above: NDArray[np.uint8],
    above_words: NDArray[np.uint64],
    row: NDArray[np.uint8],
    row_words: NDArray[np.uint64],
) -> None:
    """Undo Sub, Average or Paeth, whose every byte waits for the one before: words of zero residuals at once."""
    left, corner = np.uint8(0), np.uint8(0)
    start = 0
    for k in range(residual_words.size):
        if residual_words[k] == 0 and _is_flat(filter_type, left, corner, above_words[k]):
            # Paeth with left == corner predicts the byte above; all other flat cases predict the byte before.
            copies_above = filter_type == PAETH and left == corner
            row_words[k] = above_words[k] if copies_above else np.uint64(left) * _SPREAD
        else:
            _undo_bytes(filter_type, residuals, above, row, 8 * k, 8 * k + 8)
        start = 8 * k + 8
        left, corner = row[start - 1], above[start - 1]
    _undo_bytes(filter_type, residuals, above, row, start, row.size)


@compiled
def _is_flat(filter_type: int, left: np.uint8, corner: np.uint8, above_word: np.uint64) -> bool:
    """Say whether eight zero residuals are known to be eight equal predictions, given the bytes around them."""
    if filter_type == SUB:
        return True
    if filter_type == AVERAGE:
        return bool(above_word == np.uint64(left) * _SPREAD)
    return bool(left == corner or above_word == np.uint64(corner) * _SPREAD)


@compiled
def _undo_bytes(
    filter_type: int,
    residuals: NDArray[np.uint8],
    above: NDArray[np.uint8],
    row: NDArray[np.uint8],
    start: int,
    stop: int,
) -> None:
    for j in range(start, stop):
        left = np.int64(row[j - 1]) if j else np.int64(0)
        corner = np.int64(above[j - 1]) if j else np.int64(0)
        if filter_type == SUB:
            prediction = left
        elif filter_type == AVERAGE:
            prediction = (left + above[j]) >> 1
        else:
            prediction = _paeth(left, np.int64(above[j]), corner)
        row[j] = (residuals[j] + prediction) & 255


@compiled
def _paeth(left: np.int64, above: np.int64, corner: np.int64) -> np.int64:
    """Return whichever of three bytes is nearest to left + above - corner; ties go to the first named."""
    to_left, to_above = abs(above - corner), abs(left - corner)
    to_corner = abs(left + above - 2 * corner)
    if to_left <= to_above and to_left <= to_corner:
        return left
    return above if to_above <= to_corner else corner
