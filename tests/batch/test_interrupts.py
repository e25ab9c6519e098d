"""Ctrl-C, SIGTERM and a killed parent: one line, a resumable state, and no process left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TOY = Path(__file__).with_name("toy_command.py")


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """Return a folder of forty small files."""
    folder = tmp_path / "letters"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}").write_text(f"letter {number}")
    return folder


def start(letters: Path, *options: str) -> "subprocess.Popen[str]":
    """Start the toy command in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, str(TOY), str(letters), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait up to ten seconds for something to hold."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def outputs(letters: Path) -> list[str]:
    """Return the names of what was written for the letters."""
    return [path.name for path in letters.with_name("letters-loud").glob("*.loud")]


def group_is_gone(group: int) -> bool:
    """Tell whether no process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_group_ends_in_one_line_and_is_resumed(
    letters: Path, jobs: str, number: int, code: int
) -> None:
    process = start(letters, "--seconds", "0.05", "--jobs", jobs)
    wait_until(lambda: len(outputs(letters)) > 2)
    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == code
    assert stdout == ""
    assert stderr.startswith(f"segdata: stopped by {signal.Signals(number).name} after ")
    assert stderr.count("\n") == 1
    assert not list(letters.with_name("letters-loud").glob(".*"))
    wait_until(lambda: group_is_gone(process.pid))
    num_done = len(outputs(letters))
    assert 2 < num_done < 40
    resumed = start(letters).communicate(timeout=20)[0]
    assert resumed == f"40 files: {40 - num_done} done, {num_done} already there\n"


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_second_signal_does_not_wait_for_the_files_in_hand(letters: Path, jobs: str) -> None:
    process = start(letters, "--seconds", "30", "--jobs", jobs)
    wait_until(lambda: letters.with_name("letters-loud").exists())
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    stderr = process.communicate(timeout=10)[1]
    assert process.returncode == 130
    assert "stopped by SIGINT without waiting for the files in hand" in stderr
    assert stderr.count("\n") == 1
    wait_until(lambda: group_is_gone(process.pid))


def test_workers_end_soon_after_their_parent_was_killed(letters: Path) -> None:
    process = start(letters, "--seconds", "0.05", "--jobs", "2")
    wait_until(lambda: len(outputs(letters)) > 2)
    process.kill()
    process.communicate(timeout=10)
    wait_until(lambda: group_is_gone(process.pid))
    assert not list(letters.with_name("letters-loud").glob(".*segdata-tmp"))


def test_two_runs_do_not_write_to_one_destination_at_a_time(letters: Path) -> None:
    first = start(letters, "--seconds", "0.1")
    wait_until(lambda: len(outputs(letters)) > 0)
    second = start(letters)
    assert "another segdata command is writing here" in second.communicate(timeout=20)[1]
    assert second.returncode == 1
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=20)
