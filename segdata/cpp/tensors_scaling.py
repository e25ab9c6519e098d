"""CPP targets of scaled, cropped and flipped images on any device: the torch twin of `segdata.cpp.scaling`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from segdata.cpp.scaling import AxisOverlaps, ScaledGrid
from segdata.cpp.tensors import cell_bins, channels, check_labels, summed
from segdata.errors import LabelError, SettingsError


class GridTables(NamedTuple):
    """The overlaps of a batch of grids as tensors: all that depends on the scales, so that no graph does.

    Attributes
    ----------
    row_pixel, row_overlap : Tensor of int64, shape (N, h, row taps)
        The source rows under each row of cells, and how much of each, as in `segdata.cpp.scaling.AxisOverlaps`.
    column_pixel, column_overlap : Tensor of int64, shape (N, w, column taps)
        The same for columns.
    total : Tensor of int64, shape (N,)
        The area of a cell in units.
    source_size : (int, int)
        Height and width of the labels.
    """

    row_pixel: Tensor
    row_overlap: Tensor
    column_pixel: Tensor
    column_overlap: Tensor
    total: Tensor
    source_size: tuple[int, int]


def grid_tables(grids: Sequence[ScaledGrid], device: torch.device | str = "cpu") -> GridTables:
    """Put the overlaps of a batch of grids on a device.

    Parameters
    ----------
    grids : sequence of ScaledGrid
        One per label; scales, boxes and flips may differ, source sizes and shapes may not.
    device : torch.device or str
        Where the labels are.

    Raises
    ------
    SettingsError
        If the grids differ in source size or shape.
    """
    if len({(grid.source_size, grid.shape) for grid in grids}) != 1:
        raise SettingsError(
            f"scaled grids: {len(grids)} grids of {len({g.source_size for g in grids})} source sizes and "
            f"{len({g.shape for g in grids})} shapes. A batch has one of each. Pool labels of other sizes one by one."
        )
    rows = _stacked([grid.rows() for grid in grids], device)
    columns = _stacked([grid.columns() for grid in grids], device)
    total = torch.tensor([grid.total for grid in grids], device=device)
    return GridTables(*rows, *columns, total, grids[0].source_size)


def scaled_counts(
    class_ids: Tensor,
    grids: GridTables | Sequence[ScaledGrid],
    *,
    num_classes: int = 19,
    ignore_id: int = 255,
) -> Tensor:
    """Measure the area of each class in each cell of grids over the scaled images of a batch.

    Parameters
    ----------
    class_ids : Tensor of any integer dtype, shape (N, H, W)
        The labels as they are stored, not resized. Values in ``0 .. num_classes-1``, or `ignore_id`.
    grids : sequence of ScaledGrid, or GridTables
        One grid per label. Make the tables beforehand to keep them out of a compiled graph.
    num_classes : int
        Number of classes K, at most 254.
    ignore_id : int
        Id of the pixels that count for no class.

    Returns
    -------
    Tensor of int64, shape (N, K + 1, h, w)
        Areas in units of which a cell of label n has ``grids[n].total``; the last channel is what is ignored or
        outside. Equal to `segdata.cpp.scaling.scaled_counts` of each label, value for value.

    Raises
    ------
    LabelError
        If a value is neither a class nor `ignore_id` (as in `segdata.cpp.tensors.cpp_counts`), or sizes do not fit.
    """
    check_labels(class_ids, num_classes, ignore_id)
    tables = grids if isinstance(grids, GridTables) else grid_tables(grids, class_ids.device)
    if class_ids.shape != (len(tables.total), *tables.source_size):
        raise LabelError(
            f"label: a batch of shape {tuple(class_ids.shape)}, and {len(tables.total)} grids over labels of "
            f"{tables.source_size}. Pass one grid per label, and the labels as they are stored."
        )
    channel = channels(_taken(class_ids, tables), num_classes, ignore_id)
    areas = _areas(channel, tables, num_classes + 1)
    areas[:, -1] = tables.total[:, None, None] - areas[:, :-1].sum(1)
    return areas


def scaled_pool(
    class_ids: Tensor,
    grids: GridTables | Sequence[ScaledGrid],
    *,
    num_classes: int = 19,
    ignore_id: int = 255,
) -> Tensor:
    """Return `scaled_counts` as fractions of a cell: shape (N, K + 1, h, w), float32, every cell summing to 1."""
    tables = grids if isinstance(grids, GridTables) else grid_tables(grids, class_ids.device)
    areas = scaled_counts(class_ids, tables, num_classes=num_classes, ignore_id=ignore_id)
    return (areas.to(torch.float64) / tables.total[:, None, None, None]).to(torch.float32)


def _stacked(overlaps: Sequence[AxisOverlaps], device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Stack overlaps to (N, cells, taps), filling up with pixel 0 of overlap 0."""
    taps = max(table.pixel.shape[1] for table in overlaps)

    def stack(field: Callable[[AxisOverlaps], np.ndarray]) -> Tensor:
        padded = [np.pad(field(table), ((0, 0), (0, taps - table.pixel.shape[1]))) for table in overlaps]
        return torch.from_numpy(np.stack(padded)).to(device)

    return stack(lambda table: table.pixel), stack(lambda table: table.overlap)


def _taken(class_ids: Tensor, tables: GridTables) -> Tensor:
    """Return the pixels under the cells, a pixel once for every cell it touches: (N, h * row taps, w * column taps)."""
    number = torch.arange(class_ids.shape[0], device=class_ids.device)[:, None, None]
    return class_ids[number, tables.row_pixel.flatten(1)[:, :, None], tables.column_pixel.flatten(1)[:, None, :]]


def _areas(channel: Tensor, tables: GridTables, num_channels: int) -> Tensor:
    """Return the summed overlaps of the pixels that `_taken` gives."""
    num_labels, num_rows, row_taps = tables.row_pixel.shape
    num_columns, column_taps = tables.column_pixel.shape[1:]
    shape = (num_labels, num_channels, num_rows, num_columns)
    cell_row = torch.arange(num_rows * row_taps, device=channel.device) // row_taps
    cell_column = torch.arange(num_columns * column_taps, device=channel.device) // column_taps
    overlap = tables.row_overlap.flatten(1)[:, :, None] * tables.column_overlap.flatten(1)[:, None, :]
    return summed(cell_bins(channel, cell_row, cell_column, shape), overlap.flatten(), shape)
