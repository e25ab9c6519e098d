"""A destination that cannot be written, or is not a place for outputs: one line each, nothing half done."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import MAPILLARY, BatchCommand, Segdata, make_label, make_labels, tree


def mount(folder: Path, options: str) -> None:
    """Mount a small file system in memory, or skip where this user may not."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 64 kB."""
    mount(tmp_path / "disk", "size=64k")
    yield tmp_path / "disk"
    subprocess.run(["umount", str(tmp_path / "disk")], check=True)


def is_one_line(line: str, *parts: str) -> bool:
    return line.startswith(("error: ", "segdata: ")) and all(part in line for part in parts)


def test_a_full_disk_costs_what_does_not_fit_and_the_rest_is_done_when_there_is_space(
    segdata: Segdata, command: BatchCommand, source: Path, small_disk: Path, tmp_path: Path
) -> None:
    command.write_source(source, make_labels(40, 512, 512))
    finished = segdata.run(command.args(source, small_disk / "out"))
    assert finished.code == 1
    assert finished.errors
    full = "No space left on device. Free some space, then run the same command again: what is done is kept."
    told = [line for line in finished.errors if "more like these" not in line]
    assert all(is_one_line(line, str(small_disk), full) for line in told)
    undone = [name for name in make_labels(40, 8, 8) if not command.output(small_disk / "out", name).exists()]
    assert 0 < len(undone) < 40
    assert sum(any(name in line for line in told) for name in undone) >= min(len(undone), 20) - 1  # or the report
    assert not list(small_disk.rglob("*.segdata-tmp"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert segdata.run(command.args(source, small_disk / "out")).code == 0
    assert segdata.run(command.args(source, tmp_path / "straight")).code == 0
    assert tree(small_disk / "out") == tree(tmp_path / "straight")


def test_a_limit_on_file_sizes_is_met_like_a_full_disk(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    noise = make_labels(1, 1600, 1600)
    command.write_source(source, {"large": noise["label-00"], "small": make_label(1)})
    finished = segdata.run(command.args(source, destination), max_file=4096)
    assert finished.code == 1
    assert any(is_one_line(line, "large", "File too large. The limit on file sizes") for line in finished.errors)
    assert command.output(destination, "small").exists()
    assert not list(destination.rglob("*.segdata-tmp"))


def test_a_report_that_cannot_be_written_hides_no_fault_of_a_label(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, make_labels(60, 8, 8) | {"bad": b"no label"})
    finished = segdata.run(command.args(source, destination), max_file=4096)
    assert finished.code == 1
    assert len(finished.errors) == 2
    assert is_one_line(finished.errors[0], str(command.label(source, "bad")), "is not a PNG file")
    assert is_one_line(finished.errors[1], f"{command.name}.json: cannot be written: File too large. The limit")
    assert segdata.run(command.args(source, destination)).out.endswith("61 files: 60 already there, 1 with an error\n")


def test_a_read_only_destination(segdata: Segdata, command: BatchCommand, source: Path, destination: Path) -> None:
    command.write_source(source, make_labels(2))
    destination.mkdir(mode=0o555)
    finished = segdata.run(command.args(source, destination), no_root=True)
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert is_one_line(finished.errors[0], str(destination), "Permission denied. Check the permissions")
    assert tree(destination) == {}


def test_a_read_only_disk(segdata: Segdata, command: BatchCommand, source: Path, small_disk: Path) -> None:
    command.write_source(source, make_labels(2))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    finished = segdata.run(command.args(source, small_disk / "out"))
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert is_one_line(finished.errors[0], "Read-only file system. Choose a DST that can be written.")


def test_a_folder_among_the_outputs_that_is_read_only(segdata: Segdata, source: Path, destination: Path) -> None:
    command = MAPILLARY
    command.write_source(source, make_labels(2))
    folder = command.output(destination, "x").parent
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    finished = segdata.run(command.args(source, destination), no_root=True)
    assert finished.code == 1
    assert len(finished.errors) == 2
    assert all(is_one_line(line, str(folder), "Permission denied") for line in finished.errors)


@pytest.mark.parametrize("way", ["itself", "through a link", "by dots"])
def test_source_and_destination_the_same(
    segdata: Segdata, command: BatchCommand, source: Path, tmp_path: Path, way: str
) -> None:
    command.write_source(source, make_labels(2))
    (tmp_path / "link").symlink_to(source)
    before = tree(source)
    same = {"itself": source, "through a link": tmp_path / "link", "by dots": source / ".." / source.name}[way]
    finished = segdata.run(command.args(source, same))
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert "SRC and DST are the same folder. Choose another DST." in finished.errors[0]
    assert tree(source) == before


def test_a_file_in_the_place_of_the_destination(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, make_labels(2))
    destination.write_text("mine")
    finished = segdata.run(command.args(source, destination))
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert str(destination) in finished.errors[0]
    assert destination.read_text() == "mine"


def test_a_folder_in_the_place_of_an_output(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, make_labels(2))
    command.output(destination, "label-00").mkdir(parents=True)
    finished = segdata.run(command.args(source, destination))
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert str(command.output(destination, "label-00")) in finished.errors[0]
    assert command.output(destination, "label-01").is_file()


def test_a_file_of_the_user_in_the_place_of_an_output_is_kept(
    segdata: Segdata, command: BatchCommand, source: Path, destination: Path
) -> None:
    command.write_source(source, make_labels(2))
    mine = command.output(destination, "label-00")
    mine.parent.mkdir(parents=True)
    mine.write_text("my own")
    finished = segdata.run(command.args(source, destination))
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert is_one_line(finished.errors[0], str(mine), "Choose another DST, or pass --overwrite.")
    assert mine.read_text() == "my own"


def test_an_empty_source(segdata: Segdata, command: BatchCommand, source: Path, destination: Path) -> None:
    command.write_source(source, {})
    finished = segdata.run(command.args(source, destination))
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert not os.path.lexists(destination)
