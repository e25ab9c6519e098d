"""`segdata autolabel`: a model's labels and confidences, as a source to train on."""

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from toy_model import write_toy_checkpoint

from segdata.codecs.png import read_label
from segdata.commands.autolabel import command
from segdata.config.data import SourceRecipe
from segdata.config.recipe import load_recipe
from segdata.data.samples import find_samples, read_sample
from segdata.inference.choices import Choices
from segdata.inference.loading import open_model
from segdata.labels.classes import ClassTable
from segdata.synthetic import write_cityscapes
from segdata.training.loop import train


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """Return a Cityscapes root with two scenes to label."""
    root = tmp_path_factory.mktemp("city")
    write_cityscapes(root, (32, 64), train=1, val=0, train_extra=2)
    return root


@pytest.fixture(scope="module")
def run(city, tmp_path_factory):
    """Return the folder of a run."""
    return write_toy_checkpoint(tmp_path_factory.mktemp("runs") / "toy", city)


def autolabel(*words):
    found = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_the_printed_source_finds_every_label_with_image_and_confidence(run, city):
    keys = yaml.safe_load(autolabel(run, city).split("data.sources:")[1].split("\n3 files")[0].rpartition("}")[0] + "}")
    source = SourceRecipe(name="auto-coarse", **keys["auto-coarse"])
    samples = find_samples(source)
    assert [sample.key for sample in samples] == ["ostfeld_000000_000019", "pfullen_000000_000019"]
    assert all(sample.image.is_file() and sample.confidence.is_file() for sample in samples)


def test_label_ids_and_confidence_of_the_same_size_are_written(run, city, tmp_path):
    autolabel(run, city, tmp_path)
    label = tmp_path / "train_extra" / "ostfeld" / "ostfeld_000000_000019_leftImg8bit.png"
    ids, confidence = read_label(label), read_label(label.with_name(f"{label.stem}_prob.png"))
    trained = {row.id for row in ClassTable.load("cityscapes").classes if row.train_id != 255}
    assert ids.shape == confidence.shape == (32, 64)
    assert set(np.unique(ids).tolist()) <= trained


def test_a_threshold_when_labeling_is_the_same_as_one_when_reading(run, city, tmp_path):
    table, read = ClassTable.load("cityscapes"), {}
    for name, words, confidence in [("reading", [], 0.12), ("labeling", ["--threshold", 0.12], 0.0)]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "leftImg8bit").symlink_to(city / "leftImg8bit")
        autolabel(run, tmp_path / name, *words)
        keys = {"layout": "cityscapes", "annotation": "auto", "splits": ("train_extra",), "confidence": confidence}
        source = SourceRecipe(name="auto", root=tmp_path / name / "autolabeled", **keys)
        read[name] = [
            read_sample(sample, table, source.label_encoding, confidence=confidence) for sample in find_samples(source)
        ]
    np.testing.assert_array_equal(read["reading"], read["labeling"])
    assert 0 < (read["reading"][0] == 255).mean() < 1


def test_other_folders_are_labeled_whole(run, city, tmp_path):
    image = next(city.glob("leftImg8bit/train/*/*"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(image.read_bytes())
    assert autolabel(run, tmp_path / "images") == "1 file: 1 done\n"
    assert autolabel(run, tmp_path / "images") == "1 file: 1 already there\n"
    assert (tmp_path / "images" / "autolabeled" / "a_prob.png").is_file()


@pytest.mark.slow
def test_auto_labels_are_trained_on(run, city, tmp_path):
    autolabel(run, city)
    keys = yaml.safe_load((run / "toy.yaml").read_text())
    auto = {"layout": "cityscapes", "root": "autolabeled", "annotation": "auto", "splits": ["train_extra"]}
    keys["data"]["sources"] = {
        "fine": {**keys["data"]["sources"]["fine"], "share": 0.5},
        "auto-coarse": {**auto, "share": 0.5, "confidence": 0.1, "class_uniform": 1.0},
    }
    keys["data"] |= {"validation": None, "workers": 0}
    keys["schedule"] = {"batch_size": 2, "iterations": 2}
    (tmp_path / "chain.yaml").write_text(yaml.safe_dump(keys))
    result = train(load_recipe(tmp_path / "chain.yaml"), tmp_path / "student")
    assert result.step == 2
    assert open_model(tmp_path / "student", Choices(evaluation={})).recipe.name == "chain"
