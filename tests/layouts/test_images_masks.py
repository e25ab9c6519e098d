"""Images and masks in parallel folders, in the three ways that people lay them out."""

from pathlib import Path

import pytest

from segdata.errors import LayoutError
from segdata.layouts import folder
from segdata.layouts.images_masks import find


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ("images/train/a/1.jpg", "masks/train/a/1.png", "images/val/2.jpg", "masks/val/2.png")),
        ("train", ("train/imgs/a/1.jpg", "train/labels/a/1.png")),
        ("all", ("JPEGImages/a/1.jpg", "SegmentationClass/a/1.png", "SegmentationClass/.hidden.png", "images.txt")),
    ],
)
def test_pairs_are_found_by_their_path_below_the_two_folders(tmp_path, split, names):
    (item,) = find(touch(tmp_path, *names), splits=[split])
    assert (item.key, item.split, item.image.suffix, item.label.suffix) == ("a/1", split, ".jpg", ".png")


def test_all_takes_every_split(tmp_path):
    root = touch(tmp_path, "images/train/1.jpg", "masks/train/1.png", "images/val/2.jpg", "masks/val/2.png")
    assert [item.key for item in find(root, splits=["all"])] == ["train/1", "val/2"]


def test_what_has_no_partner_is_there_alone(tmp_path):
    items = find(touch(tmp_path, "images/1.jpg", "masks/2.png"), splits=["all"])
    assert [(item.key, item.image is None, item.label is None) for item in items] == [
        ("1", False, True),
        ("2", True, False),
    ]


def test_a_missing_split_and_two_files_of_one_key_are_refused(tmp_path):
    root = touch(tmp_path, "images/train/1.jpg", "masks/train/1.png", "images/train/1.png")
    with pytest.raises(LayoutError, match="holds no split 'val'"):
        find(root, splits=["val"])
    with pytest.raises(LayoutError, match=r"has the same key as 1\.jpg"):
        find(root)
    with pytest.raises(LayoutError, match="no such folder"):
        find(tmp_path / "nowhere")


def test_linked_folders_are_read_and_hidden_ones_are_not_as_of_any_folder_of_labels(tmp_path):
    names = ("images/train/a/1.jpg", "masks/train/a/1.png", "masks/train/.ipynb_checkpoints/1-checkpoint.png")
    root = touch(tmp_path / "root", *names)
    touch(tmp_path, "elsewhere/images/2.jpg", "elsewhere/masks/2.png")
    for kind in ("images", "masks"):
        (root / kind / "train/b").symlink_to(tmp_path / "elsewhere" / kind)
    items = find(root)
    assert [(item.key, item.image.name) for item in items] == [("a/1", "1.jpg"), ("b/2", "2.jpg")]
    assert [item.label for item in items] == [item.label for item in folder.find(root / "masks/train")]
