"""Processes: which rank this one is, what all ranks agree on, and how one command starts several of itself."""

import atexit
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, NoReturn, TypeVar
from uuid import uuid4

import torch
from joblib import cpu_count
from torch import Tensor, distributed

from segdata.errors import SegdataError, SettingsError

Result = TypeVar("Result")

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others: an evaluation or a checkpoint on one of them fits in it."""
_FIRST_PORT, _NUM_PORTS = 20_000, 10_000


_left: list[Any] = []
"""Groups that were left. Freeing one joins its threads while Python's lock is held, and a thread of gloo that is just
then dropping its last tensor waits for that lock: for ever. So they live as long as the process."""


@dataclass(frozen=True)
class DistributedContext:
    """A process among the ranks of a run.

    Attributes
    ----------
    rank, num_ranks : int
        Which one, of how many.
    local_rank : int
        Which one on its machine.
    local_ranks : int
        How many there are on its machine.
    device : torch.device
        Where its model is.
    """

    rank: int = 0
    num_ranks: int = 1
    local_rank: int = 0
    local_ranks: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes and talks."""
        return self.rank == 0

    def largest(self, *values: float) -> list[float]:
        """Return each value's maximum over all ranks; all must call it with as many values."""
        return self._reduced(values, distributed.ReduceOp.MAX) if self.num_ranks > 1 else list(values)

    def total(self, *values: float) -> list[float]:
        """Return each value's sum over all ranks; all must call it with as many values."""
        return self._reduced(values, distributed.ReduceOp.SUM) if self.num_ranks > 1 else list(values)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, by rank; anything that can be pickled, meant for what is small and rare."""
        if self.num_ranks == 1:
            return [value]
        values: list[Any] = [None] * self.num_ranks
        distributed.all_gather_object(values, value)
        return values

    def on_first(self, work: Callable[[], object]) -> None:
        """Let rank 0 do something while the others wait.

        Raises
        ------
        SegdataError
            If that fails, on every rank.
        """
        fault: SegdataError | None = None
        if self.is_first:
            try:
                work()
            except SegdataError as error:
                fault = error
        fault = self.gather(fault)[0]
        if fault is not None:
            raise fault

    def from_first(self, tensors: list[Tensor]) -> None:
        """Overwrite tensors with those of rank 0."""
        if self.num_ranks > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def _reduced(self, values: tuple[float, ...], how: Any) -> list[float]:
        # On the CPU, through gloo: agreeing on a few numbers does not wait for the work queued on the GPU.
        numbers = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(numbers, how)
        return list(numbers.tolist())


@dataclass(frozen=True)
class Place:
    """What a launcher says of a process: the fields of `DistributedContext`, and where the ranks meet."""

    rank: int
    num_ranks: int
    local_rank: int
    local_ranks: int
    address: str | None = None
    port: int | None = None


def launched_as(environment: Mapping[str, str]) -> Place | None:
    """Read from the environment which rank a launcher made this process; None if no launcher did.

    Known are ``torchrun`` and all that sets the same variables, and ``srun`` with more than one task.

    Examples
    --------
    >>> launched_as({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"})
    Place(rank=3, num_ranks=4, local_rank=1, local_ranks=2, address=None, port=None)
    >>> launched_as({}) is None
    True
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:
        local_rank = int(environment.get("LOCAL_RANK", 0))
        local_ranks = int(environment.get("LOCAL_WORLD_SIZE", local_rank + 1))
        return Place(int(environment["RANK"]), int(environment["WORLD_SIZE"]), local_rank, local_ranks)
    # A batch script has SLURM_PROCID too; only what srun started is in a step with tasks.
    if "SLURM_STEP_ID" in environment and int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return Place(
            int(environment["SLURM_PROCID"]),
            int(environment["SLURM_STEP_NUM_TASKS"]),
            int(environment["SLURM_LOCALID"]),
            int(re.split(r"[(,]", environment.get("SLURM_STEP_TASKS_PER_NODE", "1"))[0]),
            environment.get("MASTER_ADDR", first_host(environment["SLURM_STEP_NODELIST"])),
            int(environment.get("MASTER_PORT", _FIRST_PORT + int(environment["SLURM_JOB_ID"]) % _NUM_PORTS)),
        )
    return None


def first_host(nodes: str) -> str:
    """Return the first name of a Slurm list of nodes.

    Examples
    --------
    >>> first_host("gpu[007-011,020],cpu1"), first_host("login,gpu1")
    ('gpu007', 'login')
    """
    first = re.match(r"[^\[,]+(\[[^\]]*\])?[^,]*", nodes)
    if first is None:
        raise SettingsError(f"SLURM_STEP_NODELIST: {nodes!r} names no node. Set MASTER_ADDR to the first one.")
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first.group())


@contextmanager
def init_distributed(
    device: str = "auto", environment: Mapping[str, str] | None = None
) -> Iterator[DistributedContext]:
    """Join the other ranks, if a launcher made any, and leave them in the end.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        Where models are to be.
    environment : mapping, optional
        Read in place of the process's own.

    Raises
    ------
    SettingsError
        If there is no such device.
    """
    place = launched_as(os.environ if environment is None else environment) or Place(0, 1, 0, 1)
    chosen = _device(device, place)
    world = DistributedContext(place.rank, place.num_ranks, place.local_rank, place.local_ranks, chosen)
    if world.local_ranks > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cpu_count() // world.local_ranks))
    if world.num_ranks == 1:
        yield world
        return
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    meet = "env://" if place.address is None else f"tcp://{place.address}:{place.port}"
    distributed.init_process_group(backend, meet, TIMEOUT, rank=place.rank, world_size=place.num_ranks)
    _left.append(distributed.group.WORLD)
    try:
        yield world
    finally:
        distributed.destroy_process_group()


def launch(
    work: Callable[..., Result], *arguments: Any, num_processes: int, max_restarts: int = 3
) -> dict[int, Result]:
    """Run a function in several processes of this machine under torch's elastic launcher.

    Where one of them dies, all are ended and started again, with ``TORCHELASTIC_RESTART_COUNT`` above 0. A signal to
    this process goes on to them.

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
    torch.distributed.elastic.multiprocessing.errors.ChildFailedError
        If they died more often than that.
    torch.distributed.elastic.multiprocessing.api.SignalException
        After a signal, when all have ended.
    """
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Else restarted ranks meet in the store of the attempt before, may read each other's old addresses and wait there.
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    wanted: dict[str, Any] = {
        "min_nodes": 1,
        "max_nodes": 1,
        "nproc_per_node": num_processes,
        "run_id": uuid4().hex,
        "rdzv_backend": "c10d",
        "rdzv_endpoint": "localhost:0",
        "max_restarts": max_restarts,
        "start_method": "spawn",
        "signals_to_handle": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
        "shutdown_timeout": 300,  # seconds a worker has to end its step and save
    }
    known = {one.name for one in fields(LaunchConfig)}  # older torch has fewer
    config = LaunchConfig(**{name: value for name, value in wanted.items() if name in known})
    results: dict[int, Result] = elastic_launch(config, _work_as_rank)(work, *arguments)
    return results


def _work_as_rank(work: Callable[..., Result], *arguments: Any) -> Result:
    """Do the work of a process that the launcher started."""
    result = work(*arguments)
    atexit.register(end_process, 0)
    return result


def was_rank() -> bool:
    """Say whether this process was one of several ranks."""
    return bool(_left)


def end_process(exit_code: int) -> NoReturn:
    """End a process that was a rank, at once.

    A thread of gloo that drops its last tensor while Python shuts down would abort the process, and the launcher would
    take it for a failure.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def was_restarted() -> bool:
    """Say whether the elastic launcher started this process again after a worker died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def is_first_on_machine() -> bool:
    """Say whether this process is the first of its launcher's on this machine, or the only one."""
    place = launched_as(os.environ)
    return place is None or place.local_rank == 0


def is_first_process() -> bool:
    """Say whether this process is rank 0 of its launcher, or the only one."""
    place = launched_as(os.environ)
    return place is None or place.rank == 0


def _device(name: str, place: Place) -> torch.device:
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise SettingsError(f"device '{name}': torch finds no GPU. Set run.device to cpu, or check the driver.")
    chosen = torch.device("cuda", place.local_rank % torch.cuda.device_count())
    torch.cuda.set_device(chosen)
    return chosen
