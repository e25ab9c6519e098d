"""SIGTERM, SIGUSR1 and Ctrl-C ask a run to stop; it does so at the end of a step, when all ranks know."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
STOPPED, INTERRUPTED = 143, 130
"""Exit codes: by the shell's custom 128 + SIGTERM, for SIGUSR1 too, which Slurm sends ahead of it; 128 + SIGINT."""


class StopRequest:
    """Whether a signal has asked to stop.

    Attributes
    ----------
    exit_code : int
        0 while none has; then what the process ends with.
    """

    def __init__(self) -> None:
        self.exit_code = 0

    def receive(self, number: int, _frame: FrameType | None = None) -> None:
        """Note a signal; the first one decides."""
        self.exit_code = self.exit_code or (INTERRUPTED if number == signal.SIGINT else STOPPED)


@contextmanager
def noting_signals() -> Iterator[StopRequest]:
    """Note signals while the block runs; outside the main thread, nothing changes."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.receive) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_signals_to_parent(_worker: int) -> None:
    """Keep signals to the whole process group from a loader's process: the training needs its data until it stops.

    SIGTERM to the process alone still ends it; that is how the parent does.
    """
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
