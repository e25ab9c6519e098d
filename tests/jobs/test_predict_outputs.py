"""A prediction as files: what each of them holds."""

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segdata.batch.artifact import Provenance
from segdata.codecs.png import decode_label
from segdata.codecs.png_chunks import read_text
from segdata.config.steps import EvaluationRecipe
from segdata.errors import SettingsError
from segdata.inference.output_settings import PredictionSettings
from segdata.inference.predictor import Prediction
from segdata.jobs.predict_outputs import encode_output
from segdata.labels.classes import ClassTable

TABLE = ClassTable.load("cityscapes")
IMAGE = np.array([[[0, 100]], [[50, 101]], [[255, 102]]], np.uint8)  # two pixels: (0, 50, 255) and (100, 101, 102)
ABOUT = Provenance(tool="predict", settings={}, facts={})


def prediction_of(confidence=(0.5, 0.999)):
    """Return two pixels: road, car."""
    probabilities = np.zeros((19, 1, 2), np.float16)
    probabilities[0, 0, 0], probabilities[13, 0, 1] = confidence
    ids = np.array([[0, 13]], np.uint8)
    return Prediction(ids, np.array([confidence], np.float32), probabilities, tiled=False)


def settings_of(**changes):
    return PredictionSettings(model_digest="0", table=TABLE, evaluation=EvaluationRecipe(), **changes)


def encode(kind, prediction=None, **changes):
    return encode_output(kind, prediction or prediction_of(), IMAGE, settings_of(**changes), ABOUT)


@pytest.mark.parametrize(("encoding", "expected"), [("trainIds", [[0, 13]]), ("labelIds", [[7, 26]])])
def test_labels_hold_the_encoding_asked_for(encoding, expected):
    assert decode_label(encode("labels", encoding=encoding), "x").tolist() == expected


@pytest.mark.parametrize(("encoding", "expected"), [("trainIds", [[255, 13]]), ("labelIds", [[0, 26]])])
def test_pixels_below_the_threshold_are_ignored(encoding, expected):
    assert decode_label(encode("labels", encoding=encoding, threshold=0.6), "x").tolist() == expected


def test_confidence_is_0_to_255_rounded_down():
    confidence = [0.0, 1 / 255, 0.999, 1.0]
    prediction = Prediction(np.zeros((1, 4), np.uint8), np.array([confidence], np.float32), None, tiled=False)
    data = encode_output("confidence", prediction, np.zeros((3, 1, 4), np.uint8), settings_of(), ABOUT)
    assert decode_label(data, "x").tolist() == [[0, 1, 254, 255]]


def test_a_threshold_on_writing_is_that_of_a_reader_of_the_confidence(rng):
    confidence = rng.random((1, 1000)).astype(np.float32)
    prediction = Prediction(np.zeros((1, 1000), np.uint8), confidence, None, tiled=False)
    image = np.zeros((3, 1, 1000), np.uint8)
    written = decode_label(encode_output("labels", prediction, image, settings_of(threshold=0.9), ABOUT), "x")
    stored = decode_label(encode_output("confidence", prediction, image, settings_of(), ABOUT), "x")
    np.testing.assert_array_equal(written == 255, stored < 0.9 * 255)


def test_color_and_overlay():
    road, car = TABLE.train_colors[[0, 13]].astype(int)
    with Image.open(BytesIO(encode("color"))) as image:
        assert np.asarray(image).tolist() == [[road.tolist(), car.tolist()]]
    with Image.open(BytesIO(encode("overlay", threshold=0.6))) as image:  # the first pixel is ignored: black
        expected = [[0, 25, 128], ((car + [100, 101, 102] + 1) // 2).tolist()]
        assert np.asarray(image).tolist() == [expected]


def test_probabilities_are_what_plain_numpy_loads():
    with np.load(BytesIO(encode("probabilities"))) as found:
        assert set(found) == {"probabilities", "names", "meta"}
        np.testing.assert_array_equal(found["probabilities"], prediction_of().probabilities)
        assert found["probabilities"].dtype == np.float16
        assert json.loads(found["names"].tobytes()) == list(TABLE.train_names)
        assert json.loads(found["meta"].tobytes()) == json.loads(ABOUT.encode())


@pytest.mark.parametrize("kind", ["labels", "confidence", "color", "overlay"])
def test_every_png_says_what_made_it(kind):
    assert json.loads(read_text(encode(kind), "x")["segdata"]) == json.loads(ABOUT.encode())


def test_ids_without_one_for_ignored_pixels_take_no_threshold():
    table = ClassTable("two", TABLE.classes[7:9])
    with pytest.raises(SettingsError, match=r"threshold 0\.5: 'two' has no id for what is ignored"):
        PredictionSettings(
            model_digest="0", table=table, evaluation=EvaluationRecipe(), encoding="labelIds", threshold=0.5
        )


def test_a_threshold_is_a_probability():
    with pytest.raises(SettingsError, match="threshold 90"):
        settings_of(threshold=90)
