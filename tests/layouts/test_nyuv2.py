"""The layout of NYU-Depth-v2: by lists, by folders, 40 classes counted from 1 in the files."""

from pathlib import Path

import pytest
from miniature import write_image, write_label, write_text

from segdata.data.samples import read_sample
from segdata.errors import LayoutError
from segdata.labels.classes import ClassTable
from segdata.layouts import nyuv2


def test_lists_name_the_keys_of_a_split(tmp_path: Path) -> None:
    write_text(tmp_path / "train.txt", "RGB/12.jpg\n3\n")
    for key in ("3", "12", "99"):
        write_image(tmp_path / "RGB" / f"{key}.jpg")
        write_label(tmp_path / "Label" / f"{key}.png", [[0, 1]])
    items = nyuv2.find(tmp_path)
    assert [(item.key, item.image.name, item.label.name) for item in items] == [
        ("12", "12.jpg", "12.png"),
        ("3", "3.jpg", "3.png"),
    ]


def test_folders_by_split_need_no_list(tmp_path: Path) -> None:
    write_image(tmp_path / "test" / "images" / "1.png")
    write_label(tmp_path / "test" / "labels" / "1.png", [[40]])
    [item] = nyuv2.find(tmp_path, splits=["test"])
    assert item.relative.as_posix() == "test/labels/1.png"


@pytest.mark.parametrize(
    ("images", "labels"),
    [("train/rgb", "train/labels_40"), ("image/train", "seg40/train")],
    ids=["ESANet", "VainF"],
)
def test_folders_of_other_tools(tmp_path: Path, images: str, labels: str) -> None:
    write_image(tmp_path / images / "0004.png")
    write_label(tmp_path / labels / "0004.png", [[0, 40]])
    [item] = nyuv2.find(tmp_path)
    assert (item.label, item.image) == (tmp_path / labels / "0004.png", tmp_path / images / "0004.png")
    assert read_sample(item, ClassTable.load("nyuv2-40"), "labelIds").tolist() == [[255, 39]]


def test_zero_is_ignored_and_one_is_the_first_class(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "images" / "1.png")
    write_label(tmp_path / "train" / "labels" / "1.png", [[0, 1, 40]])
    [item] = nyuv2.find(tmp_path)
    assert read_sample(item, ClassTable.load("nyuv2-40"), "labelIds").tolist() == [[255, 0, 39]]


def test_split_that_is_not_there_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(
        LayoutError, match=r"no split 'train' of NYU-Depth-v2\. A folder with images, labels, train\.txt"
    ):
        nyuv2.find(tmp_path)
