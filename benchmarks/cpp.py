"""CPP pooling of label images and the stored form against their peers, side by side in one run, on one core.

    python benchmarks/cpp.py [--rounds 9] [--scenes 2]

The labels are synthetic street scenes of 1024 x 2048 pixels and, where SEGDATA_REAL_DATA names the folder of real
samples, Vistas labels by Table 4 brought to the same size by nearest neighbor, with contours as fine as they get.
Every round runs every way once, in turn, so that a busy moment of the machine meets them all; a row holds medians.
torch's way takes seconds a label, so it is run twice, on the first label.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from segdata.batch.run import run_plan
from segdata.batch.work import BatchSettings
from segdata.codecs.npz import encode_npz
from segdata.compiled import compiled
from segdata.cpp.sparse import SparseCounts, pool_label
from segdata.cpp.store import check_cpp, decode_cpp, encode_cpp, load_cpp
from segdata.cpp.targets import pool_targets
from segdata.jobs.precompute import plan_precompute
from segdata.labels.classes import ClassTable
from segdata.labels.mapping import LabelMapping
from segdata.labels.remap import remap_labels
from segdata.synthetic import render_scene
from segdata.synthetic.label_ids import class_ids

SCALES = (2, 4, 8)
SIZE = (1024, 2048)
CLASSES = 19
CROP = (256, 512, 512, 1024)
Label = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scenes", type=int, default=2, help="synthetic scenes to measure")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    labels = made_labels(arguments.scenes) | real_labels()
    slow = torch_seconds(next(iter(labels.values())))
    compare_pooling(labels, arguments.rounds, slow["pool"])
    compare_scales(labels, arguments.rounds)
    with tempfile.TemporaryDirectory() as folder:
        compare_command(labels, Path(folder), slow["pool"] + slow["save"])
        compare_reading(labels, Path(folder), arguments.rounds)
    compare_sizes(labels)


def made_labels(num_scenes: int) -> dict[str, Label]:
    train_ids = ClassTable.load("cityscapes").id_to_train_id().astype(np.uint8)
    scenes = {f"made {index}": render_scene(9802, index, SIZE) for index in range(num_scenes)}
    return {name: train_ids[class_ids(scene, "cityscapes")] for name, scene in scenes.items()}


def real_labels() -> dict[str, Label]:
    root = Path(os.environ.get("SEGDATA_REAL_DATA", "")) / "vistas" / "sample-v1.2"
    mapping = LabelMapping.load("vistas-v1.2-to-cityscapes")
    labels = {}
    for number, path in enumerate(sorted(root.glob("*/labels/*.png"))):
        ids = remap_labels(np.asarray(Image.open(path)), mapping)
        labels[f"Vistas {number}"] = np.asarray(Image.fromarray(ids).resize(SIZE[::-1], Image.Resampling.NEAREST))
    return labels


@compiled
def plain_kernel(ids, halves, quarters, eighths):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Count three scales in one pass, the straightforward way."""
    for row in range(ids.shape[0]):
        for column in range(ids.shape[1]):
            channel = ids[row, column]
            if channel == 255:
                channel = CLASSES
            halves[channel, row >> 1, column >> 1] += 1
            quarters[channel, row >> 2, column >> 2] += 1
            eighths[channel, row >> 3, column >> 3] += 1


def plain_counts(ids: Label) -> list[NDArray[np.uint8]]:
    height, width = ids.shape
    counts = [np.zeros((CLASSES + 1, height // cell, width // cell), np.uint8) for cell in SCALES]
    plain_kernel(ids, *counts)
    return counts


def torch_probabilities(ids: Label) -> list[torch.Tensor]:
    channels = torch.from_numpy(np.minimum(ids, CLASSES)).long()
    one_hot = torch.nn.functional.one_hot(channels, CLASSES + 1).permute(2, 0, 1).float()[None]
    return [torch.nn.functional.avg_pool2d(one_hot, cell)[0] for cell in SCALES]


def torch_seconds(ids: Label) -> dict[str, float]:
    """Return the least of two runs of torch's pooling and of saving it with numpy.savez_compressed."""
    pooling, saving = [], []
    for _ in range(2):
        start = time.perf_counter()
        pooled = torch_probabilities(ids)
        pooling.append(time.perf_counter() - start)
        arrays = {f"s{cell}": array.numpy() for cell, array in zip(SCALES, pooled, strict=True)}
        start = time.perf_counter()
        np.savez_compressed(io.BytesIO(), **arrays)
        saving.append(time.perf_counter() - start)
    for cell, array in zip(SCALES, pooled, strict=True):
        assert np.array_equal(pool_label(ids, [cell])[cell].probabilities(), array.numpy())
    return {"pool": min(pooling), "save": min(saving)}


def medians(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return seconds by way, each run once in every round after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def compare_pooling(labels: Mapping[str, Label], rounds: int, torch_pool: float) -> None:
    print(f"\nPooling at 1/2, 1/4 and 1/8 in memory, ms (torch one-hot + avg_pool2d: {1e3 * torch_pool:.0f} ms)")
    print(
        f"{'label':<10} {'plain kernel':>13} {'stored form':>12} {'times plain':>12} {'times torch':>12}  mixed cells"
    )
    for name, ids in labels.items():
        for cell, counts in zip(SCALES, plain_counts(ids), strict=True):
            assert np.array_equal(counts, pool_label(ids, SCALES)[cell].counts())
        took = medians({"plain": lambda: plain_counts(ids), "ours": lambda: pool_label(ids, SCALES)}, rounds)  # noqa: B023
        plain, ours = took["plain"], took["ours"]
        print(
            f"{name:<10} {1e3 * plain:>13.2f} {1e3 * ours:>12.2f} {plain / ours:>12.1f} {torch_pool / ours:>12.0f}  "
            + " / ".join(f"{len(grid.mixed) / grid.map.size:.1%}" for grid in pool_label(ids, SCALES).values())
        )


def compare_scales(labels: Mapping[str, Label], rounds: int) -> None:
    print("\nOther scales, stored form, ms")
    ids = next(reversed(labels.values()))
    wanted = [(1,), (3,), (5,), (7,), (14,), (16,), (2, 3, 5, 7), (2, 4, 8, 14, 16, 32)]
    took = medians({str(cells): (lambda cells=cells: pool_label(ids, cells)) for cells in wanted}, rounds)
    print("   ".join(f"{name.strip('(),')}: {1e3 * seconds:.1f}" for name, seconds in took.items()))


def compare_command(labels: Mapping[str, Label], folder: Path, torch_whole: float) -> None:
    """Time the whole run over copies of every label, in this process, and Pillow's decoding of the same files."""
    for name, ids in labels.items():
        for copy in range(8):
            path = folder / "labels" / f"{name} {copy}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(ids).save(path)
    plan = plan_precompute(folder / "labels", folder / "out", scales=SCALES)
    batch = BatchSettings(overwrite=True)
    files = [item.label for item in plan.items]
    ways = {
        "ours": lambda: run_plan(plan, batch),
        "pillow": lambda: [np.asarray(Image.open(one)) for one in files],
    }
    took = {name: seconds / len(files) for name, seconds in medians(ways, 3).items()}
    print("\nThe whole of precompute-cpp per label: read, decode, pool, encode, write, report")
    print(
        f"{1e3 * took['ours']:.1f} ms;  {torch_whole / took['ours']:.0f} times torch one-hot + avg_pool2d + "
        f"np.savez_compressed ({torch_whole:.1f} s, nothing read or decoded);  {took['ours'] / took['pillow']:.2f} of "
        f"decoding the label with Pillow ({1e3 * took['pillow']:.1f} ms)"
    )


def compare_reading(labels: Mapping[str, Label], folder: Path, rounds: int) -> None:
    print("\nReading, ms: a crop of 512 x 1024 label pixels at three scales, from the file to dense counts")
    print(f"{'label':<10} {'Pillow':>8} {'crop':>8} {'ratio':>8} {'load':>8} {'check':>8} {'all dense':>10}")
    for name in labels:
        source, stored = folder / "labels" / f"{name} 0.png", folder / "out" / f"{name} 0.cpp.npz"
        data = stored.read_bytes()
        ways = {
            "pillow": lambda: np.asarray(Image.open(source)),  # noqa: B023
            "crop": lambda: all_counts(load_cpp(stored).crop(*CROP)),  # noqa: B023
            "load": lambda: load_cpp(stored),  # noqa: B023
            "check": lambda: check_cpp(data, "x"),  # noqa: B023
            "dense": lambda: all_counts(load_cpp(stored)),  # noqa: B023
        }
        took = medians(ways, rounds)
        print(
            f"{name:<10} {1e3 * took['pillow']:>8.2f} {1e3 * took['crop']:>8.2f} {took['crop'] / took['pillow']:>8.2f} "
            f"{1e3 * took['load']:>8.2f} {1e3 * took['check']:>8.2f} {1e3 * took['dense']:>10.2f}"
        )


def all_counts(targets: object) -> list[NDArray[np.unsignedinteger]]:
    return [targets.counts(cell) for cell in SCALES]  # type: ignore[attr-defined]


def compare_sizes(labels: Mapping[str, Label]) -> None:
    """Print what three scales take on disk in several forms, all lossless, and the read of all of it."""
    forms: dict[str, Callable[[Label], bytes]] = {
        "label PNG (Pillow)": png,
        "np.savez_compressed, float32": lambda ids: savez({s: g.probabilities() for s, g in pool(ids).items()}),
        "np.savez_compressed, counts": lambda ids: savez({s: g.counts() for s, g in pool(ids).items()}),
        "scipy CSR in npz": csr,
        "ours, each scale stored": lambda ids: members(pool(ids).values()),
        "ours, Up-filtered maps": lambda ids: members(pool_label(ids, [2]).values(), filtered=True),
        "ours": lambda ids: encode_cpp(pool_targets(ids, SCALES)),
    }
    print("\nSize of three scales, KB per label, median (and times the label's PNG)")
    pngs = {name: len(png(ids)) for name, ids in labels.items()}
    for form, write in forms.items():
        sizes = {name: len(write(ids)) for name, ids in labels.items()}
        ratios = [sizes[name] / pngs[name] for name in labels]
        middle = statistics.median(sizes.values()) / 1000
        print(
            f"{form:<30} {middle:>8.1f}   {statistics.median(ratios):>6.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    for ids in labels.values():
        assert np.array_equal(decode_cpp(encode_cpp(pool_targets(ids, SCALES)), "x").counts(8), plain_counts(ids)[2])


def pool(ids: Label) -> dict[int, SparseCounts]:
    return pool_label(ids, SCALES)


def png(ids: Label) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(ids).save(stream, "png")
    return stream.getvalue()


def savez(arrays: Mapping[int, NDArray[np.generic]]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **{f"s{cell}": array for cell, array in arrays.items()})
    return stream.getvalue()


def csr(ids: Label) -> bytes:
    from scipy import sparse

    stream = io.BytesIO()
    for grid in pool(ids).values():
        dense = grid.counts()
        sparse.save_npz(stream, sparse.csr_matrix(dense.reshape(len(dense), -1)))
    return stream.getvalue()


def members(grids, *, filtered: bool = False) -> bytes:  # type: ignore[no-untyped-def]  # noqa: ANN001
    arrays: dict[str, NDArray[np.generic]] = {}
    for grid in grids:
        cells = grid.map.copy()
        if filtered:
            cells[1:] -= grid.map[:-1]
        parts = np.diff(grid.part_starts).astype(np.uint8), grid.part_ids, grid.part_counts.astype(np.uint8)
        arrays |= {f"{grid.cell}_{number}": array for number, array in enumerate((cells, *parts))}
    return encode_npz(arrays)


if __name__ == "__main__":
    main()
