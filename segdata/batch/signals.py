"""Ctrl-C, SIGTERM and Slurm's SIGUSR1: they ask for a stop, which comes at a place where nothing is lost."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType

STOPPED, INTERRUPTED = 143, 130
"""Exit codes: 128 + SIGTERM, for SIGUSR1 too, which Slurm sends ahead of it; 128 + SIGINT."""

BATCH_SIGNALS = (signal.SIGINT, signal.SIGTERM)
TRAINING_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Interrupted(KeyboardInterrupt):
    """A command was asked to stop, and did, leaving what is done.

    Attributes
    ----------
    exit_code : int
        `INTERRUPTED` for Ctrl-C, else `STOPPED`.
    """

    def __init__(self, number: int, how_far: str) -> None:
        name = signal.Signals(number).name
        super().__init__(f"stopped by {name} {how_far}. Run the same command again; it continues from here.")
        self.exit_code = _exit_code(number)


class StopFlag:
    """The signal that asked to stop, or None.

    Parameters
    ----------
    raise_second : bool
        Whether a second signal raises `Interrupted`, for a user who does not want to wait.
    """

    def __init__(self, *, raise_second: bool = True) -> None:
        self.signal: int | None = None
        self._raise_second = raise_second
        self._answered = threading.Event()

    @property
    def exit_code(self) -> int:
        """What the process ends with: 0 while no signal came."""
        return 0 if self.signal is None else _exit_code(self.signal)

    def receive(self, number: int, _frame: FrameType | None = None) -> None:
        """Note the first signal; it decides the exit code."""
        if self.signal is None:
            self.signal = number
        elif self._raise_second:
            raise Interrupted(number, "without waiting for the files in hand")

    def in_time(self) -> None:
        """Say that the signal was answered: the limit no longer holds."""
        self._answered.set()

    def wait(self, seconds: float) -> bool:
        """Wait until that was said, and tell whether it was within so many seconds."""
        return self._answered.wait(seconds)


@contextmanager
def stop_on_signals(
    signals: tuple[signal.Signals, ...] = BATCH_SIGNALS, *, raise_second: bool = True, limit: float | None = None
) -> Iterator[StopFlag]:
    """Note signals in a flag while the block runs; outside the main thread, nothing changes. See `StopFlag`.

    `limit` is how many seconds after the first signal the process ends at once, unless `StopFlag.in_time` is called.
    """
    flag = StopFlag(raise_second=raise_second)
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {number: signal.signal(number, flag.receive) for number in signals}
    try:
        with nullcontext() if limit is None else _watched(flag, signals, limit):
            yield flag
    finally:
        flag.in_time()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watched(flag: StopFlag, signals: tuple[signal.Signals, ...], limit: float) -> Iterator[None]:
    """Hold the process to a limit while the block runs.

    A handler in Python runs only when the main thread comes back from a library, which may wait for another process
    without end. The interpreter's own handler writes the number of the signal to a file at once, and a thread reads it.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def watch() -> None:
        while (told := os.read(reading, 1)) and told[0]:
            if told[0] in signals:
                if not flag.wait(limit):
                    _end_at_once(told[0], limit)  # pragma: no cover
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        flag.in_time()
        with suppress(BlockingIOError):  # full of signals: the first has ended the thread
            os.write(writing, b"\0")  # no signal has the number 0
        thread.join()
        os.close(reading)
        os.close(writing)


def raise_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does, in one line, also before its work begins."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(number, "before the work began or after it ended")

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while the block runs.

    Processes started inside never receive either: a mask outlives `exec`. So Ctrl-C, which the terminal sends to the
    whole group, reaches only the one process that knows what to do.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, BATCH_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent(_worker: int) -> None:
    """Keep signals to the whole process group from a loader's process: the training needs its data until it stops.

    SIGTERM to the process alone still ends it; that is how the parent does.
    """
    os.setpgrp()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_at_once(number: int, limit: float) -> None:  # pragma: no cover  (no coverage outlives os._exit)
    """End a process that waits where no signal reaches it: in a library, for another process."""
    name = signal.Signals(number).name
    line = (
        f"segdata: {name} was not answered within {limit:g} s; ended without a new checkpoint. Continue with --resume."
    )
    os.write(2, f"{line}\n".encode())
    os._exit(_exit_code(number))


def _exit_code(number: int) -> int:
    return INTERRUPTED if number == signal.SIGINT else STOPPED
