"""One pass over a label image: how much of each class stands in each tile, and real pixels of it to center on."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segdata.errors import LabelError, SettingsError
from segdata.sampling.scan_kernels import COLUMNS, NUM_POINTS, STRIPS, scan_rows, spread_points

_MAX_SIDE = 65535


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
        (row, column) of pixels of the class, far from each other; the first lies where the class is widest, going by
        the first row of each 32nd of the tile's height and by what begins below it. A class that fits into one 32nd
        of the tile's height and a quarter of its width has the same point four times.
    centroids : ndarray of uint16, shape (E, 2)
        Center of mass, rounded down; it may lie on another class.
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
    strip = -(-tile // STRIPS)
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
    """An id that is not a class: its number, where it first stands, and how many pixels have it."""

    value: int
    row: int
    column: int
    pixels: int = 0


class _Scan:
    """What is known of an image of T tiles and K classes after some of its rows.

    Slot K of the totals is for ignored pixels, K + 1 for those of unknown ids.
    """

    def __init__(self, size: tuple[int, int], lookup: NDArray[np.int16], num_classes: int, tile: int) -> None:
        self._size, self._num_classes, self._tile = size, num_classes, tile
        self._is_unknown = (lookup < 0) | ((lookup >= num_classes) & (lookup != 255))
        slots = np.where(self._is_unknown, num_classes + 1, np.minimum(lookup, num_classes))
        self._slots = slots.astype(np.uint16)
        self._across = -(-size[1] // tile)
        num_tiles = self._across * -(-size[0] // tile)
        self._totals = np.zeros((num_tiles, num_classes + 2, 3), np.int64)  # pixels, twice the sums of rows and columns
        self._points = np.zeros((num_tiles, num_classes, NUM_POINTS, 2), np.uint16)
        self._best = np.zeros((self._across, STRIPS * COLUMNS, num_classes + 2), np.int64)  # of one row of tiles
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
            totals = self._totals[tiles]
            scan_rows(piece, margin, top, self._tile, self._slots, totals, self._best)
            if totals[:, self._num_classes + 1, 0].any():
                ids = piece[:, margin:]
                row, column = (int(places[0]) for places in np.nonzero(self._is_unknown[ids]))
                self.unknown = _UnknownId(int(ids[row, column]), top + row, column)
                return
            if (top + len(piece)) % self._tile == 0 or top + len(piece) == self._size[0]:
                spread_points(self._best, self._points[tiles])

    def entries(self) -> TileEntries:
        """Return the entries of the whole image."""
        tiles, classes = np.nonzero(self._totals[:, : self._num_classes, 0])
        pixels, *twice_sums = self._totals[tiles, classes].T
        return TileEntries(
            size=self._size,
            ignored=int(self._totals[:, self._num_classes, 0].sum()),
            classes=classes.astype(np.uint8),
            tiles=tiles.astype(np.uint16),
            pixels=pixels.astype(np.uint32),
            points=self._points[tiles, classes],
            centroids=(np.stack(twice_sums, -1) // (2 * pixels[:, np.newaxis])).astype(np.uint16),
        )


def _unknown_id(found: _UnknownId, where: str) -> LabelError:
    return LabelError(
        f"{where}: id {found.value} is not a class of the table ({found.pixels} pixels, first at row {found.row}, "
        f"column {found.column}). Pass the --classes and --encoding the labels follow."
    )
