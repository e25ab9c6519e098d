"""What the parts share: their arguments, timing on a device, and tables that are kept as they grow."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch


class Report:
    """What a part has measured so far; every addition is written at once.

    Parameters
    ----------
    path : Path
        JSON file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: dict[str, Any] = {"tables": [], "notes": []}
        self._write()

    def table(self, title: str, head: list[str]) -> Callable[..., None]:
        """Begin a table; call what is returned with the cells of each row."""
        rows = [head]
        self.told["tables"].append({"title": title, "rows": rows})

        def add(*cells: object) -> None:
            rows.append([f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells])
            self._write()

        return add

    def note(self, text: str) -> None:
        """Add a line of text."""
        self.told["notes"].append(text)
        self._write()

    def _write(self) -> None:
        self.path.write_text(json.dumps(self.told))


def arguments(*names: str) -> argparse.Namespace:
    """Return the arguments of a part: positional `names`, and what every part takes."""
    options = argparse.ArgumentParser()
    for name in names:
        options.add_argument(name)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--tiny", action="store_true")
    options.add_argument("--warm", action="store_true", help="only compile, for what is measured later")
    return options.parse_args()


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def graph_milliseconds(runs: Sequence[Callable[[], object]], *, rounds: int = 10) -> float:
    """Return the duration of a call on a GPU alone, without its launch: of a graph of all `runs`, replayed.

    Give calls on different data, together larger than the GPU's cache, so that the cache is not what is measured.
    """
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for run in runs[:3]:
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for run in runs:
            run()
    return milliseconds(graph.replay, torch.device("cuda"), rounds=rounds) / len(runs)


def milliseconds(run: Callable[[], object], device: torch.device, *, rounds: int = 20, warmup: int = 3) -> float:
    """Return the median duration of a call on a device: by events on a GPU, so that launches are not waited for."""
    for _ in range(warmup):
        run()
    wait_for(device)
    if device.type != "cuda":
        times = []
        for _ in range(min(rounds, 3)):
            start = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)
    marks = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(rounds)]
    for begin, end in marks:
        begin.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in marks)
