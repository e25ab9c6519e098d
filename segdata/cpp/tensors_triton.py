"""CPP counts on a GPU in one pass: each label is read once, each count written once.

Needs Triton, as torch's CUDA builds bring it; `segdata.cpp.tensors` imports this module where it can be used.
"""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
import torch
import triton
from torch import Tensor
from triton import language as tl

LARGEST_CELL = 64
_TILE = 4096
"""Label pixels that a program holds."""
_INTEGERS = (torch.uint8, torch.int16, torch.int32, torch.int64)


def takes(class_ids: Tensor, cell: int) -> bool:
    """Say whether `counts` is for such labels, shape (N, H, W), and cells."""
    return class_ids.dtype in _INTEGERS and class_ids.is_contiguous() and cell <= LARGEST_CELL


def counts(class_ids: Tensor, cell: int, num_classes: int, ignore_id: int) -> Tensor:
    """Return what `segdata.cpp.tensors.cpp_counts` does.

    Parameters
    ----------
    class_ids : Tensor, shape (N, H, W)
        On a GPU, and such that `takes` says yes. A value that is neither a class nor `ignore_id` is a device-side
        assertion.
    cell, num_classes, ignore_id : int
        As there.

    Returns
    -------
    Tensor of uint8, or of int32 where ``cell**2 > 255``, shape (N, K + 1, ceil(H / cell), ceil(W / cell))
    """
    num_labels, height, width = class_ids.shape
    rows, columns = -(-height // cell), -(-width // cell)
    dtype = torch.uint8 if cell * cell <= 255 else torch.int32
    out = torch.empty((num_labels, num_classes + 1, rows, columns), dtype=dtype, device=class_ids.device)
    side = 1 << (cell - 1).bit_length()
    block = max(1, min(_TILE // side**2, 1 << (columns - 1).bit_length()))
    grid = (num_labels * rows, -(-columns // block))
    with torch.cuda.device(class_ids.device):
        _count[grid](
            class_ids, out, height, width, rows, columns, num_classes, ignore_id, cell, side, block,
            debug=True, sanitize_overflow=False,
        )  # fmt: skip
    return out


@triton.jit
def _either(a, b):
    return a | b


@triton.jit
def _count(
    labels, out, height, width, rows, columns,
    num_classes: tl.constexpr, ignore_id: tl.constexpr, cell: tl.constexpr, side: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Count a stretch of `block` cells of one row of cells."""
    row = tl.program_id(0)
    number, cell_row = row // rows, row % rows
    cells = tl.program_id(1) * block + tl.arange(0, block)
    inside = tl.arange(0, side * side)
    down, along = inside // side, inside % side
    y = cell_row * cell + down
    x = cells[:, None] * cell + along[None, :]
    there = ((down < cell) & (along < cell) & (y < height))[None, :] & (x < width)
    image = labels + number.to(tl.int64) * height * width
    label = tl.load(image + y[None, :] * width + x, there, other=ignore_id)
    known = ((label >= 0) & (label < num_classes)) | (label == ignore_id)
    tl.device_assert(known, "a label holds an id that is neither a class nor the ignored id")
    label = label.to(tl.int32)
    # Most tiles hold few classes: the others are written as 0 without being looked for.
    bits = tl.where(label == ignore_id, 0, 1 << (label & 31))
    held = tl.reduce(tl.reduce(bits, 1, _either), 0, _either)
    rest = tl.full([block], cell * cell, tl.int32)
    place = out + (number.to(tl.int64) * (num_classes + 1) * rows + cell_row) * columns + cells
    for k in range(num_classes):
        found = tl.zeros([block], tl.int32)
        if (held >> (k & 31)) & 1:
            found = tl.sum((label == k).to(tl.int32), 1)
        rest -= found
        tl.store(place, found.to(out.dtype.element_ty), cells < columns)
        place += rows * columns
    tl.store(place, rest.to(out.dtype.element_ty), cells < columns)
