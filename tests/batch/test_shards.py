"""Shards that are submitted again: no sum of what an earlier submission said of files that have changed since."""

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toy_command import Letter, Shout, ShoutPlan

from segdata.batch import run as run_module
from segdata.batch.report import read_report
from segdata.batch.run import RunResult, run_plan
from segdata.batch.work import BatchSettings
from segdata.files import only_run_in


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """Return a folder of six letters: a, d and e are of the first of two shards, the others of the second."""
    folder = tmp_path / "letters"
    folder.mkdir()
    for name in "abcdef":
        (folder / name).write_text(f"letter {name}")
    return folder


def run(letters: Path, shard: int = 1, parts: int = 1, *, out: str = "out", **options: bool) -> RunResult:
    plan = ShoutPlan(
        source=letters,
        destination=letters.parent / out,
        items=[Letter(path.name, path) for path in sorted(letters.iterdir())],
        seconds=0.0,
        settings={},
    )
    return run_plan(plan, BatchSettings(shard=(shard, parts), **options))


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_as_a_straight_run(letters: Path) -> None:
    straight = letters.parent / "straight"
    for path in straight.glob("*"):
        path.unlink()
    run(letters, out="straight")
    assert tree(letters.parent / "out") == tree(straight)


def of_shard_2(letters: Path) -> Path:
    """Return a letter of the second of two shards."""
    report = run(letters, 2, 2, out="empty", dry_run=True).report
    return letters / min(report["files"])


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_file_that_was_repaired_takes_its_shard_back(letters: Path, order: tuple[int, int]) -> None:
    bad = of_shard_2(letters)
    bad.unlink()
    bad.symlink_to("nowhere")
    assert [each.status for each in run(letters, 2, 2).outcomes].count("error") == 1
    bad.unlink()
    bad.write_text("repaired")
    assert run(letters, order[0], 2).all_outcomes is None
    assert run(letters, order[1], 2).all_outcomes is not None
    assert_as_a_straight_run(letters)


@pytest.mark.parametrize("options", [{}, {"update": True}, {"overwrite": True}])
def test_no_sum_is_made_of_files_that_have_changed(
    letters: Path, options: dict[str, bool], caplog: pytest.LogCaptureFixture
) -> None:
    run(letters, 2, 2)
    of_shard_2(letters).write_text("changed since")
    with caplog.at_level("INFO"):
        assert run(letters, 1, 2, progress=True, **options).all_outcomes is None
    assert caplog.messages[-1].endswith(
        "shout.json: not written yet. The last shard to end writes it. To run again, as their files have changed "
        "since: 2/2."
    )
    assert not (letters.parent / "out/shout.json").exists()
    assert run(letters, 2, 2, **options).all_outcomes is not None
    assert_as_a_straight_run(letters)


def test_a_shard_that_has_not_ended_is_named(letters: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        run(letters, 1, 2, progress=True)
    assert caplog.messages[-1].endswith("The last shard to end writes it. Not ended: 2/2.")


def test_a_file_that_changes_while_its_shard_runs_is_seen(letters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(letters, 1, 2)

    def make_and_change(self: Shout, item: Letter, source: bytes) -> dict[str, Any]:
        item.path.write_text("changed meanwhile")
        return {"letters": len(source)}

    with monkeypatch.context() as patch:
        patch.setattr(Shout, "make", make_and_change)
        assert run(letters, 2, 2).all_outcomes is None
    assert run(letters, 2, 2).all_outcomes is not None
    assert_as_a_straight_run(letters)


def test_what_an_earlier_submission_left_is_taken_where_nothing_has_changed(letters: Path) -> None:
    run(letters, 2, 2)
    assert run(letters, 1, 2).all_outcomes is not None
    assert run(letters, 2, 2).all_outcomes is None  # the report tells it already
    assert_as_a_straight_run(letters)


def test_one_shard_alone_can_run_again_once_there_is_a_whole_report(letters: Path) -> None:
    for part in (1, 2):
        run(letters, part, 2)
    of_shard_2(letters).write_text("changed since")
    assert run(letters, 2, 2).all_outcomes is not None
    assert_as_a_straight_run(letters)


def test_a_report_of_a_killed_shard_counts_by_its_outputs(letters: Path) -> None:
    run(letters, 2, 2)
    report = letters.parent / "out/shout.shard-2-of-2.json"
    report.write_text(report.read_text().replace('"complete"', '"running"'))
    (letters.parent / "out" / f"{of_shard_2(letters).name}.loud").unlink()
    assert run(letters, 1, 2).all_outcomes is None
    run(letters, 2, 2)
    assert_as_a_straight_run(letters)


def test_a_shard_that_others_work_beside_leaves_the_sum_to_them(letters: Path) -> None:
    of_shard_2(letters).write_text("changed since")
    run(letters)
    with only_run_in(letters.parent / "out", shared=True):
        assert run(letters, 2, 2).all_outcomes is None
    assert run(letters, 1, 2).all_outcomes is not None
    assert_as_a_straight_run(letters)


@pytest.mark.parametrize("folder_too", [False, True])
def test_a_sum_that_another_shard_has_made_meanwhile_is_not_made_again(
    letters: Path, monkeypatch: pytest.MonkeyPatch, folder_too: bool
) -> None:
    own = letters.parent / "out/shout.shard-1-of-2.json"

    @contextmanager
    def held_late(folder: Path, **options: Any) -> Iterator[None]:
        if own.exists() and read_report(own)["state"] == "complete":  # type: ignore[index]
            if folder_too:
                shutil.rmtree(folder)  # as of the parts of an index
            else:
                own.unlink()
        with only_run_in(folder, **options):
            yield

    monkeypatch.setattr(run_module, "only_run_in", held_late)
    assert run(letters, 1, 2).all_outcomes is None
    assert not own.exists()
    assert not (letters.parent / "out/shout.json").exists()


def test_a_whole_report_does_not_hide_that_files_have_changed(letters: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(letters)
    with only_run_in(letters.parent / "out", shared=True):
        run(letters, 2, 2)
    of_shard_2(letters).write_text("changed since")
    with caplog.at_level("INFO"):
        run(letters, 1, 2, progress=True)
    assert caplog.messages[-1].endswith("To run again, as their files have changed since: 2/2.")


@pytest.mark.parametrize("seed", range(60))
def test_after_any_history_a_submission_ends_in_the_tree_of_a_straight_run(letters: Path, seed: int) -> None:
    dice = random.Random(seed)
    parts = dice.choice([2, 3])
    for step in range(dice.randrange(1, 10)):
        letter = letters / dice.choice("abcdef")
        match dice.choice(["run", "run", "change", "break", "lose"]):
            case "run":
                if run(letters, dice.randrange(parts) + 1, parts).all_outcomes is not None:
                    told = json.loads((letters.parent / "out/shout.json").read_text())["totals"]["letters"]
                    assert told == sum(path.stat().st_size for path in letters.iterdir() if path.exists())
            case "change":
                letter.unlink(missing_ok=True)
                letter.write_text("x" * (step + 1))
            case "break":
                letter.unlink(missing_ok=True)
                letter.symlink_to("nowhere")
            case "lose":
                (letters.parent / "out" / f"{letter.name}.loud").unlink(missing_ok=True)
    for letter in letters.iterdir():
        if not letter.exists():
            letter.unlink()
            letter.write_text("repaired")
    for part in dice.sample(range(1, parts + 1), parts):
        run(letters, part, parts)
    assert_as_a_straight_run(letters)
