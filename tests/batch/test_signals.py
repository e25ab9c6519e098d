"""The flag that signals set: which of them decides, and what becomes of a process that does not answer."""

import signal
import subprocess
import sys
import threading

import pytest

from segdata.batch.signals import (
    INTERRUPTED,
    STOPPED,
    TRAINING_SIGNALS,
    Interrupted,
    raise_on_sigterm,
    signals_held_back,
    stop_on_signals,
)


def run(program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program with Python and wait for its end."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, STOPPED), (signal.SIGUSR1, STOPPED)]
)
def test_the_first_signal_decides_the_exit_code(number: signal.Signals, code: int) -> None:
    handler = signal.getsignal(number)
    with stop_on_signals(TRAINING_SIGNALS, raise_second=False) as stop:
        assert stop.exit_code == 0
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)
        assert (stop.signal, stop.exit_code) == (number, code)
    assert signal.getsignal(number) is handler


def test_the_second_signal_does_not_wait() -> None:
    with stop_on_signals() as stop:
        stop.receive(signal.SIGTERM)
        with pytest.raises(Interrupted, match="stopped by SIGINT without waiting") as ended:
            stop.receive(signal.SIGINT)
    assert ended.value.exit_code == INTERRUPTED


def test_outside_the_main_thread_no_handler_is_set() -> None:
    handlers: list[object] = []

    def look() -> None:
        with stop_on_signals() as stop:
            raise_on_sigterm()
            handlers.extend([signal.getsignal(signal.SIGTERM), stop.signal])

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [before, None]


def test_sigterm_before_the_work_begins_is_one_error_as_ctrl_c_is() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        raise_on_sigterm()
        with pytest.raises(Interrupted, match="stopped by SIGTERM before the work began") as ended:
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.exit_code == STOPPED


def test_signals_held_back_come_afterwards() -> None:
    with stop_on_signals() as stop:
        with signals_held_back():
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            assert stop.signal is None
        assert stop.signal == signal.SIGTERM


def test_a_process_that_does_not_answer_in_time_is_ended_with_a_line() -> None:
    ended = run(
        "import signal, threading\n"
        "from segdata.batch.signals import stop_on_signals\n"
        "with stop_on_signals(limit=0.1):\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    threading.Event().wait(60)\n"
    )
    assert ended.returncode == STOPPED
    assert ended.stderr == (
        "segdata: SIGTERM was not answered within 0.1 s; ended without a new checkpoint. Continue with --resume.\n"
    )


def test_a_process_that_waits_in_a_library_is_ended_too() -> None:
    """As in a collective of a rank whose peer hangs: no handler in Python runs there."""
    ended = run(
        "import ctypes, os, signal, threading\n"
        "from segdata.batch.signals import stop_on_signals\n"
        "libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)\n"
        "with stop_on_signals(limit=0.1):\n"
        "    threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGTERM]).start()\n"
        "    libc.pthread_mutex_lock(mutex)\n"
        "    libc.pthread_mutex_lock(mutex)  # waits for itself, whatever signal comes\n"
    )
    assert ended.returncode == STOPPED
    assert ended.stderr.startswith("segdata: SIGTERM was not answered within 0.1 s")


def test_the_first_signal_of_those_asked_for_is_waited_for() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        with stop_on_signals(limit=60) as stop:
            signal.raise_signal(signal.SIGUSR2)
            assert (stop.signal, stop.wait(0)) == (None, False)
            signal.raise_signal(signal.SIGTERM)
            stop.in_time()
            assert (stop.signal, stop.wait(0)) == (signal.SIGTERM, True)
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_signal_that_was_answered_has_no_limit_any_more() -> None:
    ended = run(
        "import signal, time\n"
        "from segdata.batch.signals import stop_on_signals\n"
        "before = signal.set_wakeup_fd(-1)\n"
        "with stop_on_signals(limit=0.3) as stop:\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    assert stop.signal == signal.SIGTERM\n"
        "    stop.in_time()\n"
        "    time.sleep(0.6)\n"
        "assert signal.set_wakeup_fd(-1) == before\n"
        "with stop_on_signals(limit=0.1):\n"
        "    pass  # no signal came\n"
        "time.sleep(0.3)\n"
        "print('still here')\n"
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("still here\n", "", 0)


def test_a_process_of_a_loader_leaves_signals_to_its_parent_but_for_sigterm_to_itself() -> None:
    ended = run(
        "import os, signal\n"
        "from segdata.batch.signals import leave_signals_to_parent\n"
        "leave_signals_to_parent(0)\n"
        "assert os.getpgrp() == os.getpid()\n"
        "signal.raise_signal(signal.SIGINT)\n"
        "signal.raise_signal(signal.SIGUSR1)\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
        "print('still here')\n"
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("still here\n", "", 0)
