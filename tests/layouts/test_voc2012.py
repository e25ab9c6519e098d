"""The layout of Pascal VOC 2012: its lists, its own labels first, then the augmented ones."""

import sys
from pathlib import Path

import numpy as np
import pytest
from miniature import write_image, write_label, write_text
from scipy.io import savemat

from segdata.codecs.sbd import read_sbd_label
from segdata.data.samples import read_sample
from segdata.errors import LabelError, LayoutError
from segdata.labels.classes import ClassTable
from segdata.layouts import voc2012

LISTS = "ImageSets/Segmentation"


def write_voc(root: Path) -> Path:
    write_text(root / LISTS / "train.txt", "2007_000032\n2007_000039\n")
    write_text(root / LISTS / "val.txt", "2007_000033\n")
    for key in ("2007_000032", "2007_000033", "2007_000039"):
        write_image(root / "JPEGImages" / f"{key}.jpg")
        write_label(root / "SegmentationClass" / f"{key}.png", [[0, 1], [20, 255]])
    return root


def write_sbd(folder: Path, train: str, val: str, keys=()) -> None:
    write_text(folder / "train.txt", train)
    write_text(folder / "val.txt", val)
    (folder / "cls").mkdir()
    for key in keys:
        content = {"GTcls": {"Segmentation": np.array([[5, 0], [0, 5]], np.uint8)}}
        savemat(folder / "cls" / f"{key}.mat", content)


def test_a_split_is_its_list(tmp_path: Path) -> None:
    [item] = voc2012.find(write_voc(tmp_path), splits=["val"])
    assert (item.key, item.split, item.relative.as_posix()) == (
        "2007_000033",
        "val",
        "SegmentationClass/2007_000033.png",
    )
    assert item.image == tmp_path / "JPEGImages" / "2007_000033.jpg"


def test_labels_become_background_and_twenty_classes_with_an_ignored_border(tmp_path: Path) -> None:
    item = voc2012.find(write_voc(tmp_path))[0]
    ids = read_sample(item, ClassTable.load("voc2012"), "labelIds")
    assert ids.tolist() == [[0, 1], [20, 255]]


def test_trainaug_takes_the_augmented_png_only_where_voc_has_no_label(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    write_text(root / LISTS / "trainaug.txt", "2007_000032\n2008_000008\n")
    write_label(root / "SegmentationClassAug" / "2007_000032.png", [[0, 1]])
    write_label(root / "SegmentationClassAug" / "2008_000008.png", [[0, 13]])
    found = [str(item.relative) for item in voc2012.find(root, splits=["trainaug"])]
    assert found == ["SegmentationClass/2007_000032.png", "SegmentationClassAug/2008_000008.png"]


def test_trainaug_without_a_list_is_train_and_all_of_sbd_but_val(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "VOC2012")
    write_sbd(
        tmp_path / "VOCaug" / "dataset", "2007_000032\n2008_000008\n", "2007_000033\n2008_000009\n", ["2008_000008"]
    )
    items = voc2012.find(root, splits=["trainaug"])
    assert [item.key for item in items] == ["2007_000032", "2007_000039", "2008_000008", "2008_000009"]
    assert [item.label.name for item in items[2:]] == ["2008_000008.mat", "2008_000009.png"]


def test_labels_of_sbd_are_read_from_their_mat_files(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "VOC2012")
    write_sbd(tmp_path / "VOCaug" / "dataset", "2008_000008\n", "2007_000033\n", ["2008_000008"])
    item = voc2012.find(root, splits=["trainaug"])[-1]
    assert read_sample(item, ClassTable.load("voc2012"), "labelIds").tolist() == [[5, 0], [0, 5]]


def test_a_mat_file_of_something_else_is_named(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "VOC2012")
    write_sbd(tmp_path / "VOCaug" / "dataset", "2008_000008\n", "2007_000033\n", ["2008_000008"])
    (tmp_path / "VOCaug" / "dataset" / "cls" / "2008_000008.mat").write_bytes(b"MATLAB no more")
    item = voc2012.find(root, splits=["trainaug"])[-1]
    with pytest.raises(LabelError, match=r"2008_000008\.mat: is not a label of SBD"):
        read_sample(item, ClassTable.load("voc2012"), "labelIds")


def test_trainaug_with_neither_list_nor_sbd_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"trainaug\.txt: is missing; there are train, val\..*add its list, or SBD"):
        voc2012.find(write_voc(tmp_path), splits=["trainaug"])


def test_a_list_that_names_an_image_twice_is_refused(tmp_path: Path) -> None:
    root = write_voc(tmp_path)
    write_text(root / LISTS / "train.txt", "a\nb\na\n")
    with pytest.raises(LayoutError, match=r"train\.txt: names 'a' twice"):
        voc2012.find(root)


def test_the_table_has_the_colors_of_the_development_kit() -> None:
    table = ClassTable.load("voc2012")
    assert table.num_classes == 21
    assert table.find("tvmonitor").color == (0, 64, 128)
    assert table.find("void").color == (224, 224, 192)


def test_what_keeps_a_mat_file_from_being_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LabelError, match=r"gone\.mat: is missing"):
        read_sbd_label(tmp_path / "gone.mat")
    savemat(tmp_path / "wide.mat", {"GTcls": {"Segmentation": np.zeros((2, 2), np.int32)}})
    with pytest.raises(LabelError, match=r"GTcls\.Segmentation is int32 of shape \(2, 2\)\. Expected is uint8"):
        read_sbd_label(tmp_path / "wide.mat")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(LabelError, match=r"is a MATLAB file, which needs scipy\. Install it with: pip install scipy"):
        read_sbd_label(tmp_path / "wide.mat")
