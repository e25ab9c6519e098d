"""One run of a batch command over a destination: plan, shard, work, report, exit code.

A command states a `Plan`: its items, what determines their outputs, and a `Job`: how an item's output is made and when
one that is there can be kept. All else is here, once::

    outcomes, report = run_plan(plan, batch)

While a run works, its report says "running" with its settings, so that a run with other settings is refused at its
start. It stays "running" where --fail-fast left files untried; these keep the entries of the report before.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from segdata import __version__
from segdata.batch.artifact import HOW_TO_FIX, StaleError, as_json, describe_difference
from segdata.batch.report import (
    REPORT_FORMAT,
    encode_report,
    entry_of,
    find_shard_reports,
    read_report,
    read_shard_reports,
    shard_report,
)
from segdata.batch.runners import run_batch, take_shard
from segdata.batch.shards import FileStates, ShardResults, Waiting, states_of
from segdata.batch.work import BatchSettings, Outcome
from segdata.errors import SettingsError, StoreError
from segdata.files import explain_os_error, only_run_in, sweep_temporaries, write_atomic
from segdata.logs import logger

SECONDS_TO_WAIT = 60.0
"""How long a shard waits for another one that is summing up."""


class PlacedItem(Protocol):
    """One piece of work, and what it reads and writes, as paths below SRC and DST."""

    @property
    def key(self) -> str:
        """Name the item in the report; unique, and the same in every run."""
        ...

    @property
    def source(self) -> str:
        """Say what it is made from."""
        ...

    @property
    def target(self) -> str:
        """Say where it goes."""
        ...


ItemType = TypeVar("ItemType", bound=PlacedItem)


class Job(ABC, Generic[ItemType]):
    """What a command does with one item; picklable, for other processes and machines."""

    def describe(self, item: ItemType) -> dict[str, Any]:
        """Return what the report says of an item whatever becomes of it."""
        return {"source": item.source, "target": item.target}

    @abstractmethod
    def read(self, item: ItemType) -> Any:
        """Return what the output is made from, as `match` and `make` take it: bytes, as a rule."""

    @abstractmethod
    def match(self, item: ItemType, source: Any) -> dict[str, Any] | None:
        """Return the facts of an output that is there and valid; None where it is to be made.

        Raises
        ------
        StoreError
            If something else is there; `StaleError` if outputs are of other bytes of their source and nothing else is
            there, so that --update may replace them all.
        """

    @abstractmethod
    def make(self, item: ItemType, source: Any) -> dict[str, Any]:
        """Make and write the output, and return its facts."""


@dataclass(frozen=True, kw_only=True)
class Plan(ABC, Generic[ItemType]):
    """What a run does, from where to where.

    Attributes
    ----------
    tool : str
        The command's name, which is also that of the report.
    source : Path
        The folder that is read, absolute.
    destination : Path
        The folder of the report, absolute.
    items : sequence of PlacedItem
        All that there is to do, whatever the shard.
    """

    tool: str
    source: Path
    destination: Path
    items: Sequence[ItemType] = field(repr=False)

    @property
    def report(self) -> Path:
        """Where the report goes."""
        return self.destination / f"{self.tool}.json"

    @property
    def product(self) -> Path:
        """What the last shard to end writes, for the line that says that it is not there yet; the report."""
        return self.report

    @property
    def totals_of_plan(self) -> Mapping[str, Any]:
        """Return the part of the totals that follows from the plan alone, whatever becomes of its items; nothing."""
        return {}

    @property
    @abstractmethod
    def recorded(self) -> Mapping[str, Any]:
        """All that determines the outputs, JSON-able, with digests of what was read from files (a mapping, a table)."""

    @property
    @abstractmethod
    def job(self) -> Job[ItemType]:
        """What is done with each item."""

    def sources(self, item: ItemType) -> Sequence[Path]:
        """Return the files that decide the outcome of an item; `item.source` below `source`."""
        return [self.source / item.source]

    @abstractmethod
    def targets(self, item: ItemType) -> Sequence[Path]:
        """Return the files that an item may write; leftover temporaries of exactly these are removed."""

    @abstractmethod
    def totals(self, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
        """Return sums over the files, JSON-able, the same however the run came about."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes
    ----------
    outcomes : list of Outcome
        One per item of the shard that was tried, and one for the report if it cannot be written.
    report : dict
        As written; of the shard alone where there are several.
    all_outcomes : list of Outcome or None
        Those of every item of the plan, where this run, or the last of its shards, brought it to its end.
    """

    outcomes: list[Outcome]
    report: dict[str, Any]
    all_outcomes: list[Outcome] | None = None


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return what a command ends with: 1 if a file has an error, else 0."""
    return int(any(outcome.status == "error" for outcome in outcomes))


def run_plan(
    plan: Plan[ItemType],
    batch: BatchSettings,
    *,
    redo: bool | None = None,
    finish: Callable[[list[Outcome]], None] | None = None,
    desc: str = "",
) -> RunResult:
    """Do what is planned and write the report.

    Parameters
    ----------
    plan : Plan
    batch : BatchSettings
        How it runs.
    redo : bool, optional
        Make outputs again that are there and valid; `batch.overwrite` if not given.
    finish : callable, optional
        Called with the outcomes of all items when the last one is tried, while no other run can work there.
    desc : str
        What the progress bar says; the command's name if not given.

    Raises
    ------
    SettingsError
        If the outputs there were made with other settings and `batch.overwrite` is not set, or another run is
        writing there.
    StoreError
        If the destination cannot be written, or the report there is damaged.
    """
    mine = take_shard(plan.items, batch.shard)
    redo = batch.overwrite if redo is None else redo
    work = _ItemWork(plan.job, dry_run=batch.dry_run, redo=redo, update=batch.update)
    run = _Run(plan, mine, batch)
    with run.hold():
        outcomes = run_batch(work, plan.items, batch, desc=desc or plan.tool)
        report, faults = run.conclude(outcomes)
        is_whole = batch.shard[1] == 1 and len(outcomes) == len(plan.items)
        if is_whole and finish is not None and not batch.dry_run:
            finish(outcomes)
    everything = outcomes if is_whole else run.sum_up_shards(finish)
    return RunResult([*outcomes, *faults], report, everything)


@dataclass(frozen=True)
class _ItemWork(Generic[ItemType]):
    """The work of a run on one item."""

    job: Job[ItemType]
    dry_run: bool
    redo: bool
    update: bool

    def __call__(self, item: ItemType) -> Outcome:
        source = self.job.read(item)
        facts = None if self.redo else self._match(item, source)
        status: Literal["kept", "todo", "done"] = "kept"
        if facts is None:
            status = "todo" if self.dry_run else "done"
            facts = {} if self.dry_run else self.job.make(item, source)
        return Outcome(key=item.key, status=status, facts=self.job.describe(item) | facts)

    def _match(self, item: ItemType, source: Any) -> dict[str, Any] | None:
        try:
            return self.job.match(item, source)
        except StaleError:
            if not self.update:
                raise
            return None


class _Run(Generic[ItemType]):
    """The report of a run over its time."""

    def __init__(self, plan: Plan[ItemType], mine: Sequence[ItemType], batch: BatchSettings) -> None:
        self.plan, self.mine, self.batch = plan, mine, batch
        self.report = shard_report(plan.report, batch.shard)
        self.file_states: FileStates = {}
        self.head: dict[str, Any] = {
            "tool": plan.tool,
            "segdata": __version__,
            "format": REPORT_FORMAT,
            "source": str(plan.source.absolute()),
            "settings": as_json(plan.recorded),
        }

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Refuse other settings, hold the destination, sweep temporaries, write that the run is under way."""
        folder = self.report.parent
        if self.batch.dry_run:
            self._refuse_other_settings()
            yield
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(explain_os_error(error, "cannot be made", folder)) from error
        # A shard sweeps what belongs to it alone: others write beside it.
        targets = [*(path for item in self.mine for path in self.plan.targets(item)), self.report]
        with only_run_in(folder, shared=self._is_shard, patience=SECONDS_TO_WAIT if self._is_shard else 0):
            before = self._refuse_other_settings()
            sweep_temporaries(targets)
            self._write_running(before)
            if self._is_shard:  # before a file is read: what changes later is seen to have changed
                self.file_states = states_of(self.plan, self.mine)
            try:
                yield
            finally:
                sweep_temporaries(targets)

    def conclude(self, outcomes: Sequence[Outcome]) -> tuple[dict[str, Any], list[Outcome]]:
        """Write the report of the run, or of its shard; a dry run writes nothing.

        Returns
        -------
        report : dict
            As written, or its head and totals where it cannot be.
        faults : list of Outcome
            The report's own error, if there is one: a full disk, as a rule, and the faults of the files are to be told
            as well.
        """
        totals = dict(self.plan.totals(outcomes))
        whole = self._whole(outcomes, totals, self.mine, keep_facts=self._is_shard)
        if self._is_shard and not self.batch.dry_run:
            whole["file_states"] = self.file_states
        if not self.batch.dry_run:
            try:
                write_atomic(self.report, encode_report(whole), durable=True)
                if not self._is_shard and whole["state"] != "running":
                    _remove(find_shard_reports(self.plan.report))
            except StoreError as error:
                fault = Outcome(key=self.report.name, status="error", message=str(error))
                return {**self.head, "state": "faulty", "totals": totals}, [fault]
        return whole, []

    def sum_up_shards(self, finish: Callable[[list[Outcome]], None] | None) -> list[Outcome] | None:
        """Write the whole report if this was the last shard to end; return the outcomes of all items then.

        Whoever ends last finds no other shard holding the folder, and all their reports written. Where a report is
        missing, or of files that have changed since, the outputs of that shard are looked at.
        """
        if not self._is_shard or self.batch.dry_run:
            return None
        shards = ShardResults(self.plan, self.batch, self.head["settings"])
        folder, waiting = self.report.parent, Waiting()
        try:
            with only_run_in(folder):
                outcomes, waiting = self._sum_up_held(shards, finish)
            while waiting.parts - shards.looked_at:
                # It may take minutes: others may begin meanwhile, and those that end leave the sum to this one.
                with only_run_in(folder, shared=True, patience=SECONDS_TO_WAIT):
                    shards.look_at_outputs(waiting.parts)
                with only_run_in(folder):
                    outcomes, waiting = self._sum_up_held(shards, finish)
        except SettingsError:  # another shard is at work, and sums up when it ends
            outcomes, waiting = None, Waiting()
        except FileNotFoundError:  # another shard has summed up, and removed the folder of an index's parts
            return None
        else:
            if not waiting.parts:
                return outcomes
        if self.batch.progress:
            told = waiting.describe(self.batch.shard[1])
            logger.info(f"{self.plan.product}: not written yet. The last shard to end writes it.{told}")
        return None

    def _sum_up_held(
        self, shards: ShardResults[ItemType], finish: Callable[[list[Outcome]], None] | None
    ) -> tuple[list[Outcome] | None, Waiting]:
        """Return the outcomes of all items if this shard sums up, and else which shards are waited for."""
        if not self.report.exists():  # another shard has summed up since this one ended
            return None, Waiting()
        outcomes, waiting = shards.gather()
        if not waiting.parts:
            whole = self._whole(outcomes, self.plan.totals(outcomes), self.plan.items, keep_facts=False)
            write_atomic(self.plan.report, encode_report(whole), durable=True)
            _remove(find_shard_reports(self.plan.report))
            if finish is not None:
                finish(outcomes)
            return outcomes, waiting
        if finish is None and not waiting.changed and self._is_told_already():
            _remove(find_shard_reports(self.plan.report))
            return None, Waiting()
        return None, waiting

    def _is_told_already(self) -> bool:
        """Say whether the whole report that is there says all that the shards' do, none of which has an error.

        As where another shard summed up with what an earlier submission left, and nothing had changed since.
        """
        whole = read_report(self.plan.report)
        if whole is None or whole["state"] == "running" or whole["settings"] != self.head["settings"]:
            return False
        entries = whole.get("files", {})
        told = {key: entry for key, entry in entries.items() if entry["status"] == "ok"}
        return (
            entries.keys() == {item.key for item in self.plan.items}
            and as_json(self.plan.totals_of_plan).items() <= whole.get("totals", {}).items()
            and all(
                shard["state"] == "complete"
                and all(_without_pixels(entry) == told.get(key) for key, entry in shard.get("files", {}).items())
                for shard in read_shard_reports(find_shard_reports(self.plan.report))
            )
        )

    def _whole(
        self,
        outcomes: Sequence[Outcome],
        totals: Mapping[str, Any],
        items: Sequence[ItemType],
        *,
        keep_facts: bool,
    ) -> dict[str, Any]:
        """Return the report of these outcomes; the pixels of each class stay in the outputs, the totals and shards."""
        places = {item.key: {"source": item.source, "target": item.target} for item in items}
        shorten = dict if keep_facts else _without_pixels
        tried = {outcome.key: places.get(outcome.key, {}) | shorten(entry_of(outcome)) for outcome in outcomes}
        untried = places.keys() - tried.keys()
        return self.head | {
            "state": "running" if untried else "faulty" if exit_code(outcomes) else "complete",
            "totals": dict(totals),
            "files": self._entries_before(untried) | tried,
        }

    @property
    def _is_shard(self) -> bool:
        return self.batch.shard[1] > 1

    def _entries_before(self, keys: Set[str]) -> dict[str, Any]:
        """Return what the report on the disk says of files that this run did not try, if it is of the same settings."""
        if not keys or self.batch.dry_run:
            return {}
        before = read_report(self.report)
        if before is None or before["settings"] != self.head["settings"]:
            return {}
        return {key: entry for key, entry in before.get("files", {}).items() if key in keys}

    def _refuse_other_settings(self) -> dict[str, Any] | None:
        """Return the report of this run, or shard, that is there; refuse those of other settings, or remove them."""
        reports = [self.plan.report]
        if self._is_shard and self.plan.report.parent.is_dir():
            reports += find_shard_reports(self.plan.report)
        for path in reports:
            try:
                before = read_report(path)
            except StoreError:
                if not self.batch.overwrite:
                    raise
                before = None
            difference = before and not _made_nothing(before) and self._difference(before)
            if not difference:
                continue
            if not self.batch.overwrite:
                raise SettingsError(f"{self.report.parent}: holds output of other settings: {difference}. {HOW_TO_FIX}")
            if self._is_shard and not self.batch.dry_run:
                path.unlink(missing_ok=True)  # no later shard is to meet it
        before = None if self.batch.overwrite else read_report(self.report)
        return None if before is None or self._difference(before) else before

    def _difference(self, before: Mapping[str, Any]) -> str | None:
        return describe_difference(
            {"tool": before["tool"], **before["settings"]}, {"tool": self.head["tool"], **self.head["settings"]}
        )

    def _write_running(self, before: Mapping[str, Any] | None) -> None:
        """Say in the report that a run is under way, keeping what an earlier run said of its files."""
        running = encode_report({"totals": {}, "files": {}, **(before or {}), **self.head, "state": "running"})
        if before is None or encode_report(before) != running:
            write_atomic(self.report, running, durable=True)


def _made_nothing(report: Mapping[str, Any]) -> bool:
    """Say whether a run ended with an error of every file: then nothing there is of its settings."""
    files = report.get("files", {})
    return report["state"] != "running" and bool(files) and all(each["status"] == "error" for each in files.values())


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _without_pixels(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the pixels of each class to the output and the totals; the report keeps one short line per file."""
    return {name: fact for name, fact in entry.items() if name != "pixels"}
