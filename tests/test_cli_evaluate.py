"""`segdata evaluate`: a model on its validation data, and label images on labels."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from toy_model import write_toy_checkpoint

from segdata.codecs.png import encode_label, read_label
from segdata.commands.evaluate import _OF_LABELS, _OF_MODELS, command
from segdata.errors import LayoutError, SegdataError, SettingsError
from segdata.synthetic import write_cityscapes


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """Return a Cityscapes root of three validation scenes."""
    root = tmp_path_factory.mktemp("city")
    write_cityscapes(root, (32, 64), train=1, val=3)
    return root


@pytest.fixture(scope="module")
def run(city, tmp_path_factory):
    """Return the folder of a run whose validation data are there."""
    return write_toy_checkpoint(tmp_path_factory.mktemp("runs") / "toy", city)


@pytest.fixture
def predictions(city, tmp_path):
    """Return predictions: the labels, moved by two pixels."""
    for path in city.glob("gtFine/val/*/*_labelIds.png"):
        (tmp_path / path.name).write_bytes(encode_label(np.roll(read_label(path), 2, axis=1)))
    return tmp_path


def evaluate(*words, exit_code=0):
    found = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == exit_code, found.output
    return found.stdout if exit_code == 0 else found.output


def test_a_run_is_measured_on_its_own_validation_data(run):
    table = evaluate(run).splitlines()
    assert table[0].split() == ["class", "IoU", "precision", "recall", "pixels"]
    assert table[-2].startswith("mIoU ")
    assert table[-1].startswith("to compare: mIoU ")
    assert table[-2].endswith("(3 images)")


def test_json_holds_figures_counts_and_settings(run, city):
    found = json.loads(evaluate(run, "--json", "--boundary", "--scales", 0.5, 1, "--flip", "--limit", 2))
    assert np.array(found["confusion"]).shape == (19, 19)
    assert found["settings"]["scales"] == [0.5, 1.0]
    assert (found["settings"]["flip"], found["num_images"], found["data"]) == (True, 2, str(city))
    assert found["mean_boundary_iou"] is not None


def test_data_elsewhere_and_another_split(run, tmp_path):
    write_cityscapes(tmp_path, (32, 64), train=1, val=0)
    found = json.loads(evaluate(run, "--data", tmp_path, "--split", "train", "--json"))
    assert (found["num_images"], found["data"], found["splits"]) == (1, str(tmp_path), ["train"])


def test_data_of_a_recipe_with_other_classes_is_refused(run):
    with pytest.raises(SettingsError, match="has the classes 'camvid', the model was trained on 'cityscapes'"):
        evaluate(run, "--data", "camvid-pspnet-ce")


def test_a_window_without_size_is_refused_in_one_line(run):
    with pytest.raises(SettingsError, match=r"^stride: \(5, 5\) does not fit the window None"):
        evaluate(run, "--stride", 5, 5)


def test_missing_data_are_named(run, tmp_path):
    with pytest.raises(SegdataError, match="no Cityscapes layout found"):
        evaluate(run, "--data", tmp_path)


@pytest.mark.slow
def test_two_processes_print_what_one_prints(run):
    alone, both = (json.loads(evaluate(run, "--json", "--nproc", number)) for number in (1, 2))
    assert both == alone


@pytest.mark.slow
def test_a_fault_in_two_processes_is_one_line(run, tmp_path):
    with pytest.raises(SegdataError, match="no Cityscapes layout found"):
        evaluate(run, "--data", tmp_path, "--nproc", 2)


def test_label_images_are_measured_on_labels(predictions, city):
    found = json.loads(evaluate("--predictions", predictions, "--labels", city, "--split", "val", "--json"))
    assert found["encoding"] == {"labels": "trainIds", "predictions": "labelIds"}
    assert found["num_images"] == 3
    assert 0 < found["miou"] < 1


def test_labels_without_prediction_are_named(predictions, city):
    with pytest.raises(LayoutError, match="no prediction for 1 of 4 labels"):
        evaluate("--predictions", predictions, "--labels", city)


@pytest.mark.parametrize("words", [[], ["--labels", "."], ["--predictions", "."], [".", "--predictions", "."]])
def test_neither_or_half_of_both_is_a_mistake_of_usage(words):
    assert "Give either CHECKPOINT, or both --predictions and --labels" in evaluate(*words, exit_code=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", 1], "--limit has no meaning with --predictions"),
        (["--scales", 1, 2], "--scales has no meaning with --predictions"),
        (["--no-flip"], "--flip has no meaning with --predictions"),
    ],
)
def test_options_of_a_model_are_refused_for_label_images(predictions, city, words, message):
    assert message in evaluate("--predictions", predictions, "--labels", city, *words, exit_code=2)


def test_options_of_label_images_are_refused_for_a_model(run):
    assert "--classes has no meaning with CHECKPOINT" in evaluate(run, "--classes", "voc2012", exit_code=2)


def test_every_option_is_of_a_model_of_label_images_or_of_both():
    both = {"checkpoint", "splits", "boundary", "predictions", "labels", "as_json", "help", "verbosity"}
    names = {option.name for option in command.params}
    assert names - both == _OF_MODELS | _OF_LABELS


def test_label_images_are_measured_without_torch_and_pydantic(predictions, city):
    words = ["--predictions", str(predictions), "--labels", str(city), "--split", "val"]
    program = (
        "import sys; from segdata.commands.evaluate import command\n"
        f"command({words!r}, standalone_mode=False)\n"
        "print(sorted({'torch', 'pydantic'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
