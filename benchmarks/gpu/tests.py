"""Part: the tests marked `gpu`."""

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
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-m", "gpu", "-q", "-p", "no:cacheprovider", "-rf"]
    if chosen.tiny:
        command += ["-k", "pooled or colors or autocast"]
    # The checkout's own settings name plugins that a bare machine does not have.
    command += ["-c", os.devnull, "--rootdir", ".", "-o", "markers=gpu"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(run.stdout, run.stderr)
    lines = run.stdout.strip().splitlines()
    add = report.table("Tests marked `gpu`", ["outcome"])
    add(lines[-1] if lines else "nothing was run")
    for line in lines:
        if re.match(r"(FAILED|ERROR)", line):
            report.note(f"- {line}")
    return run.returncode


if __name__ == "__main__":
    sys.exit(main())
