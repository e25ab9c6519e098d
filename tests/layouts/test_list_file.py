"""Pairs that a list file names."""

from pathlib import Path

import pytest
from miniature import write_text

from segdata.errors import LayoutError
from segdata.layouts import list_file


def test_a_line_is_an_image_and_its_label(tmp_path: Path) -> None:
    write_text(tmp_path / "train.txt", "# pairs\nimg/b.jpg lab/b.png\n\nimg/a one.jpg\tlab/a one.png\n")
    items = list_file.find(tmp_path)
    assert [(item.key, item.split) for item in items] == [("lab/a one", "train"), ("lab/b", "train")]
    assert items[0].image == tmp_path / "img" / "a one.jpg"


def test_a_third_name_is_the_confidence(tmp_path: Path) -> None:
    write_text(tmp_path / "auto.txt", "a.jpg a.png a_prob.png\n")
    [item] = list_file.find(tmp_path, splits=["auto.txt"])
    assert item.confidence == tmp_path / "a_prob.png"


def test_a_line_with_one_name_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "train.txt", "a.jpg\n")
    with pytest.raises(LayoutError, match=r"train\.txt: the line 'a\.jpg' has 1 names\. An image and its label"):
        list_file.find(tmp_path)


def test_a_label_named_twice_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "train.txt", "a.jpg a.png\nb.jpg a.png\n")
    with pytest.raises(LayoutError, match="names 'a' twice"):
        list_file.find(tmp_path)


@pytest.mark.parametrize(("content", "fault"), [(b"", "names no image"), (b"\xff\xfe\x00", "is not UTF-8 text")])
def test_a_list_without_names_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "train.txt").write_bytes(content)
    with pytest.raises(LayoutError, match=fault):
        list_file.find(tmp_path)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"train\.txt: cannot be read \(No such file"):
        list_file.find(tmp_path)
