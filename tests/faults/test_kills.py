"""kill -9 at any moment, then the same command again: the tree is as if nothing had been, to the byte."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from commands import COMMANDS, INDEX, PRECOMPUTE, BatchCommand, Segdata, make_labels, tree

NUM_LABELS = 40


@pytest.fixture(params=[*COMMANDS, INDEX], ids=lambda command: command.name)
def command(request: pytest.FixtureRequest) -> BatchCommand:
    """Return each of the batch commands, also the one that writes a single file."""
    chosen: BatchCommand = request.param
    return chosen


def kill_after(segdata: Segdata, args: list[str], folder: Path, pattern: str, number: int, seconds: float) -> bool:
    """Start a command, and some time after there are so many outputs kill it; return whether it was still at work."""
    group = segdata.start(args, nice=19)  # on a busy machine it shall not be over before it is looked at
    deadline = time.monotonic() + 20
    while len(list(folder.rglob(pattern))) < number and time.monotonic() < deadline:
        pass
    time.sleep(seconds)
    with suppress(ProcessLookupError):  # it has ended, or has not come to be a group of its own
        os.killpg(group, signal.SIGKILL)
    for semaphore in Path("/dev/shm").glob(f"sem.loky-{group}-*"):  # nobody of the group is left to remove them
        semaphore.unlink(missing_ok=True)
    return segdata.wait().code == -signal.SIGKILL


def make_whole(segdata: Segdata, command: BatchCommand, source: Path, tmp_path: Path) -> dict[str, bytes | None]:
    """Write a source and return the tree that an uninterrupted run gives."""
    command.write_source(source, make_labels(NUM_LABELS, 256, 256))
    assert segdata.run(command.args(source, tmp_path / "whole")).code == 0
    return tree(tmp_path / "whole")


def test_the_tree_is_the_same_after_a_kill_at_any_moment(
    segdata: Segdata, command: BatchCommand, source: Path, tmp_path: Path
) -> None:
    whole, dice = make_whole(segdata, command, source, tmp_path), random.Random(command.name)
    num_killed = 0
    for moment in range(20):
        out = tmp_path / str(moment)
        number, seconds = dice.randrange(command.num_outputs(NUM_LABELS)), dice.uniform(0, 0.005)
        num_killed += kill_after(segdata, command.args(source, out), out, command.pattern, number, seconds)
        assert segdata.run(command.args(source, out)).code == 0
        assert tree(out) == whole
    assert num_killed >= 10


@pytest.mark.parametrize(
    ("command", "num_kills"),
    [(PRECOMPUTE, 2), *(pytest.param(command, 20, marks=pytest.mark.slow) for command in [*COMMANDS, INDEX])],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_kill_of_all_processes_of_a_parallel_run(
    segdata: Segdata, command: BatchCommand, source: Path, tmp_path: Path, num_kills: int
) -> None:
    whole, dice = make_whole(segdata, command, source, tmp_path), random.Random(command.name)
    for moment in range(num_kills):
        out = tmp_path / str(moment)
        number, seconds = dice.randrange(command.num_outputs(NUM_LABELS)), dice.uniform(0, 0.005)
        kill_after(segdata, command.args(source, out, "--jobs", "2"), out, command.pattern, number, seconds)
        assert segdata.run(command.args(source, out)).code == 0
        assert tree(out) == whole


def test_kills_upon_kills_still_come_to_the_end(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path, tmp_path: Path
) -> None:
    whole, args = make_whole(segdata, command, source, tmp_path), command.args(source, destination)
    for _ in range(5):
        assert segdata.run(args, dies_at=5).code == -signal.SIGKILL
    assert segdata.run(args).code == 0
    assert tree(destination) == whole


def test_shards_of_which_one_was_killed_give_the_same_tree(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path, tmp_path: Path
) -> None:
    whole = make_whole(segdata, command, source, tmp_path)
    assert segdata.run(command.args(source, destination, "--shard", "1/3")).code == 0
    assert segdata.run(command.args(source, destination, "--shard", "2/3"), dies_at=5).code == -signal.SIGKILL
    assert segdata.run(command.args(source, destination, "--shard", "3/3")).code == 0
    assert segdata.run(command.args(source, destination)).code == 0
    assert tree(destination) == whole
