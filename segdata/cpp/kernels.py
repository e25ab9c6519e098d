"""The compiled loops of coarsening and spreading a sparse grid; see `segdata.cpp.sparse` for what they work on."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled, inlined

Ends = tuple[np.uint32, np.uint32, np.uint32, np.uint32]

IGNORED = 255
"""The id of ignored pixels in a checked label, and of wholly ignored cells in a map."""

MIXED = 254
"""What a map holds where a cell has pixels of several classes."""

MAX_CLASSES = 254
"""So many classes leave `MIXED` and `IGNORED` free."""


class Finer(NamedTuple):
    """The grid that is coarsened, as the kernels read it.

    Attributes
    ----------
    map : ndarray of uint8, shape (h, w)
    row_starts : ndarray of int64, shape (h + 1,)
        Number of mixed cells above each row.
    starts, ids, counts : ndarray
        The parts of the mixed cells, as in `segdata.cpp.sparse.SparseCounts`.
    area : numpy.uint32
        Pixels of a cell.
    """

    map: NDArray[np.uint8]
    row_starts: NDArray[np.int64]
    starts: NDArray[np.int64]
    ids: NDArray[np.uint8]
    counts: NDArray[np.uint32]
    area: np.uint32


class Parts(NamedTuple):
    """The parts of mixed cells, to be written."""

    starts: NDArray[np.int64]
    ids: NDArray[np.uint8]
    counts: NDArray[np.uint32]


@compiled
def holds_unknown(ids: NDArray[np.uint8], num_classes: int, num_special: int) -> bool:
    """Return whether an id is neither below `num_classes` nor one of the last `num_special` of the 256.

    An id plus `num_special`, in uint8, is at least that for a class and less for the special ones, which wrap round: so
    the greatest tells, without a branch, and it runs in wide words.
    """
    greatest, shift = np.uint8(0), np.uint8(num_special)
    for i in range(ids.size):
        shifted = np.uint8(ids[i] + shift)
        greatest = shifted if shifted > greatest else greatest
    return bool(greatest >= num_classes + num_special)


@compiled
def cells_per_id(ids: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how often each of the 256 ids occurs; four tallies, so that a run of one id does not wait for itself."""
    tallies = np.zeros((4, 256), np.int64)
    whole = ids.size // 4 * 4
    for i in range(0, whole, 4):
        for lane in range(4):
            tallies[lane, ids[i + lane]] += 1
    for i in range(whole, ids.size):
        tallies[0, ids[i]] += 1
    total: NDArray[np.int64] = tallies[0] + tallies[1] + tallies[2] + tallies[3]
    return total


@compiled
def are_whole(parts: Parts, area: int) -> bool:
    """Return whether each mixed cell has two parts or more, of ascending ids, with pixels that sum to `area`."""
    for cell in range(parts.starts.size - 1):
        start, stop = parts.starts[cell], parts.starts[cell + 1]
        pixels = np.int64(0)
        for part in range(start, stop):
            pixels += parts.counts[part]
            if parts.counts[part] == 0 or (part > start and parts.ids[part] <= parts.ids[part - 1]):
                return False
        if pixels != area or stop - start < 2:
            return False
    return True


@compiled
def places_of_mixed(cells: NDArray[np.uint8], eights: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the ascending indices of `MIXED`; `eights` holds the same cells, eight a word, as far as they fill one.

    Subtracting one from each byte borrows from its high bit only where the byte is 0, that is where the cell is mixed
    (or follows one in the word): so one test passes over eight cells. Words, then cells, are written down always and
    counted only if they are wanted: there is no branch to guess wrong. Unsigned indices spare the test for negative
    ones.
    """
    num_words, num_mixed, eight = np.uint64(0), np.uint64(0), np.uint64(8)
    words = np.empty(eights.size + 1, np.uint64)
    for word in range(np.uint64(eights.size)):
        zeros = eights[word] ^ np.uint64(0xFEFEFEFEFEFEFEFE)
        has_zero = (zeros - np.uint64(0x0101010101010101)) & ~zeros & np.uint64(0x8080808080808080)
        words[num_words] = word
        num_words += np.uint64(has_zero != 0)
    places = np.empty(8 * np.int64(num_words) + 8, np.int64)
    for at in range(num_words):
        start = words[at] * eight
        for cell in range(start, start + eight):
            places[num_mixed] = cell
            num_mixed += np.uint64(cells[cell] == MIXED)
    for cell in range(np.uint64(eights.size) * eight, np.uint64(cells.size)):
        places[num_mixed] = cell
        num_mixed += np.uint64(cells[cell] == MIXED)
    return places[: np.int64(num_mixed)].copy()


@compiled
def pure_pairs(pairs: NDArray[np.uint16], cells: NDArray[np.uint8]) -> None:
    """Write the id of each 2 x 2 block, or `MIXED`; `pairs` holds two neighbors a word, so one ``==`` compares two."""
    height, width = cells.shape
    for row in range(height):
        above, below, out = pairs[2 * row], pairs[2 * row + 1], cells[row]
        for column in range(width):
            pair = above[column]
            first = pair & np.uint16(255)
            pure = (pair == below[column]) & (first == pair >> np.uint16(8))
            out[column] = first if pure else MIXED


@compiled
def pure_blocks(fine: NDArray[np.uint8], factor: int, cells: NDArray[np.uint8]) -> None:
    """Write the id of each `factor` x `factor` block, or `MIXED`: down the columns in wide words, then across."""
    height, width = cells.shape
    differs = np.empty(width * factor, np.uint8)
    for row in range(height):
        top = fine[row * factor]
        differs[:] = 0
        for down in range(1, factor):
            below = fine[row * factor + down]
            for x in range(differs.size):
                differs[x] |= top[x] ^ below[x]
        for column in range(width):
            first = top[column * factor]
            difference = np.uint8(0)
            for x in range(column * factor, column * factor + factor):
                difference |= differs[x] | (top[x] ^ first)
            cells[row, column] = MIXED if difference else first


@compiled
def merge_fours(fine: Finer, mixed: NDArray[np.int64], parts: Parts) -> int:
    """Write the parts of each mixed cell of 2 x 2 finer ones; return how many there are.

    A mixed finer cell lies in a mixed coarse one, so walking the coarse ones in reading order meets the finer ones of
    each row in order too: a cursor per row replaces any search. Nine mixed cells in ten hold two ids, the least and
    the greatest of their finer cells, and those are counted without a branch.
    """
    width = fine.map.shape[1] // 2
    tally, cursor = np.zeros(256, np.uint32), np.zeros(2, np.int64)
    end = next_row = row = 0
    for cell in range(mixed.size):
        if mixed[cell] >= next_row:
            row = mixed[cell] // width
            next_row = (row + 1) * width
            cursor[:] = fine.row_starts[2 * row : 2 * row + 2]
        left = 2 * (mixed[cell] - next_row + width)
        ids = (
            fine.map[2 * row, left],
            fine.map[2 * row, left + 1],
            fine.map[2 * row + 1, left],
            fine.map[2 * row + 1, left + 1],
        )
        first = _ends(fine, ids[0], cursor[0])
        second = _ends(fine, ids[1], cursor[0] + (ids[0] == MIXED))
        third = _ends(fine, ids[2], cursor[1])
        fourth = _ends(fine, ids[3], cursor[1] + (ids[2] == MIXED))
        least = min(first[0], second[0], third[0], fourth[0])
        greatest = max(first[2], second[2], third[2], fourth[2])
        num_least = _pixels_of(least, first, second, third, fourth)
        num_greatest = _pixels_of(greatest, first, second, third, fourth)
        if num_least + num_greatest == 4 * fine.area:
            parts.ids[end], parts.ids[end + 1] = least, greatest
            parts.counts[end], parts.counts[end + 1] = num_least, num_greatest
            cursor[0] += int(ids[0] == MIXED) + int(ids[1] == MIXED)
            cursor[1] += int(ids[2] == MIXED) + int(ids[3] == MIXED)
            end += 2
        else:
            end = _merge_cell(fine, 2, 2 * row, left, cursor, tally, parts, end)
        parts.starts[cell + 1] = end
    return end


@compiled
def merge_blocks(fine: Finer, factor: int, mixed: NDArray[np.int64], parts: Parts) -> int:
    """Write the parts of each mixed cell of `factor` x `factor` finer ones; return how many there are."""
    width = fine.map.shape[1] // factor
    tally, cursor = np.zeros(256, np.uint32), np.zeros(factor, np.int64)
    end = next_row = row = 0
    for cell in range(mixed.size):
        if mixed[cell] >= next_row:
            row = mixed[cell] // width
            next_row = (row + 1) * width
            cursor[:] = fine.row_starts[row * factor : row * factor + factor]
        left = factor * (mixed[cell] - next_row + width)
        end = _merge_cell(fine, factor, factor * row, left, cursor, tally, parts, end)
        parts.starts[cell + 1] = end
    return end


@compiled
def spread(
    cells: NDArray[np.uint8],
    mixed: NDArray[np.int64],
    parts: Parts,
    amounts: NDArray[Any],
    whole: Any,
    planes: NDArray[Any],
) -> None:
    """Write `whole` where a cell is pure and the amounts of its parts where it is mixed.

    `planes`, shape (K + 1, h * w), is all zero; its last row is the ignored mass.
    """
    ignored = planes.shape[0] - 1
    for cell in range(cells.size):
        class_id = cells[cell]
        if class_id != MIXED:
            planes[ignored if class_id == IGNORED else class_id, cell] = whole
    for at in range(mixed.size):
        for part in range(parts.starts[at], parts.starts[at + 1]):
            class_id = parts.ids[part]
            planes[ignored if class_id == IGNORED else class_id, mixed[at]] = amounts[part]


@inlined
def _ends(fine: Finer, finer_id: np.uint8, at: int) -> Ends:
    """Return the first id of a finer cell and its pixels, the last id and its pixels; `at` numbers it where mixed."""
    if finer_id != MIXED:
        return np.uint32(finer_id), fine.area, np.uint32(finer_id), np.uint32(0)
    start, last = fine.starts[at], fine.starts[at + 1] - 1
    return np.uint32(fine.ids[start]), fine.counts[start], np.uint32(fine.ids[last]), fine.counts[last]


@inlined
def _pixels_of(class_id: np.uint32, first: Ends, second: Ends, third: Ends, fourth: Ends) -> np.uint32:
    """Return the pixels of an id among the ends of four finer cells."""
    pixels = np.uint32(0)
    for ends in (first, second, third, fourth):
        pixels += ends[1] * np.uint32(ends[0] == class_id) + ends[3] * np.uint32(ends[2] == class_id)
    return pixels


@inlined
def _merge_cell(
    fine: Finer,
    factor: int,
    top: int,
    left: int,
    cursor: NDArray[np.int64],
    tally: NDArray[np.uint32],
    parts: Parts,
    end: int,
) -> int:
    """Write the parts of one mixed cell from `end` on, however many, and move the cursors; return where they end.

    Neighbors mostly hold the same id, so the tally is touched once for each run of it.
    """
    start = end
    run_id, run_pixels = np.uint8(MIXED), np.uint32(0)
    for down in range(factor):
        for x in range(left, left + factor):
            finer_id = fine.map[top + down, x]
            if finer_id == MIXED:
                for part in range(fine.starts[cursor[down]], fine.starts[cursor[down] + 1]):
                    end = _tally(fine.ids[part], fine.counts[part], tally, parts.ids, start, end)
                cursor[down] += 1
                continue
            if finer_id != run_id:
                end = _tally(run_id, run_pixels, tally, parts.ids, start, end)
                run_id, run_pixels = finer_id, np.uint32(0)
            run_pixels += fine.area
    end = _tally(run_id, run_pixels, tally, parts.ids, start, end)
    for part in range(start, end):
        parts.counts[part] = tally[parts.ids[part]]
        tally[parts.ids[part]] = 0
    return end


@inlined
def _tally(
    class_id: np.uint8, pixels: np.uint32, tally: NDArray[np.uint32], ids: NDArray[np.uint8], start: int, end: int
) -> int:
    """Add pixels to the tally of an id, and the id in order to ``ids[start:end]`` where it is new; return their end."""
    if pixels == 0:
        return end
    if tally[class_id] == 0:
        at = end
        while at > start and ids[at - 1] > class_id:
            ids[at] = ids[at - 1]
            at -= 1
        ids[at] = class_id
        end += 1
    tally[class_id] += pixels
    return end
