"""Which shards of a run have ended, and what became of their files.

A shard says so in its report, which an earlier submission of the same array may have left. So beside the entries it
holds the state of every file that they were made from, and is believed only while these files are as they were. Where
a report is missing or of other files, the outputs may still tell all: each holds the digest of its source.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from segdata.batch.report import outcome_of, read_report, shard_report
from segdata.batch.runners import run_batch, split_shards
from segdata.batch.work import BatchSettings, Outcome
from segdata.errors import StoreError

if TYPE_CHECKING:
    from segdata.batch.run import Job, PlacedItem, Plan

ItemType = TypeVar("ItemType", bound="PlacedItem")
FileStates = dict[str, list[list[int] | None]]
"""By key of the item: size and time of the last change of each file it is made from, None where there is none."""

MOST_NAMED = 8


@dataclass(frozen=True)
class Waiting:
    """Which shards have to run before there can be a sum.

    Attributes
    ----------
    not_ended, changed : tuple of int
        Those without a report of their end, and those that have one of files that have changed since.
    """

    not_ended: tuple[int, ...] = ()
    changed: tuple[int, ...] = ()

    @property
    def parts(self) -> set[int]:
        """All of them."""
        return {*self.not_ended, *self.changed}

    def describe(self, num_parts: int) -> str:
        """Name them in sentences that follow another one, each after a space.

        Examples
        --------
        >>> Waiting((2,), (1, 4)).describe(4)
        ' Not ended: 2/4. To run again, as their files have changed since: 1/4, 4/4.'
        """
        told = (("Not ended", self.not_ended), ("To run again, as their files have changed since", self.changed))
        return "".join(f" {what}: {_named(parts, num_parts)}." for what, parts in told if parts)


def states_of(plan: "Plan[ItemType]", items: Iterable[ItemType]) -> FileStates:
    """Return the state of all files that items are made from, as they are now."""
    return {item.key: [_state_of(path) for path in plan.sources(item)] for item in items}


@dataclass
class ShardResults(Generic[ItemType]):
    """What is known of all shards of a run.

    Attributes
    ----------
    plan : Plan
    batch : BatchSettings
        Of this shard.
    settings : dict
        Of the run, as its reports hold them.
    looked_at : set of int
        The shards whose outputs were looked at.
    """

    plan: "Plan[ItemType]"
    batch: BatchSettings
    settings: Mapping[str, Any]
    looked_at: set[int] = field(default_factory=set)
    _from_outputs: dict[int, tuple[FileStates, list[Outcome]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = self.batch.shard[1]
        self._items = dict(enumerate(split_shards(self.plan.items, parts), start=1))

    def gather(self) -> tuple[list[Outcome], Waiting]:
        """Return the outcomes of all items, sorted by key, if no shard is waited for.

        Raises
        ------
        StoreError
            If a report is damaged.
        """
        found = {part: self._told_by(part) for part in self._items}
        not_ended = tuple(part for part, told in found.items() if not told)
        if not_ended:  # the states of the files, which may be many, do not matter yet
            return [], Waiting(not_ended)
        now = {part: states_of(self.plan, items) for part, items in self._items.items()}
        fresh = {part: [outcomes for states, outcomes in told if states == now[part]] for part, told in found.items()}
        changed = tuple(part for part, told in fresh.items() if not told)
        if changed:
            return [], Waiting(changed=changed)
        return sorted((outcome for told in fresh.values() for outcome in told[0]), key=lambda each: each.key), Waiting()

    def look_at_outputs(self, parts: Collection[int]) -> None:
        """Take the outputs of shards for their reports, up to the first that is missing or stale; nothing is made."""
        self.looked_at.update(parts)
        for part in sorted(parts):
            items = self._items[part]
            if not all(os.path.lexists(path) for item in items for path in self.plan.targets(item)):
                return  # the usual case, seen without starting processes
            states = states_of(self.plan, items)
            check = BatchSettings(jobs=self.batch.jobs, dask=self.batch.dask, fail_fast=True)
            outcomes = run_batch(_Match(self.plan.job), items, check)
            if any(outcome.status == "error" for outcome in outcomes):
                return
            self._from_outputs[part] = states, outcomes

    def _told_by(self, part: int) -> list[tuple[Any, list[Outcome]]]:
        """Return what report and outputs of a shard tell, each with the states of the files it was made from."""
        told = [self._from_outputs[part]] if part in self._from_outputs else []
        report = read_report(shard_report(self.plan.report, (part, self.batch.shard[1])))
        if report is None or report["state"] == "running" or report["settings"] != self.settings:
            return told
        entries = report.get("files", {})
        if entries.keys() != {item.key for item in self._items[part]}:
            return [*told, (None, [])]
        outcomes = [outcome_of(key, entry) for key, entry in entries.items()]
        return [*told, (report.get("file_states"), outcomes)]


@dataclass(frozen=True)
class _Match(Generic[ItemType]):
    """The work of looking at the outputs of an item: an error where they are not all there and valid."""

    job: "Job[ItemType]"

    def __call__(self, item: ItemType) -> Outcome:
        facts = self.job.match(item, self.job.read(item))
        if facts is None:
            raise StoreError(f"{item.key}: has no valid output yet.")
        return Outcome(key=item.key, status="kept", facts=self.job.describe(item) | facts)


def _state_of(path: Path) -> list[int] | None:
    """Return the size and the time of the last change of a file, None where there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]


def _named(parts: Sequence[int], num_parts: int) -> str:
    more = f" and {len(parts) - MOST_NAMED} more" if len(parts) > MOST_NAMED else ""
    return ", ".join(f"{part}/{num_parts}" for part in parts[:MOST_NAMED]) + more
