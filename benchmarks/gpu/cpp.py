"""Part: pooling labels on the device, against its memory-bound floor and against one-hot + avg_pool2d."""

import sys

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.gpu.measure import Report, arguments, milliseconds
from segdata.cpp.tensors import cpp_counts
from segdata.losses import CPPLoss

CLASSES = 19


def made_labels(batch: int, size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return labels of blocks, a tenth of the pixels speckled."""
    rng = np.random.default_rng(9802)
    blocks = rng.integers(0, CLASSES, (size[0] // 32, size[1] // 32), dtype=np.uint8)
    label = np.kron(blocks, np.ones((32, 32), np.uint8))
    speckled = rng.random(label.shape) < 0.1
    label[speckled] = rng.choice([*range(CLASSES), 255], np.count_nonzero(speckled))
    return torch.from_numpy(label)[None].repeat(batch, 1, 1).to(dtype).to(device)


def one_hot_pool(labels: torch.Tensor, cell: int) -> torch.Tensor:
    """Pool as one would with torch's own operations."""
    ids = torch.where(labels == 255, CLASSES, labels.long())
    return F.avg_pool2d(F.one_hot(ids, CLASSES + 1).permute(0, 3, 1, 2).float(), cell)


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
        f"cpp_counts of {size[0]} x {size[1]} labels, ms; floor: label and count bytes at the speed of a copy",
        ["labels", "batch", "cell", "ours", "floor", "ours / floor", "one-hot + avg_pool2d", "of it", "compiled"],
    )
    compiled = torch.compile(cpp_counts, fullgraph=True)
    for dtype in (torch.uint8, torch.int64):
        for batch in (1, 8):
            labels = made_labels(batch, size, dtype, device)
            for cell in (4, 8, 16):
                counts = cpp_counts(labels, cell)
                floor = (labels.nbytes + counts.nbytes) / bytes_per_ms
                ours = milliseconds(lambda labels=labels, cell=cell: cpp_counts(labels, cell), device)
                theirs = milliseconds(lambda labels=labels, cell=cell: one_hot_pool(labels, cell), device, rounds=5)
                by_graph: float | str = "-"
                if not chosen.tiny and batch == 8 and dtype == torch.uint8:
                    by_graph = milliseconds(lambda labels=labels, cell=cell: compiled(labels, cell), device)
                add(
                    str(dtype).removeprefix("torch."),
                    batch,
                    cell,
                    ours,
                    floor,
                    ours / floor,
                    theirs,
                    theirs / ours,
                    by_graph,
                )
    loss = CPPLoss()
    add = report.table("CPPLoss, forward and backward on counts, ms", ["batch", "stride", "ms", "floor", "ms / floor"])
    for batch in (1, 8):
        for cell in (4, 8, 16):
            counts = cpp_counts(made_labels(batch, size, torch.uint8, device), cell)
            scores = torch.randn(batch, CLASSES, *counts.shape[2:], device=device, requires_grad=True)
            ms = milliseconds(lambda scores=scores, counts=counts: loss(scores, counts).backward(), device)
            # Scores are read and their gradient written; counts are read in both directions.
            floor = (2 * scores.nbytes + 2 * counts.nbytes) / bytes_per_ms
            add(batch, cell, ms, floor, ms / floor)
    return 0


if __name__ == "__main__":
    sys.exit(main())
