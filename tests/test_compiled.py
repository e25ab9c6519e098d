"""Kernels run also where their compiled code cannot be kept."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
