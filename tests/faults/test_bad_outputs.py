"""Outputs that were damaged, or made from other labels or by other settings, when the command is run again."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import CONVERT, MAPILLARY, PRECOMPUTE, BatchCommand, Segdata, make_label, make_labels, tree

OTHER_SETTINGS = {
    "convert": (["--encoding", "labelIds"], "encoding was 'trainIds', is now 'labelIds'"),
    "convert-mapillary": (["--unmapped", "ignore"], "unmapped was 'error', is now 'ignore'"),
    "precompute-cpp": (["--scales", "16"], "scales was [2, 4, 8], is now [2, 4, 8, 16]"),
}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "zeros": lambda data: bytes(len(data)),
    "longer": lambda data: data + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_output_is_done_again(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path, damage: str
) -> None:
    command.write_source(source, make_labels(2))
    assert segdata.run(command.args(source, destination)).code == 0
    before = tree(destination)
    output = command.output(destination, "label-00")
    output.write_bytes(DAMAGES[damage](output.read_bytes()))
    finished = segdata.run(command.args(source, destination))
    assert finished.out.endswith("2 files: 1 done, 1 already there\n")
    assert tree(destination) == before


def test_an_output_with_one_bit_flipped_is_done_again_or_refused_but_never_kept(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, make_labels(1))
    assert segdata.run(command.args(source, destination)).code == 0
    output = command.output(destination, "label-00")
    whole, dice = output.read_bytes(), random.Random(command.name)
    for _ in range(20):
        bit = dice.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        output.write_bytes(damaged)
        finished = segdata.run(command.args(source, destination))
        assert output.read_bytes() == whole or "--overwrite" in finished.errors[0], bit
        output.write_bytes(whole)


def test_a_label_that_has_changed_is_named_and_done_with_overwrite(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path, tmp_path: Path
) -> None:
    command.write_source(source, make_labels(2))
    assert segdata.run(command.args(source, destination)).code == 0
    command.label(source, "label-00").write_bytes(make_label(99))
    finished = segdata.run(command.args(source, destination))
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert str(command.output(destination, "label-00")) in finished.errors[0]
    assert "which has changed since. Pass --update to recompute it, or choose another DST." in finished.errors[0]
    assert segdata.run(command.args(source, destination, "--overwrite")).code == 0
    assert segdata.run(command.args(source, tmp_path / "straight")).code == 0
    assert tree(destination) == tree(tmp_path / "straight")


def test_other_settings_are_refused_before_any_file_and_done_with_overwrite(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path, tmp_path: Path
) -> None:
    command.write_source(source, make_labels(2))
    assert segdata.run(command.args(source, destination)).code == 0
    before = tree(destination)
    options, difference = OTHER_SETTINGS[command.name]
    finished = segdata.run(command.args(source, destination, *options))
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert difference in finished.errors[0]
    assert tree(destination) == before
    assert segdata.run(command.args(source, destination, *options, "--overwrite")).code == 0


def test_outputs_of_other_settings_without_their_report_are_still_refused(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, make_labels(2))
    assert segdata.run(command.args(source, destination)).code == 0
    (destination / f"{command.name}.json").unlink()
    options, difference = OTHER_SETTINGS[command.name]
    if command.name == "convert":
        options = ["--compression", "small"]
        difference = "compression was 'fast', is now 'small'"
    finished = segdata.run(command.args(source, destination, *options))
    assert finished.code == 1
    assert len(finished.errors) == 2
    assert all(difference in line for line in finished.errors)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_report_is_named(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path, content: bytes
) -> None:
    command.write_source(source, make_labels(2))
    assert segdata.run(command.args(source, destination)).code == 0
    report = destination / f"{command.name}.json"
    whole = report.read_bytes()
    report.write_bytes(content)
    finished = segdata.run(command.args(source, destination))
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert str(report) in finished.errors[0]
    report.unlink()
    assert segdata.run(command.args(source, destination)).code == 0
    assert report.read_bytes() == whole


def test_a_temporary_of_a_killed_run_is_swept_and_one_of_another_file_is_not(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, make_labels(2))
    output = command.output(destination, "label-00")
    output.parent.mkdir(parents=True)
    ours = output.with_name(f".{output.name}.0123abcd.segdata-tmp")
    other = output.with_name(".other.png.0123abcd.segdata-tmp")
    for temporary in (ours, other):
        temporary.write_bytes(b"half")
    assert segdata.run(command.args(source, destination)).code == 0
    assert not ours.exists()
    assert other.exists()


def test_a_dry_run_writes_nothing_and_says_what_a_run_would_do(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, make_labels(2))
    finished = segdata.run(command.args(source, destination, "--dry-run"))
    assert finished.code == 0
    assert finished.out.endswith("2 files: 2 to do\n")
    assert not destination.exists()


@pytest.mark.parametrize(
    "command",
    [MAPILLARY, *(pytest.param(one, marks=pytest.mark.slow) for one in (CONVERT, PRECOMPUTE))],
    ids=lambda command: command.name,
)
def test_two_processes_write_what_one_does(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path, tmp_path: Path
) -> None:
    command.write_source(source, make_labels(20))
    assert segdata.run(command.args(source, destination, "--jobs", "2")).code == 0
    assert segdata.run(command.args(source, tmp_path / "one")).code == 0
    assert tree(destination) == tree(tmp_path / "one")
