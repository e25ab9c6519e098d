"""Ranks that `--nproc` starts: reachable by nobody else, and ended whatever happens to one of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ranks_with_faults import crashes_on_rank_one, fails_everywhere, fails_on_rank_one
from small_runs import write_recipe
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from segdata.distributed.launch import launch
from segdata.errors import SegdataError

LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")  # as /proc has it
ENDLESS = ("--set", "schedule.iterations=100000", "--set", "run.checkpoint_every=100000")


@contextmanager
def training(folder: Path, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """Start two ranks of a run that takes long, and wait until they train."""
    out = folder / "out"
    command = [sys.executable, "-m", "segdata", "train", "--config", str(write_recipe(folder)), "-o", str(out)]
    process = subprocess.Popen(
        [*command, "--nproc", "2", *ENDLESS, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 90
        while not (out / "metrics.jsonl").exists() or not (out / "metrics.jsonl").stat().st_size:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def processes_of(group: int) -> list[int]:
    """Return the processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[3]) == group:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def listening(processes: list[int]) -> dict[str, str]:
    """Return the local addresses on which processes listen, by socket."""
    sockets = set()
    for process in processes:
        for handle in Path(f"/proc/{process}/fd").iterdir():
            try:
                sockets.add(str(handle.readlink()))
            except OSError:
                continue
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found[fields[9]] = fields[1].partition(":")[0]
    return found


def test_nothing_listens_beyond_loopback(tmp_path):
    with training(tmp_path) as process:
        found = listening(processes_of(process.pid))
    assert found, "the ranks talk over sockets"
    assert set(found.values()) <= set(LOOPBACK)


@pytest.mark.slow
def test_a_rank_that_is_stopped_ends_the_run_in_the_time_that_is_set(tmp_path):
    limits = ("--set", "run.rank_timeout=5", "--set", "run.max_restarts=0")
    with training(tmp_path, *limits) as process:
        last = max(processes_of(process.pid))
        os.kill(last, signal.SIGSTOP)
        time.sleep(15)
        os.kill(last, signal.SIGCONT)
        _out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "another rank did not answer in time (run.rank_timeout)" in err


def test_a_fault_of_one_rank_ends_those_that_wait_for_it_and_is_told(tmp_path):
    start = time.monotonic()
    with pytest.raises(SegdataError, match=r"^only rank 1 is full$"):
        launch(fails_on_rank_one, str(tmp_path), num_processes=2, max_restarts=3)
    assert time.monotonic() - start < 120, "rank 0 waits for an hour"
    assert len(list(tmp_path.glob("begun-*"))) == 2, "no attempt after the fault does any work"


def test_a_fault_of_all_ranks_is_told_once_and_nothing_is_started_again(tmp_path):
    with pytest.raises(SegdataError, match=r"^rank 0 has it$"):
        launch(fails_everywhere, str(tmp_path), num_processes=2, max_restarts=3)
    assert len(list(tmp_path.glob("begun-*"))) == 2


def test_a_crash_is_tried_again_and_then_an_error(tmp_path):
    with pytest.raises(ChildFailedError):
        launch(crashes_on_rank_one, str(tmp_path), num_processes=2, max_restarts=1)
    assert len(list(tmp_path.glob("begun-*"))) == 4
