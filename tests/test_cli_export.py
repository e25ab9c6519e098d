"""`segdata export`: an ONNX file that onnxruntime runs to the model's own results."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from toy_model import write_toy_checkpoint

from segdata.codecs.png import read_label
from segdata.commands.export import command
from segdata.commands.predict import command as predict_command
from segdata.errors import SegdataError, SettingsError
from segdata.inference.choices import Choices
from segdata.inference.export import DeployedModel, refuse_other_results
from segdata.inference.loading import open_model

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.optional


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a run."""
    folder = tmp_path_factory.mktemp("runs")
    return write_toy_checkpoint(folder / "toy", folder)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """Return the ONNX file of its model for images of 32 x 48, and what the command printed."""
    path = tmp_path_factory.mktemp("onnx") / "toy.onnx"
    return path, call(command, run, path, "--size", 32, 48, "--json")


def call(command, *words):
    found = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture(scope="module")
def resizing(tmp_path_factory):
    """Return a run whose images are resized before they are predicted, and the ONNX file of its model."""
    folder = tmp_path_factory.mktemp("resizing")
    run = write_toy_checkpoint(folder / "toy", folder, evaluation={"resize": [256, 80]})
    call(command, run, folder / "toy.onnx", "--size", 32, 48)
    return run, folder / "toy.onnx"


@pytest.mark.parametrize("num_images", [1, 5])
@pytest.mark.parametrize("resized", [False, True])
def test_the_file_gives_what_predict_writes(request, run, exported, tmp_path, rng, num_images, resized):
    folder, file = request.getfixturevalue("resizing") if resized else (run, exported[0])
    images = rng.integers(0, 256, (num_images, 32, 48, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "in" / f"{number}.png")
    call(predict_command, folder, tmp_path / "in", tmp_path / "out", "--write", "labels", "--write", "probabilities")

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    probabilities, class_ids = session.run(None, {"images": images.transpose(0, 3, 1, 2)})

    # Of a resized image, pixels halfway between two whole numbers are rounded either way.
    atol, alike = (1e-2, 0.99) if resized else (1e-3, 0.999)  # where two classes are as likely, rounding decides
    for number in range(num_images):
        with np.load(tmp_path / "out" / "probabilities" / f"{number}.npz") as found:
            np.testing.assert_allclose(probabilities[number], found["probabilities"], atol=atol)
        same = class_ids[number] == read_label(tmp_path / "out" / "labels" / f"{number}.png")
        assert same.mean() > alike


def test_the_contract_is_in_the_file(exported):
    session = onnxruntime.InferenceSession(exported[0], providers=["CPUExecutionProvider"])
    (images,), (probabilities, class_ids) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape[1:]) == ("images", "tensor(uint8)", [3, 32, 48])
    assert isinstance(images.shape[0], str)  # any number
    assert (probabilities.name, probabilities.type, probabilities.shape[1:]) == (
        "probabilities",
        "tensor(float)",
        [19, 32, 48],
    )
    assert (class_ids.name, class_ids.type, class_ids.shape[1:]) == ("class_ids", "tensor(uint8)", [32, 48])
    about = json.loads(session.get_modelmeta().custom_metadata_map["segdata"])
    assert (about["classes"][0], about["size"], about["flip"]) == ("road", [32, 48], False)
    printed = json.loads(exported[1])
    assert printed.pop("largest_difference") < 1e-4
    assert printed == about | {"file": str(exported[0])}


def test_a_file_that_is_there_is_kept(run, tmp_path):
    path = tmp_path / "a.onnx"
    path.write_bytes(b"mine")
    with pytest.raises(SettingsError, match=r"a\.onnx: is there already"):
        call(command, run, path)
    assert path.read_bytes() == b"mine"


def test_a_file_that_differs_from_the_model_is_refused(exported, tmp_path):
    other = open_model(write_toy_checkpoint(tmp_path / "run", tmp_path, seed=1), Choices(evaluation={}))
    with pytest.raises(SegdataError, match=r"a\.onnx: onnxruntime's probabilities differ .* Nothing was written"):
        refuse_other_results(DeployedModel(other, (32, 48)), exported[0].read_bytes(), (32, 48), "a.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        {"name": "pspnet", "backbone": "resnet_tiny"},
        {"name": "hmsa", "backbone": "hrnet_tiny", "head_channels": 16},
        {"name": "seethroughnet", "backbone": "hrnet_tiny", "head_channels": 16},
    ],
    ids=lambda model: model["name"],
)
def test_models_of_every_kind_are_exported(tmp_path, model):
    run = write_toy_checkpoint(tmp_path / "run", tmp_path, model=model)
    found = json.loads(call(command, run, tmp_path / "a.onnx", "--size", 64, 96, "--flip", "--json"))
    assert found["largest_difference"] < 2e-3
