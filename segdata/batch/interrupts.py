"""Ctrl-C and SIGTERM: the first asks a batch to stop between two files, the second stops it at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A batch was asked to stop, and did, leaving what is done.

    Attributes
    ----------
    exit_code : int
        By the shell's custom, 128 + signal: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, number: int, how_far: str) -> None:
        name = signal.Signals(number).name
        super().__init__(f"stopped by {name} {how_far}. Run the same command again: it goes on from here.")
        self.exit_code = 128 + number


class StopFlag:
    """The signal that asked to stop, or None."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Note the first signal; for the second, raise."""
        if self.signal is not None:
            raise Interrupted(number, "without waiting for the files in hand")
        self.signal = number


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Note Ctrl-C and SIGTERM in a flag while the block runs; outside the main thread, nothing changes."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {number: signal.signal(number, flag.receive) for number in SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while the block runs.

    Processes started inside never receive either: a mask outlives `exec`. So Ctrl-C, which the terminal sends to the
    whole group, reaches only the one process that knows what to do.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
