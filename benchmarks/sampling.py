"""Figures of the class index and the stream: scanning against decoding, ten million tiles, draws per second, resuming.

Run: python benchmarks/sampling.py [FOLDER]
FOLDER holds label PNGs (searched below it for labels/*.png); scanning is measured on them and on synthetic scenes.
"""

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from segdata.batch.work import keep_freed_memory
from segdata.codecs.png import decode_bands, read_bytes, read_label
from segdata.codecs.png_chunks import split_png
from segdata.sampling.class_index import ClassIndex, IndexHead, make_index
from segdata.sampling.sampler import MixedClassUniformSampler
from segdata.sampling.scan import band_multiple, scan_bands
from segdata.sampling.shares import ShareSchedule, exact_shares
from segdata.sampling.stream import Source, Stream

REPEATS = 15
TILES, CLASSES, IMAGES = 10_000_000, 19, 500_000
_ARRAYS_ARE_READ = 1 << 20


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def made_labels(folder: Path) -> list[Path]:
    from segdata.synthetic import write_cityscapes

    write_cityscapes(folder, (1024, 2048), train=4, val=0)
    return sorted(folder.glob("gtFine/**/*_labelTrainIds.png"))


def scan_against_decode(paths: list[Path]) -> None:
    """Interleave decoding alone and decoding with scanning, so that both see the same machine and keep their memory."""
    keep_freed_memory()
    lookup = np.arange(256, dtype=np.int16)
    print(
        f"{'label':<28} {'pixels':>12} {'decode ms':>10} {'+ scan ms':>10} {'ratio':>6} {'fastest':>8} {'/ Pillow':>8}"
    )
    ratios, fastest, against_pillow = [], [], []
    for path in paths:
        ids = read_label(path)
        num_classes = int(ids[ids < 255].max()) + 1

        def both(path: Path = path, num_classes: int = num_classes) -> None:
            parts = split_png(read_bytes(path), str(path))
            bands = decode_bands(parts, str(path), band_multiple(1024))
            scan_bands(bands, (parts.header.height, parts.header.width), lookup, num_classes)

        both()

        def pillow(path: Path = path) -> None:
            with Image.open(path) as image:
                image.load()

        decode, whole, peer = zip(
            *((seconds(lambda path=path: read_label(path)), seconds(both), seconds(pillow)) for _ in range(REPEATS)),
            strict=True,
        )
        against_pillow.append(statistics.median(whole) / statistics.median(peer))
        ratios.append(statistics.median(whole) / statistics.median(decode))
        fastest.append(min(whole) / min(decode))  # what a busy machine disturbs least
        size = f"{ids.shape[0]}x{ids.shape[1]}"
        times = f"{1e3 * statistics.median(decode):>10.2f} {1e3 * statistics.median(whole):>10.2f}"
        print(
            f"{path.name[:28]:<28} {size:>12} {times} {ratios[-1]:>6.2f} {fastest[-1]:>8.2f} {against_pillow[-1]:>8.2f}"
        )
    middle, least = statistics.median(ratios), statistics.median(fastest)
    told = f"of the fastest runs {least:.2f}, against decoding with Pillow {statistics.median(against_pillow):.2f}"
    print(f"median ratio {middle:.2f}, {told}\n")


def large_index(folder: Path) -> Path:
    """Write an index of ten million entries, all arrays full."""
    rng = np.random.default_rng(0)
    starts = np.linspace(0, TILES, CLASSES + 1).astype(np.int64)
    images = np.sort(rng.integers(0, IMAGES, TILES))
    zeros = np.zeros(IMAGES, np.int64)
    arrays = {
        "lookup": np.arange(256),
        "image_sizes": np.full((IMAGES, 2), 1024),
        "image_ignored": zeros,
        "label_names": np.zeros(0),
        "image_names": np.zeros(0),
        "confidence_names": np.zeros(0),
        "label_ends": zeros,
        "image_ends": zeros,
        "confidence_ends": zeros,
        "label_bytes": zeros,
        "label_times": zeros,
        "label_digests": np.zeros((IMAGES, 16)),
        "confidence_bytes": zeros,
        "confidence_times": zeros,
        "confidence_digests": np.zeros((IMAGES, 16)),
        "class_starts": starts,
        "entry_images": np.concatenate([np.sort(images[a:b]) for a, b in pairwise(starts)]),
        "entry_tiles": np.zeros(TILES),
        "entry_pixels": rng.integers(1, 1 << 20, TILES),
        "entry_points": rng.integers(0, 1024, (TILES, 4, 2), np.uint16),
        "entry_centroids": rng.integers(0, 1024, (TILES, 2), np.uint16),
    }
    index = make_index(IndexHead(tuple(f"class {number}" for number in range(CLASSES)), "table"), arrays)
    path = folder / "large.npz"
    path.write_bytes(index.encode("."))
    return path


def resident() -> int:
    """Return the memory of this process in bytes, mapped files that are in use included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def stream_figures(path: Path) -> None:
    """Measure in a process of its own, so that no memory of the making is counted."""
    Stream([Source(ClassIndex.load(path, check=False), class_uniform=0.5)]).draws(0, 10)  # compile
    before = resident()
    index = ClassIndex.load(path, check=False)
    size = sum(array.nbytes for array in index.arrays.values())
    print(f"{index.num_entries} entries, arrays of {size / 1e6:.0f} MB")
    print(f"load {1e3 * seconds(lambda: ClassIndex.load(path, check=False)):.1f} ms")
    sources = [Source(index, share, 0.5) for share in (0.4, 0.4, 0.2)]
    start = time.perf_counter()
    sampler = MixedClassUniformSampler(sources, epoch_size=1_000_000, seed=1)
    print(f"construct {1e3 * (time.perf_counter() - start):.1f} ms")
    taken = seconds(lambda: sampler.stream.draws(0, _ARRAYS_ARE_READ))
    print(f"draws in arrays {_ARRAYS_ARE_READ / taken:,.0f} per second")
    taken = seconds(lambda: sum(1 for _ in sampler))
    print(f"draws one by one {1_000_000 / taken:,.0f} per second")
    for array in index.arrays.values():
        array.sum()  # all pages of the file are in memory from here on
    print(f"memory {(resident() - before) / size:.2f} of the arrays, with every page of them read")
    state = sampler.state_dict() | {"position": 10**9, "origin": 0, "epoch": 1000}
    print(f"load_state_dict at 10^9 {1e3 * seconds(lambda: sampler.load_state_dict(state)):.3f} ms, ", end="")
    print(f"first draw after it {1e3 * seconds(lambda: next(iter(sampler))):.2f} ms")


def schedule_figures() -> None:
    print("\nconstruction of the share schedule, and its largest prefix error in 200,000 draws")
    cases = {
        "40/40/20": [0.4, 0.4, 0.2],
        "1/3, 2/7, rest": [1 / 3, 2 / 7, 1 - 1 / 3 - 2 / 7],
        "0.9997, 0.0001, 0.0002": [0.9997, 0.0001, 0.0002],
        "20 even": [0.05] * 20,
        "10 rare, 1 common": [0.0001] * 10 + [0.999],
        "2 numbers without a period": [1 / np.pi, 1 - 1 / np.pi],
    }
    for name, shares in cases.items():
        schedule: list[ShareSchedule] = []
        taken = seconds(lambda shares=shares, schedule=schedule: schedule.append(ShareSchedule.make(shares, 0)))
        chosen, _ = schedule[0].locate(np.arange(200_000))
        counts = np.cumsum(chosen[:, np.newaxis] == np.arange(len(shares)), axis=0)
        promised = np.array([float(share) for share in exact_shares(shares)])
        error = abs(counts - promised * np.arange(1, 200_001)[:, np.newaxis]).max()
        period = schedule[0].choices.shape[1]
        print(f"{name:<28} period {period:>6}, {1e3 * taken:7.1f} ms, error {error:.4f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if len(sys.argv) > 1:
            paths = sorted(Path(sys.argv[1]).rglob("labels/*.png"))
            scan_against_decode([path for path in paths if path.is_file()][:8])
        scan_against_decode(made_labels(folder))
        path = large_index(folder)
        if os.fork() == 0:  # a child shares no counted memory with the arrays made here
            os.execv(sys.executable, [sys.executable, __file__, "--stream", str(path)])
        os.wait()
    schedule_figures()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stream"]:
        stream_figures(Path(sys.argv[2]))
    else:
        main()
