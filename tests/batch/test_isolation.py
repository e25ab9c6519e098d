"""Files that were in hand when a worker died: tried alone, until it is plain that not they are to blame."""

import signal
from collections import deque
from collections.abc import Generator

from toy_command import Letter, misbehave

from segdata.batch.isolation import DEATHS_IN_A_ROW, Isolation
from segdata.batch.signals import StopFlag
from segdata.batch.work import Outcome

SUSPECTS = [Letter(f"{number:02}") for number in range(DEATHS_IN_A_ROW + 2)]


def kill(chunks: deque[list[Letter]]) -> Generator[Outcome, None, list[Letter]]:
    """Let every file kill its worker."""
    yield from ()
    return chunks.popleft()


def test_after_so_many_deaths_in_a_row_the_rest_is_not_tried() -> None:
    isolation = Isolation(kill, StopFlag())
    told = [str(outcome.message) for outcome in isolation.try_each(SUSPECTS)]
    assert isolation.gave_up
    assert all("was killed, also when it worked on nothing else" in line for line in told[:DEATHS_IN_A_ROW])
    assert all("not tried, since 8 worker processes in a row were killed" in line for line in told[DEATHS_IN_A_ROW:])
    assert len(told) == len(SUSPECTS)


def test_a_file_that_is_done_ends_the_row() -> None:
    def every_fourth(chunks: deque[list[Letter]]) -> Generator[Outcome, None, list[Letter]]:
        (letter,) = chunks[0]
        if int(letter.key) % 4:
            return (yield from kill(chunks))
        yield misbehave(letter)
        return []

    isolation = Isolation(every_fourth, StopFlag())
    statuses = [outcome.status for outcome in isolation.try_each(SUSPECTS * 2)]
    assert not isolation.gave_up
    assert statuses.count("done") == 2 * 3


def test_nothing_is_tried_once_a_stop_was_asked_for() -> None:
    stop = StopFlag()
    stop.receive(signal.SIGTERM)
    assert list(Isolation(kill, stop).try_each(SUSPECTS)) == []
