"""Label conversion against its peers, side by side in one run.

    python benchmarks/convert.py [VISTAS_ROOT] [--datumaro-python PYTHON]

VISTAS_ROOT is a Vistas v1.2 folder with a few labels; without one, synthetic scenes are taken. Each round runs every
way once on every label, in turn, so that a change of the machine's speed meets them all; a row holds medians over the
rounds. datumaro 1.13 is measured where it can be imported, here or by another interpreter.
"""

import argparse
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from isal import isal_zlib
from PIL import Image

from segdata.batch.work import BatchSettings
from segdata.codecs.png import decode_bands
from segdata.codecs.png_chunks import split_png
from segdata.codecs.png_filters import RowMapper
from segdata.files import write_atomic
from segdata.jobs.convert import plan_vistas, run_convert
from segdata.jobs.convert_label import ConvertSettings, convert_label
from segdata.labels.mapping import LabelMapping
from segdata.layouts.vistas import VistasRoot
from segdata.synthetic import write_vistas

DATUMARO = """
import json, logging, sys, tempfile, time
logging.disable(logging.CRITICAL)
import datumaro as dm
root, names = sys.argv[1], json.load(open(sys.argv[2]))
started = time.perf_counter()
data = dm.Dataset.import_from(root, "mapillary_vistas_instances", format_version="v1.2")
data.transform("remap_labels", mapping=names, default="delete")
data.export(tempfile.mkdtemp(dir=sys.argv[3]), "cityscapes", save_media=False)
print("seconds", (time.perf_counter() - started) / len(data))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--copies", type=int, default=120, help="copies of the labels for the row on two processes")
    parser.add_argument("--datumaro-python", default=sys.executable, help="an interpreter that has datumaro 1.13")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        measure(arguments.root or make_scenes(Path(made)), arguments)


def make_scenes(folder: Path) -> Path:
    """Write synthetic scenes as large as Vistas' labels; they have more and finer edges than real ones."""
    write_vistas(folder, 3, (2448, 3264), seed=1, jobs=-1)
    return folder


def measure(root: Path, arguments: argparse.Namespace) -> None:
    """Print all rows for the labels of a Vistas folder."""
    labels = [sample.label for sample in VistasRoot.open(root).samples() if sample.label is not None]
    settings = ConvertSettings(mapping=LabelMapping.load("vistas-v1.2-to-cityscapes"))
    measure_memory(root, max(labels, key=lambda path: np.prod(Image.open(path).size)))
    ours = compare_labels(labels, settings, arguments.rounds)
    for place in (tempfile.gettempdir(), "/dev/shm"):
        if os.access(place, os.W_OK):
            compare_processes(root, Path(place), arguments.copies, settings, arguments.rounds)
    compare_datumaro(root, settings.mapping, arguments.datumaro_python, ours)


def compare_labels(labels: list[Path], settings: ConvertSettings, rounds: int) -> float:
    """Print times and sizes per label; return the mean milliseconds of ours."""
    print("one core, milliseconds per label from file bytes to file bytes; sizes against Pillow's")
    print(f"{'label':>14} {'ours':>7} {'pillow':>8} {'ISA-L':>7} | {'pillow/ours':>11} {'ours/ISA-L':>10}", end=" | ")
    print(f"{'fast':>5} {'small':>6} {'small ms':>8}")
    rows = [compare_label(path.read_bytes(), settings, rounds) for path in labels]
    for row in rows:
        print(f"{row['name']:>14} {row['ours']:7.2f} {row['pillow']:8.1f} {row['isal']:7.2f} |", end=" ")
        print(f"{row['pillow'] / row['ours']:10.1f}x {row['ours'] / row['isal']:9.2f}x |", end=" ")
        print(f"{row['fast']:5.2f} {row['small']:6.2f} {row['small ms']:8.1f}")
    faster = statistics.median(row["pillow"] / row["ours"] for row in rows)
    slower = statistics.median(row["ours"] / row["isal"] for row in rows)
    print(
        f"{'median':>14} {'':24} | {faster:10.1f}x {slower:9.2f}x |  targets: >= 15x, <= 1.5x; sizes <= 2.2, <= 1.05\n"
    )
    return statistics.mean(row["ours"] for row in rows)


def compare_label(data: bytes, settings: ConvertSettings, rounds: int) -> dict[str, float | str]:
    """Measure the ways to convert one label; each result is held against Pillow's."""
    parts = split_png(data, "label")
    height, width = parts.header.height, parts.header.width
    rows = np.concatenate(list(decode_bands(parts, "label")))
    filtered = RowMapper(height, width, settings.lookup).map_rows(rows)
    small = ConvertSettings(mapping=settings.mapping, compression="small")
    expected = by_pillow(data, settings.lookup)
    for way in (settings, small):
        assert np.array_equal(pixels(convert_label(data, "label", way).data), pixels(expected))

    def inflate_and_deflate() -> None:
        isal_zlib.decompress(parts.idat, bufsize=rows.size + 1)
        isal_zlib.compress(filtered.data, 1)

    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: convert_label(data, "label", settings),
        "pillow": lambda: by_pillow(data, settings.lookup),
        "isal": inflate_and_deflate,
        "small ms": lambda: convert_label(data, "label", small),
    }
    times = {name: statistics.median(values) for name, values in interleaved(ways, rounds).items()}
    return {
        "name": f"{width} x {height}",
        **times,
        "fast": len(convert_label(data, "label", settings).data) / len(expected),
        "small": len(convert_label(data, "label", small).data) / len(expected),
    }


def interleaved(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Run the ways in turn, `rounds` times; return milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            times[name].append(1e3 * (time.perf_counter() - started))
    return times


def by_pillow(data: bytes, lookup: np.ndarray) -> bytes:
    """Convert as a script would: Pillow, a NumPy look-up, Pillow at its default level."""
    ids = np.asarray(Image.open(io.BytesIO(data)))
    stream = io.BytesIO()
    Image.fromarray(lookup[ids]).save(stream, "PNG")
    return stream.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def compare_datumaro(root: Path, mapping: LabelMapping, python: str, ours: float) -> None:
    """Measure datumaro importing, remapping and exporting the same labels, in an interpreter of its own."""
    print("datumaro 1.13: import, remap, export to Cityscapes, per label")
    if subprocess.run([python, "-c", "import datumaro"], capture_output=True, check=False).returncode:
        print(f"  not installed in {python}: pip install 'datumaro==1.13.*' in an environment of its own,")
        print("  then --datumaro-python /that/environment/bin/python\n")
        return
    names = {
        row.name: to.name for row, to in zip(mapping.source.classes, mapping.targets, strict=True) if to is not None
    }
    with tempfile.TemporaryDirectory() as scratch:
        copy_for_datumaro(root, Path(scratch, "vistas"))
        rule = Path(scratch, "names.json")
        rule.write_text(json.dumps(names))
        command = [python, "-c", DATUMARO, str(Path(scratch, "vistas")), str(rule), scratch]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    told = [line for line in done.stdout.splitlines() if line.startswith("seconds")]
    if not told:
        print(f"  does not run here: {done.stderr.strip().splitlines()[-1:]}\n")
        return
    milliseconds = 1e3 * float(told[0].split()[1])
    print(f"  {milliseconds:.0f} ms, {milliseconds / ours:.0f}x ours without reading and writing   target: >= 60x\n")


def copy_for_datumaro(root: Path, target: Path) -> None:
    """Lay the labels out as datumaro reads Vistas: as 16-bit instances, here one per class and image."""
    for sample in VistasRoot.open(root).samples():
        assert sample.label is not None
        for folder in (target / sample.split / "v1.2" / "instances", target / sample.split / "images"):
            folder.mkdir(parents=True, exist_ok=True)
        instances = np.asarray(Image.open(sample.label)).astype(np.uint16) << 8
        Image.fromarray(instances).save(target / sample.split / "v1.2" / "instances" / f"{sample.key}.png")
        Image.new("RGB", (8, 8)).save(target / sample.split / "images" / f"{sample.key}.jpg")
    shutil.copyfile(root / "config.json", target / "config_v1.2.json")


def compare_processes(root: Path, place: Path, copies: int, settings: ConvertSettings, rounds: int) -> None:
    """Measure whole runs, files and report included, with one process and with two, in turn.

    Two sizes of run tell the rate apart from the start of the processes, which costs the same for any size. What two
    cores of the machine can give at most is measured beside it: the same conversions by forked processes that share
    nothing, read nothing and write nothing; and what the disk of `place` can: processes that only write files.
    """
    print(f"whole runs, from files to files and the report in {place}, in labels/s once the processes have started")
    labels = [sample.label.read_bytes() for sample in VistasRoot.open(root).samples() if sample.label is not None]
    ratios, ceilings, disks, starts = [], [], [], []
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        few, many = Path(scratch, "few"), Path(scratch, "many")
        num_few, num_many = link_labels(root, few, 20), link_labels(root, many, copies)
        for _ in range(rounds):
            rates = {}
            for jobs in (1, 2):
                short, long = (seconds_of_run(folder, settings, jobs) for folder in (few, many))
                rates[jobs] = (num_many - num_few) / (long - short)
            starts.append(short - num_few / rates[2])
            ratios.append(rates[2] / rates[1])
            ceilings.append(ratio_of_forks(lambda: [convert_label(data, "", settings) for data in labels * 25]))
            disks.append(ratio_of_forks(partial(write_files, Path(scratch))))
            print(f"  -j 1: {rates[1]:.0f}, -j 2: {rates[2]:.0f}, {ratios[-1]:.2f}x", end="; ")
            print(f"converting alone {ceilings[-1]:.2f}x, writing files alone {disks[-1]:.2f}x")
    print(
        f"  median of {rounds}: two processes are {statistics.median(ratios):.2f}x one, converting alone "
        f"{statistics.median(ceilings):.2f}x, writing files alone {statistics.median(disks):.2f}x; start "
        f"{statistics.median(starts):.1f} s   target: >= 1.8x\n"
    )


def write_files(folder: Path) -> None:
    """Write a thousand files of a label's size as the command does, each under a temporary name first."""
    for number in range(1000):
        write_atomic(folder / f"{os.getpid()}-{number}", bytes(100_000))


def ratio_of_forks(work: Callable[[], object]) -> float:
    """Return how much more two forked processes do than one."""
    seconds = {}
    for num in (1, 2):
        started = time.perf_counter()
        children = []
        for _ in range(num):
            child = os.fork()
            if child == 0:
                work()
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        seconds[num] = time.perf_counter() - started
    return 2 * seconds[1] / seconds[2]


def seconds_of_run(root: Path, settings: ConvertSettings, jobs: int) -> float:
    """Convert a Vistas root to a folder beside it, remove that, and return how long the conversion took."""
    plan = plan_vistas(VistasRoot.open(root), root.with_name("out"), settings, images="skip")
    started = time.perf_counter()
    run_convert(plan, BatchSettings(jobs=jobs))
    seconds = time.perf_counter() - started
    shutil.rmtree(plan.destination)
    return seconds


def link_labels(root: Path, target: Path, copies: int) -> int:
    """Link to the labels of a Vistas root many times; return how many there are."""
    (target / "training" / "labels").mkdir(parents=True)
    shutil.copyfile(root / "config.json", target / "config.json")
    labels = [sample.label for sample in VistasRoot.open(root).samples() if sample.label is not None]
    for number in range(copies):
        for label in labels:
            (target / "training" / "labels" / f"{number}-{label.name}").symlink_to(label.absolute())
    return copies * len(labels)


def measure_memory(root: Path, label: Path) -> None:
    """Print the peak memory of the command on the largest label alone."""
    with tempfile.TemporaryDirectory() as scratch:
        labels = Path(scratch, "vistas", "training", "labels")
        labels.mkdir(parents=True)
        (labels / label.name).symlink_to(label.absolute())
        shutil.copyfile(root / "config.json", Path(scratch, "vistas", "config.json"))
        command = [sys.executable, "-m", "segdata", "convert-mapillary", f"{scratch}/vistas", f"{scratch}/out"]
        subprocess.run(command, capture_output=True, check=True)
    # The largest of all children so far; datumaro, which would be larger, is measured after this.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    width, height = Image.open(label).size
    print(f"peak memory of the command on one label of {width * height / 1e6:.0f} megapixels")
    print(f"  {peak / 1024:.0f} MiB   target: < 300 MB\n")


if __name__ == "__main__":
    main()
