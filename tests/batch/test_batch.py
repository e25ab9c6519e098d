"""The runner: an outcome for every file, whatever becomes of the others."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import joblib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_command import Letter, misbehave

from segdata.batch.runners import BatchSettings, Outcome, run_batch, stream_batch, take_shard
from segdata.batch.signals import Interrupted
from segdata.batch.work import cut_chunks
from segdata.errors import SettingsError

ALONE = BatchSettings()
TWO = BatchSettings(jobs=2)


def letters(*keys: str) -> list[Letter]:
    return [Letter(key) for key in keys]


def statuses(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {outcome.key: outcome.status for outcome in outcomes}


@pytest.mark.parametrize("batch", [ALONE, TWO], ids=["in this process", "two processes"])
def test_outcomes_come_sorted_by_key_one_per_item(batch: BatchSettings) -> None:
    keys = [f"{number:03}" for number in range(100)]
    outcomes = run_batch(misbehave, letters(*reversed(keys)), batch)
    assert [outcome.key for outcome in outcomes] == keys
    assert {outcome.status for outcome in outcomes} == {"done"}


def test_one_job_works_in_this_process_and_two_in_others() -> None:
    pids = [
        {outcome.facts["pid"] for outcome in run_batch(misbehave, letters("a", "b"), batch)} for batch in (ALONE, TWO)
    ]
    assert pids[0] == {os.getpid()}
    assert os.getpid() not in pids[1]


@pytest.mark.parametrize("batch", [ALONE, TWO], ids=["in this process", "two processes"])
@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("bad-1", "bad-1: holds nothing.\\nTwo lines."),
        ("missing-1", "nowhere/missing-1: cannot be used: No such file or directory. Was it moved"),
        ("hungry-1", "hungry-1: needs more memory than there is."),
        ("broken-1", "broken-1: unforeseen ZeroDivisionError in toy_command.py, line "),
    ],
)
def test_a_bad_file_costs_one_line_and_no_other_file(batch: BatchSettings, key: str, message: str) -> None:
    outcomes = run_batch(misbehave, letters("good-1", key, "good-2"), batch)
    assert statuses(outcomes) == {"good-1": "done", key: "error", "good-2": "done"}
    told = next(outcome.message for outcome in outcomes if outcome.key == key)
    assert told is not None
    assert told.startswith(message)
    assert "\n" not in told


@pytest.mark.parametrize("batch", [ALONE, TWO], ids=["in this process", "two processes"])
def test_fail_fast_stops_at_the_first_error(batch: BatchSettings) -> None:
    batch = BatchSettings(jobs=batch.jobs, fail_fast=True)
    outcomes = run_batch(misbehave, letters("bad-1", *(f"sleep-{number}" for number in range(200))), batch)
    assert len(outcomes) < 100
    assert [outcome.status for outcome in outcomes].count("error") == 1


@pytest.mark.parametrize("batch", [ALONE, TWO], ids=["in this process", "two processes"])
def test_fail_fast_does_all_where_nothing_fails(batch: BatchSettings) -> None:
    keys = [f"{number:02}" for number in range(40)]
    outcomes = run_batch(misbehave, letters(*keys), BatchSettings(jobs=batch.jobs, fail_fast=True))
    assert statuses(outcomes) == dict.fromkeys(keys, "done")


def test_a_worker_that_is_killed_costs_the_file_that_kills_it_and_no_other() -> None:
    keys = [f"sleep-{number:02}" for number in range(40)]
    outcomes = run_batch(misbehave, letters(*keys[:20], "deadly-1", *keys[20:], "deadly-2"), TWO)
    assert [outcome.key for outcome in outcomes if outcome.status == "error"] == ["deadly-1", "deadly-2"]
    assert len(outcomes) == 42
    assert "was killed, also when it worked on nothing else" in str(outcomes[0].message)


def test_when_every_file_kills_the_runner_gives_up_and_says_so() -> None:
    outcomes = run_batch(misbehave, letters(*(f"deadly-{number:02}" for number in range(20))), TWO)
    assert len(outcomes) == 20
    told = [str(outcome.message) for outcome in outcomes]
    assert sum("was killed" in message for message in told) == 8
    assert sum("not tried, since 8 worker processes in a row were killed" in message for message in told) == 12


def test_work_that_cannot_be_sent_to_a_process_is_an_error_of_each_file() -> None:
    lock = __import__("threading").Lock()
    outcomes = run_batch(partial(_hold, lock), letters("a", "b"), TWO)
    assert statuses(outcomes) == {"a": "error", "b": "error"}
    assert "PicklingError" in str(outcomes[0].message)


def _hold(lock: object, letter: Letter) -> Outcome:
    return Outcome(key=letter.key, status="done")


def test_workers_share_the_cores_instead_of_taking_all_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    outcomes = run_batch(misbehave, letters("threads-1", "threads-2"), TWO)
    share = str(max(1, joblib.cpu_count() // 2))
    assert [outcome.facts["threads"] for outcome in outcomes] == [share, share]


def test_a_number_of_threads_that_the_user_has_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    assert run_batch(misbehave, letters("threads-1", "b"), TWO)[1].facts == {"threads": "3"}


def test_no_items_no_outcomes() -> None:
    assert run_batch(misbehave, [], TWO) == []


def test_a_stream_can_be_left_early() -> None:
    stream = stream_batch(misbehave, letters("a", "b", "c"), TWO)
    assert next(stream).status == "done"
    stream.close()


@given(st.sets(st.text(min_size=1, max_size=8), max_size=40), st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_shards_are_disjoint_and_complete(keys: set[str], parts: int) -> None:
    items = letters(*sorted(keys))
    shards = [take_shard(items, (part, parts)) for part in range(1, parts + 1)]
    assert sorted(item.key for shard in shards for item in shard) == sorted(keys)


def test_a_key_stays_in_its_shard_whatever_other_keys_there_are() -> None:
    items = letters(*(f"{number:03}" for number in range(100)))
    first = take_shard(items, (2, 4))
    assert take_shard(items[::3], (2, 4)) == [item for item in items[::3] if item in first]
    assert [item.key for item in take_shard(items[:10], (1, 3))] == ["001", "008"]


def test_a_shard_of_a_shard_is_the_shard() -> None:
    items = letters("a", "b", "c", "d")
    assert take_shard(take_shard(items, (1, 2)), (1, 2)) == take_shard(items, (1, 2))


def test_two_items_of_one_key_are_our_own_fault() -> None:
    with pytest.raises(AssertionError, match="two items of a batch have the same key"):
        run_batch(misbehave, letters("a", "a"), ALONE)


@pytest.mark.parametrize("num_items", [0, 1, 7, 100, 10_000])
@pytest.mark.parametrize("num_workers", [1, 2, 64])
def test_chunks_hold_every_item_once_in_order(num_items: int, num_workers: int) -> None:
    items = letters(*(str(number) for number in range(num_items)))
    chunks = cut_chunks(items, num_workers)
    assert [item for chunk in chunks for item in chunk] == items
    assert all(1 <= len(chunk) <= 8 for chunk in chunks)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"jobs": 0}, "--jobs 0: expected a number of processes from 1, or -1"),
        ({"shard": (0, 4)}, "--shard 0/4: expected I/N with I from 1 to N"),
        ({"shard": (5, 4)}, "--shard 5/4: expected I/N"),
        ({"dask": "tcp://a:1", "jobs": 2}, "--dask and --jobs 2: the cluster has its own workers"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        BatchSettings(**wrong)  # type: ignore[arg-type]


def test_minus_one_means_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert BatchSettings(jobs=-1).num_processes == 1
    assert BatchSettings(jobs=3).num_processes == 3


def test_progress_stays_silent_in_a_log_when_the_run_is_short(capfd: pytest.CaptureFixture[str]) -> None:
    run_batch(misbehave, letters("a", "b"), BatchSettings(progress=True))
    assert capfd.readouterr() == ("", "")


def test_progress_counts_files_and_failures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run_batch(misbehave, letters("a", "bad-b", "bad-c", "d"), BatchSettings(progress=True))
    last = capsys.readouterr().err.rstrip().rpartition("\r")[2]
    assert "4/4" in last
    assert last.endswith(", 2 failed]")


def test_an_interruption_has_the_exit_code_of_its_signal() -> None:
    assert (Interrupted(2, "").exit_code, Interrupted(15, "").exit_code) == (130, 143)
    assert str(Interrupted(15, "after 3 of 9 files")).startswith("stopped by SIGTERM after 3 of 9 files. Run the same")


def test_the_runner_imports_neither_joblib_nor_dask_for_one_job() -> None:
    code = (
        "import sys; from segdata.batch.runners import *; run_batch(print, [], BatchSettings());"
        "print([name for name in ('joblib', 'distributed', 'numba') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "[]\n"


@pytest.mark.parametrize("allowed", [8, 16, 30])
def test_too_few_open_files_are_one_line(vistas_sample: Path, tmp_path: Path, allowed: int) -> None:
    words = ["convert-mapillary", str(vistas_sample), str(tmp_path / "out"), "-j", "2"]
    script = f"ulimit -n {allowed} && exec {sys.executable} -m segdata {shlex.join(words)}"
    ended = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert "2 processes need 40 open files" in ended.stderr
    assert "Traceback" not in ended.stderr
