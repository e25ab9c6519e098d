"""The pool of worker processes: what it does before there are workers, and when they are found dead."""

import os
import resource
import signal
import sys
import time
from collections import deque
from functools import partial

import pytest
from toy_command import Letter, misbehave

from segdata.batch import processes
from segdata.batch.processes import WorkerPool
from segdata.batch.runners import BatchSettings, run_batch
from segdata.batch.signals import StopFlag
from segdata.batch.work import work_on_chunk
from segdata.errors import SettingsError

TWO = BatchSettings(jobs=2)


def test_workers_that_died_between_two_files_cost_none() -> None:
    chunks = deque([[Letter("b")]])
    with WorkerPool(partial(work_on_chunk, misbehave, fail_fast=False), 1, StopFlag()) as pool:
        (first,) = list(pool.run(deque([[Letter("a")]])))
        os.kill(first.facts["pid"], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while pool._pool._flags.broken is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert list(pool.run(chunks)) == []  # the pool is found broken before the file is sent
        assert list(chunks) == [[Letter("b")]]
        (second,) = list(pool.run(chunks))
    assert (first.status, second.status) == ("done", "done")
    assert first.facts["pid"] != second.facts["pid"]


def test_work_without_kernels_runs_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "segdata.compiled", raising=False)
    assert [outcome.status for outcome in run_batch(misbehave, [Letter("a"), Letter("b")], TWO)] == ["done", "done"]
    assert "segdata.compiled" not in sys.modules


@pytest.mark.parametrize(("jobs", "needed"), [(2, 40), (8, 64)])
def test_a_limit_on_open_files_is_said_before_any_process_starts(
    monkeypatch: pytest.MonkeyPatch, jobs: int, needed: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (needed - 1, 4096))
    monkeypatch.setattr(processes, "WorkerPool", None)
    told = f"{jobs} processes need {needed} open files, and the limit is {needed - 1}"
    with pytest.raises(SettingsError, match=told):
        run_batch(misbehave, [Letter("a"), Letter("b")], BatchSettings(jobs=jobs))


@pytest.mark.parametrize("before", [None, "error"])
def test_the_processes_that_clean_up_are_silent(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    if before is None:
        monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    else:
        monkeypatch.setenv("PYTHONWARNINGS", before)
    seen = []
    for tracker in (processes.multiprocessing.resource_tracker, processes.loky_resource_tracker):
        monkeypatch.setattr(tracker, "ensure_running", lambda: seen.append(os.environ["PYTHONWARNINGS"]))
    processes._start_trackers()
    assert seen == ["ignore", "ignore"]
    assert os.environ.get("PYTHONWARNINGS") == before
