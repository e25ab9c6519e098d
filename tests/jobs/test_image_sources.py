"""Which images are predicted, and where what is made of them goes."""

from pathlib import Path

import pytest
from PIL import Image

from segdata.errors import LayoutError
from segdata.jobs.predict_sources import find_images, plan_auto_labels, plan_predictions


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 1)).save(root / name)
    return root


def relatives(source, **settings):
    return [str(image.relative) for image in find_images(source, Path("out"), **settings)]


def test_every_image_of_a_folder_is_found_in_order(tmp_path):
    touch(tmp_path, "b/2.jpg", "b/1.PNG", "a.webp", "a/x y.jpeg", ".hidden.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert relatives(tmp_path) == ["a/x y.jpeg", "a.webp", "b/1.PNG", "b/2.jpg"]


@pytest.mark.parametrize("tree", ["leftImg8bit", "leftImg8bit_trainvaltest/leftImg8bit"])
def test_of_a_cityscapes_root_only_the_images_are_taken(tmp_path, tree):
    touch(tmp_path, f"{tree}/val/a/a_1_leftImg8bit.png", f"{tree}/train/b/b_1_leftImg8bit.png")
    touch(tmp_path, "gtFine/val/a/a_1_gtFine_labelIds.png", "gtFine/val/a/a_1_gtFine_color.png")
    assert relatives(tmp_path) == ["train/b/b_1_leftImg8bit.png", "val/a/a_1_leftImg8bit.png"]
    assert relatives(tmp_path, splits=["val"]) == ["val/a/a_1_leftImg8bit.png"]


def test_one_image_is_a_source_too(tmp_path):
    assert relatives(touch(tmp_path, "one.jpg") / "one.jpg") == ["one.jpg"]


@pytest.mark.parametrize("splits", [(), ("test",)])
def test_where_there_is_no_image_it_says_what_was_looked_for(tmp_path, splits):
    touch(tmp_path, *(["val/a.png"] if splits else []))
    expected = r"no image of split test \(there are val\) found" if splits else "no image found. Looked for leftImg8bit"
    with pytest.raises(LayoutError, match=expected):
        find_images(tmp_path, Path("out"), splits=splits)


def test_each_kind_has_its_own_folder(tmp_path):
    (item,) = plan_predictions(
        find_images(touch(tmp_path, "a/1.jpg"), Path("out")), Path("out"), ["labels", "probabilities"]
    )
    assert item.targets == {"labels": Path("out/labels/a/1.png"), "probabilities": Path("out/probabilities/a/1.npz")}
    assert (item.key, item.source, item.target) == ("a/1", "a/1.jpg", "labels/a/1.png")


def test_an_auto_label_lies_beside_its_confidence(tmp_path):
    touch(tmp_path, "leftImg8bit/train_extra/a/a_1_leftImg8bit.png")
    (item,) = plan_auto_labels(find_images(tmp_path, Path("auto")), Path("auto"))
    assert item.targets["labels"] == Path("auto/train_extra/a/a_1_leftImg8bit.png")
    assert item.targets["confidence"] == Path("auto/train_extra/a/a_1_leftImg8bit_prob.png")


def test_what_was_predicted_of_the_images_is_none_of_them(tmp_path):
    touch(tmp_path, "a.jpg", "b/c.jpg", "autolabeled/a.png", "autolabeled/b/c.png", "pred/labels/a.png", "out/x.png")
    for report in ("autolabeled/autolabel.json", "pred/predict.json"):
        (tmp_path / report).write_text("{}")
    found = find_images(tmp_path, tmp_path / "out")
    assert [str(image.relative) for image in found] == ["a.jpg", "b/c.jpg"]
    assert [str(image.relative) for image in find_images(tmp_path / "pred", tmp_path / "out")] == ["labels/a.png"]
