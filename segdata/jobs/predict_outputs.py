"""A prediction as the bytes of files."""

import json
from collections.abc import Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from segdata.batch.artifact import KEYWORD, Provenance
from segdata.codecs.npz import encode_npz
from segdata.codecs.png import encode_label
from segdata.inference.output_settings import Kind, PredictionSettings
from segdata.inference.predictor import Prediction
from segdata.labels.classes import IGNORE_ID
from segdata.labels.palette import color_image

ENDINGS: dict[Kind, str] = {"probabilities": ".npz"}
"""Of files that are not a PNG."""


def confidence_bytes(prediction: Prediction) -> NDArray[np.uint8]:
    """Return the probability of the most probable class as 0-255, rounded down: no pixel seems surer than it is."""
    found: NDArray[np.uint8] = np.floor(prediction.confidence * np.float32(255)).astype(np.uint8)
    return found


def sure_class_ids(prediction: Prediction, threshold: float) -> NDArray[np.uint8]:
    """Return the class ids, 255 where the confidence as it is stored is below the threshold."""
    unsure = confidence_bytes(prediction) < threshold * 255
    return np.where(unsure, np.uint8(IGNORE_ID), prediction.class_ids)


def encode_output(
    kind: Kind,
    prediction: Prediction,
    image: NDArray[np.uint8],
    settings: PredictionSettings,
    about: Provenance,
) -> bytes:
    """Return the bytes of one output file.

    Parameters
    ----------
    kind : {"labels", "confidence", "color", "overlay", "probabilities"}
        Label image; its confidence 0-255; the classes in their colors, ignored pixels black; half of that and half of
        the image; ``.npz`` of every class's probability.
    prediction : Prediction
        With probabilities where they are to be written.
    image : ndarray of uint8, shape (3, H, W)
    settings : PredictionSettings
    about : Provenance
        Written inside.
    """
    text = {KEYWORD: about.encode()}
    if kind == "probabilities":
        return _encode_probabilities(prediction, settings, text)
    if kind == "confidence":
        return encode_label(confidence_bytes(prediction), text=text)
    class_ids = sure_class_ids(prediction, settings.threshold)
    if kind == "labels":
        return encode_label(settings.values[class_ids], text=text)
    colors = color_image(class_ids, settings.table)
    if kind == "overlay":
        colors = ((colors.astype(np.uint16) + image.transpose(1, 2, 0) + 1) // 2).astype(np.uint8)
    return _encode_image(colors, text)


def _encode_image(pixels: NDArray[np.uint8], text: Mapping[str, str]) -> bytes:
    """Return an RGB PNG, text before the pixels."""
    chunks, buffer = PngInfo(), BytesIO()
    for keyword, value in text.items():
        chunks.add_text(keyword, value)
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=chunks, compress_level=1)
    return buffer.getvalue()


def _encode_probabilities(prediction: Prediction, settings: PredictionSettings, text: Mapping[str, str]) -> bytes:
    """Return an `.npz`: see docs/evaluation.md for its fields."""
    assert prediction.probabilities is not None
    names = json.dumps(settings.table.train_names, ensure_ascii=False)
    meta = text[KEYWORD]
    return encode_npz({"probabilities": prediction.probabilities, "names": _bytes_of(names), "meta": _bytes_of(meta)})


def _bytes_of(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8"), np.uint8)
