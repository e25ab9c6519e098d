"""The batch runner on a Dask cluster, by futures of `distributed`.

Its futures are used rather than joblib's Dask backend, which waits for ever when a worker dies. Here a killed worker
costs at most an error for the files that kept killing workers, and a cluster without workers is waited for only so
long.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any, Literal

from segdata.batch.isolation import Isolation
from segdata.batch.signals import StopFlag
from segdata.batch.work import (
    BatchSettings,
    ItemType,
    Outcome,
    Work,
    cut_chunks,
    failed_chunk,
    work_on_chunk,
)
from segdata.errors import SettingsError

Client = Any  # `distributed` is an extra, and only half typed
Future = Any
Task = Callable[[Sequence[ItemType]], list[Outcome]]

CONNECT_SECONDS = 10.0
POLL_SECONDS = 0.5
RESULT_SECONDS = 10.0
WORKERLESS_SECONDS = 300.0  # a cluster behind a queueing system may take minutes to start its first worker


def run_on_dask(
    work: Work[ItemType], items: Sequence[ItemType], settings: BatchSettings, stop: StopFlag
) -> Iterator[Outcome]:
    """Work on the items on the cluster at ``settings.dask``, yielding outcomes as they come."""
    assert settings.dask is not None
    client = _connect(settings.dask)
    task = partial(work_on_chunk, work, fail_fast=settings.fail_fast)
    gather = partial(_gather, client, task, stop)
    try:
        suspects = yield from gather(deque(cut_chunks(items, max(1, sum(client.nthreads().values())))))
        yield from Isolation(gather, stop).try_each(suspects)
    finally:
        client.close(timeout=CONNECT_SECONDS)


def _gather(
    client: Client, task: Task[ItemType], stop: StopFlag, chunks: deque[list[ItemType]]
) -> Generator[Outcome, None, list[ItemType]]:
    """Send all chunks and yield the outcomes of each as it finishes; return the items of those that killed workers."""
    finished: SimpleQueue[Future] = SimpleQueue()
    pending = {client.submit(task, chunk, pure=False): chunk for chunk in chunks}
    suspects: list[ItemType] = []
    patience = WorkerTimeout(client)
    try:
        for future in pending:
            future.add_done_callback(finished.put)
        while pending and stop.signal is None:
            future = _next(finished)
            result = None if future is None else _result(future, pending[future])
            if result == "killed":
                suspects += pending.pop(future)
            elif isinstance(result, list):
                del pending[future]
                yield from result
            else:
                if future is not None:  # lost: it counts as finished until the scheduler has it done again
                    future.add_done_callback(finished.put)
                if trouble := patience.trouble():
                    yield from (_not_tried(item, trouble) for chunk in pending.values() for item in chunk)
                    break
    finally:
        client.cancel(list(pending))
    return suspects


class WorkerTimeout:
    """How long the cluster has been without workers."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._last_seen = time.monotonic()

    def trouble(self) -> str | None:
        """Say why nothing will come any more, or None while there is hope."""
        if self._client.status != "running":
            return "the Dask scheduler is gone"
        now = time.monotonic()
        if self._client.nthreads():
            self._last_seen = now
        if now - self._last_seen > WORKERLESS_SECONDS:
            return f"the Dask cluster has had no worker for {WORKERLESS_SECONDS:.0f} s"
        return None


def _connect(address: str) -> Client:
    """Return a client of the scheduler.

    Raises
    ------
    SettingsError
        If `distributed` is not installed or no scheduler answers.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise SettingsError("--dask: needs the package 'distributed'. Install segdata[dask].") from error
    try:
        return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"--dask {address}: no scheduler answers ({type(error).__name__}). "
            "Expected an address as tcp://host:8786, which `dask scheduler` prints."
        ) from error


def _next(finished: "SimpleQueue[Future]") -> Future | None:
    """Return the next finished future, or None if there is none for a while."""
    try:
        return finished.get(timeout=POLL_SECONDS)
    except Empty:
        return None


def _result(future: Future, chunk: list[ItemType]) -> list[Outcome] | Literal["lost", "killed"]:
    """Return the outcomes of a finished chunk, or what became of it instead.

    "killed": it killed its workers. "lost": its worker died with the outcomes in memory, and the scheduler has it done
    again.
    """
    try:
        outcomes: list[Outcome] = future.result(timeout=RESULT_SECONDS)
    except TimeoutError:
        return "lost"
    except CancelledError:
        return [_not_tried(item, "the Dask scheduler dropped it") for item in chunk]
    except import_module("distributed").KilledWorker:
        return "killed"
    except Exception as error:
        return failed_chunk(chunk, error)
    return outcomes


def _not_tried(item: ItemType, why: str) -> Outcome:
    """Return the outcome of a file that the cluster did not bring back."""
    message = (
        f"{item.key}: {why}. Run the same command again: what is done is kept. Look at the workers' log and memory."
    )
    return Outcome(key=item.key, status="error", message=message)
