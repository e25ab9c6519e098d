"""The words of a batch: an item, what becomes of it, how it is run; and how work on one item or chunk is done.

Below the runners, so that they and what starts them (`segdata.batch.runners`) speak of the same things.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from segdata.errors import SegdataError, SettingsError
from segdata.files import explain_os_error


class Item(Protocol):
    """One piece of work, told from the others by its key."""

    @property
    def key(self) -> str:
        """Name the item; unique among the items of a run and the same in every run."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one item.

    Attributes
    ----------
    key : str
        The item's key.
    status : {"done", "kept", "todo", "error"}
        Written; already there and valid; would be written (dry run); not possible, as `message` says.
    message : str, optional
        One line naming the file and how to fix it; for errors.
    facts : dict
        What the report wants to know of it: JSON-able and the same whether the item was done now or kept.
    """

    key: str
    status: Literal["done", "kept", "todo", "error"]
    message: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How a batch command runs; nothing here changes a byte of what it writes.

    Attributes
    ----------
    jobs : int
        Processes; 1 works in this process, -1 takes one per core.
    shard : (int, int)
        ``(I, N)``: only the I-th of N parts of the items, I from 1. A part depends on the keys alone.
    dask : str, optional
        Address of a Dask scheduler to send the work to instead.
    dry_run : bool
        Only say what would be done.
    overwrite : bool
        Make again what is already there, and accept outputs of other settings.
    update : bool
        Make again what was made from other bytes of its source than are there now.
    fail_fast : bool
        Stop at the first error.
    progress : bool
        Show progress on stderr.
    """

    jobs: int = 1
    shard: tuple[int, int] = (1, 1)
    dask: str | None = None
    dry_run: bool = False
    overwrite: bool = False
    update: bool = False
    fail_fast: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        if self.jobs < 1 and self.jobs != -1:
            raise SettingsError(f"--jobs {self.jobs}: expected a number of processes from 1, or -1 for all cores.")
        part, parts = self.shard
        if not 1 <= part <= parts:
            raise SettingsError(f"--shard {part}/{parts}: expected I/N with I from 1 to N, as 1/8 ... 8/8.")
        if self.dask is not None and self.jobs != 1:
            raise SettingsError(f"--dask and --jobs {self.jobs}: the cluster has its own workers. Leave one out.")

    @property
    def num_processes(self) -> int:
        """Processes to use: `jobs`, with -1 as the cores this process may use."""
        if self.jobs == -1:
            import joblib

            return int(joblib.cpu_count())
        return self.jobs


LARGEST_KEPT = 31 << 20  # glibc learns from blocks of up to 32 MiB, its own head included

ItemType = TypeVar("ItemType", bound=Item)
Work = Callable[[ItemType], Outcome]


def work_on(work: Work[ItemType], item: ItemType) -> Outcome:
    """Call `work` for one item and turn what it raises into an outcome of one line."""
    keep_freed_memory()
    try:
        return work(item)
    except SegdataError as error:
        message = str(error)
    except OSError as error:
        message = explain_os_error(error, "cannot be used", None if error.filename is not None else item.key)
    except MemoryError:
        message = f"{item.key}: needs more memory than there is. Run with fewer --jobs, or on a larger machine."
    except Exception as error:
        message = f"{item.key}: {_explain_fault(error)}"
    return Outcome(key=item.key, status="error", message=_one_line(message))


@cache
def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees for the next file, rather than fetch it again each time.

    glibc gives free memory at the end of its heap back to the system once there is more than twice the largest block
    that was ever freed. The buffers of a file are just too small to teach it: each would come back as pages that the
    system must clear, which takes a fifth of the time of a conversion. One large block, freed untouched, does.
    """
    with contextlib.suppress(MemoryError):  # there is too little to keep any
        bytes(LARGEST_KEPT)


def work_on_chunk(work: Work[ItemType], chunk: Sequence[ItemType], fail_fast: bool) -> list[Outcome]:
    """Work on several items one after the other, with `fail_fast` up to the first error."""
    outcomes = []
    for item in chunk:
        outcomes.append(work_on(work, item))
        if fail_fast and outcomes[-1].status == "error":
            break
    return outcomes


def failed_chunk(chunk: Sequence[ItemType], error: BaseException) -> list[Outcome]:
    """Return an error for each item of a chunk whose outcomes did not come back."""
    return [
        Outcome(key=item.key, status="error", message=_one_line(f"{item.key}: {_explain_fault(error)}"))
        for item in chunk
    ]


def cut_chunks(items: Sequence[ItemType], num_workers: int, longest: int = 8) -> list[list[ItemType]]:
    """Cut the items into pieces that are worth sending, yet enough of them to keep all workers busy to the end."""
    size = max(1, min(longest, len(items) // (16 * num_workers)))
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _one_line(message: str) -> str:
    return " ".join(message.split("\n"))


def _explain_fault(error: BaseException) -> str:
    """Describe an exception nobody foresaw in one line; print its traceback if SEGDATA_DEBUG is set."""
    if os.environ.get("SEGDATA_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return (
        f"unforeseen {type(error).__name__}{where}: {error}. This is a fault of segdata; please report it. "
        "SEGDATA_DEBUG=1 prints the traceback."
    )
