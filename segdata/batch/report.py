"""The report beside the outputs of a batch command: what made them, and what became of each file.

The report is an aggregate of facts that each output carries itself, so it is the same to the byte whether the run was
straight, interrupted, or done in shards: it holds no times, durations or host names. How a tool uses it::

    report = destination / "precompute-cpp.json"
    mine = take_shard(items, batch.shard)
    with open_run(report, tool="precompute-cpp", source=source, settings=settings, batch=batch, targets=...) as run:
        outcomes = run_batch(work, mine, batch)
        report, faults = run.conclude(outcomes, totals, mine)
        return [*outcomes, *faults], report

Fields: ``tool``; ``segdata``, the version; ``format``, of the report; ``state``, one of "running" (the run has not come
to its end), "complete" and "faulty" (some files have errors); ``source``, the folder read; ``settings``, what
determines the outputs; ``totals``; ``files``, by key: ``status`` "ok" with the facts of the file, or "error" with the
``message``. By custom the facts name ``source`` and ``target`` as paths relative to SRC and DST, which is what
`segdata verify` goes by.

While a run works, the report says "running" with its settings, so that a run with other settings is refused at its
start. It stays "running" where --fail-fast left files untried; these keep the entries of the report before. A shard
writes ``<report>.shard-I-of-N.json`` beside it; the later run without --shard finds all outputs there, writes the whole
report and removes the shards'.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from segdata import __version__
from segdata.batch.run import BatchSettings, Outcome
from segdata.errors import SettingsError, StoreError
from segdata.files import explain_os_error, only_run_in, read_regular, sweep_temporaries, write_atomic

REPORT_FORMAT = 1
MOST_DIFFERENCES = 3
LONGEST_VALUE = 40


class PlacedItem(Protocol):
    """One piece of work, and what it reads and writes, as paths below SRC and DST."""

    @property
    def key(self) -> str:
        """Name the item in the report."""
        ...

    @property
    def source(self) -> str:
        """Say what it is made from."""
        ...

    @property
    def target(self) -> str:
        """Say where it goes."""
        ...


@dataclass(frozen=True)
class Run:
    """One run of a batch command over a destination; see `open_run`."""

    report: Path
    head: dict[str, Any]
    batch: BatchSettings

    def finish(
        self, outcomes: Sequence[Outcome], totals: Mapping[str, Any], items: Sequence[PlacedItem] = ()
    ) -> dict[str, Any]:
        """Write the report of the run, or of its shard, and return it; a dry run writes nothing.

        Parameters
        ----------
        outcomes : sequence of Outcome
            What `run_batch` returned.
        totals : mapping
            JSON-able sums over the files, the same however the run came about.
        items : sequence of PlacedItem
            All that the run, or its shard, was to do. Where some were not tried, the run has not come to its end;
            without it, all were.
        """
        faulty = any(outcome.status == "error" for outcome in outcomes)
        tried = {outcome.key: _describe(outcome) for outcome in outcomes}
        untried = {item.key for item in items} - tried.keys()
        places = {item.key: {"source": item.source, "target": item.target} for item in items}
        whole = self.head | {
            "state": "running" if untried else "faulty" if faulty else "complete",
            "totals": dict(totals),
            "files": self._entries_before(untried) | {key: places.get(key, {}) | tried[key] for key in tried},
        }
        if not self.batch.dry_run:
            write_atomic(shard_report(self.report, self.batch.shard), encode_report(whole), durable=True)
            if self.batch.shard[1] == 1 and not untried:
                for leftover in find_shard_reports(self.report):
                    leftover.unlink(missing_ok=True)
        return whole

    def conclude(
        self, outcomes: Sequence[Outcome], totals: Mapping[str, Any], items: Sequence[PlacedItem] = ()
    ) -> tuple[dict[str, Any], list[Outcome]]:
        """Do as `finish` does, but let a report that cannot be written be one more fault.

        That is a full disk, as a rule, and then the faults of the files are to be told as well.

        Returns
        -------
        report : dict
            As written, or its head and totals where it cannot be.
        faults : list of Outcome
            The report's own error, if there is one.
        """
        try:
            return self.finish(outcomes, totals, items), []
        except StoreError as error:
            fault = Outcome(key=self.report.name, status="error", message=str(error))
            return {**self.head, "state": "faulty", "totals": dict(totals)}, [fault]

    def _entries_before(self, keys: Set[str]) -> dict[str, Any]:
        """Return what the report on the disk says of files that this run did not try, if it is of the same settings."""
        if not keys or self.batch.dry_run:
            return {}
        before = read_report(shard_report(self.report, self.batch.shard))
        if before is None or before["settings"] != self.head["settings"]:
            return {}
        return {key: entry for key, entry in before.get("files", {}).items() if key in keys}


@contextmanager
def open_run(
    report: Path,
    *,
    tool: str,
    source: Path,
    settings: Mapping[str, Any],
    batch: BatchSettings,
    targets: Iterable[Path],
) -> Iterator[Run]:
    """Begin a run: refuse other settings, hold the destination, sweep temporaries, write that it is running.

    Parameters
    ----------
    report : Path
        Where the report goes; its folder is the destination.
    tool : str
        The command's name.
    source : Path
        The folder that is read, absolute.
    settings : mapping
        JSON-able; all that determines the outputs, with digests of what was read from files (a mapping, a table).
    batch : BatchSettings
        How it runs.
    targets : iterable of Path
        The files that this run, or shard, may write; leftover temporaries of exactly these are removed before and
        after.

    Raises
    ------
    SettingsError
        If the outputs there were made with other settings and `batch.overwrite` is not set, or another run is
        writing there.
    StoreError
        If the destination cannot be written, or the report there is damaged.
    """
    head = {
        "tool": tool,
        "segdata": __version__,
        "format": REPORT_FORMAT,
        "source": str(source.absolute()),
        "settings": json.loads(json.dumps(settings)),  # as it reads back: tuples are lists
    }
    if batch.dry_run:
        _refuse_other_settings(report, head, batch)
        yield Run(report, head, batch)
        return
    targets = [*targets, report, shard_report(report, batch.shard)]
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be made", report.parent)) from error
    with only_run_in(report.parent, shared=batch.shard[1] > 1):
        before = _refuse_other_settings(report, head, batch)
        sweep_temporaries(targets)
        _write_running(report, head, before)
        try:
            yield Run(report, head, batch)
        finally:
            sweep_temporaries(targets)


def read_report(path: Path) -> dict[str, Any] | None:
    """Read a report; None where there is no such file.

    Raises
    ------
    StoreError
        If it cannot be read or is no report.
    """
    try:
        report = json.loads(read_regular(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be read", path)) from error
    except ValueError as error:
        raise StoreError(f"{path}: is damaged ({error}). Remove it and run the command that wrote it again.") from error
    if not isinstance(report, dict) or not {"tool", "format", "state", "settings"} <= report.keys():
        raise StoreError(f"{path}: is no report of a segdata command. Move it away, or choose another DST.")
    if report["format"] != REPORT_FORMAT:
        raise StoreError(
            f"{path}: has format {report['format']}, expected {REPORT_FORMAT}: another version of segdata wrote it "
            f"({report.get('segdata')}). Use that version, or choose another DST."
        )
    return report


def encode_report(report: Mapping[str, Any]) -> bytes:
    """Return a report as JSON in ASCII, keys sorted and one line per file: easy to read, search and compare."""
    fields = [f"{_json(key)}: {_encode_field(value)}" for key, value in sorted(report.items())]
    return ("{\n" + ",\n".join(fields) + "\n}\n").encode("ascii")


def describe_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Name the settings in which two runs differ, as "encoding was 'trainIds', is now 'labelIds'"; None if in none.

    Examples
    --------
    >>> describe_difference({"scales": [2, 4], "table": {"name": "a"}}, {"scales": [2], "table": {"name": "a"}})
    'scales was [2, 4], is now [2]'
    """
    old, new = _flatten(before), _flatten(now)
    different = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if not different:
        return None
    told = [f"{name} was {_short(old.get(name))}, is now {_short(new.get(name))}" for name in different]
    rest = len(told) - MOST_DIFFERENCES
    return "; ".join(told[:MOST_DIFFERENCES]) + (f"; and {rest} more" if rest > 0 else "")


def shard_report(report: Path, shard: tuple[int, int]) -> Path:
    """Return where the report of a shard goes: the report itself for 1/1."""
    part, parts = shard
    return report if parts == 1 else report.with_name(f"{report.stem}.shard-{part}-of-{parts}.json")


def find_shard_reports(report: Path) -> list[Path]:
    """Return the shards' reports beside a report."""
    prefix = f"{report.stem}.shard-"
    return sorted(path for path in report.parent.iterdir() if path.name.startswith(prefix) and path.suffix == ".json")


def _refuse_other_settings(report: Path, head: Mapping[str, Any], batch: BatchSettings) -> dict[str, Any] | None:
    """Return the report that is there, if its settings are those of `head`."""
    if batch.overwrite:
        return None
    before = read_report(report)
    if before is None:
        return None
    difference = describe_difference(
        {"tool": before["tool"], **before["settings"]}, {"tool": head["tool"], **head["settings"]}
    )
    if difference:
        raise SettingsError(
            f"{report.parent}: holds output of other settings: {difference}. Choose another DST, or pass --overwrite."
        )
    return before


def _write_running(report: Path, head: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
    """Say in the report that a run is under way, keeping what an earlier run said of its files."""
    running = encode_report({"totals": {}, "files": {}} | dict(before or {}) | dict(head) | {"state": "running"})
    if before is None or encode_report(before) != running:
        write_atomic(report, running, durable=True)


def _describe(outcome: Outcome) -> dict[str, Any]:
    """Return what the report says of a file; whether it was done now or before makes no difference."""
    if outcome.status == "error":
        return outcome.facts | {"status": "error", "message": outcome.message}
    return outcome.facts | {"status": "todo" if outcome.status == "todo" else "ok"}


def _encode_field(value: Any) -> str:
    """Encode a field of the report: a mapping with one entry per line, all else on one line."""
    if not isinstance(value, Mapping) or not value:
        return _json(value)
    return "{\n" + ",\n".join(f"  {_json(key)}: {_json(entry)}" for key, entry in sorted(value.items())) + "\n}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one mapping with dotted names."""
    flat = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def _short(value: Any) -> str:
    """Return a value as a message can hold it."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
