"""CPP counts on a GPU: label pixels are read once, counts written once, and nothing large is held between.

Needs Triton, as torch's CUDA builds bring it; `segdata.cpp.tensors` imports this module where it can be used.

The general kernel takes any label and cell, and compares pixels with one class after the other. The kernel for words
takes the usual ones, and handles 64 pixels at a time: a thread loads eight words of eight pixels, transposes them into
eight words that hold one bit of every pixel, finds the pixels of a class by AND, and counts them by population count.
Its time does not depend on what the label shows.
"""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
import torch
import triton
from torch import Tensor
from triton import language as tl

LARGEST_CELL = 64
_TILE = 4096
"""Label pixels that a program of the general kernel holds."""
_THREADS = 128
"""Threads of a program of the kernel for words, each with 64 pixels."""
_WIDTHS_OF_WORDS = {4: 16, 8: 8, 16: 16, 32: 32}
"""The cells that the kernel for words takes, and for each what the width of the label must be a multiple of."""
_MOST_CLASSES_OF_WORDS = 64
"""More make the kernel for words, whose loop over classes is unrolled, slow to compile."""
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
    dtype = torch.uint8 if cell * cell <= 255 else torch.int32
    shape = (num_labels, num_classes + 1, -(-height // cell), -(-width // cell))
    out = torch.empty(shape, dtype=dtype, device=class_ids.device)
    by_words = cell in _WIDTHS_OF_WORDS and width % _WIDTHS_OF_WORDS[cell] == 0
    with torch.cuda.device(class_ids.device):
        if by_words and num_classes <= _MOST_CLASSES_OF_WORDS:
            _count_words(_as_bytes(class_ids), out, cell, ignore_id)
        else:
            _count_any(class_ids, out, cell, ignore_id)
    return out


def _count_any(class_ids: Tensor, out: Tensor, cell: int, ignore_id: int) -> None:
    """Fill `out` with the counts."""
    num_labels, height, width = class_ids.shape
    _, num_channels, rows, columns = out.shape
    side = 1 << (cell - 1).bit_length()
    block = max(1, min(_TILE // side**2, 1 << (columns - 1).bit_length()))
    _count[num_labels * rows, -(-columns // block)](
        class_ids, out, height, width, rows, columns, num_channels - 1, ignore_id, cell, side, block,
        debug=True, sanitize_overflow=False,
    )  # fmt: skip


def _count_words(class_ids: Tensor, out: Tensor, cell: int, ignore_id: int) -> None:
    """Fill `out` with the counts of uint8 labels whose cell and width `_WIDTHS_OF_WORDS` allows."""
    words = class_ids.view(torch.uint64)
    if cell == 4:
        out = out.view(torch.int32)  # a thread counts four neighboring cells, and stores their bytes as one word
    num_labels, height, width = words.shape
    _, num_channels, rows, columns = out.shape
    parts = max(1, cell // 8) ** 2
    _count_bits[num_labels * rows, -(-columns * parts // _THREADS)](
        words, out, height, width, rows, columns, num_channels - 1, ignore_id, cell, _THREADS,
        num_warps=_THREADS // 32, debug=True, sanitize_overflow=False,
    )  # fmt: skip


def _as_bytes(class_ids: Tensor) -> Tensor:
    """Return labels as uint8, aligned to words.

    A pass that narrows wide labels costs less than to count them as they are: the bytes that it writes are few, and
    mostly still in the cache when they are counted.
    """
    if class_ids.dtype == torch.uint8:
        return class_ids if class_ids.data_ptr() % 8 == 0 else class_ids.clone()
    narrow = torch.empty(class_ids.shape, dtype=torch.uint8, device=class_ids.device)
    block = 1024
    size = class_ids.numel()
    _narrow[-(-size // block),](class_ids, narrow, size, block, debug=True, sanitize_overflow=False)
    return narrow


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


@triton.jit
def _narrow(labels, out, size, block: tl.constexpr):
    """Write `size` ids as bytes. That they fit is asserted here; that they are classes, where they are counted."""
    place = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    label = tl.load(labels + place, place < size, other=0)
    tl.device_assert((label >= 0) & (label <= 255), "a label holds an id that is neither a class nor the ignored id")
    tl.store(out + place, label.to(tl.uint8), place < size)


@triton.jit
def _count_bits(
    words, out, height, width, rows, columns,
    num_classes: tl.constexpr, ignore_id: tl.constexpr, cell: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Count a stretch of one row of cells with `block` threads; `width` is in words, `columns` in elements of `out`.

    A thread counts 8 x 8 pixels, which are a cell or part of one, or, where `cell` is 4, 4 x 16 pixels: four cells. It
    is written for one thread, `block` of which are the elements of every tensor here.
    """
    across: tl.constexpr = 1 if cell < 8 else cell // 8
    tall: tl.constexpr = 4 if cell == 4 else 8
    full: tl.constexpr = 0x10101010 if cell == 4 else cell * cell
    row = tl.program_id(0)
    number, cell_row = row // rows, row % rows
    thread = tl.program_id(1) * block + tl.arange(0, block)
    element, part = thread // (across * across), thread % (across * across)
    y = cell_row * cell + part // across * 8
    x = (element * across + part % across) * (8 // tall)
    image = words + number.to(tl.int64) * height * width
    w0 = _word(image, y + 0, x, height, width, ignore_id)
    w1 = _word(image, y + 1, x, height, width, ignore_id)
    w2 = _word(image, y + 2, x, height, width, ignore_id)
    w3 = _word(image, y + 3, x, height, width, ignore_id)
    w4 = _word(image, y + 4 % tall, x + 4 // tall, height, width, ignore_id)
    w5 = _word(image, y + 5 % tall, x + 4 // tall, height, width, ignore_id)
    w6 = _word(image, y + 6 % tall, x + 4 // tall, height, width, ignore_id)
    w7 = _word(image, y + 7 % tall, x + 4 // tall, height, width, ignore_id)
    # Byte j of the eight words is a matrix of 8 x 8 bits. Transposed, bit i of byte j in word b is what bit b of byte j
    # in word i was: word b holds bit b of all 64 pixels.
    w0, w4 = _exchange(w0, w4, 4, 0x0F0F0F0F0F0F0F0F)
    w1, w5 = _exchange(w1, w5, 4, 0x0F0F0F0F0F0F0F0F)
    w2, w6 = _exchange(w2, w6, 4, 0x0F0F0F0F0F0F0F0F)
    w3, w7 = _exchange(w3, w7, 4, 0x0F0F0F0F0F0F0F0F)
    w0, w2 = _exchange(w0, w2, 2, 0x3333333333333333)
    w1, w3 = _exchange(w1, w3, 2, 0x3333333333333333)
    w4, w6 = _exchange(w4, w6, 2, 0x3333333333333333)
    w5, w7 = _exchange(w5, w7, 2, 0x3333333333333333)
    w0, w1 = _exchange(w0, w1, 1, 0x5555555555555555)
    w2, w3 = _exchange(w2, w3, 1, 0x5555555555555555)
    w4, w5 = _exchange(w4, w5, 1, 0x5555555555555555)
    w6, w7 = _exchange(w6, w7, 1, 0x5555555555555555)
    place = out + (number.to(tl.int64) * (num_classes + 1) * rows + cell_row) * columns + element
    stored = (element < columns) & (part == 0)
    ignored = _counted(_pixels(ignore_id, w0, w1, w2, w3, w4, w5, w6, w7), cell, block)
    rest = tl.full([block], full, tl.int32)
    for k in tl.static_range(num_classes):
        found = _counted(_pixels(k, w0, w1, w2, w3, w4, w5, w6, w7), cell, block)
        rest -= found
        tl.store(place, found.to(out.dtype.element_ty), stored)
        place += rows * columns
    tl.device_assert(rest == ignored, "a label holds an id that is neither a class nor the ignored id")
    tl.store(place, rest.to(out.dtype.element_ty), stored)


@triton.jit
def _word(image, y, x, height, width, ignore_id: tl.constexpr):
    """Return eight pixels, ignored ones outside the label."""
    return tl.load(image + y * width + x, (y < height) & (x < width), other=ignore_id * 0x0101010101010101)


@triton.jit
def _exchange(low, high, shift: tl.constexpr, kept: tl.constexpr):
    """Exchange the bits of `low` that are not `kept` with those of `high` that are."""
    moved: tl.constexpr = kept << shift
    return (low & kept) | ((high << shift) & moved), ((low >> shift) & kept) | (high & moved)


@triton.jit
def _pixels(k: tl.constexpr, b0, b1, b2, b3, b4, b5, b6, b7):
    """Return a word with the bits of the pixels set that hold the id `k`; word `b0` holds the lowest bits of all."""
    low = _is(b0, k & 1) & _is(b1, k & 2) & (_is(b2, k & 4) & _is(b3, k & 8))
    return low & (_is(b4, k & 16) & _is(b5, k & 32) & (_is(b6, k & 64) & _is(b7, k & 128)))


@triton.jit
def _is(bits, wanted: tl.constexpr):
    return bits if wanted else bits ^ 0xFFFFFFFFFFFFFFFF


@triton.jit
def _counted(pixels, cell: tl.constexpr, block: tl.constexpr):
    """Return how many bits are set in the cell of a thread, or, where `cell` is 4, in each of its four, as bytes."""
    low, high = pixels.to(tl.uint32), (pixels >> 32).to(tl.uint32)
    if cell == 4:
        left = _ones(low & 0x0F0F0F0F) | (_ones(high & 0x0F0F0F0F) << 8)
        found = left | (_ones(low & 0xF0F0F0F0) << 16) | (_ones(high & 0xF0F0F0F0) << 24)
    else:
        found = _ones(low) + _ones(high)
        if cell > 8:
            parts: tl.constexpr = cell * cell // 64
            sums = tl.sum(tl.reshape(found, [block // parts, parts]), 1, keep_dims=True)
            found = tl.reshape(tl.broadcast_to(sums, [block // parts, parts]), [block])
    return found


_IN_PTX = tl.constexpr(torch.version.hip is None and isinstance(_is, triton.JITFunction))
"""Neither AMD's compiler nor Triton's interpreter takes PTX."""


@triton.jit
def _ones(word):
    """Count the bits that are set."""
    if _IN_PTX:
        ones = tl.inline_asm_elementwise("popc.b32 $0, $1;", "=r,r", [word], dtype=tl.int32, is_pure=True, pack=1)
    else:
        word -= (word >> 1) & 0x55555555
        word = (word & 0x33333333) + ((word >> 2) & 0x33333333)
        word = (word + (word >> 4)) & 0x0F0F0F0F
        ones = ((word * 0x01010101) >> 24).to(tl.int32)
    return ones
