"""The batch commands as the fault tests see them: how a source is laid out for each, and where its outputs go."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segdata.codecs.png import encode_label

REPOSITORY = Path(__file__).parents[2]
NUM_IDS = 11  # ids 0 to 10 are classes of all the tables in use here


@dataclass(frozen=True)
class BatchCommand:
    """One batch command with fixed settings."""

    name: str
    options: tuple[str, ...]
    labels: str = ""
    images: str | None = None
    outputs: str = ""
    ending: str = ".png"

    @property
    def pattern(self) -> str:
        """What finds the outputs, or the parts of the output, of a run at work."""
        return f"*{self.ending}"

    def num_outputs(self, num_labels: int) -> int:
        """Return how many of them there will be."""
        return num_labels

    def args(self, source: Path, destination: Path, *more: str) -> list[str]:
        """Return the words of its command line, the folders where no option can be seen in them."""
        return [self.name, *self.options, *more, "--", str(source), str(destination)]

    def label(self, source: Path, name: str) -> Path:
        """Return where a label of this name stands."""
        return source / self.labels / f"{name}.png"

    def output(self, destination: Path, name: str) -> Path:
        """Return where its output goes."""
        return destination / self.outputs / f"{name}{self.ending}"

    def write_source(self, source: Path, labels: Mapping[str, bytes]) -> None:
        """Lay out a source with these label files, and an image for each where the layout has images."""
        (source / self.labels).mkdir(parents=True)
        for name, data in labels.items():
            self.label(source, name).write_bytes(data)
        if self.images is not None:
            (source / self.images).mkdir()
            for name in labels:
                (source / self.images / f"{name}.jpg").write_bytes(b"pixels of " + name.encode(errors="replace"))


@dataclass(frozen=True)
class IndexCommand(BatchCommand):
    """The command that writes one file, by way of a part for each label."""

    def args(self, source: Path, destination: Path, *more: str) -> list[str]:
        """Write the index into the destination, which has to be a folder."""
        return [self.name, *self.options, *more, "-o", str(destination / "city.index.npz"), "--", str(source)]


CONVERT = BatchCommand("convert", ("--mapping", "camvid-to-cityscapes"))
MAPILLARY = BatchCommand(
    "convert-mapillary",
    ("--labels", "v1.2", "--images", "copy"),
    labels="training/labels",
    images="training/images",
    outputs="gtFine/train/mapillary",
    ending="_gtFine_labelTrainIds.png",
)
PRECOMPUTE = BatchCommand("precompute-cpp", ("--scales", "2", "4", "8"), ending=".cpp.npz")
INDEX = IndexCommand("index", ("--encoding", "trainIds"), ending=".part")
COMMANDS = [CONVERT, MAPILLARY, PRECOMPUTE]


def make_label(seed: int, height: int = 48, width: int = 64) -> bytes:
    """Return a label PNG of random blocks of eight pixels."""
    blocks = np.random.default_rng(seed).integers(0, NUM_IDS, (-(-height // 8), -(-width // 8)), dtype=np.uint8)
    return encode_label(blocks.repeat(8, axis=0).repeat(8, axis=1)[:height, :width].copy())


def make_labels(number: int, height: int = 48, width: int = 64) -> dict[str, bytes]:
    """Return that many labels by name."""
    return {f"label-{seed:02}": make_label(seed, height, width) for seed in range(number)}


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return every path below a folder with its bytes, folders with None."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@dataclass(frozen=True)
class Finished:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines that tell what could not be done."""
        return [line for line in self.err.splitlines() if line.startswith(("error: ", "segdata: "))]


class Segdata:
    """Starts segdata commands as processes of their own, from one that has everything imported and compiled."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )
        self._folder = tempfile.TemporaryDirectory()

    def close(self) -> None:
        """End the server."""
        self._server.communicate()
        self._folder.cleanup()

    def warm(self, args: list[str]) -> int:
        """Run a command within the server and return its exit code."""
        self._send({"warm": args})
        return self._answer()

    def start(
        self,
        args: list[str],
        *,
        cwd: Path | None = None,
        no_root: bool = False,
        max_file: int = 0,
        nice: int = 0,
        dies_at: int | None = None,
    ) -> int:
        """Start a command and return the number of its process and its group; `wait` must follow."""
        printed = {"output": str(self._printed("output")), "errors": str(self._printed("errors"))}
        limits = {"no_root": no_root, "max_file": max_file, "nice": nice, "dies_at": dies_at}
        self._send({"args": args, "cwd": str(cwd or self._folder.name)} | limits | printed)
        return self._answer()

    def wait(self) -> Finished:
        """Wait for the command that was started; its code is negative if a signal killed it, as in subprocess."""
        status = self._answer()
        code = -(status & 0x7F) if status & 0x7F else status >> 8
        out, err = (self._printed(name).read_text(errors="backslashreplace") for name in ("output", "errors"))
        return Finished(code, out, err)

    def run(self, args: list[str], **limits: Any) -> Finished:
        """Run a command to its end; see `start`."""
        self.start(args, **limits)
        return self.wait()

    def _printed(self, name: str) -> Path:
        return Path(self._folder.name, name)

    def _send(self, order: Mapping[str, Any]) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()

    def _answer(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())
