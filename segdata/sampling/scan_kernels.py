"""Kernels of the scan: what a row of tiles holds, class by class, and the pixels to centre on.

A label is mostly flat: rows are compared with the row above eight pixels at a time, runs are followed eight at a time.
"""

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled

NUM_POINTS = 4
STRIPS, COLUMNS = 32, 4  # a tile is looked at in 32 x 4 cells, each offering one point of each class
_PLACES = (1 << 32) - 1  # row and column of a pixel, 16 bits each
_EIGHT = np.uint64(0x0101010101010101)
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
    counts: NDArray[np.int64],
    twice_sums: NDArray[np.int64],
    best: NDArray[np.int64],
) -> None:
    """Scan rows of one row of tiles, of which the first is row `top` of the image and of a strip.

    A cell's rows that are as the row above are scanned once and counted often.
    """
    width = rows.shape[1] - margin
    whole = width // 8 * 8
    strip, step = -(-tile // STRIPS), -(-tile // (8 * COLUMNS)) * 8
    firsts = np.zeros((counts.shape[0], COLUMNS), np.int64)
    for row in range(1, rows.shape[0] + 1):
        above, here = rows[row - 1, margin:], rows[min(row, rows.shape[0] - 1), margin:]
        above_words, words = above[:whole].view(np.uint64), here[:whole].view(np.uint64)
        tails_differ = False
        for at in range(whole, width):
            tails_differ |= above[at] != here[at]
        ends = row == rows.shape[0] or (top + row) % tile % strip == 0
        first_cell = (top + row - 1) % tile // strip * COLUMNS
        for number in range(counts.shape[0]):
            for column in range(COLUMNS):
                start = number * tile + column * step
                end = min(start + step, (number + 1) * tile, width)
                if start >= end:
                    break
                if (
                    not ends
                    and not (tails_differ and end > whole)
                    and _same(above_words[start >> 3 : end >> 3], words[start >> 3 : end >> 3])
                ):
                    continue
                span = (top + firsts[number, column], top + row, start, end)
                _add_runs(
                    above,
                    above_words,
                    span,
                    slots,
                    counts[number],
                    twice_sums[number],
                    best[number, first_cell + column],
                )
                firsts[number, column] = row


@compiled
def _same(above: NDArray[np.uint64], here: NDArray[np.uint64]) -> bool:
    """Tell whether a piece of a row is the same as the piece above it."""
    different = np.uint64(0)
    for word in range(here.size):
        different |= here[word] ^ above[word]
    return bool(different == 0)


@compiled
def _add_runs(
    row: NDArray[np.uint8],
    words: NDArray[np.uint64],
    span: tuple[int, int, int, int],
    slots: NDArray[np.uint16],
    counts: NDArray[np.int64],
    twice_sums: NDArray[np.int64],
    best: NDArray[np.int64],
) -> None:
    """Add the runs of equal rows ``first .. last - 1`` to the counts and to twice the sums; keep the longest run.

    `best` packs length and middle of a run into one number, ``length << 32 | (2**32 - 1 - (row << 16 | column))``, so
    that the longest, and among equals the first, is the largest.
    """
    first, last, left, right = span
    times, middle_row = last - first, (first + last) // 2
    at = left
    while at < right:
        value = row[at]
        after = _run_end(row, words, at, right)
        slot, length = slots[value], after - at
        pixels, both_ends = length * times, at + after - 1
        counts[slot] += pixels
        twice_sums[slot, 0] += pixels * (first + last - 1)
        twice_sums[slot, 1] += pixels * both_ends
        packed = (length << 32) | (_PLACES - (middle_row << 16 | both_ends // 2))
        best[slot] = max(best[slot], packed)
        at = after


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
            lowest = different & (~different + np.uint64(1))
            return int(min(end, (word << 3) + _BYTE_OF_BIT[(lowest * _DE_BRUIJN) >> _TOP_SIX]))
        at = word << 3
    while at < end and row[at] == value:
        at += 1
    return at


@compiled
def spread_points(best: NDArray[np.int64], counts: NDArray[np.int64], points: NDArray[np.uint16]) -> None:
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
            if counts[tile, class_id] == 0:
                continue
            num, chosen, longest = 0, 0, np.int64(0)
            for cell in range(num_cells):
                packed = best[tile, cell, class_id]
                if packed:
                    place = _PLACES - (packed & _PLACES)
                    rows[num], columns[num], distance[num] = place >> 16, place & 0xFFFF, np.int64(1) << 62
                    if packed > longest:
                        chosen, longest = num, packed
                    num += 1
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
