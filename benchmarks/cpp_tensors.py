"""CPP pooling of label tensors: ours against one-hot + avg_pool2d, on the CPU and, where there is one, on a GPU.

Run:  python benchmarks/cpp_tensors.py [--rounds 15] [--compile]

All rows of one table are timed in turns, round after round, so that a busy moment of the machine hits all alike; a row
shows the median over the rounds. The label is 1024 x 2048 made of blocks with a tenth of the pixels speckled.

On a GPU the floor is what the memory allows: label bytes in and count bytes out at the speed of a device copy, measured
in the same run.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from segdata.cpp import pooling, scaling, tensors
from segdata.cpp.scaling import ScaledGrid
from segdata.cpp.tensors_scaling import grid_tables, scaled_counts
from segdata.losses import CPPLoss

HEIGHT, WIDTH, CLASSES = 1024, 2048, 19
CROP = (150, 700, 512, 1024)


def made_label() -> np.ndarray:
    rng = np.random.default_rng(9802)
    blocks = rng.integers(0, CLASSES, (HEIGHT // 32, WIDTH // 32), dtype=np.uint8)
    label = np.kron(blocks, np.ones((32, 32), np.uint8))
    speckled = rng.random(label.shape) < 0.1
    label[speckled] = rng.choice([*range(CLASSES), 255], np.count_nonzero(speckled))
    return label


def one_hot_pool(labels: torch.Tensor, cell: int) -> torch.Tensor:
    ids = torch.where(labels == 255, CLASSES, labels.long())
    return F.avg_pool2d(F.one_hot(ids, CLASSES + 1).permute(0, 3, 1, 2).float(), cell)


def timed(run: Callable[[], object]) -> float:
    """Return the milliseconds of one call, the device's work included."""
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def medians(rows: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    for run in rows.values():
        timed(run)
    times = [{name: timed(run) for name, run in rows.items()} for _ in range(rounds)]
    return {name: statistics.median(each[name] for each in times) for name in rows}


def table(title: str, rows: dict[str, Callable[[], object]], rounds: int) -> None:
    """Print the median of each row and its ratio to the first."""
    found = medians(rows, rounds)
    first = next(iter(found.values()))
    print(f"\n{title}")
    for name, milliseconds in found.items():
        print(f"  {name:<44}{milliseconds:9.3f} ms{first / milliseconds:9.2f} x")


def plain_rows(labels: torch.Tensor, cell: int, *, compile_too: bool) -> dict[str, Callable[[], object]]:
    rows: dict[str, Callable[[], object]] = {
        "one-hot + avg_pool2d": lambda: one_hot_pool(labels, cell),
        "tensors.cpp_counts": lambda: tensors.cpp_counts(labels, cell),
    }
    if compile_too:
        compiled = torch.compile(tensors.cpp_counts, fullgraph=True)
        rows["tensors.cpp_counts, compiled"] = lambda: compiled(labels, cell)
    return rows


def scaled_rows(labels: torch.Tensor, grid: ScaledGrid) -> dict[str, Callable[[], object]]:
    tables = grid_tables([grid] * len(labels), labels.device)
    return {
        "resize nearest, one-hot + avg_pool2d (wrong)": lambda: resized_pool(labels, grid),
        "tensors_scaling.scaled_counts": lambda: scaled_counts(labels, tables),
    }


def resized_pool(labels: torch.Tensor, grid: ScaledGrid) -> torch.Tensor:
    size = [round(side * float(scale)) for side, scale in zip(grid.source_size, grid.scale, strict=True)]
    top, left, height, width = grid.box
    resized = F.interpolate(labels[:, None], size=size, mode="nearest")[:, 0]
    return one_hot_pool(resized[:, top : top + height, left : left + width].contiguous(), grid.cell)


def soft_target_loss(scores: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Return the same loss by torch's own parts, from a float target."""
    divergence = F.kl_div(F.log_softmax(scores, 1), target, reduction="none").sum(1)
    return (divergence * valid).sum() / valid.sum()


def loss_rows(device: str, batch: int) -> dict[str, Callable[[], object]]:
    """Forward and backward on 1024 x 2048 crops at stride 8, targets given as counts."""
    counts = tensors.cpp_counts(torch.from_numpy(made_label())[None].repeat(batch, 1, 1).to(device), 8)
    scores = torch.randn(batch, CLASSES, HEIGHT // 8, WIDTH // 8, device=device, requires_grad=True)
    ours = CPPLoss()

    def by_parts() -> None:
        floats = counts.float() / 64
        valid = floats[:, :-1].sum(1)
        soft_target_loss(scores, floats[:, :-1] / valid.clamp(min=1 / 64)[:, None], valid).backward()

    return {"kl_div on a float target": by_parts, "CPPLoss on counts": lambda: ours(scores, counts).backward()}


def on_cpu(rounds: int, *, compile_too: bool) -> None:
    torch.set_num_threads(1)
    label = made_label()
    labels = torch.from_numpy(label)[None]
    for cell in (2, 4, 8, 16, 32):
        rows = plain_rows(labels, cell, compile_too=compile_too)
        rows["pooling.cpp_counts (NumPy, for reference)"] = lambda cell=cell: pooling.cpp_counts(label, cell)
        table(f"CPU, one thread, 1024 x 2048, cells of {cell}", rows, rounds)
    for cell in (4, 8):
        grid = ScaledGrid.resized((HEIGHT, WIDTH), (1432, 2864), cell=cell, box=CROP, flip=True)
        rows = scaled_rows(labels, grid)
        rows["scaling.scaled_counts (NumPy)"] = lambda grid=grid: scaling.scaled_counts(label, grid)
        table(f"CPU, one thread, scaled by 1.4, flipped, crop 512 x 1024, cells of {cell}", rows, rounds)
    table("CPU, one thread, loss forward and backward at stride 8", loss_rows("cpu", 1), rounds)


def on_cuda(rounds: int, *, compile_too: bool, batch: int = 8) -> None:
    labels = torch.from_numpy(made_label())[None].repeat(batch, 1, 1).cuda()
    source = torch.empty(2**28, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copied = medians({"copy": lambda: target.copy_(source)}, rounds)["copy"]
    bytes_per_ms = 2 * source.numel() / copied
    print(f"\n{torch.cuda.get_device_name()}: a copy moves {bytes_per_ms / 1e6:.0f} GB/s")
    for cell in (2, 4, 8, 16, 32):
        counts = tensors.cpp_counts(labels, cell)
        floor = (labels.nbytes + counts.nbytes) / bytes_per_ms
        title = f"CUDA, {batch} x 1024 x 2048, cells of {cell}; memory-bound floor {floor:.3f} ms"
        table(title, plain_rows(labels, cell, compile_too=compile_too), rounds)
    grid = ScaledGrid.resized((HEIGHT, WIDTH), (1432, 2864), cell=8, box=CROP, flip=True)
    table(
        f"CUDA, {batch} labels scaled by 1.4, flipped, crop 512 x 1024, cells of 8", scaled_rows(labels, grid), rounds
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compile", action="store_true", help="also time the compiled graph (takes a minute to build)")
    arguments = parser.parse_args()
    on_cpu(arguments.rounds, compile_too=arguments.compile)
    if torch.cuda.is_available():
        on_cuda(arguments.rounds, compile_too=arguments.compile)
    else:
        print("\nCUDA: no device here, not measured")
