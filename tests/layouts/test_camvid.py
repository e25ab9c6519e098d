"""The layout of CamVid, made and real."""

from pathlib import Path

import pytest
from miniature import write_image, write_label

from segdata.data.samples import read_sample
from segdata.errors import LayoutError
from segdata.labels.classes import ClassTable
from segdata.layouts import camvid


def test_images_and_labels_are_paired_by_name(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "images" / "b.jpg")
    write_label(tmp_path / "train" / "labels" / "a.png", [[0]])
    write_label(tmp_path / "train" / "labels" / "b.png", [[0]])
    found = [(item.key, item.image and item.image.name) for item in camvid.find(tmp_path)]
    assert found == [("a", None), ("b", "b.jpg")]


def test_segnets_copy_has_its_labels_beside_the_split(tmp_path: Path) -> None:
    write_image(tmp_path / "val" / "0016E5_07959.png")
    write_label(tmp_path / "valannot" / "0016E5_07959.png", [[11]])
    [item] = camvid.find(tmp_path, splits=["val"])
    assert (item.split, item.relative.as_posix()) == ("val", "valannot/0016E5_07959.png")


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "train" / "images" / "a.jpg")
    write_image(tmp_path / "train" / "images" / "a.png")
    (tmp_path / "train" / "labels").mkdir()
    with pytest.raises(LayoutError, match=r"a\.png: has the same key as a\.jpg"):
        camvid.find(tmp_path)


def test_missing_split_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"holds no split 'test' of CamVid"):
        camvid.find(tmp_path, splits=["test"])


def test_real_camvid_is_whole(real_data: Path) -> None:
    train, val = (camvid.find(real_data / "camvid", splits=[split]) for split in ("train", "val"))
    assert (len(train), len(val)) == (367, 101)
    assert all(item.image and item.label for item in (*train, *val))
    ids = read_sample(train[0], ClassTable.load("camvid"), "labelIds")
    assert ids.shape == (360, 480)
    assert ids[ids != 255].max() <= 10
