"""Samples of a source, whatever its layout, and the training ids in their labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from miniature import write_image, write_label, write_text

from segdata.codecs.png import encode_label
from segdata.config.data import SourceRecipe
from segdata.data.samples import find_samples, list_samples, read_sample
from segdata.errors import LabelError, LayoutError
from segdata.jobs.check_sample import SampleItem, check_sample
from segdata.labels.classes import ClassTable
from segdata.labels.reading import encoding_of
from segdata.layouts.base import LabeledImage
from segdata.synthetic import write_cityscapes, write_vistas

CITY = ClassTable.load("cityscapes")


def write_city(root: Path) -> Path:
    for split, key in (("train", "a"), ("val", "b")):
        write_image(root / f"leftImg8bit/{split}/lindau/{key}_leftImg8bit.png")
        write_label(root / f"gtFine/{split}/lindau/{key}_gtFine_labelIds.png", [[7, 0], [33, 26]])
    return root


def source(root: Path, layout: str = "cityscapes", **others: object) -> SourceRecipe:
    return SourceRecipe.model_validate({"name": "s", "layout": layout, "root": root, **others})


def sample(label: Path, confidence: Path | None = None) -> LabeledImage:
    return LabeledImage("k", "train", label, None, Path(label.name), confidence)


def test_only_the_splits_asked_for(tmp_path: Path) -> None:
    assert [item.key for item in find_samples(source(write_city(tmp_path), splits=["val"]))] == ["b"]


@pytest.mark.parametrize("split", ["val/", "./val"])
@pytest.mark.parametrize("layout", ["cityscapes", "images-masks"])
def test_a_split_may_be_written_as_a_folder(tmp_path: Path, split: str, layout: str) -> None:
    write_city(tmp_path)
    for name in ("train", "val"):
        write_image(tmp_path / f"images/{name}/{name}.png")
        write_label(tmp_path / f"masks/{name}/{name}.png", [[7]])
    assert [item.split for item in find_samples(source(tmp_path, layout, splits=["val", split]))] == ["val"]


def test_no_other_file_name_stands_for_a_split(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"no split 'val\.txt'"):
        find_samples(source(write_city(tmp_path), splits=["val.txt"]))


@pytest.mark.parametrize("split", ["fold.1", "a/train"])
def test_a_split_may_have_a_dot_or_be_a_folder_below(tmp_path: Path, split: str) -> None:
    write_image(tmp_path / f"images/{split}/k.png")
    write_label(tmp_path / f"masks/{split}/k.png", [[7]])
    assert [item.split for item in find_samples(source(tmp_path, "images-masks", splits=[split]))] == [split]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"encoding": "trainIds"}, "says that it holds trainIds, and is read as labelIds"),
        ({"classes_digest": "0" * 32, "classes": "mine"}, "says that its classes are 'mine', and is read as 'city"),
        ({"classes_digest": "0" * 32, "classes": "cityscapes"}, "was made with another class table of the name 'city"),
    ],
)
def test_a_label_that_says_it_holds_other_ids_is_refused(tmp_path: Path, told: dict, message: str) -> None:
    path = tmp_path / "a_labelIds.png"
    text = {"segdata": json.dumps({"settings": told})}
    path.write_bytes(encode_label(np.full((4, 4), 7, np.uint8), text=text))
    with pytest.raises(LabelError, match=message):
        read_sample(sample(path), CITY)
    item = SampleItem(source="s", sample=sample(path), encoding="auto", confidence=0.0)
    assert message in check_sample(item, CITY).facts["faults"][0][1]


def test_a_split_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"no split 'trian' in the layout 'cityscapes'\. There are train, val\."):
        find_samples(source(write_city(tmp_path), splits=["train", "trian"]))


def test_images_without_a_label_are_left_out_but_listed(tmp_path: Path) -> None:
    write_image(write_city(tmp_path) / "leftImg8bit/train/lindau/c_leftImg8bit.png")
    assert [item.key for item in find_samples(source(tmp_path))] == ["a"]
    assert [item.key for item in list_samples(source(tmp_path))] == ["a", "c"]


def test_a_label_without_its_image_is_refused(tmp_path: Path) -> None:
    write_label(write_city(tmp_path) / "gtFine/train/lindau/c_gtFine_labelIds.png", [[7]])
    with pytest.raises(LayoutError, match=r"c_gtFine_labelIds\.png: has no image \(1 of 2 labels\)"):
        find_samples(source(tmp_path))


def test_auto_labels_come_with_their_confidence(tmp_path: Path) -> None:
    write_cityscapes(tmp_path, (32, 64), train=1, val=0, train_extra=2, auto_labels=True)
    found = find_samples(source(tmp_path / "autolabeled", annotation="auto", splits=["train_extra"]))
    assert len(found) == 2
    assert all(item.confidence and item.image for item in found)
    assert read_sample(found[0], CITY, "auto", confidence=1.0).shape == (32, 64)


def test_vistas_is_read_by_its_own_classes(tmp_path: Path) -> None:
    write_vistas(tmp_path, 2, (32, 64), validation=1)
    found = find_samples(source(tmp_path, "vistas", splits=["training"], annotation="v1.2"))
    assert len(found) == 1
    assert read_sample(found[0], ClassTable.load("vistas-v1.2"), "labelIds").shape == (32, 64)


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("a_gtFine_labelTrainIds.png", "trainIds"),
        ("a_gtCoarse_labelIds.png", "labelIds"),
        ("a_leftImg8bit.png", "labelIds"),
        ("a.png", "trainIds"),
    ],
)
def test_file_names_tell_the_encoding(name: str, meaning: str) -> None:
    assert encoding_of(Path(name)) == meaning


def test_label_ids_become_training_ids(tmp_path: Path) -> None:
    label = write_label(tmp_path / "a_gtFine_labelIds.png", [[7, 0], [33, 26]])
    assert read_sample(sample(label), CITY).tolist() == [[0, 255], [18, 13]]


def test_training_ids_stay_and_255_is_ignored(tmp_path: Path) -> None:
    label = write_label(tmp_path / "a.png", [[0, 18, 255]])
    assert read_sample(sample(label), CITY).tolist() == [[0, 18, 255]]


def test_an_unknown_id_is_named_with_its_first_place(tmp_path: Path) -> None:
    label = write_label(tmp_path / "a.png", [[0, 255], [26, 26]])
    with pytest.raises(
        LabelError, match=r"id 26 is not in 'cityscapes' as trainIds \(2 pixels, first at row 1, column 0\)"
    ):
        read_sample(sample(label), CITY)


def test_unsure_pixels_are_ignored_below_the_threshold(tmp_path: Path) -> None:
    label = write_label(tmp_path / "a.png", [[1, 2, 3]])
    sure = write_label(tmp_path / "a_prob.png", [[127, 128, 255]])
    assert read_sample(sample(label, sure), CITY, confidence=0.5).tolist() == [[255, 2, 3]]
    assert read_sample(sample(label, sure), CITY).tolist() == [[1, 2, 3]]


def test_a_confidence_of_another_size_is_refused(tmp_path: Path) -> None:
    label = write_label(tmp_path / "a.png", [[1, 2, 3]])
    sure = write_label(tmp_path / "a_prob.png", [[1, 2]])
    with pytest.raises(LabelError, match=r"a_prob\.png: has \(1, 2\) pixels, its label \(1, 3\)"):
        read_sample(sample(label, sure), CITY, confidence=0.5)


def test_a_list_file_is_a_layout_too(tmp_path: Path) -> None:
    write_text(tmp_path / "lists" / "mine.txt", "a.jpg a.png\n")
    assert [item.split for item in find_samples(source(tmp_path, "list", splits=["lists/mine.txt"]))] == ["mine"]
