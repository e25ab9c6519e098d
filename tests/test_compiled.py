"""Kernels run also where their compiled code cannot be kept."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

POOL = "import numpy, segdata; print(segdata.cpp_counts(numpy.zeros((2, 2), 'u1'), 2)[0, 0, 0])"


@pytest.fixture
def read_only_install(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with the package on a disk that cannot be written."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted: {mounted.stderr.strip()}")
    package = Path(__file__).parents[1] / "segdata"
    shutil.copytree(package, disk / "segdata", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_without_a_folder_for_the_cache_each_process_compiles(read_only_install: Path) -> None:
    home = str(read_only_install / "home")
    env = os.environ | {"PYTHONPATH": str(read_only_install), "HOME": home, "XDG_CACHE_HOME": home}
    done = subprocess.run(
        [sys.executable, "-c", POOL], env=env, cwd=read_only_install, capture_output=True, text=True, check=True
    )
    assert done.stdout == "4\n"
    assert "Set NUMBA_CACHE_DIR" in done.stderr


COMPILE = """
import sys, time, numpy, segdata
from segdata.logs import configure_logging, progress_bar
configure_logging()
with progress_bar(total=2, unit="labels") as bar:
    begin = time.monotonic()
    segdata.cpp_counts(numpy.zeros((2, 2), "u1"), 2)
    took = time.monotonic() - begin
    print(took, time.time() - bar.start_t)
"""


def test_compiling_is_announced_once_and_left_out_of_what_progress_estimates(tmp_path: Path) -> None:
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [
        subprocess.run([sys.executable, "-c", COMPILE], env=env, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    first, second = (run.stderr for run in runs)
    assert 1 <= len(re.findall(r"compiling kernels, once: \d+ of at most \d+\n", first)) < 10
    assert re.search(r"compiling kernels, once: 1 of at most ([2-9]|\d\d)\n", first)
    assert "compiling" not in second
    took, elapsed = map(float, runs[0].stdout.split())
    assert took > 0.3  # nothing compiles faster
    assert elapsed < 0.5 * took


def test_processes_are_said_to_compile(tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    for number in range(4):
        Image.new("L", (8, 8), number).save(labels / f"{number}_gtFine_labelTrainIds.png")
    command = [sys.executable, "-m", "segdata", "precompute-cpp", labels, tmp_path / "cpp", "-j", "2"]
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    told = [
        subprocess.run(map(str, [*command, *more]), env=env, capture_output=True, text=True, check=True).stderr
        for more in ([], ["--overwrite"])
    ]
    assert told[0].count("each process compiles the kernels that it needs first, once") == 1
    assert "compil" not in told[1]
