"""Starting several ranks on this machine, and ending them."""

import atexit
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from uuid import uuid4

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from segdata.distributed.process_group import STORE, launched_as
from segdata.errors import SegdataError
from segdata.files import write_atomic

Result = TypeVar("Result")
_FAULT = "fault-"
_SECONDS_FOR_OTHERS = 5.0


def launch(
    work: Callable[..., Result], *arguments: Any, num_processes: int, max_restarts: int = 3
) -> dict[int, Result]:
    """Run a function in several processes of this machine under torch's elastic launcher.

    Where one of them dies, all are ended and started again, with ``TORCHELASTIC_RESTART_COUNT`` above 0. A signal to
    this process is passed on to them. Launcher and ranks meet through files that only this user can open, and talk
    over the loopback interface: torch's own rendezvous listens on all interfaces and unpickles what it is sent.

    Parameters
    ----------
    work : callable
        A function of a module, so that other processes find it.
    *arguments
        Its arguments; picklable.
    num_processes : int
    max_restarts : int
        How often they are started again.

    Returns
    -------
    dict of int to result
        By rank.

    Raises
    ------
    SegdataError
        What the function raised in one of them. That would come again: they are not started again for it, and where the
        others wait for the one that failed, they are ended.
    torch.distributed.elastic.multiprocessing.errors.ChildFailedError
        If they died more often than that.
    torch.distributed.elastic.multiprocessing.api.SignalException
        After a signal, when all have ended.
    """
    # Else restarted ranks meet in the store of the attempt before, may read each other's old addresses and wait there.
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    with tempfile.TemporaryDirectory(prefix="segdata-launch-") as folder, _only_loopback(Path(folder)):
        try:
            results = _launch_in(Path(folder), work, *arguments, num_processes=num_processes, max_restarts=max_restarts)
        except ChildFailedError as error:
            if faults := _faults():
                raise SegdataError(faults[0]) from error
            raise
        if faults := _faults():
            raise SegdataError(faults[0])
        return results


def _launch_in(
    folder: Path, work: Callable[..., Result], *arguments: Any, num_processes: int, max_restarts: int
) -> dict[int, Result]:
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    wanted: dict[str, Any] = {
        "min_nodes": 1,
        "max_nodes": 1,
        "nproc_per_node": num_processes,
        "run_id": uuid4().hex,
        "rdzv_backend": "c10d",
        "rdzv_endpoint": str(folder / "rendezvous"),
        "rdzv_configs": {"store_type": "file"},
        "max_restarts": max_restarts,
        "start_method": "spawn",
        "signals_to_handle": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
        "shutdown_timeout": 300,  # seconds a worker has to end its step and save
    }
    known = {one.name for one in fields(LaunchConfig)}  # older torch has fewer
    config = LaunchConfig(**{name: value for name, value in wanted.items() if name in known})
    results: dict[int, Result] = elastic_launch(config, _work_as_rank)(work, *arguments)
    return results


def _work_as_rank(work: Callable[..., Result], *arguments: Any) -> Result | None:
    """Do the work of a process that the launcher started; nothing after a fault, which the launching process raises."""
    result: Result | None = None
    try:
        if not _faults():  # else this is the attempt after one
            result = work(*arguments)
    except SegdataError as error:
        place = launched_as(os.environ)
        assert place is not None, "the launcher has started this process"
        write_atomic(Path(f"{os.environ[STORE]}-{_FAULT}{place.rank}"), str(error).encode())
        # Ranks that have the same fault come here too; one that waits for this rank is to be ended by the launcher.
        end = time.monotonic() + _SECONDS_FOR_OTHERS
        while len(_faults()) < place.num_ranks:
            if time.monotonic() > end:
                end_process(1)
            time.sleep(0.05)
    atexit.register(end_process, 0)  # not earlier: a process that any other exception ends is to fail
    return result


def _faults() -> list[str]:
    """Return what ranks have failed of, in their order; this attempt's or an earlier one's."""
    store = Path(os.environ[STORE])
    return [path.read_text(errors="replace") for path in sorted(store.parent.glob(f"{store.name}-{_FAULT}*"))]


@contextmanager
def _only_loopback(folder: Path) -> Iterator[None]:
    """Let processes started inside meet through files in a folder, and open sockets on the loopback interface alone."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    wanted = {STORE: str(folder / "ranks"), "GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def end_process(exit_code: int) -> NoReturn:
    """End a process that was a rank, at once.

    A thread of gloo that drops its last tensor while Python shuts down would abort the process, and the launcher would
    take it for a failure.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
