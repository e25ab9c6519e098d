"""The Cityscapes layout, whole, partial, unzipped one folder deeper, and as a plain folder."""

from pathlib import Path

import pytest

from segdata.errors import LayoutError
from segdata.layouts import cityscapes, open_labels


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _fine(key: str, *encodings: str, split: str = "train", city: str = "lindau") -> list[str]:
    return [f"gtFine/{split}/{city}/{key}_gtFine_{encoding}.png" for encoding in encodings]


def _image(key: str, split: str = "train", city: str = "lindau", ending: str = "png") -> str:
    return f"leftImg8bit/{split}/{city}/{key}_leftImg8bit.{ending}"


def test_label_and_image_are_paired_by_key_not_by_order(tmp_path: Path) -> None:
    root = _touch(tmp_path, *_fine("b", "labelIds", "color", "instanceIds"), *_fine("c", "labelIds"), _image("a"))
    _touch(root, _image("c"))
    found = {item.key: (item.label is not None, item.image and item.image.name) for item in cityscapes.find(root)}
    assert found == {"a": (False, "a_leftImg8bit.png"), "b": (True, None), "c": (True, "c_leftImg8bit.png")}


def test_auto_prefers_train_ids(tmp_path: Path) -> None:
    root = _touch(tmp_path, *_fine("a", "labelIds", "labelTrainIds"))
    assert cityscapes.encodings(root) == ("trainIds", "labelIds")
    [item] = cityscapes.find(root)
    assert str(item.relative) == "gtFine/train/lindau/a_gtFine_labelTrainIds.png"


def test_auto_takes_label_ids_where_train_ids_are_not_complete(tmp_path: Path) -> None:
    root = _touch(tmp_path, *_fine("a", "labelIds", "labelTrainIds"), *_fine("b", "labelIds"))
    labels, encoding = open_labels(root)
    assert encoding == "labelIds"
    assert [str(item.relative)[-14:] for item in labels] == ["e_labelIds.png"] * 2


def test_auto_refuses_to_leave_labels_out(tmp_path: Path) -> None:
    root = _touch(tmp_path, *_fine("a", "labelIds"), *_fine("b", "labelTrainIds"))
    with pytest.raises(LayoutError, match=r"all 2 labels have \(1 as trainIds, 1 as labelIds\)"):
        open_labels(root)
    labels, encoding = open_labels(root, "trainIds")
    assert ([item.key for item in labels], encoding) == (["b"], "trainIds")


def test_encoding_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    root = _touch(tmp_path, *_fine("a", "labelIds"))
    with pytest.raises(LayoutError, match="no label as 'trainIds' among 1"):
        open_labels(root, "trainIds")


def test_trees_unzipped_one_folder_deeper(tmp_path: Path) -> None:
    root = _touch(tmp_path, *(f"gtFine_trainvaltest/{name}" for name in _fine("a", "labelIds", split="val")))
    _touch(root, f"leftImg8bit_trainvaltest/{_image('a', split='val')}")
    [item] = cityscapes.find(root)
    assert (item.key, item.split, item.image is not None) == ("a", "val", True)
    assert str(item.relative) == "gtFine_trainvaltest/gtFine/val/lindau/a_gtFine_labelIds.png"


def test_same_label_in_two_trees_is_refused(tmp_path: Path) -> None:
    name = _fine("a", "labelIds")[0]
    root = _touch(tmp_path, name, f"gtFine_trainvaltest/{name}")
    with pytest.raises(LayoutError, match="the same label lies at"):
        cityscapes.find(root)


def test_a_tree_that_is_a_link_to_the_other_counts_once(tmp_path: Path) -> None:
    root = _touch(tmp_path, *(f"gtFine_trainvaltest/{name}" for name in _fine("a", "labelIds")))
    (root / "gtFine").symlink_to("gtFine_trainvaltest/gtFine", target_is_directory=True)
    assert [str(item.relative)[:13] for item in cityscapes.find(root)] == ["gtFine/train/"]


def test_converted_vistas_keys_and_jpeg_images(tmp_path: Path) -> None:
    keys = ["-nAiV6u-HKGED9Y-2u-RDQ", "_DTJCnFrSdVmlP_zKM8Krw"]
    names = [name for key in keys for name in _fine(key, "labelTrainIds", city="mapillary")]
    root = _touch(tmp_path, *names, *(_image(key, city="mapillary", ending="jpg") for key in keys))
    labels, encoding = open_labels(root)
    assert [item.key for item in labels] == keys
    assert all(item.image is not None for item in labels)
    assert encoding == "trainIds"


def test_coarse_labels_of_train_extra(tmp_path: Path) -> None:
    coarse = "gtCoarse/train_extra/ostfeld/a_gtCoarse_labelIds.png"
    root = _touch(tmp_path, coarse, *_fine("a", "labelIds"), _image("a", split="train_extra", city="ostfeld"))
    assert [str(item.relative) for item in cityscapes.find(root, annotation="gtCoarse")] == [coarse]
    assert [item.split for item in cityscapes.find(root, splits=["train_extra"])] == ["train_extra"]
    assert len(open_labels(root)[0]) == 2


def test_label_tree_itself_as_root_finds_the_images_beside_it(tmp_path: Path) -> None:
    root = _touch(tmp_path, *_fine("a", "labelIds", "color"), _image("a"))
    [item] = open_labels(root / "gtFine")[0]
    assert str(item.relative) == "train/lindau/a_gtFine_labelIds.png"
    assert item.image is not None


def test_auto_labels_with_confidence(tmp_path: Path) -> None:
    auto = "autolabeled/train_extra/ostfeld/a_leftImg8bit"
    root = _touch(tmp_path, f"{auto}.png", f"{auto}_prob.png", _image("a", split="train_extra", city="ostfeld"))
    labels, encoding = open_labels(root / "autolabeled")
    assert encoding == "labelIds"
    [item] = labels
    assert (item.key, item.split) == ("a", "train_extra")
    assert item.confidence == root / f"{auto}_prob.png"
    assert item.image is not None


def test_images_alone_are_no_labels(tmp_path: Path) -> None:
    root = _touch(tmp_path, _image("a"))
    assert not cityscapes.is_root(root)
    assert [item.label for item in cityscapes.find(root)] == [None]


def test_nothing_found_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"Looked for gtFine/<split>/<city>/<key>_gtFine"):
        cityscapes.find(tmp_path)


def test_flat_folder_of_cityscapes_files_leaves_colors_out(tmp_path: Path) -> None:
    root = _touch(tmp_path, "a_gtFine_labelIds.png", "a_gtFine_color.png", "a_gtFine_instanceIds.png")
    labels, encoding = open_labels(root)
    assert ([str(item.relative) for item in labels], encoding) == (["a_gtFine_labelIds.png"], "labelIds")


def test_what_belongs_to_a_label_of_a_plain_folder_is_left_out(tmp_path: Path) -> None:
    of_label = [f"labels/a_gtFine_{kind}.png" for kind in ("labelIds", "labelTrainIds", "instanceTrainIds", "color")]
    root = _touch(
        tmp_path, *of_label, "images/a_leftImg8bit.png", "depth/a_disparity.png", "labels/b_labelTrainIds.png"
    )
    _touch(root, "labels/b_color.png", "labels/a_gtFine_polygons.json", "labels/.c.png")
    labels, encoding = open_labels(root)
    assert [item.label and item.label.name for item in labels] == ["a_gtFine_labelTrainIds.png", "b_labelTrainIds.png"]
    assert encoding == "trainIds"


@pytest.mark.parametrize("encoding", ["auto", "labelIds", "trainIds"])
@pytest.mark.parametrize("other", ["b.png", "b_color.png", "x_overlay.png", "x.png", "a/y_labelIds.PNG"])
def test_one_label_named_as_in_cityscapes_does_not_drop_the_others(tmp_path: Path, encoding: str, other: str) -> None:
    root = _touch(tmp_path, "x_labelIds.png", "x_color.png", other, "z.png")
    message = rf"holds 1 label named as in Cityscapes \(.*\) and 2 PNG files of other names, first {other}\. .* move"
    with pytest.raises(LayoutError, match=message):
        open_labels(root, encoding)


@pytest.mark.parametrize("folder", ["", "gtFine/train/lindau/"])
def test_labels_that_lack_the_encoding_are_refused_where_all_are_needed(tmp_path: Path, folder: str) -> None:
    root = _touch(tmp_path, *(f"{folder}{name}.png" for name in ("a_gtFine_labelIds", "b_gtFine_labelTrainIds")))
    assert len(open_labels(root, "labelIds")[0]) == 1
    with pytest.raises(
        LayoutError, match=r"1 of 2 labels have no file \*_labelIds\.png \(1 as trainIds, 1 as labelIds"
    ):
        open_labels(root, "labelIds", need_all=True)
    _touch(root, f"{folder}b_gtFine_labelIds.png")
    assert len(open_labels(root, "labelIds", need_all=True)[0]) == 2


def test_hidden_folders_of_a_root_are_left_out(tmp_path: Path) -> None:
    root = _touch(tmp_path, *_fine("a", "labelIds"), *_fine("b", "labelIds", city=".trash"))
    _touch(root, *_fine("c", "labelIds", split=".old"), ".cache/ostfeld/d_leftImg8bit.png", _image("e", city=".trash"))
    assert [item.key for item in cityscapes.find(root)] == ["a"]


def test_plain_folder_is_taken_to_hold_train_ids(tmp_path: Path) -> None:
    root = _touch(tmp_path, "a.png")
    assert open_labels(root)[1] == "trainIds"
    assert open_labels(root, "labelIds")[1] == "labelIds"


def test_unknown_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="encoding 'ids' is unknown"):
        open_labels(tmp_path, "ids")


def test_annotation_needs_a_cityscapes_root(tmp_path: Path) -> None:
    root = _touch(tmp_path, "a.png")
    with pytest.raises(LayoutError, match="no gtFine tree found"):
        open_labels(root, annotation="gtFine")


def test_symlink_loops_are_survived(tmp_path: Path) -> None:
    root = _touch(tmp_path, *_fine("a", "labelIds"))
    (root / "gtFine" / "loop").symlink_to("loop")
    (root / "gtFine" / "train" / "back").symlink_to(root, target_is_directory=True)
    assert [item.key for item in cityscapes.find(root)] == ["a"]


def test_folder_named_like_a_label_is_listed(tmp_path: Path) -> None:
    root = _touch(tmp_path, *_fine("a", "labelIds"))
    (root / "gtFine" / "train" / "lindau" / "b_gtFine_labelIds.png").mkdir()
    assert [item.key for item in open_labels(root)[0]] == ["a", "b"]
