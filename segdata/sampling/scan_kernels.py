"""Kernels of the scan: what a row of tiles holds, class by class, and the pixels to center on.

A label is mostly flat, so only what differs from the row above is looked at: a pixel that does moves as many pixels
from class to class as there are rows left. Rows are compared in wide words, and pixels eight at a time. Words are
numbered without a sign: with one, Numba allows for negative indices and compares one word at a time.
"""

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled

NUM_POINTS = 4
STRIPS, COLUMNS = 32, 4  # a tile is looked at in 32 x 4 cells, each offering one point of each class
_PLACES = (1 << 32) - 1  # row and column of a pixel, 16 bits each
_WORDS_AT_ONCE = 32
# On words of eight pixels: times the first, a byte is that byte eight times, and bytes of 0 and 1 have their sum in the
# last byte; the second numbers the bytes; the third holds all bits of each byte but the highest.
_EIGHT, _NUMBERS = np.uint64(0x0101010101010101), np.uint64(0x0706050403020100)
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_BYTE, _LAST_BYTE, _HIGH_BIT = np.uint64(255), np.uint64(56), np.uint64(7)
# The byte of the lowest set bit, by de Bruijn's sequence: all 64 windows of six bits of this number differ.
_DE_BRUIJN, _TOP_SIX = np.uint64(0x03F79D71B4CB0A89), np.uint64(58)
_BYTE_OF_BIT = np.zeros(64, np.int64)
for _bit in range(64):
    _BYTE_OF_BIT[int(_DE_BRUIJN) * (1 << _bit) % 2**64 >> 58] = _bit // 8


@compiled
def scan_rows(
    rows: NDArray[np.uint8],
    margin: int,
    top: int,
    tile: int,
    slots: NDArray[np.uint16],
    totals: NDArray[np.int64],
    best: NDArray[np.int64],
) -> None:
    """Scan rows of one row of tiles, of which the first is row `top` of the image and of a strip.

    Parameters
    ----------
    rows : ndarray of uint8, shape (n, margin + W)
    slots : ndarray of uint16, shape (256,)
        Which slot of the totals each id has.
    totals : ndarray of int64, shape (T, slots, 3)
        Added to: the pixels of each slot in each tile, and twice the sums of their rows and columns.
    best : ndarray of int64, shape (T, STRIPS * COLUMNS, slots)
        Filled in: the pixel that each cell of a tile offers for each slot it holds, as `_add_runs` packs it.
    """
    width = rows.shape[1] - margin
    strip = -(-tile // STRIPS)
    cells = _cells_of_words(width, tile)
    changed = np.empty(cells.size, np.uint64)
    latest = np.zeros((totals.shape[0] * COLUMNS, totals.shape[1]), np.int64)
    for first in range(0, rows.shape[0], strip):
        last = min(first + strip, rows.shape[0])
        first_cell = (top + first) % tile // strip * COLUMNS
        piece = rows[first:last]
        _add_row(piece[0, margin:], (top + first, top + last), tile, slots, totals, best, first_cell)
        _add_changes(piece, margin, top + first, cells, changed, slots, totals, latest)
        _offer_latest(piece, margin, top + first, tile, latest, best, first_cell)


@compiled
def _cells_of_words(width: int, tile: int) -> NDArray[np.int64]:
    """Return for each eight pixels of a row the column of cells that they lie in, `COLUMNS` to a tile."""
    step = _cell_width(tile)
    cells = np.empty(-(-width // 8), np.int64)
    for word in range(cells.size):
        cells[word] = 8 * word // tile * COLUMNS + 8 * word % tile // step
    return cells


@compiled
def _cell_width(tile: int) -> int:
    return -(-tile // (8 * COLUMNS)) * 8


@compiled
def _add_row(
    row: NDArray[np.uint8],
    span: tuple[int, int],
    tile: int,
    slots: NDArray[np.uint16],
    totals: NDArray[np.int64],
    best: NDArray[np.int64],
    first_cell: int,
) -> None:
    """Add a row as if all of the rows of a span were like it."""
    words, step = row[: row.size // 8 * 8].view(np.uint64), _cell_width(tile)
    for number in range(totals.shape[0]):
        for column in range(COLUMNS):
            left = number * tile + column * step
            right = min(left + step, (number + 1) * tile, row.size)
            if left < right:
                _add_runs(row, words, (left, right), span, slots, totals[number], best[number, first_cell + column])


@compiled
def _add_runs(
    row: NDArray[np.uint8],
    words: NDArray[np.uint64],
    columns: tuple[int, int],
    span: tuple[int, int],
    slots: NDArray[np.uint16],
    totals: NDArray[np.int64],
    best: NDArray[np.int64],
) -> None:
    """Add the runs of some columns to the totals, once for each row of a span; keep the longest run of each slot.

    `best` packs length and middle of a run into one number, ``length << 32 | (2**32 - 1 - (row << 16 | column))``, so
    that the longest, and among equals the first, is the largest.
    """
    first, last = span
    at = columns[0]
    while at < columns[1]:
        after = _run_end(row, words, at, columns[1])
        slot = slots[row[at]]
        pixels = (after - at) * (last - first)
        totals[slot, 0] += pixels
        totals[slot, 1] += pixels * (first + last - 1)
        totals[slot, 2] += pixels * (at + after - 1)
        best[slot] = max(best[slot], _packed(first, at, after))
        at = after


@compiled
def _packed(row: int, start: int, end: int) -> int:
    return ((end - start) << 32) | (_PLACES - (row << 16 | (start + end - 1) // 2))


@compiled
def _run_end(row: NDArray[np.uint8], words: NDArray[np.uint64], at: int, end: int) -> int:
    """Return where the run that begins at `at` ends, comparing eight pixels at a time."""
    value = row[at]
    eight = np.uint64(value) * _EIGHT
    word = at >> 3
    if word < words.size:
        different = (words[word] ^ eight) >> np.uint64((at & 7) << 3) << np.uint64((at & 7) << 3)
        while different == 0:
            word += 1
            if word << 3 >= end:
                return end
            if word == words.size:
                break
            different = words[word] ^ eight
        if different:
            return int(min(end, (word << 3) + _BYTE_OF_BIT[_lowest_bit(different)]))
        at = word << 3
    while at < end and row[at] == value:
        at += 1
    return at


@compiled
def _add_changes(
    rows: NDArray[np.uint8],
    margin: int,
    top: int,
    cells: NDArray[np.int64],
    changed: NDArray[np.uint64],
    slots: NDArray[np.uint16],
    totals: NDArray[np.int64],
    latest: NDArray[np.int64],
) -> None:
    """Move the pixels that differ from those above from slot to slot, in their own row and all below it.

    `latest` gets the place of the last change to each slot in each column of cells, as ``row << 16 | column``.
    """
    bottom, end = top + rows.shape[0], (rows.shape[1] - margin) // 8 * 8
    here = rows[0, margin:]
    words = here[:end].view(np.uint64)
    for row in range(1, rows.shape[0]):
        above, above_words, here = here, words, rows[row, margin:]
        words = here[:end].view(np.uint64)
        span = (top + row, bottom)
        for at in range(_find_changes(above_words, words, changed)):
            word = changed[at]
            old_pixels, new_pixels = above_words[word], words[word]
            start, cell = np.int64(word) * 8, cells[word]
            left = _ones_where_set(old_pixels ^ new_pixels)
            while left:  # most often once: all differ alike
                byte = _BYTE_OF_BIT[_lowest_bit(left)]
                shift = np.uint64(byte * 8)
                old, new = (old_pixels >> shift) & _BYTE, (new_pixels >> shift) & _BYTE
                alike = left & ~_ones_where_set((old_pixels ^ (old * _EIGHT)) | (new_pixels ^ (new * _EIGHT)))
                num = np.int64((alike * _EIGHT) >> _LAST_BYTE)
                sum_of_bytes = np.int64(((alike * _BYTE & _NUMBERS) * _EIGHT) >> _LAST_BYTE)
                _move(totals, cell // COLUMNS, slots[old], slots[new], span, num, num * start + sum_of_bytes)
                latest[cell, slots[new]] = span[0] << 16 | (start + byte)
                left ^= alike
        for column in range(end, here.size):
            if above[column] != here[column]:
                cell, new_slot = cells[column // 8], slots[here[column]]
                _move(totals, cell // COLUMNS, slots[above[column]], new_slot, span, 1, column)
                latest[cell, new_slot] = span[0] << 16 | column


@compiled
def _find_changes(above: NDArray[np.uint64], here: NDArray[np.uint64], changed: NDArray[np.uint64]) -> int:
    """Write down which words of a row differ from those above; return how many do.

    Where any of several does, all are written down and only the wanted ones counted: there is no branch to guess wrong.
    """
    num, size, step = np.uint64(0), np.uint64(here.size), np.uint64(_WORDS_AT_ONCE)
    for first in range(np.uint64(0), size, step):
        last = min(first + step, size)
        different = np.uint64(0)
        for word in range(first, last):
            different |= here[word] ^ above[word]
        if different:
            for word in range(first, last):
                changed[num] = word
                num += np.uint64(here[word] != above[word])
    return int(np.int64(num))


@compiled
def _move(
    totals: NDArray[np.int64],
    tile: int,
    old: np.uint16,
    new: np.uint16,
    span: tuple[int, int],
    num: int | np.int64,
    sum_of_columns: int | np.int64,
) -> None:
    """Move some pixels of each row of a span from one slot to another."""
    first, last = span
    pixels, twice_columns = num * (last - first), 2 * sum_of_columns * (last - first)
    twice_rows = pixels * (first + last - 1)
    totals[tile, new, 0] += pixels
    totals[tile, new, 1] += twice_rows
    totals[tile, new, 2] += twice_columns
    totals[tile, old, 0] -= pixels
    totals[tile, old, 1] -= twice_rows
    totals[tile, old, 2] -= twice_columns


@compiled
def _offer_latest(
    rows: NDArray[np.uint8],
    margin: int,
    top: int,
    tile: int,
    latest: NDArray[np.int64],
    best: NDArray[np.int64],
    first_cell: int,
) -> None:
    """Let a cell offer pixels of what its first row does not hold, and so came by a change; forget the changes."""
    step = _cell_width(tile)
    for cell in range(latest.shape[0]):
        number, column = cell // COLUMNS, cell % COLUMNS
        for slot in range(latest.shape[1]):
            place = latest[cell, slot]
            if place == 0:
                continue
            latest[cell, slot] = 0
            if best[number, first_cell + column, slot] == 0:
                row = rows[(place >> 16) - top, margin:]
                left = number * tile + column * step
                right = min(left + step, (number + 1) * tile, row.size)
                start = end = place & 0xFFFF
                while start > left and row[start - 1] == row[end]:
                    start -= 1
                end = _run_end(row, row[: row.size // 8 * 8].view(np.uint64), end, right)
                best[number, first_cell + column, slot] = _packed(place >> 16, start, end)


@compiled
def _ones_where_set(word: np.uint64) -> np.uint64:
    """Return a word with 1 in each byte in which the given one is not 0."""
    return ((((word & _LOW_BITS) + _LOW_BITS) | word) >> _HIGH_BIT) & _EIGHT


@compiled
def _lowest_bit(word: np.uint64) -> np.uint64:
    """Return the index into `_BYTE_OF_BIT` of the lowest set bit of a word."""
    return ((word & (~word + np.uint64(1))) * _DE_BRUIJN) >> _TOP_SIX


@compiled
def spread_points(best: NDArray[np.int64], points: NDArray[np.uint16]) -> None:
    """Choose the points of a row of tiles from the longest runs of their cells, and forget those.

    The first is the middle of the longest run, then each time the farthest one left.
    """
    num_cells = best.shape[1]
    rows, columns, distance = (
        np.empty(num_cells, np.int64),
        np.empty(num_cells, np.int64),
        np.empty(num_cells, np.int64),
    )
    for tile in range(points.shape[0]):
        for class_id in range(points.shape[1]):
            num, chosen, longest = 0, 0, np.int64(0)
            for cell in range(num_cells):
                packed = best[tile, cell, class_id]
                if packed:
                    place = _PLACES - (packed & _PLACES)
                    rows[num], columns[num], distance[num] = place >> 16, place & 0xFFFF, np.int64(1) << 62
                    if packed > longest:
                        chosen, longest = num, packed
                    num += 1
            if num == 0:
                continue
            for number in range(NUM_POINTS):
                row, column = rows[chosen], columns[chosen]
                points[tile, class_id, number, 0], points[tile, class_id, number, 1] = row, column
                farthest = chosen
                distance[chosen] = 0
                for cell in range(num):
                    away = (rows[cell] - row) ** 2 + (columns[cell] - column) ** 2
                    distance[cell] = min(distance[cell], away)
                    if distance[cell] > distance[farthest]:
                        farthest = cell
                chosen = farthest
    best[:] = 0
