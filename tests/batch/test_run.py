"""A run: what is kept, made or refused, and a report that is the same to the byte however the run came about."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from segdata.batch.artifact import StaleError, describe_difference
from segdata.batch.report import encode_report, read_report
from segdata.batch.run import Job, Plan, RunResult, run_plan
from segdata.batch.work import BatchSettings
from segdata.errors import LabelError, SettingsError, StoreError
from segdata.files import only_run_in

OUTSIDE = (
    '{"tool": "toy", "format": 1, "state": "complete", "settings": {}, '
    '"files": {"a": {"status": "ok", "target": "%s"}}}'
)
TOY = Path(__file__).with_name("toy_command.py")


@dataclass(frozen=True)
class Letter:
    key: str

    @property
    def source(self) -> str:
        return f"{self.key}.png"

    @property
    def target(self) -> str:
        return f"{self.key}.out"


@dataclass(frozen=True)
class LetterJob(Job[Letter]):
    """Its outputs exist as far as `done` says; letters in `bad` cannot be made, those in `stale` have changed."""

    done: str = ""
    bad: str = ""
    stale: str = ""

    def read(self, item: Letter) -> str:
        return item.key

    def match(self, item: Letter, source: str) -> dict[str, Any] | None:
        if source in self.stale:
            raise StaleError(f"{source}: has changed.")
        return {"digest": f"1{source}", "pixels": 4} if source in self.done else None

    def make(self, item: Letter, source: str) -> dict[str, Any]:
        if source in self.bad:
            raise LabelError(f"{source}.png: is damaged.")
        return {"digest": f"1{source}", "pixels": 4}


@dataclass(frozen=True, kw_only=True)
class LetterPlan(Plan[Letter]):
    tool: str = "toy"
    source: Path = Path("/src")
    settings: dict[str, Any] = field(default_factory=lambda: {"scales": (2, 4)})
    letters: LetterJob = LetterJob()

    @property
    def recorded(self) -> dict[str, Any]:
        return self.settings

    @property
    def job(self) -> LetterJob:
        return self.letters

    def targets(self, item: Letter) -> list[Path]:
        return [self.destination / item.target]

    def totals(self, outcomes: Any) -> dict[str, Any]:
        return {"pixels": sum(outcome.facts.get("pixels", 0) for outcome in outcomes)}


def run(folder: Path, items: str = "a", *, settings: dict[str, Any] | None = None, **options: Any) -> RunResult:
    letters = LetterJob(**{name: options.pop(name) for name in ("done", "bad", "stale") if name in options})
    named = {} if settings is None else {"settings": settings}
    plan = LetterPlan(destination=folder, items=[Letter(key) for key in items], letters=letters, **named)
    return run_plan(plan, BatchSettings(**options))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def statuses(result: RunResult) -> str:
    return " ".join(outcome.status for outcome in result.outcomes)


def test_what_is_there_is_kept_and_what_is_not_is_made(tmp_path: Path) -> None:
    assert statuses(run(tmp_path, "abc", done="ac", bad="b")) == "kept error kept"
    assert statuses(run(tmp_path, "ab", done="a", overwrite=True)) == "done done"
    assert statuses(run(tmp_path, "ab", done="a", dry_run=True)) == "kept todo"


def test_what_is_stale_is_an_error_or_updated(tmp_path: Path) -> None:
    result = run(tmp_path, "ab", done="a", stale="b")
    assert (statuses(result), result.outcomes[1].message) == ("kept error", "b: has changed.")
    assert statuses(run(tmp_path, "ab", done="a", stale="b", update=True)) == "kept done"


def test_the_report_holds_one_line_per_file(tmp_path: Path) -> None:
    run(tmp_path, "ab", bad="b")
    lines = (tmp_path / "toy.json").read_text().splitlines()
    assert '  "a": {"digest": "1a", "source": "a.png", "status": "ok", "target": "a.out"},' in lines
    message = '"message": "b.png: is damaged."'
    assert f'  "b": {{{message}, "source": "b.png", "status": "error", "target": "b.out"}}' in lines
    report = read_report(tmp_path / "toy.json")
    assert report is not None
    assert (report["state"], report["settings"], report["totals"]) == ("faulty", {"scales": [2, 4]}, {"pixels": 4})


def test_done_now_or_before_gives_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path)
    first = (tmp_path / "toy.json").read_bytes()
    run(tmp_path, done="a")
    assert (tmp_path / "toy.json").read_bytes() == first
    assert b'"state": "complete"' in first


def test_while_a_run_works_the_report_says_so_and_what_was_done_before(tmp_path: Path) -> None:
    run(tmp_path)

    @dataclass(frozen=True)
    class Stopped(LetterJob):
        def read(self, item: Letter) -> str:
            raise KeyboardInterrupt

    plan = LetterPlan(destination=tmp_path, items=[Letter("a")], letters=Stopped())
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, BatchSettings())
    report = read_report(tmp_path / "toy.json")
    assert report is not None
    assert (report["state"], list(report["files"])) == ("running", ["a"])


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("shard", [(1, 1), (1, 2)])
def test_other_settings_are_refused_by_name_and_accepted_with_overwrite(
    tmp_path: Path, dry_run: bool, shard: tuple[int, int]
) -> None:
    run(tmp_path)
    with pytest.raises(SettingsError, match=r"holds output of other settings: scales was \[2, 4\], is now \[2\]\."):
        run(tmp_path, settings={"scales": [2]}, dry_run=dry_run, shard=shard)
    run(tmp_path, settings={"scales": [2]}, overwrite=True, shard=shard)
    run(tmp_path, settings={"scales": [2]}, dry_run=dry_run, shard=shard)


def test_a_dry_run_writes_nothing_not_even_the_folder(tmp_path: Path) -> None:
    report = run(tmp_path / "out", dry_run=True).report
    assert report["files"] == {"a": {"status": "todo", "source": "a.png", "target": "a.out"}}
    assert names(tmp_path) == []


def test_the_last_shard_writes_the_report_of_a_straight_run(tmp_path: Path) -> None:
    letters = "abcdefgh"
    run(tmp_path / "whole", letters, bad="c")
    for part in (2, 3):
        assert run(tmp_path / "parts", letters, bad="c", shard=(part, 3)).all_outcomes is None
    assert names(tmp_path / "parts") == ["toy.shard-2-of-3.json", "toy.shard-3-of-3.json"]
    last = run(tmp_path / "parts", letters, bad="c", shard=(1, 3))
    assert len(last.all_outcomes or ()) == 8
    assert names(tmp_path / "parts") == ["toy.json"]
    assert (tmp_path / "parts" / "toy.json").read_bytes() == (tmp_path / "whole" / "toy.json").read_bytes()


def test_a_whole_run_takes_the_place_of_shards(tmp_path: Path) -> None:
    run(tmp_path / "parts", "abcd", shard=(1, 2))
    run(tmp_path / "parts", "abcd", done="abcd")
    assert names(tmp_path / "parts") == ["toy.json"]


def test_shards_of_other_settings_are_not_summed_up(tmp_path: Path) -> None:
    run(tmp_path, "abcd", shard=(1, 2), settings={"scales": [8]})
    with pytest.raises(SettingsError, match=r"scales was \[8\], is now \[2, 4\]"):
        run(tmp_path, "abcd", shard=(2, 2))
    assert run(tmp_path, "abcd", shard=(2, 2), overwrite=True).all_outcomes is None
    assert names(tmp_path) == ["toy.shard-2-of-2.json"]


def test_shards_of_other_files_are_not_summed_up(tmp_path: Path) -> None:
    run(tmp_path, "abcd", shard=(1, 2))
    assert run(tmp_path, "abcde", shard=(2, 2)).all_outcomes is None
    assert names(tmp_path) == ["toy.shard-1-of-2.json", "toy.shard-2-of-2.json"]


def test_a_shard_does_not_sum_up_while_another_holds_the_folder(tmp_path: Path) -> None:
    run(tmp_path, "abcd", shard=(1, 2))
    with only_run_in(tmp_path, shared=True):
        assert run(tmp_path, "abcd", shard=(2, 2)).all_outcomes is None
    assert run(tmp_path, "abcd", done="abcd", shard=(2, 2)).all_outcomes is not None
    assert names(tmp_path) == ["toy.json"]


def test_a_run_that_stopped_early_keeps_what_was_said_of_the_files_it_did_not_try(tmp_path: Path) -> None:
    run(tmp_path, "abc")
    whole = (tmp_path / "toy.json").read_bytes()
    report = run(tmp_path, "abd", bad="a", fail_fast=True).report
    assert report == read_report(tmp_path / "toy.json")
    assert (report["state"], report["totals"]) == ("running", {"pixels": 0})
    assert [(key, entry["status"]) for key, entry in sorted(report["files"].items())] == [("a", "error"), ("b", "ok")]
    run(tmp_path, "abc", done="abc")
    assert (tmp_path / "toy.json").read_bytes() == whole


def test_a_report_that_was_removed_meanwhile_says_nothing_of_the_files_not_tried(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Removing(LetterJob):
        def make(self, item: Letter, source: str) -> dict[str, Any]:
            (tmp_path / "toy.json").unlink()
            raise LabelError("a.png: is damaged.")

    plan = LetterPlan(destination=tmp_path, items=[Letter("a"), Letter("b")], letters=Removing())
    report = run_plan(plan, BatchSettings(fail_fast=True)).report
    assert (report["state"], list(report["files"])) == ("running", ["a"])


def test_a_run_whose_last_file_is_the_bad_one_has_come_to_its_end(tmp_path: Path) -> None:
    assert run(tmp_path, "ab", bad="b", fail_fast=True).report["state"] == "faulty"


def test_a_run_that_stopped_early_keeps_the_reports_of_shards(tmp_path: Path) -> None:
    run(tmp_path, "abcd", shard=(1, 2))
    run(tmp_path, "abcd", bad="a", fail_fast=True)
    assert names(tmp_path) == ["toy.json", "toy.shard-1-of-2.json"]


def test_a_report_that_cannot_be_written_at_the_end_is_one_more_fault(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Blocking(LetterJob):
        def make(self, item: Letter, source: str) -> dict[str, Any]:
            (tmp_path / "toy.json").unlink()
            (tmp_path / "toy.json").mkdir()
            return super().make(item, source)

    result = run_plan(LetterPlan(destination=tmp_path, items=[Letter("a")], letters=Blocking()), BatchSettings())
    assert (result.report["state"], result.report["totals"]) == ("faulty", {"pixels": 4})
    assert [(outcome.key, outcome.status) for outcome in result.outcomes] == [("a", "done"), ("toy.json", "error")]
    assert "toy.json: cannot be written: Is a directory" in str(result.outcomes[-1].message)


def test_leftover_temporaries_of_the_targets_and_the_report_are_swept(tmp_path: Path) -> None:
    for name in (".a.out.01234567.segdata-tmp", ".toy.json.01234567.segdata-tmp", ".other.01234567.segdata-tmp"):
        (tmp_path / name).touch()
    run(tmp_path)
    assert names(tmp_path) == [".other.01234567.segdata-tmp", "toy.json"]


def test_a_shard_leaves_the_temporaries_of_others_alone(tmp_path: Path) -> None:
    others = [".toy.json.01234567.segdata-tmp", ".toy.shard-2-of-2.json.01234567.segdata-tmp"]
    for name in others:
        (tmp_path / name).touch()
    run(tmp_path, "abcd", shard=(1, 2))
    assert set(others) < set(names(tmp_path))


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_many_shards_at_once_end_well_and_leave_the_report_of_a_straight_run(tmp_path: Path, rounds: int) -> None:
    letters = tmp_path / "letters"
    letters.mkdir()
    for number in range(30):
        (letters / f"{number:02}").write_text(f"letter {number}")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    many = [sys.executable, str(TOY), "--many", "12", str(letters)]
    subprocess.run([sys.executable, str(TOY), str(letters), str(tmp_path / "straight")], env=environment, check=True)
    expected = (tmp_path / "straight" / "shout.json").read_bytes()
    for number in range(rounds):
        out = tmp_path / f"out-{number}"
        found = subprocess.run([*many, str(out)], env=environment, capture_output=True, text=True, check=False)
        assert (found.returncode, found.stderr) == (0, "")
        assert [path.name for path in out.glob("shout*")] == ["shout.json"]
        assert (out / "shout.json").read_bytes() == expected


@pytest.mark.parametrize(
    "content",
    [
        *("", '{"tool": ', "[]", '{"mapping": 1}', "[" * 100_000),
        '{"tool": "toy", "format": 1, "state": "complete", "settings": []}',
        '{"tool": "toy", "format": 1, "state": "odd", "settings": {}}',
        '{"tool": "toy", "format": 1, "state": "complete", "settings": {}, "source": 3}',
        '{"tool": "toy", "format": 1, "state": "complete", "settings": {}, "files": []}',
        '{"tool": "toy", "format": 1, "state": "complete", "settings": {}, "files": {"a": 3}}',
        OUTSIDE % '", "message": 3, "b": "',
        OUTSIDE % "b\\u0000",
        OUTSIDE % "../b",
        OUTSIDE % "/b",
    ],
)
def test_a_report_that_is_none_is_named_with_the_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "toy.json").write_text(content)
    with pytest.raises(StoreError, match=r"toy\.json: is (damaged|not a report of a segdata command)"):
        run(tmp_path)


def test_a_report_of_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text('{"tool": "toy", "format": 99, "state": "complete", "settings": {}}')
    with pytest.raises(StoreError, match=r"toy\.json: has format 99, expected 1"):
        run(tmp_path)


def test_a_destination_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(StoreError, match="out: cannot be made: File exists"):
        run(tmp_path / "out")


def test_keys_that_are_no_text_survive(tmp_path: Path) -> None:
    key = os.fsdecode(b"caf\xe9")
    run_plan(LetterPlan(destination=tmp_path, items=[Letter(key)]), BatchSettings())
    assert list(read_report(tmp_path / "toy.json")["files"]) == [key]  # type: ignore[index]


def test_differences_are_named_to_the_depth_and_no_more_than_three() -> None:
    before = {"mapping": {"digest": "3f", "name": "x"}, "a": 1, "b": 1, "c": 1}
    assert describe_difference(before, before) is None
    assert describe_difference(before, {**before, "mapping": {"digest": "91", "name": "x"}}) == (
        "mapping.digest was '3f', is now '91'"
    )
    assert str(describe_difference(before, {})).endswith("c was 1, is now None; and 2 more")


def test_the_encoding_reads_back_and_is_sorted() -> None:
    report = {"b": {"y": [1], "x": {}}, "a": "é"}
    assert encode_report(report) == b'{\n"a": "\\u00e9",\n"b": {\n  "x": {},\n  "y": [1]\n}\n}\n'
    assert json.loads(encode_report(report)) == report
