"""The soak runs on a few labels and steps, so that it does not rot."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_short_soak_ends_with_a_line_for_each_part() -> None:
    words = [sys.executable, "-m", "tests.soak", "--labels", "20", "--kills", "1", "--steps", "8"]
    root = Path(__file__).parent.parent
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert told == [
        "convert",
        "precompute-cpp",
        "index",
        "verify --deep ALL of convert",
        "verify --deep ALL of precompute-cpp",
        "train, two ranks",
        "train, begun by two ranks and ended by one",
    ]
