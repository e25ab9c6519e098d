"""Kernels between the inflated rows of a PNG and ids: undo its filters, and map, count and filter in one pass.

A label is mostly flat: eight pixels at a time are nearly always equal to the eight above, or have eight zero
residuals. Each kernel takes such words of 8 bytes at once and goes byte by byte only where classes meet.
One byte per pixel throughout, so the "left" byte of PNG's filters is the byte before. Words are views of rows at any
alignment, which the processors that Numba compiles for read and write like aligned ones.
"""

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.png_photo_filters import undo_photo_filters
from segdata.compiled import compiled

NO_FILTER, SUB, UP, AVERAGE, PAETH = range(5)
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
    rows = np.empty((height, row_bytes), np.uint8)
    above = np.zeros(row_bytes, np.uint8)  # PNG's row above the first
    return rows if _undo_filters(raw.reshape(height, 1 + row_bytes), above, rows) else None


class RowRestorer:
    """Undo filters band by band, each row behind one byte as `RowMapper` takes them.

    Parameters
    ----------
    row_bytes : int
        Bytes of a row without the filter byte; of photographs, as many as are wanted from the left.
    pixel_bytes : int
        Bytes of a pixel: how far back the byte "before" is.

    Examples
    --------
    >>> restorer = RowRestorer(3)
    >>> restorer.restore_rows(np.array([[1, 5, 1, 1]], np.uint8))[:, 1:].tolist()
    [[5, 6, 7]]
    >>> restorer.restore_rows(np.array([[2, 0, 0, 3]], np.uint8))[:, 1:].tolist()
    [[5, 6, 10]]
    """

    def __init__(self, row_bytes: int, pixel_bytes: int = 1) -> None:
        self._above = np.zeros(row_bytes, np.uint8)
        self._pixel_bytes = pixel_bytes

    def restore_rows(self, filtered: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """Undo the filters of the next rows.

        Parameters
        ----------
        filtered : ndarray of uint8, shape (n, 1 + row_bytes)
            Rows behind their filter bytes, n at least 1.

        Returns
        -------
        ndarray of uint8, shape (n, 1 + row_bytes), or None
            The samples, each row behind one byte that means nothing; `filtered` itself where no row has a filter.
            None if a filter byte is none of PNG's five.
        """
        rows = filtered
        if filtered[:, 0].any():
            rows = np.empty_like(filtered)
            if self._pixel_bytes == 1:
                restored = _undo_filters(filtered, self._above, rows)
            else:
                restored = undo_photo_filters(filtered, self._above, rows, self._pixel_bytes)
            if not restored:
                return None
        self._above = rows[
            -1, 1 : 1 + self._above.size
        ].copy()  # writeable, whoever gave the rows: one type for the kernel
        return rows


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
        self.counts[0] = height * width  # as if all were the row of zeros above the image
        self._lookup = lookup
        self._rows_left = height
        self._before = np.zeros((1, 1 + width), np.uint8)
        self._before.flags.writeable = False
        self._filtered = np.empty(0, np.uint8)
        self._is_first = True

    def map_rows(self, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Map and filter the next rows.

        Parameters
        ----------
        rows : ndarray of uint8, shape (n, 1 + width)
            Ids, each row behind one byte that is not looked at. Not to be changed before the next call.

        Returns
        -------
        ndarray of uint8, shape (n * (1 + width),)
            The rows with PNG's Up filter, ready to deflate: residuals of flat regions are 0. The next call overwrites
            it.
        """
        rows = rows.view()
        rows.flags.writeable = False  # one type for the kernel, whoever gives the rows
        if self._filtered.size < rows.size:
            self._filtered = np.empty(rows.size, np.uint8)
        filtered = self._filtered[: rows.size].reshape(rows.shape)
        _map_rows(self._before, rows, filtered, self._lookup, self.counts, self._rows_left)
        if self._is_first:
            filtered[0, 1:] += self._lookup[0]  # PNG's row above the first holds 0, not what id 0 becomes
        self._before, self._rows_left, self._is_first = rows, self._rows_left - len(rows), False
        return filtered.reshape(-1)


@compiled
def _map_rows(
    before: NDArray[np.uint8],
    rows: NDArray[np.uint8],
    filtered: NDArray[np.uint8],
    lookup: NDArray[np.uint8],
    counts: NDArray[np.int64],
    rows_left: int,
) -> None:
    """Map `rows`, of which the first lies below the last of `before`; `rows_left` counts them and all further ones.

    Counts are kept as if every row continued to the bottom of the image: a pixel that differs from the one above moves
    as many pixels from id to id as there are rows left. So flat regions cost no counting.
    """
    _map_row(before[-1], rows[0], filtered[0], lookup, counts, rows_left)
    for i in range(1, rows.shape[0]):
        _map_row(rows[i - 1], rows[i], filtered[i], lookup, counts, rows_left - i)


@compiled
def _map_row(
    above: NDArray[np.uint8],
    row: NDArray[np.uint8],
    out: NDArray[np.uint8],
    lookup: NDArray[np.uint8],
    counts: NDArray[np.int64],
    rows_left: int,
) -> None:
    num_pairs = (row.size - 1) // 16
    end = 1 + 16 * num_pairs
    above_words, words = above[1:end].view(np.uint64), row[1:end].view(np.uint64)
    out_words = out[1:end].view(np.uint64)
    out[0] = UP
    for pair in range(num_pairs):
        k = 2 * pair
        if ((words[k] ^ above_words[k]) | (words[k + 1] ^ above_words[k + 1])) == 0:
            out_words[k] = 0
            out_words[k + 1] = 0
            continue
        for m in range(k, k + 2):
            if words[m] == above_words[m]:
                out_words[m] = 0
                continue
            for j in range(1 + 8 * m, 9 + 8 * m):
                counts[above[j]] -= rows_left
                counts[row[j]] += rows_left
                out[j] = lookup[row[j]] - lookup[above[j]]
    for j in range(end, row.size):
        old, new = above[j], row[j]
        counts[old] -= rows_left
        counts[new] += rows_left
        out[j] = lookup[new] - lookup[old]


@compiled
def _undo_filters(filtered: NDArray[np.uint8], above: NDArray[np.uint8], rows: NDArray[np.uint8]) -> bool:
    """Undo the filters of rows below `above`; `rows` may have room for a filter byte, which is left as it is."""
    margin = rows.shape[1] - above.size
    for i in range(filtered.shape[0]):
        filter_type, residuals, row = filtered[i, 0], filtered[i, 1:], rows[i, margin:]
        if filter_type == NO_FILTER:
            row[:] = residuals
        elif filter_type == UP:
            for j in range(row.size):
                row[j] = residuals[j] + above[j]
        elif filter_type <= PAETH:
            _undo_row(filter_type, residuals, above, row)
        else:
            return False
        above = row
    return True


@compiled
def _undo_row(filter_type: int, residuals: NDArray[np.uint8], above: NDArray[np.uint8], row: NDArray[np.uint8]) -> None:
    """Undo Sub, Average or Paeth, whose every byte waits for the one before: words of zero residuals at once."""
    num_words = row.size // 8
    end = 8 * num_words
    residual_words, above_words = residuals[:end].view(np.uint64), above[:end].view(np.uint64)
    row_words = row[:end].view(np.uint64)
    left, corner = np.uint8(0), np.uint8(0)
    for k in range(num_words):
        if residual_words[k] == 0 and _is_flat(filter_type, left, corner, above_words[k]):
            # Paeth with left == corner predicts the byte above; all other flat cases predict the byte before.
            copies_above = filter_type == PAETH and left == corner
            row_words[k] = above_words[k] if copies_above else np.uint64(left) * _SPREAD
        else:
            _undo_bytes(filter_type, residuals, above, row, 8 * k, 8 * k + 8)
        left, corner = row[8 * k + 7], above[8 * k + 7]
    _undo_bytes(filter_type, residuals, above, row, end, row.size)


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
