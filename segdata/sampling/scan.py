"""One pass over a label image: how much of each class stands in each tile, and real pixels of it to centre on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled
from segdata.errors import LabelError, SettingsError

NUM_POINTS = 4
_STRIPS, _COLUMNS = 32, 4  # a tile is looked at in 32 x 4 cells, each offering one point of each class
_MAX_SIDE = 65535
_EIGHT = np.uint64(0x0101010101010101)
# The byte of the lowest set bit, by de Bruijn's sequence: all 64 windows of six bits of this number differ.
_DE_BRUIJN, _TOP_SIX = np.uint64(0x03F79D71B4CB0A89), np.uint64(58)
_BYTE_OF_BIT = np.zeros(64, np.int64)
for _bit in range(64):
    _BYTE_OF_BIT[int(_DE_BRUIJN) * (1 << _bit) % 2**64 >> 58] = _bit // 8


@dataclass(frozen=True)
class TileEntries:
    """The classes of one label image, tile by tile. An entry is one class in one tile; all arrays have one per entry.

    Attributes
    ----------
    size : tuple of int
        Height and width of the label.
    ignored : int
        Pixels of no class.
    classes : ndarray of uint8, shape (E,)
        Class id; entries are sorted by tile, then class.
    tiles : ndarray of uint16, shape (E,)
        Number of the tile, row by row.
    pixels : ndarray of uint32, shape (E,)
        Pixels of the class in the tile.
    points : ndarray of uint16, shape (E, 4, 2)
        (row, column) of pixels of the class, far from each other; the first lies where the class is widest. A class
        that fits into one 32nd of the tile's height and a quarter of its width has the same point four times.
    centroids : ndarray of uint16, shape (E, 2)
        Centre of mass, rounded down; it may lie on another class.
    """

    size: tuple[int, int]
    ignored: int
    classes: NDArray[np.uint8]
    tiles: NDArray[np.uint16]
    pixels: NDArray[np.uint32]
    points: NDArray[np.uint16]
    centroids: NDArray[np.uint16]


def scan_label(
    ids: NDArray[np.uint8], lookup: NDArray[np.int16], num_classes: int, *, tile: int = 1024, where: str = "label"
) -> TileEntries:
    """Index one label image.

    Parameters
    ----------
    ids : ndarray of uint8, shape (H, W)
        What the file holds.
    lookup : ndarray of int16, shape (256,)
        Class id of each stored id, 255 for ignored ones, -1 for ids that may not occur.
    num_classes : int
        Classes are ``0 .. num_classes - 1``.
    tile : int
        Side of a tile in pixels, a multiple of 8.
    where : str
        The file's name for messages.

    Raises
    ------
    LabelError
        If an id occurs that `lookup` does not know, with its count and first place.
    SettingsError
        If 8 does not divide the tile, or the image has too many tiles or pixels for the index.

    Examples
    --------
    >>> entries = scan_label(np.array([[1, 1], [1, 255]], np.uint8), np.arange(256, dtype=np.int16), 2)
    >>> entries.classes.tolist(), entries.pixels.tolist(), entries.ignored
    ([1], [3], 1)
    """
    if tile < 8 or tile % 8:
        raise SettingsError(f"tile {tile}: expected a side of 8 pixels or a multiple of it.")
    height, width = ids.shape
    across, down = -(-width // tile), -(-height // tile)
    if max(height, width, across * down) > _MAX_SIDE:
        raise SettingsError(f"{where}: {height}x{width} pixels in tiles of {tile} are too many. Use larger tiles.")
    unknown = (lookup < 0) | ((lookup >= num_classes) & (lookup != 255))
    slots = np.where(unknown, num_classes + 1, np.minimum(lookup, num_classes)).astype(np.uint16)
    rows = np.ascontiguousarray(ids) if width % 8 == 0 else np.pad(ids, ((0, 0), (0, -width % 8)))
    flat = rows.reshape(-1)
    counts, points, sums = _scan_tiles(flat, flat.view(np.uint64), height, width, tile, slots, num_classes)
    if counts[:, num_classes + 1].any():
        raise _unknown_id(ids, unknown, where)
    tiles, classes = np.nonzero(counts[:, :num_classes])
    pixels = counts[tiles, classes]
    return TileEntries(
        size=(height, width),
        ignored=int(counts[:, num_classes].sum()),
        classes=classes.astype(np.uint8),
        tiles=tiles.astype(np.uint16),
        pixels=pixels.astype(np.uint32),
        points=points[tiles, classes],
        centroids=(sums[tiles, classes] // pixels[:, np.newaxis]).astype(np.uint16),
    )


def _unknown_id(ids: NDArray[np.uint8], unknown: NDArray[np.bool_], where: str) -> LabelError:
    rows, columns = np.nonzero(unknown[ids])
    found = int(ids[rows[0], columns[0]])
    return LabelError(
        f"{where}: id {found} is no class of the table ({int((ids == found).sum())} pixels, first at row {rows[0]}, "
        f"column {columns[0]}). Pass the --classes and --encoding the labels follow."
    )


@compiled
def _scan_tiles(
    flat: NDArray[np.uint8],
    words: NDArray[np.uint64],
    height: int,
    width: int,
    tile: int,
    slots: NDArray[np.uint16],
    num_classes: int,
) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.int64]]:
    """Scan all tiles: pixels (T, K + 2), points (T, K, 4, 2), sums of rows and columns (T, K + 2, 2)."""
    across, down = -(-width // tile), -(-height // tile)
    counts = np.zeros((across * down, num_classes + 2), np.int64)
    sums = np.zeros((across * down, num_classes + 2, 2), np.int64)
    points = np.zeros((across * down, num_classes, NUM_POINTS, 2), np.uint16)
    best = np.empty((_STRIPS * _COLUMNS, num_classes + 2), np.int64)  # the classes of a cell share cache lines
    stride = flat.size // height
    cell_size = (-(-tile // _STRIPS), -(-tile // (8 * _COLUMNS)) * 8)
    for number in range(across * down):
        top, left = number // across * tile, number % across * tile
        place = (top, left, min(top + tile, height), min(left + tile, width))
        best[:] = 0
        _scan_tile(flat, words, stride, place, cell_size, slots, counts[number], sums[number], best)
        for class_id in range(num_classes):
            if counts[number, class_id]:
                _spread_points(best[:, class_id], stride, points[number, class_id])
    return counts, points, sums


@compiled
def _scan_tile(
    flat: NDArray[np.uint8],
    words: NDArray[np.uint64],
    stride: int,
    place: tuple[int, int, int, int],
    cell_size: tuple[int, int],
    slots: NDArray[np.uint16],
    counts: NDArray[np.int64],
    sums: NDArray[np.int64],
    best: NDArray[np.int64],
) -> None:
    """Scan one tile, cell by cell; rows that are as the row above within a cell are scanned once and counted often."""
    top, left, bottom, right = place
    strip, step = cell_size
    columns = -(-(right - left) // step)
    firsts = np.full(_COLUMNS, top, np.int64)
    for row in range(top + 1, bottom + 1):
        may_go_on = row < bottom and (row - top) % strip != 0
        first_cell = (row - 1 - top) // strip * _COLUMNS
        for column in range(columns):
            start = left + column * step
            end = min(start + step, right)
            if may_go_on and _same(words, row * stride + start, stride, end - start):
                continue
            span = (firsts[column], row, start, end)
            _add_runs(flat, words, stride, span, slots, counts, sums, best[first_cell + column])
            firsts[column] = row
    sums //= 2


@compiled
def _same(words: NDArray[np.uint64], at: int, stride: int, length: int) -> bool:
    """Tell whether a piece of a row is the same as the piece above it."""
    here, above = words[at >> 3 : (at + length + 7) >> 3], words[(at - stride) >> 3 : (at - stride + length + 7) >> 3]
    different = np.uint64(0)
    for word in range(here.size):
        different |= here[word] ^ above[word]
    return bool(different == 0)


@compiled
def _add_runs(
    flat: NDArray[np.uint8],
    words: NDArray[np.uint64],
    stride: int,
    span: tuple[int, int, int, int],
    slots: NDArray[np.uint16],
    counts: NDArray[np.int64],
    sums: NDArray[np.int64],
    best: NDArray[np.int64],
) -> None:
    """Add the runs of equal rows ``first .. last - 1`` to the counts and to twice the sums; keep the longest run.

    `best` packs length and middle of a run into one number, ``length << 40 | (2**40 - 1 - flat index)``, so that the
    longest, and among equals the first, is the largest.
    """
    first, last, left, right = span
    times, base = last - first, first * stride
    twice_row, down = first + last - 1, (last - first) // 2 * stride
    at, end = base + left, base + right
    while at < end:
        value = flat[at]
        after = _run_end(words, at, end, value)
        slot, length = slots[value], after - at
        pixels, both_ends = length * times, at + after - 1
        counts[slot] += pixels
        sums[slot, 0] += pixels * twice_row
        sums[slot, 1] += pixels * (both_ends - 2 * base)
        packed = (length << 40) | ((1 << 40) - 1 - (both_ends // 2 + down))
        best[slot] = max(best[slot], packed)
        at = after


@compiled
def _run_end(words: NDArray[np.uint64], at: int, end: int, value: int) -> int:
    """Return where the run of a value that begins at `at` ends, comparing eight pixels at a time."""
    eight = np.uint64(value) * _EIGHT
    word = at >> 3
    different = (words[word] ^ eight) >> np.uint64((at & 7) << 3) << np.uint64((at & 7) << 3)
    while different == 0:
        word += 1
        if word << 3 >= end:
            return end
        different = words[word] ^ eight
    lowest = different & (~different + np.uint64(1))
    return int(min(end, (word << 3) + _BYTE_OF_BIT[(lowest * _DE_BRUIJN) >> _TOP_SIX]))


@compiled
def _spread_points(best: NDArray[np.int64], stride: int, points: NDArray[np.uint16]) -> None:
    """Choose points far from each other: first the middle of the longest run, then each time the farthest one left."""
    places = np.empty((2, best.size), np.int64)
    distance = np.empty(best.size, np.int64)
    num, chosen, longest = 0, 0, np.int64(0)
    for packed in best:
        if packed:
            at = ((1 << 40) - 1) - (packed & ((1 << 40) - 1))
            places[0, num], places[1, num], distance[num] = at // stride, at % stride, np.int64(1) << 62
            if packed > longest:
                chosen, longest = num, packed
            num += 1
    for number in range(NUM_POINTS):
        row, column = places[0, chosen], places[1, chosen]
        points[number, 0], points[number, 1] = row, column
        farthest = chosen
        distance[chosen] = 0
        for cell in range(num):
            away = (places[0, cell] - row) ** 2 + (places[1, cell] - column) ** 2
            distance[cell] = min(distance[cell], away)
            if distance[cell] > distance[farthest]:
                farthest = cell
        chosen = farthest


def scan_confidence(
    ids: NDArray[np.uint8], confidence: NDArray[Any], lookup: NDArray[np.int16], threshold: float
) -> NDArray[np.uint8]:
    """Return class ids with 255 where the confidence is below a threshold.

    Parameters
    ----------
    ids : ndarray of uint8, shape (H, W)
        What the label holds.
    confidence : ndarray of uint8, shape (H, W)
        255 is certain.
    lookup : ndarray of int16, shape (256,)
        As for `scan_label`; ids it does not know become 254.
    threshold : float
        From 0 to 1; pixels with ``confidence / 255 < threshold`` are ignored.
    """
    classes = np.where(lookup < 0, 254, lookup).astype(np.uint8)[ids]
    classes[confidence < threshold * 255] = 255
    return classes
