"""Mistakes that would make a silently wrong result: each is refused in one line that says what to type."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segdata.codecs.png import encode_label
from segdata.commands import group
from segdata.errors import SegdataError
from segdata.sampling.class_index import ClassIndex
from segdata.synthetic import write_cityscapes, write_vistas


def segdata(*words, exit_code=0):
    """Run a command; return what it printed, or the error it ended with."""
    found = CliRunner().invoke(group, [str(word) for word in words])
    if isinstance(found.exception, SegdataError):
        return str(found.exception)
    assert found.exit_code == exit_code, found.output
    return found.output


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """Return a Cityscapes root with fine, coarse and validation labels."""
    root = tmp_path_factory.mktemp("contradictions") / "city"
    write_cityscapes(root, (32, 64), train=2, val=1, train_extra=1)
    return root


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Return a Vistas download and what convert-mapillary made of it."""
    root = tmp_path_factory.mktemp("converted")
    write_vistas(root / "vistas", 3, (32, 64), validation=1)
    segdata("convert-mapillary", root / "vistas", root / "city")
    return root


def test_fine_and_coarse_labels_are_not_indexed_together(city, tmp_path):
    told = segdata("index", city, "-o", tmp_path / "x.npz")
    assert "2 labels of gtFine train" in told
    assert "Pass --annotation gtCoarse (or gtFine)" in told


def test_training_and_validation_are_not_indexed_together_unasked(city, tmp_path):
    told = segdata("index", city, "-o", tmp_path / "x.npz", "--annotation", "gtFine")
    assert "Pass --split train, or to mix them all --split train --split val" in told


def test_the_index_of_fine_training_labels_has_their_images(city, tmp_path):
    told = segdata("index", city, "-o", tmp_path / "x.npz", "--annotation", "gtFine", "--split", "train")
    assert "(2 of gtFine train)" in told
    index = ClassIndex.load(tmp_path / "x.npz")
    assert [index.image_path(number).exists() for number in range(2)] == [True, True]


def test_a_split_that_is_not_there_is_named(city, tmp_path):
    told = segdata("index", city, "-o", tmp_path / "x.npz", "--split", "training")
    assert "has no labels of training. There are 2 labels of gtFine train" in told


def test_targets_are_not_indexed_where_labels_are_asked_for(tmp_path):
    (tmp_path / "city/cpp").mkdir(parents=True)
    (tmp_path / "city/cpp/a.cpp.npz").write_bytes(b"")
    told = segdata("index", tmp_path / "city", "-o", tmp_path / "x.npz", "--encoding", "labelIds")
    assert "no label image found" in told
    assert not (tmp_path / "x.npz").exists()


def test_an_image_of_another_size_is_named_when_it_is_indexed(city, tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.png").write_bytes(encode_label(np.zeros((8, 16), np.uint8)))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (16, 9)).save(tmp_path / "images/a.jpg")
    words = ("--images", tmp_path / "images", "-o", tmp_path / "x.npz")
    told = segdata("index", tmp_path / "labels", *words, exit_code=1)
    assert "has 8x16 pixels (height x width), its image" in told
    assert "9x16. Expected the same" in told


def plain_copy(converted, tmp_path):
    """Return a folder of the converted labels under names that say nothing."""
    labels = tmp_path / "labels"
    labels.mkdir()
    for path in (converted / "city/gtFine").rglob("*.png"):
        (labels / f"{path.stem.partition('_')[0]}.png").write_bytes(path.read_bytes())
    return labels


@pytest.mark.parametrize("command", ["precompute-cpp", "index"])
def test_a_label_that_says_it_holds_train_ids_is_not_read_as_label_ids(converted, tmp_path, command):
    labels = plain_copy(converted, tmp_path)
    out = ("-o", tmp_path / "x.npz") if command == "index" else (tmp_path / "out",)
    told = segdata(command, labels, *out, "--encoding", "labelIds", exit_code=1)
    assert "says that it holds trainIds, and is read as labelIds. Pass --encoding trainIds" in told


def test_a_label_that_was_converted_is_not_converted_again(converted, tmp_path):
    mapping = ("--mapping", "vistas-v1.2-to-cityscapes", "--unmapped", "ignore")
    told = segdata("convert", plain_copy(converted, tmp_path), tmp_path / "out", *mapping, exit_code=1)
    assert "was converted by mapping 'vistas-v1.2-to-cityscapes' already" in told


def test_predictions_that_say_what_they_hold_are_not_scored_as_something_else(converted, tmp_path):
    labels = plain_copy(converted, tmp_path)
    words = ("--predictions", labels, "--labels", labels, "--prediction-encoding", "labelIds")
    assert "says that it holds trainIds, and is read as labelIds" in segdata("evaluate", *words)
