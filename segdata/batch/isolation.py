"""Which file killed the worker? Each of those in hand is tried again, alone."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic

from segdata.batch.signals import StopFlag
from segdata.batch.work import ItemType, Outcome

DEATHS_IN_A_ROW = 8  # so many files that each kill a worker of their own say that it is not the files


class Isolation(Generic[ItemType]):
    """Files that were in hand when a worker died, tried one at a time.

    Parameters
    ----------
    run : callable
        Works a queue of chunks off, yields outcomes, and returns the items that were in hand when a worker died.
    stop : StopFlag
        When to stop.

    Attributes
    ----------
    gave_up : bool
        So many files in a row killed their worker that it is not worth continuing.
    """

    def __init__(
        self, run: Callable[[deque[list[ItemType]]], Generator[Outcome, None, list[ItemType]]], stop: StopFlag
    ) -> None:
        self._run = run
        self._stop = stop
        self._deaths = 0

    @property
    def gave_up(self) -> bool:
        """Whether nearly everything dies."""
        return self._deaths >= DEATHS_IN_A_ROW

    def try_each(self, suspects: Iterable[ItemType]) -> Iterator[Outcome]:
        """Yield the outcome of each suspect."""
        for item in suspects:
            if self._stop.signal is not None:
                return
            if self.gave_up:
                yield given_up(item)
                continue
            died = yield from self._run(deque([[item]]))
            self._deaths = self._deaths + 1 if died else 0
            if died:
                yield _killed(item)


def given_up(item: ItemType) -> Outcome:
    """Return the outcome of a file that is not tried, because every worker dies."""
    message = (
        f"{item.key}: not tried, since {DEATHS_IN_A_ROW} worker processes in a row were killed. "
        "Run one file with --jobs 1 to see why; check the limits on memory (ulimit -v, cgroup)."
    )
    return Outcome(key=item.key, status="error", message=message)


def _killed(item: ItemType) -> Outcome:
    """Return the outcome of a file whose worker died, also when it worked on nothing else."""
    message = (
        f"{item.key}: the process that worked on it was killed, also when it worked on nothing else. "
        "Most often there is too little memory; the kernel's log (dmesg) tells."
    )
    return Outcome(key=item.key, status="error", message=message)
