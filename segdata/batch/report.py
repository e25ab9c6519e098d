"""The report beside the outputs of a batch command: what made them, and what became of each file.

The report is an aggregate of facts that each output carries itself, so it is the same to the byte whether the run was
straight, interrupted, or done in shards: it holds no times, durations or host names. Fields: ``tool``; ``segdata``, the
version; ``format``, of the report; ``state``, one of "running" (some files were not tried yet), "complete" and "faulty"
(some files have errors); ``source``, the folder read; ``settings``, what determines the outputs; ``totals``; ``files``,
by key: ``status`` "ok" with the facts of the file, or "error" with the ``message``. By custom the facts name ``source``
and ``target`` as paths relative to SRC and DST, which is what `segdata verify` goes by.

A shard writes ``<report>.shard-I-of-N.json`` beside the place of the whole report. Its entries also hold the facts that
only the totals need, so that the last shard to end can write the whole report and remove the shards'; and
``file_states`` says by key which size and time of change the files had that an entry was made from (see
`segdata.batch.shards`).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from segdata.batch.work import Outcome
from segdata.errors import StoreError
from segdata.files import explain_os_error, read_regular

REPORT_FORMAT = 1
STATES = ("running", "complete", "faulty")


def read_report(path: Path) -> dict[str, Any] | None:
    """Read a report; None where there is no such file.

    Raises
    ------
    StoreError
        If it cannot be read, or is not a report.
    """
    try:
        report = json.loads(read_regular(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be read", path)) from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: is damaged ({error}). Remove it and run the command that wrote it again.") from error
    if not isinstance(report, dict) or not {"tool", "format", "state", "settings"} <= report.keys():
        raise StoreError(f"{path}: is not a report of a segdata command. Move it away, or choose another DST.")
    if report["format"] != REPORT_FORMAT:
        raise StoreError(
            f"{path}: has format {report['format']}, expected {REPORT_FORMAT}: another version of segdata wrote it "
            f"({report.get('segdata')}). Use that version, or choose another DST."
        )
    fault = _fault(report)
    if fault is not None:
        raise StoreError(f"{path}: is damaged ({fault}). Remove it and run the command that wrote it again.")
    return report


@contextmanager
def refuse_missing_fields(path: Path) -> Iterator[None]:
    """Say that a report is damaged where what is made of it in the block lacks a field.

    Raises
    ------
    StoreError
    """
    try:
        yield
    except KeyError as error:
        raise StoreError(
            f"{path}: is damaged (it lacks {error}). Remove it and run the command that wrote it again."
        ) from error


def encode_report(report: Mapping[str, Any]) -> bytes:
    """Return a report as JSON in ASCII, keys sorted and one line per file: easy to read, search and compare."""
    fields = [f"{_json(key)}: {_encode_field(value)}" for key, value in sorted(report.items())]
    return ("{\n" + ",\n".join(fields) + "\n}\n").encode("ascii")


def entry_of(outcome: Outcome) -> dict[str, Any]:
    """Return what a report says of a file; whether it was done now or before makes no difference."""
    if outcome.status == "error":
        return outcome.facts | {"status": "error", "message": outcome.message}
    return outcome.facts | {"status": "todo" if outcome.status == "todo" else "ok"}


def outcome_of(key: str, entry: Mapping[str, Any]) -> Outcome:
    """Return the outcome that a report's entry was made from."""
    facts = {name: fact for name, fact in entry.items() if name not in ("status", "message")}
    if entry["status"] == "error":
        return Outcome(key=key, status="error", message=entry["message"], facts=facts)
    return Outcome(key=key, status="done", facts=facts)


def shard_report(report: Path, shard: tuple[int, int]) -> Path:
    """Return where the report of a shard goes: the report itself for 1/1."""
    part, parts = shard
    return report if parts == 1 else report.with_name(f"{report.stem}.shard-{part}-of-{parts}.json")


def find_shard_reports(report: Path) -> list[Path]:
    """Return the shards' reports beside the place of a report."""
    name = re.compile(re.escape(report.stem) + r"\.shard-\d+-of-\d+\.json")
    return sorted(path for path in report.parent.iterdir() if name.fullmatch(path.name))


def read_shard_reports(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Read reports of shards, leaving out those that another shard has summed up and removed meanwhile."""
    return [report for report in map(read_report, paths) if report is not None]


def _fault(report: Mapping[str, Any]) -> str | None:
    """Say what keeps a report from being read as one, None if nothing does."""
    if not (isinstance(report["tool"], str) and report["state"] in STATES and isinstance(report["settings"], dict)):
        return "its tool, state or settings are not what a command writes"
    if not isinstance(report.get("source", ""), str) or not isinstance(report.get("totals", {}), dict):
        return "its source or totals are not what a command writes"
    files = report.get("files", {})
    if not isinstance(files, dict):
        return "its files are not a mapping"
    return next(filter(None, (_fault_of_entry(key, entry) for key, entry in files.items())), None)


def _fault_of_entry(key: str, entry: Any) -> str | None:
    """Say what keeps the entry of a file from being read as one, None if nothing does."""
    if not isinstance(entry, dict) or entry.get("status") not in ("ok", "error", "todo"):
        return f"the entry of '{key}' has no status"
    if not isinstance(entry.get("message", ""), str | None):
        return f"the message of '{key}' is not text"
    if not all(_stays_below(entry[name]) for name in ("source", "target") if name in entry):
        return f"the entry of '{key}' names a file outside its folder"
    return None


def _stays_below(name: Any) -> bool:
    """Tell whether a relative path leads to nowhere above the folder it starts from."""
    if not isinstance(name, str) or "\0" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _encode_field(value: Any) -> str:
    """Encode a field of the report: a mapping with one entry per line, all else on one line."""
    if not isinstance(value, Mapping) or not value:
        return _json(value)
    return "{\n" + ",\n".join(f"  {_json(key)}: {_json(entry)}" for key, entry in sorted(value.items())) + "\n}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
