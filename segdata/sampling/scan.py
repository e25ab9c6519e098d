"""One pass over a label image: how much of each class stands in each tile, and real pixels of it to centre on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled
from segdata.errors import LabelError, SettingsError

NUM_POINTS = 4
_STRIPS, _COLUMNS = 32, 4  # a tile is looked at in 32 x 4 cells, each offering one point of each class
_MAX_SIDE = 65535
_PLACES = (1 << 32) - 1  # row and column of a pixel, 16 bits each
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
    return scan_bands([np.ascontiguousarray(ids)], ids.shape, lookup, num_classes, tile=tile, where=where)


def band_multiple(tile: int) -> int:
    """Return what the heights of all bands but the last must be a multiple of, for `scan_bands`."""
    strip = _strip_height(tile)
    return strip if tile % strip == 0 else tile


def scan_bands(
    bands: Iterable[NDArray[np.uint8]],
    size: tuple[int, int],
    lookup: NDArray[np.int16],
    num_classes: int,
    *,
    tile: int = 1024,
    where: str = "label",
) -> TileEntries:
    """Index one label image band by band, so that it is scanned while it is in the cache; see `scan_label`.

    Parameters
    ----------
    bands : iterable of ndarray of uint8, shape (n, W) or (n, 1 + W)
        All rows of the image from top to bottom, contiguous, each behind one byte that is not looked at or behind
        none. All heights but the last are multiples of `band_multiple`.
    size : tuple of int
        Height and width of the image.

    Raises
    ------
    LabelError, SettingsError
        As `scan_label` does, once all bands were taken.
    """
    height, width = size
    if tile < 8 or tile % 8:
        raise SettingsError(f"tile {tile}: expected a side of 8 pixels or a multiple of it.")
    if max(height, width, -(-width // tile) * -(-height // tile)) > _MAX_SIDE:
        raise SettingsError(f"{where}: {height}x{width} pixels in tiles of {tile} are too many. Use larger tiles.")
    scan = _Scan(size, lookup, num_classes, tile)
    for band in bands:
        scan.add_rows(band)
    if scan.unknown is not None:
        raise _unknown_id(scan.unknown, where)
    return scan.entries()


@dataclass
class _UnknownId:
    """An id that is no class: its number, where it first stands, and how many pixels have it."""

    value: int
    row: int
    column: int
    pixels: int = 0


class _Scan:
    """What is known of an image of T tiles and K classes after some of its rows.

    Slot K of the counts is for ignored pixels, K + 1 for those of unknown ids.
    """

    def __init__(self, size: tuple[int, int], lookup: NDArray[np.int16], num_classes: int, tile: int) -> None:
        self._size, self._num_classes, self._tile = size, num_classes, tile
        self._is_unknown = (lookup < 0) | ((lookup >= num_classes) & (lookup != 255))
        slots = np.where(self._is_unknown, num_classes + 1, np.minimum(lookup, num_classes))
        self._slots = slots.astype(np.uint16)
        self._across = -(-size[1] // tile)
        num_tiles = self._across * -(-size[0] // tile)
        self._counts = np.zeros((num_tiles, num_classes + 2), np.int64)
        self._twice_sums = np.zeros((num_tiles, num_classes + 2, 2), np.int64)  # of rows and columns
        self._points = np.zeros((num_tiles, num_classes, NUM_POINTS, 2), np.uint16)
        self._best = np.zeros((self._across, _STRIPS * _COLUMNS, num_classes + 2), np.int64)  # of one row of tiles
        self._num_rows = 0
        self.unknown: _UnknownId | None = None

    def add_rows(self, rows: NDArray[np.uint8]) -> None:
        """Scan the next rows."""
        rows = rows.view()
        rows.flags.writeable = False  # one type for the kernel, whoever gives the rows
        if self.unknown is None:
            self._scan(rows)
        if self.unknown is not None:
            self.unknown.pixels += int((rows[:, -self._size[1] :] == self.unknown.value).sum())
        self._num_rows += len(rows)

    def _scan(self, rows: NDArray[np.uint8]) -> None:
        margin, start = rows.shape[1] - self._size[1], 0
        while start < len(rows):
            top = self._num_rows + start
            piece = rows[start : start + self._tile - top % self._tile]
            start += len(piece)
            tiles = slice(top // self._tile * self._across, (top // self._tile + 1) * self._across)
            counts, sums = self._counts[tiles], self._twice_sums[tiles]
            _scan_rows(piece, margin, top, self._tile, self._slots, counts, sums, self._best)
            if counts[:, self._num_classes + 1].any():
                ids = piece[:, margin:]
                row, column = (int(places[0]) for places in np.nonzero(self._is_unknown[ids]))
                self.unknown = _UnknownId(int(ids[row, column]), top + row, column)
                return
            if (top + len(piece)) % self._tile == 0 or top + len(piece) == self._size[0]:
                _spread_points(self._best, counts, self._points[tiles])

    def entries(self) -> TileEntries:
        """Return the entries of the whole image."""
        tiles, classes = np.nonzero(self._counts[:, : self._num_classes])
        pixels = self._counts[tiles, classes]
        return TileEntries(
            size=self._size,
            ignored=int(self._counts[:, self._num_classes].sum()),
            classes=classes.astype(np.uint8),
            tiles=tiles.astype(np.uint16),
            pixels=pixels.astype(np.uint32),
            points=self._points[tiles, classes],
            centroids=(self._twice_sums[tiles, classes] // (2 * pixels[:, np.newaxis])).astype(np.uint16),
        )


def _unknown_id(found: _UnknownId, where: str) -> LabelError:
    return LabelError(
        f"{where}: id {found.value} is no class of the table ({found.pixels} pixels, first at row {found.row}, column "
        f"{found.column}). Pass the --classes and --encoding the labels follow."
    )


def _strip_height(tile: int) -> int:
    return -(-tile // _STRIPS)


@compiled
def _scan_rows(
    rows: NDArray[np.uint8],
    margin: int,
    top: int,
    tile: int,
    slots: NDArray[np.uint16],
    counts: NDArray[np.int64],
    sums: NDArray[np.int64],
    best: NDArray[np.int64],
) -> None:
    """Scan rows of one row of tiles, of which the first is row `top` of the image and of a strip.

    A cell's rows that are as the row above are scanned once and counted often.
    """
    width = rows.shape[1] - margin
    whole = width // 8 * 8
    strip, step = -(-tile // _STRIPS), -(-tile // (8 * _COLUMNS)) * 8
    firsts = np.zeros((counts.shape[0], _COLUMNS), np.int64)
    for row in range(1, rows.shape[0] + 1):
        above, here = rows[row - 1, margin:], rows[min(row, rows.shape[0] - 1), margin:]
        above_words, words = above[:whole].view(np.uint64), here[:whole].view(np.uint64)
        tails_differ = False
        for at in range(whole, width):
            tails_differ |= above[at] != here[at]
        ends = row == rows.shape[0] or (top + row) % tile % strip == 0
        first_cell = (top + row - 1) % tile // strip * _COLUMNS
        for number in range(counts.shape[0]):
            for column in range(_COLUMNS):
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
                    above, above_words, span, slots, counts[number], sums[number], best[number, first_cell + column]
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
def _spread_points(best: NDArray[np.int64], counts: NDArray[np.int64], points: NDArray[np.uint16]) -> None:
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
