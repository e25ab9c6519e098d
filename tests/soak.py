"""Long runs that are killed again and again: is the end that of a straight run, is memory flat, is nothing left?

Run: python -m tests.soak [--labels 20000] [--kills 10] [--steps 600]   (make soak)

A command, then the training of two ranks, is run once to its end and once with kills (SIGKILL of all its processes, at
random moments). Folders are compared to the byte, weights to the bit. One line for each says what was seen; a
difference, a process or a temporary file that is left ends it with exit code 1.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "faults"), str(HERE / "support")]
from commands import make_label  # noqa: E402  # shared with the tests of faults
from small_runs import differences, write_recipe  # noqa: E402

from segdata.models.checkpoint import CheckpointFolder  # noqa: E402

SEGDATA = [sys.executable, "-m", "segdata"]
SIZE = (256, 512)
WATCHED_EVERY, STARTING, GRACE = 0.2, 2.0, 5.0  # seconds


@dataclass(frozen=True)
class Run:
    """How a command went: seconds, and the resident memory of all its processes, in MiB, over time."""

    seconds: float
    memory: Sequence[float]

    @property
    def growth(self) -> float:
        """The greatest memory of the last third over that of the middle one."""
        third = len(self.memory) // 3
        return max(self.memory[2 * third :]) / max(self.memory[third : 2 * third]) if third else 1.0


def processes_of(group: int) -> Iterator[Path]:
    """Yield the folders in /proc of the processes of a group."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            yield folder


def resident(group: int) -> float:
    """Return the MiB that the processes of a group hold; pages that they share count for each of them."""
    pages = 0
    for folder in processes_of(group):
        try:
            pages += int((folder / "statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def start(words: Sequence[str]) -> "subprocess.Popen[bytes]":
    """Start a command as a group of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*SEGDATA, *words], start_new_session=True, stdout=quiet, stderr=quiet, env=environment)


def to_the_end(words: Sequence[str]) -> Run:
    """Run a command to its end, and end the program where it fails or leaves a process."""
    begin, memory = time.monotonic(), []
    process = start(words)
    while process.poll() is None:
        memory.append(resident(process.pid))
        time.sleep(WATCHED_EVERY)
    if process.returncode:
        sys.exit(f"FAIL {' '.join(words)}: ended with {process.returncode}")
    ended = time.monotonic()
    while any(processes_of(process.pid)):  # what watches over the others ends after them
        if time.monotonic() > ended + GRACE:
            sys.exit(f"FAIL {' '.join(words)}: left a process")
        time.sleep(0.05)
    return Run(time.monotonic() - begin, memory)


def killed_again_and_again(words: Sequence[str], kills: int, straight: Run, dice: random.Random) -> int:
    """Run a command with kills, then to its end; return how often it was killed at work."""
    met = 0
    for _ in range(kills):
        process = start(words)
        try:
            process.wait(timeout=STARTING + dice.uniform(0.2, 1.8) * straight.seconds / kills)
        except subprocess.TimeoutExpired:
            met += 1
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while any(processes_of(process.pid)):
            time.sleep(0.05)
    to_the_end(words)
    return met


def digest(folder: Path) -> str:
    """Return a digest of all names and bytes below a folder, and end the program where a temporary file is left."""
    hasher = blake2b(digest_size=8)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if "segdata-tmp" in path.name:
            sys.exit(f"FAIL {path}: was left")
        hasher.update(f"{path.relative_to(folder)}\n".encode() + blake2b(path.read_bytes()).digest())
    return hasher.hexdigest()


def soak_data(folder: Path, labels: int, kills: int, dice: random.Random) -> None:
    """Convert, pool and index labels."""
    for number in range(labels):
        path = folder / "labels" / f"{number // 1000:02}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_label(number, *SIZE))
    steps = {
        "convert": ["convert", "--mapping", "camvid-to-cityscapes", "-j", "2", str(folder / "labels")],
        "precompute-cpp": ["precompute-cpp", "--scales", "2", "4", "8", "-j", "2", str(folder / "convert-straight")],
        "index": ["index", "--encoding", "trainIds", "-j", "2", str(folder / "convert-straight"), "-o"],
    }
    for name, words in steps.items():
        outs = [folder / f"{name}-{how}" for how in ("straight", "killed")]
        ends = [[str(out / "all.index.npz") if name == "index" else str(out)] for out in outs]
        straight = to_the_end([*words, *ends[0]])
        met = killed_again_and_again([*words, *ends[1]], kills, straight, dice)
        if digest(outs[0]) != digest(outs[1]):
            sys.exit(f"FAIL {name}: {outs[1]} is another tree than {outs[0]}")
        told = f"{name}: {labels:,} labels, {straight.seconds:.0f} s, {max(straight.memory):.0f} MiB"
        print(f"{told} ({straight.growth:.2f}x in the last third); {met} kills, the same tree", flush=True)
    for name in ("convert", "precompute-cpp"):
        checked = to_the_end(["verify", str(folder / f"{name}-killed"), "--deep", "ALL", "-j", "2"])
        print(f"verify --deep ALL of {name}: {checked.seconds:.0f} s, no fault", flush=True)


def soak_training(folder: Path, steps: int, kills: int, dice: random.Random) -> None:
    """Train with two ranks, and continue with one."""
    recipe = write_recipe(folder, run=f"checkpoint_every: {max(1, steps // 40)}")
    words = ["train", "--config", str(recipe), "--resume", "--set", f"schedule.iterations={steps}"]

    def weights(name: str) -> dict[str, object]:
        found = CheckpointFolder(folder / name / "out").latest(lambda told: sys.exit(f"FAIL {told}"))
        assert found is not None
        return {key: found[1][key] for key in ("model", "progress")}

    def out(name: str) -> list[str]:
        return ["--nproc", "2", "--out", str(folder / name / "out")]

    straight = to_the_end([*words, *out("straight")])
    met = killed_again_and_again([*words, *out("killed")], kills, straight, dice)
    different = differences(weights("straight"), weights("killed"))
    if different:
        sys.exit(f"FAIL train: other weights after {met} kills: {different[0]}")
    told = f"train, two ranks: {steps} steps, {straight.seconds:.0f} s, {max(straight.memory):.0f} MiB"
    print(f"{told} ({straight.growth:.2f}x in the last third); {met} kills, the same bits", flush=True)

    process = start([*words, *out("one-rank")])
    while len(list((folder / "one-rank/out/checkpoints").glob("*.pt"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    to_the_end([*words, "--out", str(folder / "one-rank/out")])
    one, two = (weights(name)["model"] for name in ("one-rank", "straight"))
    assert isinstance(one, dict)
    assert isinstance(two, dict)
    compared = [key for key in two if not key.endswith("num_batches_tracked")]  # one rank may take more passes a step
    most = max(float((one[key].double() - two[key].double()).abs().max()) for key in compared)
    print(f"train, begun by two ranks and ended by one: weights differ by {most:.1e} at most", flush=True)


def main() -> None:
    """Run all of it in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    dice = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        soak_data(Path(folder), chosen.labels, chosen.kills, dice)
        soak_training(Path(folder), chosen.steps, chosen.kills, dice)


if __name__ == "__main__":
    main()
