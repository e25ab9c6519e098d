"""The index is one file: it is whole or not there, and what stops it is named."""

from pathlib import Path

import pytest
from commands import INDEX, Segdata, make_label, make_labels, tree
from test_bad_labels import BAD_LABELS


@pytest.mark.parametrize("kind", BAD_LABELS)
def test_a_bad_label_is_named_and_once_mended_the_index_is_as_if_it_had_never_been(
    segdata: Segdata, source: Path, destination: Path, tmp_path: Path, kind: str
) -> None:
    make, message = BAD_LABELS[kind]
    INDEX.write_source(source, {**make_labels(3), "bad": make()})
    finished = segdata.run(INDEX.args(source, destination))
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert str(INDEX.label(source, "bad")) in finished.errors[0]
    assert message in finished.errors[0]
    assert not (destination / "city.index.npz").exists()
    INDEX.label(source, "bad").write_bytes(make_label(0))
    assert "4 files: 1 done, 3 already there\n" in segdata.run(INDEX.args(source, destination)).out
    assert segdata.run(INDEX.args(source, tmp_path / "straight")).code == 0
    assert tree(destination) == tree(tmp_path / "straight")


def test_a_label_without_the_right_to_read_it(segdata: Segdata, source: Path, destination: Path) -> None:
    INDEX.write_source(source, make_labels(3))
    INDEX.label(source, "label-00").chmod(0)
    finished = segdata.run(INDEX.args(source, destination), no_root=True)
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert str(INDEX.label(source, "label-00")) in finished.errors[0]
    assert "ermission denied" in finished.errors[0]


def test_a_read_only_destination(segdata: Segdata, source: Path, destination: Path) -> None:
    INDEX.write_source(source, make_labels(3))
    destination.mkdir(mode=0o555)
    finished = segdata.run(INDEX.args(source, destination), no_root=True)
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert "Permission denied. Check the permissions" in finished.errors[0]


def test_a_label_that_has_changed_is_named_and_done_with_overwrite(
    segdata: Segdata, source: Path, destination: Path, tmp_path: Path
) -> None:
    INDEX.write_source(source, make_labels(3))
    assert segdata.run(INDEX.args(source, destination)).code == 0
    INDEX.label(source, "label-00").write_bytes(make_label(99))
    finished = segdata.run(INDEX.args(source, destination))
    assert finished.code == 1
    assert len(finished.errors) == 1
    assert str(INDEX.label(source, "label-00")) in finished.errors[0]
    assert segdata.run(INDEX.args(source, destination, "--overwrite")).code == 0
    assert segdata.run(INDEX.args(source, tmp_path / "straight")).code == 0
    assert tree(destination) == tree(tmp_path / "straight")


@pytest.mark.parametrize("name", ["-x", "Straße 北京 é", "x" * 180])
def test_any_name_a_file_can_have(segdata: Segdata, source: Path, destination: Path, name: str) -> None:
    INDEX.write_source(source, {name: make_label(0)})
    assert segdata.run(INDEX.args(source, destination)).code == 0
    assert "1 file: 1 already there\n" in segdata.run(INDEX.args(source, destination)).out
