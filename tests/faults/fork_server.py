"""Runs segdata commands in forked children: a test can start one, and kill it, within milliseconds of its first file.

A line on stdin, as JSON, starts a child in a session of its own: ``args``; ``cwd``; ``output`` and ``errors``, files
for what it prints; ``nice``, how far to stand back for other processes; ``no_root``, to give up root's right to read
and write everything; ``max_file``, the largest file it may write; ``dies_at``, how many files it may give their final
name before the next one kills it. Answers are two lines: the child's process id, and
when it has ended its exit status. Commands of ``warm`` are run in this very process before, so that all is imported
and compiled.
"""

import contextlib
import ctypes
import io
import json
import os
import resource
import signal
import struct
import sys
import threading
import warnings
from typing import Any

from tqdm import tqdm

from segdata.commands import main

READ_AND_WRITE_EVERYTHING = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of capabilities(7)


def give_up_root() -> None:
    """Make the permissions of files count, also for root: capset(2) without the two capabilities."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", 0x20080522, 0)
    sets = ctypes.create_string_buffer(24)
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    words = list(struct.unpack("=6I", sets.raw))
    words[:3] = [word & ~READ_AND_WRITE_EVERYTHING for word in words[:3]]
    if libc.capset(header, struct.pack("=6I", *words)):
        raise OSError(ctypes.get_errno(), "capset")


def die_at(number: int) -> None:
    """Kill this process, as kill -9 does, when it is about to give a file its final name for the `number`-th time."""
    left = number

    def watch(event: str, _: object) -> None:
        nonlocal left
        if event == "os.rename":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def run(args: list[str]) -> int:
    """Run a command as the shell would, and return its exit code."""
    sys.argv = ["segdata", *args]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def be_child(order: dict[str, Any]) -> None:
    """Run the command of an order, and end."""
    os.setsid()
    for path, number in ((order["output"], 1), (order["errors"], 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(order["cwd"])
    os.nice(order["nice"])
    if order["no_root"]:
        give_up_root()
    if order["max_file"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["max_file"], resource.RLIM_INFINITY))
    if order["dies_at"] is not None:
        die_at(order["dies_at"])
    code = 70
    try:
        code = run(order["args"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Follow the orders on stdin until it ends."""
    for line in sys.stdin:
        order = json.loads(line)
        if "warm" in order:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                print(run(order["warm"]), file=sys.__stdout__, flush=True)
            continue
        child = os.fork()
        if child == 0:
            be_child(order)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    # tqdm's own lock is one semaphore for all processes: held by a child that is killed, it stops all further ones.
    tqdm.set_lock(threading.RLock())
    tqdm.monitor_interval = 0  # its thread may hold a lock when a child is forked, which then waits for ever
    warnings.simplefilter("error")
    serve()
