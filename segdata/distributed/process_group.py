"""The process group: which rank this process is, and what all ranks agree on.

Free functions serve code that may run inside or outside a group, such as a loss; `DistributedContext` is what a run
holds.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
from joblib import cpu_count
from torch import Tensor, distributed

from segdata.errors import SegdataError, SettingsError
from segdata.text import counted

Value = TypeVar("Value")

RANK_TIMEOUT = 1800.0
"""Seconds that a rank waits for the others by default: an evaluation or a checkpoint on one of them fits in it."""
STORE = "SEGDATA_STORE"
"""Environment variable: the file through which the ranks of one machine meet, without a listening socket."""
_FIRST_PORT, _NUM_PORTS = 20_000, 10_000


_left: list[Any] = []
"""Groups that were left. Freeing one joins its threads while Python's lock is held, and a thread of gloo that is just
then dropping its last tensor waits for that lock: for ever. So they live as long as the process."""


class RankTimeoutError(SegdataError):
    """Another rank did not answer in time, or is gone."""


def rank_and_size() -> tuple[int, int]:
    """Return this process's rank and the number of ranks: (0, 1) where there is no process group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def gather(mine: Value) -> list[Value]:
    """Return what every rank passes in, by rank, on every rank; anything that can be pickled, small and rare."""
    num_ranks = rank_and_size()[1]
    if num_ranks == 1:
        return [mine]
    every: list[Any] = [None] * num_ranks
    with _answered():
        distributed.all_gather_object(every, mine)
    return every


def sum_over_ranks(values: Tensor) -> Tensor:
    """Add tensors of one shape over all ranks, in place; all ranks must call it."""
    if rank_and_size()[1] > 1:
        distributed.all_reduce(values)
    return values


@contextmanager
def _answered() -> Iterator[None]:
    """Turn what a group raises for a rank that does not answer into one line."""
    try:
        yield
    except RuntimeError as error:
        raise_rank_timeout(error)
        raise


def raise_rank_timeout(error: RuntimeError) -> None:
    """Raise `RankTimeoutError` if an error of torch says that another rank did not answer in time."""
    told = str(error)
    if "imed out" in told or "Timeout" in told or "timeout" in told:
        raise RankTimeoutError(
            "another rank did not answer in time (run.rank_timeout). Is one of the processes stopped, or its machine "
            "gone? Continue with --resume."
        ) from error


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
        """Return the values of all ranks, by rank; see `gather`."""
        return gather(value)

    def on_first(self, work: Callable[[], Value]) -> Value | None:
        """Let rank 0 do something while the others wait; return what it returns on rank 0, None on the others.

        Raises
        ------
        SegdataError
            If that fails, on every rank.
        """
        done: Value | None = None
        fault: SegdataError | None = None
        if self.is_first:
            try:
                done = work()
            except SegdataError as error:
                fault = error
        fault = self.gather(fault)[0]
        if fault is not None:
            raise fault
        return done

    def from_first(self, tensors: list[Tensor]) -> None:
        """Overwrite tensors with those of rank 0."""
        if self.num_ranks > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def _reduced(self, values: tuple[float, ...], how: Any) -> list[float]:
        # On the CPU, through gloo: agreeing on a few numbers does not wait for the work queued on the GPU.
        numbers = torch.tensor(values, dtype=torch.float64)
        with _answered():
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
    device: str = "auto", environment: Mapping[str, str] | None = None, *, timeout: float = RANK_TIMEOUT
) -> Iterator[DistributedContext]:
    """Join the other ranks, if a launcher made any, and leave them in the end.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        Where models are to be.
    environment : mapping, optional
        Read in place of the process's own.
    timeout : float
        Seconds that a rank waits for the others.

    Raises
    ------
    SettingsError
        If there is no such device.
    """
    place = launched_as(os.environ if environment is None else environment) or Place(0, 1, 0, 1)
    chosen = _device(device, place)
    world = DistributedContext(place.rank, place.num_ranks, place.local_rank, place.local_ranks, chosen)
    if "OMP_NUM_THREADS" not in os.environ:  # cpu_count knows affinity and CPU quota, which torch does not
        torch.set_num_threads(max(1, min(torch.get_num_threads(), cpu_count() // world.local_ranks)))
    if world.num_ranks == 1:
        yield world
        return
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    limits: dict[str, Any] = {"timeout": timedelta(seconds=timeout)}
    if STORE in os.environ:
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        limits["store"] = distributed.FileStore(f"{os.environ[STORE]}-{attempt}", place.num_ranks)  # type: ignore[attr-defined]
    else:
        limits["init_method"] = "env://" if place.address is None else f"tcp://{place.address}:{place.port}"
    distributed.init_process_group(backend, rank=place.rank, world_size=place.num_ranks, **limits)
    _left.append(distributed.group.WORLD)
    try:
        yield world
    finally:
        distributed.destroy_process_group()


def was_rank() -> bool:
    """Say whether this process was one of several ranks."""
    return bool(_left)


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
    num_devices = torch.cuda.device_count()
    if place.local_ranks > num_devices:
        raise SettingsError(
            f"{place.local_ranks} ranks on this machine, which has {counted(num_devices, 'GPU')}. Start no more ranks "
            "than GPUs, or set run.device to cpu."
        )
    chosen = torch.device("cuda", place.local_rank)
    torch.cuda.set_device(chosen)
    return chosen
