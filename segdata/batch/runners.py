"""One batch runner under all the batch commands: a function, many files, an outcome for each.

The runner knows nothing of labels or targets. It takes a picklable function from an item to an `Outcome`, calls it for
every item here, in processes (`segdata.batch.processes`) or on a Dask cluster (`segdata.batch.dask`), and
promises: a bad file costs its own outcome and no other; a worker that dies costs at most the file that killed it; an
interruption leaves what is done. `dry_run` and `overwrite` are read by the function, not by the runner.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

from segdata.batch.signals import Interrupted, StopFlag, stop_on_signals
from segdata.batch.work import BatchSettings, ItemType, Outcome, Work, work_on
from segdata.logs import progress_bar

__all__ = ["BatchSettings", "Outcome", "run_batch", "split_shards", "stream_batch", "take_shard"]


Runner = Callable[[Work[Any], Sequence[Any], BatchSettings, StopFlag], Iterator[Outcome]]


def run_batch(
    work: Work[ItemType], items: Sequence[ItemType], settings: BatchSettings, *, desc: str = ""
) -> list[Outcome]:
    """Call `work` for every item of the shard and return the outcomes, sorted by key.

    Parameters
    ----------
    work : callable
        Picklable, from an item to an `Outcome`. It may raise: `SegdataError`, `OSError`, `MemoryError` and anything
        unexpected become the outcome "error" of that item.
    items : sequence
        Picklable, keys unique. Paths in them are absolute where Dask workers shall find them.
    settings : BatchSettings
        Where and how to run.
    desc : str
        What the progress bar says.

    Returns
    -------
    list of Outcome
        One per item of the shard; fewer only when `fail_fast` stopped the run.

    Raises
    ------
    Interrupted
        On Ctrl-C or SIGTERM, after the files in hand are finished; a second one does not wait for them.
    SettingsError
        If the Dask cluster cannot be reached.
    """
    return sorted(stream_batch(work, items, settings, desc=desc), key=lambda outcome: outcome.key)


def stream_batch(
    work: Work[ItemType], items: Sequence[ItemType], settings: BatchSettings, *, desc: str = ""
) -> Iterator[Outcome]:
    """Do as `run_batch` does, yielding each outcome when it comes, in no particular order."""
    mine = take_shard(items, settings.shard)
    with (
        stop_on_signals() as stop,
        progress_bar(total=len(mine), unit="files", desc=desc, enabled=settings.progress) as bar,
    ):
        num_done = num_errors = 0
        for outcome in _choose_runner(settings)(work, mine, settings, stop):
            bar.update()
            num_done += 1
            if outcome.status == "error":
                num_errors += 1
                bar.set_postfix_str(f"{num_errors} failed", refresh=False)
            yield outcome
            if outcome.status == "error" and settings.fail_fast:
                return
        if stop.signal is not None and num_done < len(mine):
            raise Interrupted(stop.signal, f"after {num_done} of {len(mine)} files")


def take_shard(items: Sequence[ItemType], shard: tuple[int, int]) -> list[ItemType]:
    """Return the items of one shard: disjoint, complete, and the same whatever other items there are.

    Parameters
    ----------
    items : sequence
        With unique keys.
    shard : (int, int)
        ``(I, N)`` with I from 1 to N; a key belongs to part ``1 + hash(key) mod N``, with BLAKE2b as the hash.
    """
    part, parts = shard
    return split_shards(items, parts)[part - 1]


def split_shards(items: Sequence[ItemType], parts: int) -> list[list[ItemType]]:
    """Return the items of every shard of `parts`, as `take_shard` returns one."""
    assert len({item.key for item in items}) == len(items), "two items of a batch have the same key"
    shards: list[list[ItemType]] = [[] for _ in range(parts)]
    for item in items:
        shards[_hash(item.key) % parts].append(item)
    return shards


def _run_here(
    work: Work[ItemType], items: Sequence[ItemType], _settings: BatchSettings, stop: StopFlag
) -> Iterator[Outcome]:
    """Work on the items in this process."""
    for item in items:
        if stop.signal is not None:
            return
        yield work_on(work, item)


def _choose_runner(settings: BatchSettings) -> Runner:
    """Return the runner that the settings ask for; Dask and joblib are imported only when they are used."""
    if settings.dask is not None:
        from segdata.batch.dask import run_on_dask

        return run_on_dask
    if settings.num_processes > 1:
        from segdata.batch.processes import run_in_processes

        return run_in_processes
    return _run_here


def _hash(key: str) -> int:
    """Return 64 bits that depend on the key alone (Python's own hash differs from run to run)."""
    return int.from_bytes(blake2b(os.fsencode(key), digest_size=8).digest(), "little")
