"""Measure all that matters on one GPU, in order of value, inside a time budget.

    python -m benchmarks.gpu --budget 480 --out DIR            # on a GPU
    python -m benchmarks.gpu --device cpu --tiny --out DIR     # the same path in a minute, so that it does not rot

Runs from a bare checkout: what Python lacks comes as wheels on PYTHONPATH (`benchmarks/gpu_wheels.sh`). Each part is a
process with a limit of its own; a part that fails or is cut off says so, and the next one begins. After every part
DIR/RESULTS.md and DIR/results.json hold all there is, so nothing is lost when the whole is cut off.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Part(NamedTuple):
    """A part: its name, the module that measures it, and the most seconds it may take."""

    name: str
    module: str
    limit: float
    arguments: tuple[str, ...] = ()


TIMED = (
    Part("seethroughnet", "benchmarks.gpu.steps", 170, ("seethroughnet-cityscapes",)),
    Part("pspnet", "benchmarks.gpu.steps", 62, ("cityscapes-pspnet-cpp",)),
    Part("ocrnet", "benchmarks.gpu.steps", 110, ("cityscapes-ocrnet-cpp",)),
    Part("peer ocrnet", "benchmarks.gpu.peers", 75, ("ocrnet",)),
    Part("cpp", "benchmarks.gpu.cpp", 50),
    Part("loader", "benchmarks.gpu.loader", 60),
    Part("peer pspnet", "benchmarks.gpu.peers", 60, ("pspnet",)),
    Part("deeplabv3plus", "benchmarks.gpu.steps", 60, ("cityscapes-deeplabv3plus-cpp",)),
    Part("peer deeplabv3plus", "benchmarks.gpu.peers", 45, ("deeplabv3plus",)),
    Part("hmsa", "benchmarks.gpu.steps", 150, ("hmsa-cityscapes",)),
)
COMPILING = ("benchmarks.gpu.steps", "benchmarks.gpu.peers")
PREPARED = (
    Part("tests", "benchmarks.gpu.tests", 100),
    *(
        Part(f"compile {part.name}", part.module, 130, (*part.arguments, "--warm"))
        for part in TIMED
        if part.module in COMPILING
    ),
)
"""Not timed, and so run side by side; compiled code is kept for what is timed later."""
STUDIES = tuple(
    Part(f"camvid {study}", "benchmarks.gpu.camvid", 300, (study,))
    for study in ("weights", "scales", "deeplabv3plus", "pspnet")
)
GIB_PER_PART = 30.0
"""GPU memory that a part is expected to take at most: as many run side by side as fit."""
LEAST_SECONDS = 15.0
"""A part is not begun with less left."""


def run_part(part: Part, out: Path, seconds: float, device: str, *, tiny: bool) -> dict[str, Any]:
    """Run a part in a process of its own, and return what it measured, or why it did not."""
    file = out / f"{part.name.replace(' ', '-')}.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", part.module, *part.arguments, "--out", str(file), "--device", device]
    command += ["--seconds", f"{seconds:.0f}", *(["--tiny"] if tiny else [])]
    start = time.monotonic()
    with file.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
    told: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    told["seconds"] = round(time.monotonic() - start, 1)
    if code is None:
        told["fault"] = f"cut off after {seconds:.0f} s"
    elif code:
        told["fault"] = f"ended with exit code {code}: see {file.stem}.log"
    return told


def as_markdown(results: dict[str, Any]) -> str:
    """Return all tables."""
    lines = [f"# {results['device']}", "", results["about"]]
    for name, told in results["parts"].items():
        lines += ["", f"## {name} ({told['seconds']:.0f} s)", ""]
        if "fault" in told:
            lines += [f"**{told['fault']}**", ""]
        for table in told.get("tables", []):
            lines += [table["title"], "", *_table(table["rows"]), ""]
        lines += told.get("notes", [])
    return "\n".join(lines) + "\n"


def _table(rows: list[list[str]]) -> list[str]:
    head, *body = rows
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]


def device_name(device: str) -> str:
    """Return the card's name and driver, or the CPU's."""
    if device == "cpu":
        return "CPU, tiny: no figure here says anything of a GPU"
    asked = "name,driver_version,clocks.max.sm,power.limit"
    told = subprocess.run(
        ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "an unknown GPU"


def side_by_side(device: str) -> int:
    """Return how many parts fit into the memory of a GPU at once; 1 on the CPU."""
    if device == "cpu":
        return 1
    asked = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    return max(1, int(float(told[0]) / 1024 / GIB_PER_PART)) if told else 1


def main() -> int:
    """Run the parts; 1 if one of them failed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--budget", type=float, default=480, help="seconds for everything")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    options.add_argument("--tiny", action="store_true", help="small models and sizes")
    options.add_argument("--only", nargs="*", help="names of parts")
    chosen = options.parse_args()
    end = time.monotonic() + chosen.budget
    out = chosen.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    about = subprocess.run(
        [
            sys.executable,
            "-c",
            "import torch, sys; print('torch', torch.__version__, 'Python', sys.version.split()[0])",
        ],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    results: dict[str, Any] = {"device": device_name(chosen.device), "about": about, "parts": {}}

    def run_within(part: Part) -> dict[str, Any]:
        left = end - time.monotonic()
        if left < LEAST_SECONDS:
            return {"seconds": 0.0, "fault": "not begun: the budget is spent"}
        return run_part(part, out, min(part.limit, left), chosen.device, tiny=chosen.tiny)

    def tell(part: Part, told: dict[str, Any]) -> None:
        results["parts"][part.name] = told
        print(f"{part.name}: {told.get('fault', 'done')}, {told['seconds']:.0f} s", flush=True)
        (out / "results.json").write_text(json.dumps(results, indent=1))
        (out / "RESULTS.md").write_text(as_markdown(results))

    def wanted(parts: Sequence[Part]) -> list[Part]:
        return [part for part in parts if not chosen.only or part.name in chosen.only]

    prepared = [part for part in wanted(PREPARED) if not (chosen.tiny and "--warm" in part.arguments)]
    with ThreadPoolExecutor(side_by_side(chosen.device)) as pool:
        for part, told in zip(prepared, pool.map(run_within, prepared), strict=True):
            tell(part, told)
    for part in wanted((*TIMED, *STUDIES)):
        tell(part, run_within(part))
    return int(any("fault" in told for told in results["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
