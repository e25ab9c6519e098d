"""The batch runner's processes on one machine: joblib's loky workers, with an answer for a worker that dies.

loky itself is used rather than `joblib.Parallel`, because a worker that is killed (for its memory, as a rule) then
costs one file and not the batch: the files that were in hand are tried again one at a time, and the one that kills is
named.
"""

import multiprocessing.resource_tracker
import os
import resource
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from types import TracebackType
from typing import Any, Generic

from joblib import cpu_count
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker as loky_resource_tracker

from segdata.batch.isolation import Isolation, given_up
from segdata.batch.signals import StopFlag, signals_held_back
from segdata.batch.work import BatchSettings, ItemType, Outcome, Work, cut_chunks, failed_chunk, work_on_chunk
from segdata.errors import SettingsError

THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
ORPHAN_POLL_SECONDS = 0.5

_working = threading.Lock()  # held in a worker while it works, so that an orphan ends between files, not in one


def run_in_processes(
    work: Work[ItemType], items: Sequence[ItemType], settings: BatchSettings, stop: StopFlag
) -> Iterator[Outcome]:
    """Work on the items in as many processes as the settings say, yielding outcomes as they come.

    Raises
    ------
    SettingsError
        If the limit on open files is too low to start them.
    """
    _refuse_few_files(settings.num_processes)
    if "segdata.compiled" in sys.modules:  # else the work needs no kernel
        from segdata.compiled import announce_compilation_in_processes

        announce_compilation_in_processes()
    task = partial(_work_in_worker, work, settings.fail_fast)
    chunks = deque(cut_chunks(items, settings.num_processes))
    with WorkerPool(task, min(settings.num_processes, len(chunks)), stop) as crew, WorkerPool(task, 1, stop) as lone:
        isolation = Isolation(lone.run, stop)
        while chunks and stop.signal is None:
            suspects = yield from crew.run(chunks)
            yield from isolation.try_each(suspects)
            if isolation.gave_up:
                yield from (given_up(item) for chunk in chunks for item in chunk)
                return


def _refuse_few_files(num_processes: int) -> None:
    """Check that the pipes to the processes can be opened; in the middle of a start, loky ends in a traceback."""
    allowed, needed = resource.getrlimit(resource.RLIMIT_NOFILE)[0], 32 + 4 * num_processes
    if resource.RLIM_INFINITY != allowed < needed:
        raise SettingsError(
            f"{num_processes} processes need {needed} open files, and the limit is {allowed}. Raise it (ulimit -n "
            f"{max(needed, 1024)}), or use fewer --jobs."
        )


class WorkerPool(Generic[ItemType]):
    """A number of worker processes, started when there is work, and again after one of them died."""

    def __init__(self, task: Callable[[Sequence[ItemType]], list[Outcome]], num_workers: int, stop: StopFlag) -> None:
        self._task = task
        self._num_workers = num_workers
        self._stop = stop
        self._pool: Any = None

    def __enter__(self) -> "WorkerPool[ItemType]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # In a hurry (the second Ctrl-C) the files in hand are not waited for.
        self._close(kill=kind is not None and issubclass(kind, KeyboardInterrupt))

    def run(self, chunks: deque[list[ItemType]]) -> Generator[Outcome, None, list[ItemType]]:
        """Work `chunks` off until none is left, a worker dies or a stop is asked for; return what may have killed it.

        Only a few chunks are handed out at a time: they are what has to be tried again when a worker dies.
        """
        in_hand: dict[Future[list[Outcome]], list[ItemType]] = {}
        while in_hand or (chunks and self._stop.signal is None):
            broken = not self._hand_out(chunks, in_hand)
            finished = wait(in_hand, return_when=FIRST_COMPLETED).done if in_hand else set()
            broken = broken or any(isinstance(future.exception(), BrokenProcessPool) for future in finished)
            if broken:
                finished = wait(in_hand).done  # at once: when a worker dies, the pool ends all that is in hand
                self._close()
            for future in finished:
                if not isinstance(future.exception(), BrokenProcessPool):
                    yield from _outcomes(future, in_hand.pop(future))
            if broken:
                return [item for chunk in in_hand.values() for item in chunk]
        return []

    def _hand_out(self, chunks: deque[list[ItemType]], in_hand: dict[Future[list[Outcome]], list[ItemType]]) -> bool:
        """Give the workers enough to do; return False when they turn out to be dead."""
        while chunks and len(in_hand) < self._num_workers + 2 and self._stop.signal is None:
            try:
                in_hand[self._submit(chunks[0])] = chunks[0]
            except BrokenProcessPool:
                return False
            chunks.popleft()
        return True

    def _submit(self, chunk: list[ItemType]) -> Future[list[Outcome]]:
        """Send one chunk, starting the workers with the first one."""
        if self._pool is not None:
            return self._pool.submit(self._task, chunk)  # type: ignore[no-any-return]
        threads = str(max(1, cpu_count() // self._num_workers))
        self._pool = ProcessPoolExecutor(
            max_workers=self._num_workers,
            initializer=_start_worker,
            initargs=(os.getpid(),),
            env={name: os.environ.get(name, threads) for name in THREAD_LIMITS},
        )
        # Started here and now: starting them later would let the signals through while the workers are started.
        _start_trackers()
        with signals_held_back():
            return self._pool.submit(self._task, chunk)  # type: ignore[no-any-return]

    def _close(self, kill: bool = False) -> None:
        """End the workers; the next chunk starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=kill)
            self._pool = None


def _start_trackers() -> None:
    """Start the processes that remove what killed workers leave behind; what they say of it helps nobody."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        multiprocessing.resource_tracker.ensure_running()
        loky_resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


def _outcomes(future: Future[list[Outcome]], chunk: list[ItemType]) -> list[Outcome]:
    """Return the outcomes of a finished chunk."""
    error = future.exception()
    return future.result() if error is None else failed_chunk(chunk, error)


def _work_in_worker(work: Work[ItemType], fail_fast: bool, chunk: Sequence[ItemType]) -> list[Outcome]:
    """Work on a chunk in a worker process."""
    with _working:
        return work_on_chunk(work, chunk, fail_fast)


def _start_worker(parent: int) -> None:
    """Let a worker process end soon after its parent was killed, between two chunks."""

    def watch() -> None:  # pragma: no cover  (no coverage outlives os._exit)
        while os.getppid() == parent:
            time.sleep(ORPHAN_POLL_SECONDS)
        with _working:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
