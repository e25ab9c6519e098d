"""Part: the tests marked `gpu`."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.measure import Report, arguments

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Run them with pytest."""
    chosen = arguments()
    report = Report(chosen.out)
    found = [str(ROOT / "tests" / "support"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "SEGDATA_GPU_TESTS_ON": chosen.device, "PYTHONPATH": os.pathsep.join(found)}
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-m", "gpu", "-v", "-p", "no:cacheprovider", "-rf"]
    command += ["--durations", "8"]
    if chosen.tiny:
        command += ["-k", "pooled or colors or autocast"]
    # The checkout's own settings name plugins that a bare machine does not have.
    command += ["-c", os.devnull, "--rootdir", ".", "-o", "markers=gpu"]
    if importlib.util.find_spec("xdist") and not chosen.tiny:
        command += ["-n", "4"]
    lines = []
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for line in run.stdout or ():
            print(line, end="", flush=True)  # the log has what was done before a limit cut this off
            lines.append(line.strip())
    add = report.table("Tests marked `gpu`", ["outcome"])
    add(lines[-1] if lines else "nothing was run")
    for line in lines:
        if re.match(r"(FAILED|ERROR) ", line):
            report.note(f"- {line}")
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
