"""Part: pooling labels on the device, against its memory-bound floor and against one-hot + avg_pool2d."""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.gpu.measure import Report, arguments, graph_milliseconds, milliseconds
from segdata.cpp.tensors import cpp_counts
from segdata.losses import CPPLoss

CLASSES = 19
MORE_THAN_CACHED = 160 * 2**20
"""Bytes of labels that are pooled in turn, more than a GPU's cache holds."""


def made_labels(batch: int, size: tuple[int, int], dtype: torch.dtype, *, speckled: bool) -> torch.Tensor:
    """Return labels of blocks 40 pixels wide, a fifth ignored; or, at worst, a tenth of the pixels at random."""
    rng = np.random.default_rng(9802)
    blocks = rng.choice([*range(CLASSES), *[255] * 5], (batch, -(-size[0] // 40), -(-size[1] // 40))).astype(np.uint8)
    label = np.kron(blocks, np.ones((1, 40, 40), np.uint8))[:, : size[0], : size[1]].copy()
    if speckled:
        at = rng.random(label.shape) < 0.1
        label[at] = rng.choice([*range(CLASSES), 255], np.count_nonzero(at))
    return torch.from_numpy(label).to(dtype)


def one_hot_pool(labels: torch.Tensor, cell: int) -> torch.Tensor:
    """Pool as one would with torch's own operations."""
    ids = torch.where(labels == 255, CLASSES, labels.long())
    return F.avg_pool2d(F.one_hot(ids, CLASSES + 1).permute(0, 3, 1, 2).float(), cell)


def on_device(call: Callable[[torch.Tensor], object], each: list[torch.Tensor], device: torch.device) -> float:
    """Return the milliseconds of a call on the device: without its launch on a GPU."""
    runs = [partial(call, one) for one in each]
    return graph_milliseconds(runs) if device.type == "cuda" else milliseconds(runs[0], device)


def copy_speed(size: int, device: torch.device) -> float:
    """Return the bytes that a copy of so many reads and writes per ms."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / milliseconds(lambda: target.copy_(source), device)


def main() -> int:
    """Measure pooling and the loss on its counts."""
    chosen = arguments()
    device, report = torch.device(chosen.device), Report(chosen.out)
    size = (128, 256) if chosen.tiny else (1024, 2048)
    bytes_per_ms = copy_speed(2**20 if chosen.tiny else 2**30, device)
    report.note(f"A copy on the device moves {bytes_per_ms / 1e6:,.0f} GB/s.")
    add = report.table(
        f"cpp_counts of {size[0]} x {size[1]} labels, microseconds on the device; floor: label and count bytes at the "
        "speed of a copy; called: one call after the other, launches included",
        [
            "labels",
            "dtype",
            "batch",
            "cell",
            "ours",
            "floor",
            "ours / floor",
            "one-hot + avg_pool2d",
            "of ours",
            "called",
        ],
    )
    for speckled in (False, True):
        for dtype in (torch.uint8, torch.int64):
            for batch in (1, 8):
                first = made_labels(batch, size, dtype, speckled=speckled).to(device)
                number = 1 if chosen.tiny else max(4, MORE_THAN_CACHED // first.nbytes)
                each = [first, *(first.clone() for _ in range(number - 1))]
                for cell in (4, 8, 16):
                    floor = 1e3 * (first.nbytes + cpp_counts(first, cell).nbytes) / bytes_per_ms
                    ours = 1e3 * on_device(partial(cpp_counts, cell=cell), each, device)
                    theirs = 1e3 * on_device(partial(one_hot_pool, cell=cell), each[:4], device)
                    called = 1e3 * milliseconds(partial(cpp_counts, first, cell), device)
                    kind, name = "speckled" if speckled else "blocks", str(dtype).removeprefix("torch.")
                    add(kind, name, batch, cell, ours, floor, ours / floor, theirs, theirs / ours, called)
    loss = CPPLoss()
    fused = torch.compile(loss.terms, fullgraph=True) if device.type == "cuda" else loss.terms
    add = report.table(
        "CPPLoss, forward and backward on counts, ms",
        ["batch", "stride", "eager", "compiled", "floor", "compiled / floor"],
    )
    for batch in (1, 8):
        for cell in (4, 8, 16):
            counts = cpp_counts(made_labels(batch, size, torch.uint8, speckled=False).to(device), cell)
            scores = torch.randn(batch, CLASSES, *counts.shape[2:], device=device, requires_grad=True)
            eager = milliseconds(lambda s=scores, c=counts: loss.terms(s, c)[0].total.backward(), device)
            compiled = milliseconds(lambda s=scores, c=counts: fused(s, c)[0].total.backward(), device)
            # Scores are read and their gradient written; counts are read in both directions.
            floor = (2 * scores.nbytes + 2 * counts.nbytes) / bytes_per_ms
            add(batch, cell, eager, compiled, floor, compiled / floor)
    return 0


if __name__ == "__main__":
    sys.exit(main())
