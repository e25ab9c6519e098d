"""The class index from pooled targets, which already hold the counts."""

import numpy as np
from numpy.typing import NDArray

from segdata.cpp.kernels import IGNORED, MIXED
from segdata.cpp.sparse import SparseCounts
from segdata.cpp.targets import CPPTargets
from segdata.errors import SettingsError
from segdata.sampling.scan import TileEntries, scan_label
from segdata.sampling.scan_kernels import NUM_POINTS


def scan_targets(targets: CPPTargets, *, tile: int = 1024, where: str = "targets") -> TileEntries:
    """Index the pooled targets of one label, by their finest scale.

    The counts are those of the label. A point is the middle of a cell that is all of its class; a class that fills no
    cell of a tile has corners of cells that hold some of it, so it stands within ``cell - 1`` pixels of the point.

    Parameters
    ----------
    targets : CPPTargets
    tile : int
        Side of a tile in pixels, a multiple of 8 cells.
    where : str
        The file's name for messages.

    Raises
    ------
    SettingsError
        If 8 cells do not divide the tile.
    """
    grid = targets.grids[min(targets.grids)]
    cell = grid.cell
    if tile % (8 * cell):
        raise SettingsError(f"{where}: {8 * cell} does not divide tile {tile}, which cells of {cell} need.")
    lookup = np.arange(256, dtype=np.int16)
    lookup[[MIXED, IGNORED]] = 255
    pure = scan_label(grid.map, lookup, targets.num_classes, tile=tile // cell, where=where)
    return _with_mixed(pure, grid, targets.size, tile)


def _with_mixed(pure: TileEntries, grid: SparseCounts, size: tuple[int, int], tile: int) -> TileEntries:
    """Add the mixed cells to the entries of the pure ones, and go from cells to pixels."""
    cell, across = grid.cell, -(-size[1] // tile)
    num_tiles, num_classes = across * -(-size[0] // tile), grid.num_classes
    shape = (num_tiles, num_classes)
    counts, points, sums = np.zeros(shape, np.int64), np.zeros((*shape, NUM_POINTS, 2), np.int64), np.zeros((*shape, 2))
    where = (pure.tiles, pure.classes)
    counts[where] = pure.pixels.astype(np.int64) * cell**2
    points[where] = pure.points.astype(np.int64) * cell + cell // 2
    sums[where] = (pure.centroids * float(cell) + cell / 2) * counts[where][:, np.newaxis]
    rows, columns, classes, parts = _parts_of(grid)
    tiles = rows // tile * across + columns // tile
    _add_points(points, counts, np.stack([rows, columns], -1), tiles * num_classes + classes)
    np.add.at(counts, (tiles, classes), parts)
    np.add.at(sums, (tiles, classes), (np.stack([rows, columns], -1) + cell / 2) * parts[:, np.newaxis])
    found = np.nonzero(counts)
    last = np.array(size) - 1
    return TileEntries(
        size=size,
        ignored=size[0] * size[1] - int(counts.sum()),
        classes=found[1].astype(np.uint8),
        tiles=found[0].astype(np.uint16),
        pixels=counts[found].astype(np.uint32),
        points=np.minimum(points[found], last).astype(np.uint16),
        centroids=np.minimum(sums[found] // counts[found][:, np.newaxis], last).astype(np.uint16),
    )


def _parts_of(grid: SparseCounts) -> tuple[NDArray[np.int64], ...]:
    """Return (row, column) of the cell's corner in pixels, class and count of every part that is of a class."""
    cells = np.repeat(grid.mixed, np.diff(grid.part_starts))
    rows, columns = np.divmod(cells, grid.map.shape[1])
    kept = grid.part_ids < grid.num_classes
    found = (rows * grid.cell, columns * grid.cell, grid.part_ids, grid.part_counts)
    return tuple(values[kept].astype(np.int64) for values in found)


def _add_points(
    points: NDArray[np.int64], counts: NDArray[np.int64], places: NDArray[np.int64], groups: NDArray[np.int64]
) -> None:
    """Give classes without a pure cell in a tile points from their mixed cells, evenly spaced in reading order."""
    without = np.flatnonzero(counts.reshape(-1)[groups] == 0)
    order = without[np.argsort(groups[without], kind="stable")]
    named, starts = np.unique(groups[order], return_index=True)
    ends = np.append(starts[1:], order.size)
    flat = points.reshape(-1, NUM_POINTS, 2)
    for number in range(NUM_POINTS):
        chosen = starts + (ends - starts) * (2 * number + 1) // (2 * NUM_POINTS)
        flat[named, number] = places[order[chosen]]
