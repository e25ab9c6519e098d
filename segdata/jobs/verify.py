"""Re-read what convert, convert-mapillary and precompute-cpp wrote: name what is damaged, missing, stale or extra.

The report in the folder says which outputs there must be and what made them; each output says so too, and carries
checksums. Where SRC can be reached, each label is read again and held against the digest in its output. An index tells
the same of itself (`segdata.jobs.verify_index`).
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from segdata.batch.artifact import describe_difference
from segdata.batch.report import find_shard_reports, read_report, read_shard_reports, refuse_missing_fields
from segdata.batch.runners import run_batch
from segdata.batch.work import BatchSettings, Outcome
from segdata.codecs.png import read_bytes
from segdata.errors import LayoutError, SegdataError, SettingsError
from segdata.files import digest_of_bytes, files_below, is_temporary
from segdata.jobs.verify_index import faults_of, find_indexes, is_reachable
from segdata.jobs.verify_outputs import CHECKERS, KINDS, Checker, Fault, Kind

_AGAIN = "Run the command that wrote it again."
_REDO = "Run the command that wrote it with --overwrite."


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes
    ----------
    reports : tuple of str
        The reports gone by, and the indexes.
    num_outputs, num_compared, num_recomputed : int
        Outputs looked for; of these, found sound and held against their labels; of these, made again.
    faults : tuple of Fault
        Sorted by path.
    """

    reports: tuple[str, ...]
    num_outputs: int
    num_compared: int
    num_recomputed: int
    faults: tuple[Fault, ...]

    def counts(self) -> dict[Kind, int]:
        """Return the number of faults of each kind."""
        found = Counter(fault.kind for fault in self.faults)
        return {kind: found[kind] for kind in KINDS}


@dataclass(frozen=True)
class VerifyItem:
    """One output that the report names.

    Attributes
    ----------
    key : str
        The report's name for it.
    target : Path
        The output.
    source : Path or None
        The label it was made from, None where SRC is out of reach.
    digest : str or None
        Of the label, as the report says; None where it does not name the output yet.
    images : tuple of Path
        Where its image may stand; one of them must, if there are any.
    deep : bool
        Make it again.
    """

    key: str
    target: Path
    source: Path | None
    digest: str | None
    images: tuple[Path, ...]
    deep: bool


@dataclass(frozen=True)
class VerifyWork:
    """Check one output; its outcome's facts hold the kind of fault, or what was compared."""

    checker: Checker

    def __call__(self, item: VerifyItem) -> Outcome:
        """Read the output, then its label, then make it again, as far as asked for."""
        fault = self._fault(item)
        if fault is None:
            facts = {"compared": item.source is not None, "recomputed": item.deep and item.source is not None}
            return Outcome(key=item.key, status="done", facts=facts)
        kind, message = fault
        return Outcome(key=item.key, status="error", message=message, facts={"kind": kind})

    def _fault(self, item: VerifyItem) -> tuple[Kind, str] | None:
        if not os.path.lexists(item.target):
            return "missing", f"{item.target}: is missing. {_AGAIN}"
        try:
            output = self.checker.read(item.target)
        except SegdataError as error:
            return "damaged", str(error)
        difference = describe_difference(output.settings, _part(self.checker.settings, output.settings))
        if difference:
            return "stale", f"{item.target}: was made with other settings than the report says: {difference}. {_REDO}"
        if item.digest is not None and output.facts["digest"] != item.digest:
            return "stale", f"{item.target}: was made from another label than the report says. {_REDO}"
        if item.images and not any(image.exists() for image in item.images):
            return "missing", f"{item.images[0]}: the image of {item.target.name} is missing. {_AGAIN}"
        return None if item.source is None else self._fault_of_source(item, item.source)

    def _fault_of_source(self, item: VerifyItem, source: Path) -> tuple[Kind, str] | None:
        try:
            data = read_bytes(source)
        except SegdataError as error:
            return "stale", f"{item.target}: its label cannot be read any more ({error})"
        if digest_of_bytes(data) != item.digest:
            return "stale", f"{item.target}: its label {source} has changed since. {_REDO}"
        if item.deep and not self.checker.is_made_again(item.target, source):
            return "wrong", f"{item.target}: differs from what its label gives now. {_REDO}"
        return None


def verify(
    folder: Path, *, deep: int | None = 0, rules: str | None = None, jobs: int = 1, progress: bool = False
) -> Verification:
    """Check the outputs in a folder.

    Parameters
    ----------
    folder : Path
        The DST of convert, convert-mapillary or precompute-cpp, a folder with indexes, or an index.
    deep : int or None
        How many outputs to make again from their labels and compare, the same ones each time; None for all.
    rules : str, optional
        The mapping or class table that made them, where it is a file.
    jobs : int
        Processes.
    progress : bool
        Show progress on stderr.

    Raises
    ------
    LayoutError
        If the folder holds no report and no index.
    StoreError
        If a report is damaged.
    SettingsError
        If outputs are to be made again and the rules at hand are not those that made them.
    """
    indexes = find_indexes(folder)
    reports = _find_reports(folder) if folder.is_dir() else {}
    if not reports and not indexes:
        names = ", ".join(f"{tool}.json" for tool in CHECKERS)
        raise LayoutError(f"{folder}: holds no report ({names}) and no *.index.npz. Give the DST of such a command.")
    batch = BatchSettings(jobs=jobs, progress=progress)
    faults = [fault for index in indexes for fault in faults_of(index)]
    checked: list[_Checked] = []
    for path, report in reports.items():
        with refuse_missing_fields(path):
            checker = CHECKERS[report["tool"]](report["settings"], rules, Path(report["source"]))
            checked.append(_check_outputs(path, report, checker, deep, batch))
    unnamed = list(_unnamed_files(folder, checked))
    checked = [_check_unnamed(one, unnamed, batch) if one.is_running else one for one in checked]
    faults += [fault for one in checked for fault in (*_faults_of_report(one), *one.faults())]
    faults += _extra_files(unnamed, checked)
    outcomes = [outcome for one in checked for outcome in (*one.outcomes, *one.unnamed)]
    return Verification(
        reports=tuple(str(path) for path in (*reports, *indexes)),
        num_outputs=len(outcomes) + len(indexes),
        num_compared=_count(outcomes, "compared") + sum(is_reachable(index) for index in indexes),
        num_recomputed=_count(outcomes, "recomputed"),
        faults=tuple(sorted(faults, key=lambda fault: (fault.path, fault.kind))),
    )


@dataclass(frozen=True)
class _Checked:
    """The outputs of one report, and what became of checking each; with those of ours that it does not name yet."""

    path: Path
    report: Mapping[str, Any]
    checker: Checker
    items: list[VerifyItem]
    outcomes: list[Outcome]
    unnamed: tuple[Outcome, ...] = ()

    @property
    def is_running(self) -> bool:
        """Whether the run has not come to its end, so that its report may not name what is done."""
        return bool(self.report["state"] == "running")

    def targets(self) -> set[Path]:
        """Return the outputs that the report names, also those with errors: an older one may be there."""
        entries = self.report.get("files", {}).values()
        return {self.path.parent / entry["target"] for entry in entries if "target" in entry}

    def faults(self) -> Iterator[Fault]:
        """Yield the faults among the outcomes; an error without a kind is an output that cannot be read."""
        target_of = {item.key: item.target for item in self.items}
        for outcome in self.outcomes:
            if outcome.status == "error":
                yield _fault_of(outcome, target_of[outcome.key])


def _fault_of(outcome: Outcome, target: Path) -> Fault:
    return Fault(outcome.facts.get("kind", "damaged"), str(target), str(outcome.message))


def _check_outputs(
    path: Path, report: Mapping[str, Any], checker: Checker, deep: int | None, batch: BatchSettings
) -> _Checked:
    """Check the outputs that one report names."""
    items = list(_items(path.parent, report, checker, deep))
    if deep != 0:
        checker.prepare()
    return _Checked(path, report, checker, items, run_batch(VerifyWork(checker), items, batch))


def _check_unnamed(one: _Checked, paths: Sequence[Path], batch: BatchSettings) -> _Checked:
    """Check the outputs that a run has made and its report does not name yet; their labels are not known here."""
    items = [
        VerifyItem(key=str(path), target=path, source=None, digest=None, images=(), deep=False)
        for path in paths
        if _is_ours(path, one.checker)
    ]
    return replace(one, unnamed=tuple(run_batch(VerifyWork(one.checker), items, batch)))


def _count(outcomes: Sequence[Outcome], fact: str) -> int:
    return sum(outcome.facts.get(fact, False) for outcome in outcomes)


def _find_reports(folder: Path) -> dict[Path, dict[str, Any]]:
    """Return the reports in a folder; what shards have done counts as done."""
    found = {}
    for tool in CHECKERS:
        path = folder / f"{tool}.json"
        report = read_report(path)
        for shard in read_shard_reports(find_shard_reports(path)):
            report = {**shard, "files": {}, "state": "running"} if report is None else report
            report["files"] = {**report.get("files", {}), **shard.get("files", {})}
        if report is not None:
            found[path] = report
    return found


def _items(folder: Path, report: Mapping[str, Any], checker: Checker, deep: int | None) -> Iterator[VerifyItem]:
    """Yield what the report says was done."""
    done = {key: entry for key, entry in report.get("files", {}).items() if entry["status"] == "ok"}
    sample = set(sorted(done, key=_draw)[:deep])
    source = Path(report["source"])
    reachable = source.is_dir()
    if deep != 0 and not reachable:
        raise SettingsError(f"--deep: {source} is not there, which the outputs were made from. Leave out --deep.")
    for key, entry in done.items():
        target = folder / entry["target"]
        image = entry.get("image", "skip") not in ("skip", "missing")
        yield VerifyItem(
            key=key,
            target=target,
            source=source / entry["source"] if reachable else None,
            digest=entry["digest"],
            images=tuple(folder / place for place in checker.image_places(entry["target"])) if image else (),
            deep=key in sample,
        )


def _draw(key: str) -> bytes:
    """Return what orders keys at random, yet the same each time."""
    return blake2b(os.fsencode(key), digest_size=8, person=b"verify").digest()


def _part(settings: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that an output tells of; the report tells of more."""
    return {name: settings.get(name) for name in asked}


def _faults_of_report(one: _Checked) -> Iterator[Fault]:
    """Yield what the report itself says is amiss."""
    if one.is_running:
        yield _unfinished(one)
    for key, entry in one.report.get("files", {}).items():
        if entry["status"] == "error":
            yield Fault("not done", key, f"{key}: was not done: {entry['message']}")


def _unfinished(one: _Checked) -> Fault:
    """Say that a run has not come to its end, how far it got beyond its report, and how it continues."""
    num_done = sum(outcome.status == "done" for outcome in one.unnamed)
    done = f"; {num_done} outputs are done that the report does not name yet" if num_done else ""
    shards = ", ".join(part.name for part in find_shard_reports(one.path))
    tool = one.report["tool"]
    fix = f"Run {tool} again; it continues from here."
    if shards:
        fix = f"Run the other shards of {tool} ({shards} are there)."
    message = f"{one.path}: the run has not come to its end{done}. {fix}"
    return Fault("unfinished", str(one.path), message)


def _unnamed_files(folder: Path, checked: Sequence[_Checked]) -> Iterator[Path]:
    """Yield files of ours, or that pass for such in a folder of outputs, which no report names."""
    targets = {target for one in checked for target in one.targets()}
    folders = {target.parent for target in targets}
    # Temporaries are hidden; what lies behind a link may be the output of another run, named by its own report.
    for path in files_below(folder, hidden=True, links=False):
        if path in targets:
            continue
        if is_temporary(path.name) or any(_passes_for(path, folders, one.checker) for one in checked):
            yield path


def _extra_files(unnamed: Sequence[Path], checked: Sequence[_Checked]) -> Iterator[Fault]:
    """Yield what is amiss with files that no report names: all of them, but for the valid outputs of a running one."""
    outcomes = [outcome for one in checked for outcome in one.unnamed]
    sound = {outcome.key for outcome in outcomes if outcome.status == "done"}
    faulty = {outcome.key: outcome for outcome in outcomes}
    for path in unnamed:
        if is_temporary(path.name):
            yield Fault("extra", str(path), f"{path}: is a leftover of a killed run. {_AGAIN}")
        elif str(path) in faulty.keys() - sound:
            yield _fault_of(faulty[str(path)], path)
        elif str(path) not in sound:
            yield Fault("extra", str(path), f"{path}: no report names it. Remove it, if its label is gone.")


def _passes_for(path: Path, folders: set[Path], checker: Checker) -> bool:
    """Tell whether a file is one of a checker's outputs, or would be taken for one."""
    if not path.name.endswith(checker.suffix):
        return False
    return (path.parent in folders and path.name.endswith(checker.ending)) or _is_ours(path, checker)


def _is_ours(path: Path, checker: Checker) -> bool:
    """Tell whether a file is by its name and beginning one of a checker's outputs."""
    try:
        return path.name.endswith(checker.suffix) and checker.is_ours(path)
    except OSError:  # what cannot be read says nothing of itself
        return False
