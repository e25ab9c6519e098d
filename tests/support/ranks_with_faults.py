"""What ranks do in tests of their launcher: functions of a module, as other processes must find them."""

import os
import secrets
from pathlib import Path

from torch import distributed

from segdata.distributed.process_group import init_distributed
from segdata.errors import SegdataError


def fails_on_rank_one(folder: str) -> None:
    """Fail on one rank, for which the other waits."""
    _note_beginning(folder)
    with init_distributed("cpu", timeout=3600) as world:
        if world.rank == 1:
            raise SegdataError("only rank 1 is full")
        distributed.barrier()


def fails_everywhere(folder: str) -> None:
    """Fail on every rank, each with words of its own."""
    _note_beginning(folder)
    with init_distributed("cpu", timeout=60) as world:
        raise SegdataError(f"rank {world.rank} has it")


def crashes_on_rank_one(folder: str) -> None:
    """End one rank by an exception that nobody foresaw."""
    _note_beginning(folder)
    if os.environ["RANK"] == "1":
        raise ZeroDivisionError("nobody foresaw this")


def _note_beginning(folder: str) -> None:
    Path(folder, f"begun-{os.getpid()}-{secrets.token_hex(4)}").touch()
