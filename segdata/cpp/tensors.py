"""CPP pooling of label tensors, on any device: the torch twin of `segdata.cpp.pooling`.

Every pixel adds one to the counter of its class in its cell, so the work is one pass over the labels. Whole numbers
add up to the same in any order, hence the result does not depend on the device, nor on how its threads interleave.
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from segdata.cpp.checks import Ragged, check_cell, check_classes, check_divides
from segdata.errors import LabelError, SettingsError
from segdata.logs import logger

_NOT_COMPARABLE = {torch.int8, torch.uint16, torch.uint32, torch.uint64}


def cpp_counts(
    class_ids: Tensor, cell: int, *, num_classes: int = 19, ignore_id: int = 255, ragged: Ragged = "ignore"
) -> Tensor:
    """Count the pixels of each class in each cell of a batch of label tensors.

    Parameters
    ----------
    class_ids : Tensor of any integer dtype, shape (N, H, W) or (H, W)
        Values in ``0 .. num_classes-1``, or `ignore_id`.
    cell : int
        Side of a cell in pixels, at least 1.
    num_classes : int
        Number of classes K, at most 254.
    ignore_id : int
        Id of the pixels that count for no class.
    ragged : {"ignore", "error"}
        Where `cell` does not divide the size, the missing pixels of the last cells count as ignored, or it is an error.

    Returns
    -------
    Tensor of uint8, shape (N, K + 1, ceil(H / cell), ceil(W / cell)), or without N
        Pixels per class; the last channel counts the ignored ones, so every cell sums to ``cell**2``. The dtype is
        int32 where ``cell**2 > 255``, since torch has next to no arithmetic for its uint16.

    Raises
    ------
    LabelError
        If a value is neither a class nor `ignore_id`, or sizes do not fit. On another device than the CPU, and in a
        compiled graph, a wrong value is a device-side assertion instead, so that no step waits for the check.
    SettingsError
        If an argument is out of range.

    Notes
    -----
    Equal to `segdata.cpp.pooling.cpp_counts` of each label, value for value. On a GPU a kernel reads each label pixel
    once and holds nothing beside the result, and for labels wider than uint8 one byte per label pixel; elsewhere, and
    in a compiled graph, there is one int32 per label pixel.
    Traceable by ``torch.compile(fullgraph=True)``.

    Examples
    --------
    >>> label = torch.tensor([[[0, 0, 1, 255], [0, 1, 1, 1]]], dtype=torch.uint8)
    >>> cpp_counts(label, 2, num_classes=2)[0, :, 0]
    tensor([[3, 0],
            [1, 3],
            [0, 1]], dtype=torch.uint8)
    """
    check_cell(cell)
    check_classes(num_classes, ignore_id)
    if cell * cell > torch.iinfo(torch.int32).max:
        raise SettingsError(f"cell {cell}: is at most 46340 for tensors, whose counts are int32.")
    if class_ids.ndim == 2:
        batch = cpp_counts(class_ids[None], cell, num_classes=num_classes, ignore_id=ignore_id, ragged=ragged)
        return batch[0]
    check_is_label(class_ids)
    class_ids = _comparable(class_ids)
    check_divides(cell, (class_ids.shape[1], class_ids.shape[2]), ragged)
    kernel = _kernel_for(class_ids)
    if kernel is not None and kernel.takes(class_ids, cell):
        return kernel.counts(class_ids, cell, num_classes, ignore_id)  # type: ignore[no-any-return]
    check_labels(class_ids, num_classes, ignore_id)
    return _counted(class_ids, cell, num_classes, ignore_id)


def _counted(class_ids: Tensor, cell: int, num_classes: int, ignore_id: int) -> Tensor:
    """Return the counts of checked labels, by torch's own operations."""
    num_labels, height, width = class_ids.shape
    shape = (num_labels, num_classes + 1, -(-height // cell), -(-width // cell))
    bins = cell_bins(
        channels(class_ids, num_classes, ignore_id),
        torch.arange(height, device=class_ids.device) // cell,
        torch.arange(width, device=class_ids.device) // cell,
        shape,
    )
    one = torch.ones((), dtype=torch.int32, device=class_ids.device)
    counts = summed(bins, one.expand(bins.shape), shape)
    counts[:, -1] = cell * cell - counts[:, :-1].sum(1, dtype=torch.int32)
    return counts.to(torch.uint8) if cell * cell <= 255 else counts


def cpp_pool(
    class_ids: Tensor, cell: int, *, num_classes: int = 19, ignore_id: int = 255, ragged: Ragged = "ignore"
) -> Tensor:
    """Downsample a batch of label tensors to class probabilities, losing no class mass.

    Parameters
    ----------
    class_ids, cell, num_classes, ignore_id, ragged
        As in `cpp_counts`.

    Returns
    -------
    Tensor of float32, shape (N, K + 1, ceil(H / cell), ceil(W / cell)), or without N
        Fractions in [0, 1]; the last channel is the ignored fraction, so every cell sums to 1. Without compilation
        equal to `segdata.cpp.pooling.cpp_pool` to the last bit.

    Raises
    ------
    LabelError, SettingsError
        As in `cpp_counts`.

    Examples
    --------
    >>> cpp_pool(torch.tensor([[0, 1], [1, 1]]), 2, num_classes=2).flatten()
    tensor([0.2500, 0.7500, 0.0000])
    """
    counts = cpp_counts(class_ids, cell, num_classes=num_classes, ignore_id=ignore_id, ragged=ragged)
    # A tensor, not a number: by a number CUDA multiplies with the rounded reciprocal.
    area = torch.tensor(cell * cell, dtype=torch.float32, device=counts.device)
    return counts.to(torch.float32) / area


def check_is_label(class_ids: Tensor) -> None:
    """Raise LabelError unless `class_ids` is an integer tensor of shape (N, H, W)."""
    if class_ids.ndim != 3 or 0 in class_ids.shape or class_ids.is_floating_point() or class_ids.dtype == torch.bool:
        raise LabelError(
            f"label: a tensor of {class_ids.dtype} with shape {tuple(class_ids.shape)}. A batch of labels is an "
            f"integer tensor of shape (number, height, width). Pass class ids, not colors or scores."
        )


def check_labels(class_ids: Tensor, num_classes: int, ignore_id: int) -> None:
    """Raise LabelError unless `class_ids` is an integer tensor of shape (N, H, W) of classes and `ignore_id`.

    Values are checked at once on the CPU; elsewhere, and in a compiled graph, by an assertion on the device.
    """
    check_is_label(class_ids)
    class_ids = _comparable(class_ids)
    known = ((class_ids >= 0) & (class_ids < num_classes)) | (class_ids == ignore_id)
    if torch.compiler.is_compiling() or not class_ids.is_cpu:
        torch._assert_async(known.all(), f"a label holds an id that is neither 0-{num_classes - 1} nor {ignore_id}")
    elif not known.all():
        number, row, column = (int(axis) for axis in torch.nonzero(~known)[0])
        raise LabelError(
            f"label: id {int(class_ids[number, row, column])} is neither a class (0-{num_classes - 1}) nor the "
            f"ignored id {ignore_id} (first in label {number} of the batch, at row {row}, column {column})."
        )


def _comparable(class_ids: Tensor) -> Tensor:
    """Return ids in a dtype that can be compared: torch takes an int8 of -1 for 255, and cannot order its uint16."""
    return class_ids.to(torch.int64) if class_ids.dtype in _NOT_COMPARABLE else class_ids


def channels(class_ids: Tensor, num_classes: int, ignore_id: int) -> Tensor:
    """Return the channel of every pixel as int32: its class, or `num_classes` where it is ignored."""
    return torch.where(class_ids == ignore_id, num_classes, class_ids.to(torch.int32))


def cell_bins(channel: Tensor, cell_row: Tensor, cell_column: Tensor, shape: Sequence[int]) -> Tensor:
    """Return where in a flattened result of `shape` (N, channels, h, w) each pixel is counted.

    Parameters
    ----------
    channel : Tensor of int32, shape (N, H, W)
        The channel of every pixel.
    cell_row, cell_column : Tensor of int64, shapes (H,) and (W,)
        The cell that a row or column of pixels lies in.
    shape : sequence of four int
        The shape of the result.

    Returns
    -------
    Tensor of int32 (int64 for results over 2**31 elements), shape (N * H * W,)
    """
    num_labels, num_channels, num_rows, num_columns = shape
    dtype = torch.int32 if num_labels * num_channels * num_rows * num_columns < 2**31 else torch.int64
    number = torch.arange(num_labels, dtype=dtype, device=channel.device)[:, None, None]
    cell = cell_row.to(dtype)[:, None] * num_columns + cell_column.to(dtype)
    return ((number * num_channels + channel) * (num_rows * num_columns) + cell).flatten()


def summed(bins: Tensor, weights: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the sum of the `weights`, shape (pixels,), that fall into each bin, as a tensor of `shape`."""
    flat = torch.zeros(shape, dtype=weights.dtype, device=weights.device).flatten()
    return flat.index_add_(0, bins, weights).view(*shape)


def _kernel_for(class_ids: Tensor) -> ModuleType | None:
    """Return the counts in Triton if they can be called on a tensor, eagerly and on a GPU."""
    return checked_kernel(class_ids.device) if class_ids.is_cuda and not torch.compiler.is_compiling() else None


@cache
def checked_kernel(device: torch.device) -> ModuleType | None:
    """Return `segdata.cpp.tensors_triton`, once it has counted on a device as torch's own operations do; else None.

    Triton comes with torch's CUDA builds, and compiles on the machine, for which it wants a C compiler.
    """
    label = torch.arange(2 * 40 * 64, device=device).view(2, 40, 64) % 20
    label = torch.where(label == 19, 255, label)
    try:
        kernel = import_module("segdata.cpp.tensors_triton")
        for ids, cell in ((label, 8), *((label.to(torch.uint8), cell) for cell in (4, 5, 8, 16))):
            if not torch.equal(kernel.counts(ids, cell, 19, 255), _counted(ids, cell, 19, 255)):
                raise ArithmeticError(f"other counts than those of torch, of {ids.dtype} and cell {cell}")
    except Exception as error:  # whatever a compiler raises
        reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        logger.info(f"pooling on {device} is not compiled: {type(error).__name__}: {reason}. It is slower, and right.")
        return None
    return kernel
