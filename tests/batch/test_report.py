"""The report: the same to the byte however the run came about, and a guard against mixed settings."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from segdata.batch.report import describe_difference, encode_report, open_run, read_report
from segdata.batch.run import BatchSettings, Outcome
from segdata.errors import SettingsError, StoreError

DONE = Outcome(key="a", status="done", facts={"source": "a.png", "pixels": 4})
KEPT = Outcome(key="a", status="kept", facts={"source": "a.png", "pixels": 4})
FAULT = Outcome(key="b", status="error", message="b.png: is damaged.")


def run(folder: Path, *outcomes: Outcome, settings: dict[str, Any] | None = None, **batch: Any) -> dict[str, Any]:
    with open_run(
        folder / "toy.json",
        tool="toy",
        source=Path("/src"),
        settings=settings or {"scales": (2, 4)},
        batch=BatchSettings(**batch),
        targets=[folder / "a.out"],
    ) as begun:
        return begun.finish(outcomes, {"pixels": 4})


@dataclass(frozen=True)
class Named:
    """What a run was to do."""

    key: str

    @property
    def source(self) -> str:
        return f"{self.key}.png"

    @property
    def target(self) -> str:
        return f"{self.key}.out"


def run_of(folder: Path, items: str, *outcomes: Outcome, **batch: Any) -> dict[str, Any]:
    """Do as `run`, with one item per letter."""
    with open_run(
        folder / "toy.json", tool="toy", source=Path("/src"), settings={}, batch=BatchSettings(**batch), targets=[]
    ) as begun:
        return begun.conclude(outcomes, {"tried": len(outcomes)}, [Named(key) for key in items])[0]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_report_holds_one_line_per_file(tmp_path: Path) -> None:
    run(tmp_path, DONE, FAULT)
    lines = (tmp_path / "toy.json").read_text().splitlines()
    assert '  "a": {"pixels": 4, "source": "a.png", "status": "ok"},' in lines
    assert '  "b": {"message": "b.png: is damaged.", "status": "error"}' in lines
    report = read_report(tmp_path / "toy.json")
    assert report is not None
    assert (report["state"], report["settings"], report["totals"]) == ("faulty", {"scales": [2, 4]}, {"pixels": 4})


def test_done_now_or_before_gives_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path, DONE)
    first = (tmp_path / "toy.json").read_bytes()
    run(tmp_path, KEPT)
    assert (tmp_path / "toy.json").read_bytes() == first
    assert b'"state": "complete"' in first


def test_while_a_run_works_the_report_says_so_and_what_was_done_before(tmp_path: Path) -> None:
    run(tmp_path, DONE)
    with (
        pytest.raises(KeyboardInterrupt),
        open_run(
            tmp_path / "toy.json",
            tool="toy",
            source=Path("/src"),
            settings={"scales": [2, 4]},
            batch=BatchSettings(),
            targets=[],
        ),
    ):
        raise KeyboardInterrupt
    report = read_report(tmp_path / "toy.json")
    assert report is not None
    assert (report["state"], list(report["files"])) == ("running", ["a"])


@pytest.mark.parametrize("dry_run", [False, True])
def test_other_settings_are_refused_by_name_and_accepted_with_overwrite(tmp_path: Path, dry_run: bool) -> None:
    run(tmp_path, DONE)
    with pytest.raises(SettingsError, match=r"holds output of other settings: scales was \[2, 4\], is now \[2\]\."):
        run(tmp_path, DONE, settings={"scales": [2]}, dry_run=dry_run)
    run(tmp_path, DONE, settings={"scales": [2]}, overwrite=True)
    run(tmp_path, DONE, settings={"scales": [2]}, dry_run=dry_run)


def test_a_dry_run_writes_nothing_not_even_the_folder(tmp_path: Path) -> None:
    report = run(tmp_path / "out", Outcome(key="a", status="todo"), dry_run=True)
    assert report["files"] == {"a": {"status": "todo"}}
    assert names(tmp_path) == []


def test_shards_report_beside_and_the_whole_run_takes_their_place(tmp_path: Path) -> None:
    run(tmp_path / "whole", DONE)
    for part in (1, 2):
        run(tmp_path / "parts", DONE, shard=(part, 2))
    assert names(tmp_path / "parts") == ["toy.json", "toy.shard-1-of-2.json", "toy.shard-2-of-2.json"]
    assert json.loads((tmp_path / "parts" / "toy.json").read_text())["state"] == "running"
    run(tmp_path / "parts", KEPT)
    assert names(tmp_path / "parts") == ["toy.json"]
    assert (tmp_path / "parts" / "toy.json").read_bytes() == (tmp_path / "whole" / "toy.json").read_bytes()


def test_an_error_names_its_source_and_target(tmp_path: Path) -> None:
    entry = run_of(tmp_path, "b", FAULT)["files"]["b"]
    assert entry == {"status": "error", "message": "b.png: is damaged.", "source": "b.png", "target": "b.out"}


def test_a_run_that_stopped_early_keeps_what_was_said_of_the_files_it_did_not_try(tmp_path: Path) -> None:
    run_of(tmp_path, "abc", *(Outcome(key=key, status="done", facts={"digest": f"1{key}"}) for key in "abc"))
    whole = (tmp_path / "toy.json").read_bytes()
    report = run_of(tmp_path, "abd", Outcome(key="a", status="error", message="a: is damaged."))
    assert report == read_report(tmp_path / "toy.json")
    assert (report["state"], report["totals"]) == ("running", {"tried": 1})
    assert [(key, entry["status"]) for key, entry in sorted(report["files"].items())] == [("a", "error"), ("b", "ok")]
    run_of(tmp_path, "abc", *(Outcome(key=key, status="kept", facts={"digest": f"1{key}"}) for key in "abc"))
    assert (tmp_path / "toy.json").read_bytes() == whole


def test_a_run_whose_last_file_is_the_bad_one_has_come_to_its_end(tmp_path: Path) -> None:
    assert run_of(tmp_path, "ab", DONE, FAULT, fail_fast=True)["state"] == "faulty"


def test_a_run_that_stopped_early_keeps_the_reports_of_shards(tmp_path: Path) -> None:
    for part in (1, 2):
        run_of(tmp_path, "ab"[part - 1], DONE, shard=(part, 2))
    run_of(tmp_path, "ab", FAULT)
    assert names(tmp_path) == ["toy.json", "toy.shard-1-of-2.json", "toy.shard-2-of-2.json"]
    run_of(tmp_path, "ab", DONE, FAULT)
    assert names(tmp_path) == ["toy.json"]


def test_a_shard_that_stopped_early_keeps_what_its_own_report_said(tmp_path: Path) -> None:
    run_of(tmp_path, "ab", DONE, Outcome(key="b", status="done"), shard=(1, 2))
    report = run_of(tmp_path, "ab", Outcome(key="a", status="error", message="a: is damaged."), shard=(1, 2))
    assert (report["state"], sorted(report["files"])) == ("running", ["a", "b"])


def test_entries_of_other_settings_are_not_kept(tmp_path: Path) -> None:
    run(tmp_path, DONE, settings={"scales": [2]}, shard=(1, 2))
    report = run_of(tmp_path, "ab", FAULT, shard=(1, 2), overwrite=True)
    assert list(report["files"]) == ["b"]


def test_a_report_that_cannot_be_written_at_the_end_is_one_more_fault(tmp_path: Path) -> None:
    with open_run(
        tmp_path / "toy.json", tool="toy", source=Path("/src"), settings={}, batch=BatchSettings(), targets=[]
    ) as begun:
        (tmp_path / "toy.json").unlink()
        (tmp_path / "toy.json").mkdir()
        report, faults = begun.conclude([FAULT], {"pixels": 4}, [Named("b")])
    assert (report["state"], report["totals"]) == ("faulty", {"pixels": 4})
    assert [(fault.key, fault.status) for fault in faults] == [("toy.json", "error")]
    assert "toy.json: cannot be written: Is a directory" in str(faults[0].message)


def test_leftover_temporaries_of_the_targets_and_the_report_are_swept(tmp_path: Path) -> None:
    for name in (".a.out.01234567.segdata-tmp", ".toy.json.01234567.segdata-tmp", ".other.01234567.segdata-tmp"):
        (tmp_path / name).touch()
    run(tmp_path, DONE)
    assert names(tmp_path) == [".other.01234567.segdata-tmp", "toy.json"]


@pytest.mark.parametrize("content", ["", '{"tool": ', "[]", '{"mapping": 1}'])
def test_a_report_that_is_none_is_named_with_the_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / "toy.json").write_text(content)
    with pytest.raises(StoreError, match=r"toy\.json: is (damaged|no report of a segdata command)"):
        run(tmp_path, DONE)


def test_a_report_of_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text('{"tool": "toy", "format": 99, "state": "complete", "settings": {}}')
    with pytest.raises(StoreError, match=r"toy\.json: has format 99, expected 1"):
        run(tmp_path, DONE)


def test_a_destination_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(StoreError, match="out: cannot be made: File exists"):
        run(tmp_path / "out", DONE)


def test_keys_that_are_no_text_survive(tmp_path: Path) -> None:
    key = os.fsdecode(b"caf\xe9.png")
    run(tmp_path, Outcome(key=key, status="done"))
    assert read_report(tmp_path / "toy.json")["files"] == {key: {"status": "ok"}}  # type: ignore[index]


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
