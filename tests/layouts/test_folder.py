"""Any folder of label images."""

import os
from pathlib import Path

import pytest
from miniature import write_label

from segdata.errors import LayoutError
from segdata.layouts import folder, open_labels


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _relative(root: Path) -> list[str]:
    return [str(item.relative) for item in folder.find(root)]


def test_finds_every_png_below_in_the_order_of_paths(tmp_path: Path) -> None:
    _touch(tmp_path, "b/2.png", "b/1.PNG", "a/c/3.png", "top.png", "a/notes.txt", "a/image.jpg")
    assert _relative(tmp_path) == ["a/c/3.png", "b/1.PNG", "b/2.png", "top.png"]


def test_key_and_split_come_from_the_path(tmp_path: Path) -> None:
    _touch(tmp_path, "val/- x ü.png", "top.png")
    items = folder.find(tmp_path)
    assert [(item.key, item.split) for item in items] == [("top", ""), ("val/- x ü", "val")]


def test_hidden_and_temporary_files_are_left_out(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", ".a.png.x1.segdata-tmp", ".hidden.png", ".cache/b.png")
    assert _relative(tmp_path) == ["a.png"]


def test_symlink_loop_ends(tmp_path: Path) -> None:
    _touch(tmp_path, "a/1.png")
    (tmp_path / "a" / "back").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to("self")
    assert _relative(tmp_path) == ["a/1.png"]


def test_linked_folder_is_followed(tmp_path: Path) -> None:
    _touch(tmp_path, "elsewhere/1.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "train").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert _relative(tmp_path / "root") == ["train/1.png"]


def test_folder_named_like_a_label_is_listed_not_entered(tmp_path: Path) -> None:
    _touch(tmp_path, "x.png/inner.png", "y.png")
    assert _relative(tmp_path) == ["x.png", "y.png"]


def test_broken_link_is_listed_so_that_reading_names_it(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to("nowhere.png")
    assert _relative(tmp_path) == ["a.png", "b.png"]


def test_confidence_goes_with_its_label(tmp_path: Path) -> None:
    _touch(tmp_path, "a.png", "a_prob.png", "only_prob.png")
    items = folder.find(tmp_path)
    assert [item.key for item in items] == ["a", "only_prob"]
    assert items[0].confidence == tmp_path / "a_prob.png"
    assert items[1].confidence is None


def test_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"no label image found. Looked for \*.png"):
        folder.find(tmp_path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="nowhere: no such folder"):
        folder.find(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("images", "labels"), [("images", "labels"), ("imgs", "masks"), ("a/images", "a/masks"), ("train", "trainannot")]
)
def test_images_beside_their_labels_are_left_out(tmp_path: Path, images: str, labels: str) -> None:
    _touch(tmp_path, f"{images}/1.png", f"{labels}/1.png")
    assert _relative(tmp_path) == [f"{labels}/1.png"]
    assert _relative(tmp_path / images) == ["1.png"]


def test_a_folder_that_cannot_be_listed_is_among_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path, "a_labelIds.png", "locked/b_labelIds.png")
    scandir = os.scandir

    def refuse_locked(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_locked)
    assert _relative(tmp_path) == ["a_labelIds.png", "locked"]
    assert [str(item.relative) for item in open_labels(tmp_path)[0]] == ["a_labelIds.png", "locked"]


def test_one_auto_label_does_not_hide_the_other_labels_of_a_folder(tmp_path):
    for name in ("a/b/x_leftImg8bit.png", "a/b/x_leftImg8bit_prob.png", "a/b/x_color.png"):
        write_label(tmp_path / name, [[7]])
    assert [item.relative.name for item in open_labels(tmp_path)[0]] == ["x_leftImg8bit.png"]
    write_label(tmp_path / "a/b/y.png", [[7]])
    with pytest.raises(LayoutError, match=r"holds 1 label named .* \(\*_leftImg8bit\.png\) and 1 PNG file of other"):
        open_labels(tmp_path)
