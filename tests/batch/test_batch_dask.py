"""The runner on a Dask cluster: the same outcomes, also when a worker dies, and never a hang."""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")

from toy_command import Letter, command, misbehave  # noqa: E402

from segdata.batch import dask as batch_dask  # noqa: E402
from segdata.batch.runners import BatchSettings, Outcome, run_batch, stream_batch  # noqa: E402
from segdata.errors import SettingsError  # noqa: E402


@pytest.fixture(scope="module")
def cluster() -> Iterator["distributed.LocalCluster"]:
    """Return a cluster of two worker processes on this machine."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster


def letters(*keys: str) -> list[Letter]:
    return [Letter(key) for key in keys]


def test_the_cluster_gives_the_outcomes_that_one_process_gives(cluster: "distributed.LocalCluster") -> None:
    items = letters("good-1", "bad-1", "hungry-1", "missing-1", *(f"{number:03}" for number in range(200)))
    on_cluster = run_batch(misbehave, items, BatchSettings(dask=cluster.scheduler_address))
    here = run_batch(misbehave, items, BatchSettings())
    assert [(a.key, a.status, a.message) for a in on_cluster] == [(a.key, a.status, a.message) for a in here]


def test_a_worker_that_is_killed_costs_the_file_that_kills_it_and_no_other(cluster: "distributed.LocalCluster") -> None:
    keys = [f"sleep-{number:02}" for number in range(80)]
    outcomes = run_batch(
        misbehave, letters(*keys[:40], "deadly-1", *keys[40:]), BatchSettings(dask=cluster.scheduler_address)
    )
    assert len(outcomes) == 81
    assert [outcome.key for outcome in outcomes if outcome.status == "error"] == ["deadly-1"]


def test_a_worker_killed_from_outside_costs_nothing(cluster: "distributed.LocalCluster") -> None:
    items = letters(*(f"sleep-{number:03}" for number in range(100)))
    victim = next(iter(cluster.workers.values()))
    before = victim.pid
    work = partial(_kill_once, before)
    outcomes = run_batch(work, items, BatchSettings(dask=cluster.scheduler_address))
    assert [outcome.status for outcome in outcomes] == ["done"] * 100
    deadline = time.monotonic() + 60  # on busy cores its successor takes longer than the other worker for the rest
    while victim.pid in (None, before) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert victim.pid not in (None, before)


def _kill_once(victim: int, letter: Letter) -> Outcome:
    """Let the fiftieth letter kill the worker of this pid, if it still lives; its successor has another pid."""
    if letter.key == "sleep-050":
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    return misbehave(letter)


def test_a_batch_command_writes_on_the_cluster_what_it_writes_here(
    cluster: "distributed.LocalCluster", tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    for number in range(30):
        (tmp_path / "source" / f"{number:02}").write_text(f"letter {number}")
    for out, more in (("here", []), ("there", ["--dask", cluster.scheduler_address])):
        result = CliRunner().invoke(command, [str(tmp_path / "source"), str(tmp_path / out), *more])
        assert result.stdout == "30 files: 30 done\n"
    here, there = ({p.name: p.read_bytes() for p in (tmp_path / out).iterdir()} for out in ("here", "there"))
    assert here == there


def test_fail_fast_withdraws_the_rest(cluster: "distributed.LocalCluster") -> None:
    batch = BatchSettings(dask=cluster.scheduler_address, fail_fast=True)
    outcomes = run_batch(misbehave, letters("bad-1", *(f"sleep-{number}" for number in range(200))), batch)
    assert len(outcomes) < 150
    assert [outcome.status for outcome in outcomes].count("error") == 1


def test_a_cluster_that_has_lost_its_workers_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_dask, "WORKERLESS_SECONDS", 1.0)
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty:
        started = time.monotonic()
        outcomes = run_batch(misbehave, letters("a", "b"), BatchSettings(dask=empty.scheduler_address))
    assert time.monotonic() - started < 10
    assert [outcome.status for outcome in outcomes] == ["error", "error"]
    assert "a: the Dask cluster has had no worker for 1 s. Run the same command again" in str(outcomes[0].message)


def test_a_scheduler_that_goes_away_is_named_for_each_file() -> None:
    cluster = distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0", silence_logs=50)
    items = letters(*(f"sleep-{number:02}" for number in range(60)))
    stream = stream_batch(misbehave, items, BatchSettings(dask=cluster.scheduler_address))
    outcomes = [next(stream)]
    cluster.close()
    outcomes += stream
    assert sorted(outcome.key for outcome in outcomes) == [item.key for item in items]
    assert outcomes[0].status == "done"
    assert outcomes[-1].status == "error"
    assert ": the Dask scheduler " in str(outcomes[-1].message)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense"])
def test_an_address_where_no_scheduler_answers_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(batch_dask, "CONNECT_SECONDS", 0.5)
    with pytest.raises(SettingsError, match=f"--dask {address}: no scheduler answers"):
        run_batch(misbehave, letters("a"), BatchSettings(dask=address))


def test_a_missing_library_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SettingsError, match=r"--dask: needs the package 'distributed'. Install segdata\[dask\]"):
        run_batch(misbehave, letters("a"), BatchSettings(dask="tcp://127.0.0.1:9"))


def test_a_closed_connection_is_the_scheduler_gone() -> None:
    assert batch_dask.WorkerTimeout(SimpleNamespace(status="closed")).trouble() == "the Dask scheduler is gone"


class FailedFuture:
    """Stands for a finished future whose result is an error."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def add_done_callback(self, tell: Callable[["FailedFuture"], None]) -> None:
        tell(self)

    def result(self, timeout: float) -> None:
        raise self._error


def test_outcomes_lost_with_the_last_worker_are_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_dask, "WORKERLESS_SECONDS", 0.05)
    client = SimpleNamespace(
        submit=lambda *_, **__: FailedFuture(TimeoutError()),  # done, but the worker that holds the outcomes is gone
        status="running",
        nthreads=dict,
        cancel=lambda _: None,
        close=lambda timeout: None,
    )
    monkeypatch.setattr(batch_dask, "_connect", lambda _: client)
    outcomes = run_batch(misbehave, letters("a"), BatchSettings(dask="tcp://127.0.0.1:9"))
    assert [outcome.status for outcome in outcomes] == ["error"]
    assert "a: the Dask cluster has had no worker for 0 s" in str(outcomes[0].message)


@pytest.mark.parametrize(
    ("error", "came_to"), [(TimeoutError(), "lost"), (distributed.KilledWorker("a", None, 3), "killed")]
)
def test_a_chunk_whose_worker_died_is_lost_or_a_suspect(error: Exception, came_to: str) -> None:
    assert batch_dask._result(FailedFuture(error), letters("a", "b")) == came_to


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CancelledError(), "a: the Dask scheduler dropped it. Run the same command again"),
        (AttributeError("no module toy"), "a: unforeseen AttributeError"),
    ],
)
def test_a_chunk_that_does_not_come_back_is_an_error_of_each_file(error: BaseException, message: str) -> None:
    outcomes = batch_dask._result(FailedFuture(error), letters("a", "b"))
    assert [(outcome.key, outcome.status) for outcome in outcomes] == [("a", "error"), ("b", "error")]
    assert outcomes[0].message.startswith(message)
