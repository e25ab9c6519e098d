"""Two models on the same images, with the truth where the data set has it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from segdata.codecs.photos import read_image
from segdata.config.recipe import Recipe
from segdata.data.samples import find_samples, read_sample
from segdata.errors import LayoutError, SettingsError
from segdata.inference.choices import Choices
from segdata.inference.loading import open_model
from segdata.labels.classes import ClassTable


def panels_of(
    first: Path, second: Path, images: Sequence[Path]
) -> tuple[list[tuple[NDArray[np.uint8], NDArray[np.uint8] | None, NDArray[np.uint8], NDArray[np.uint8]]], ClassTable]:
    """Return of each image its pixels, its truth if the second model's validation data have it, and both predictions.

    Raises
    ------
    SettingsError
        If the models tell other classes apart.
    """
    models = [open_model(path, Choices(evaluation={})) for path in (first, second)]
    tables = [trained.table for trained in models]
    if tables[0].digest != tables[1].digest:
        raise SettingsError(
            f"{first} and {second}: tell apart the classes of '{tables[0].name}' and '{tables[1].name}'."
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictors = [trained.predictor(device) for trained in models]
    truths = _truths(models[1].recipe, images)
    found = []
    for path in images:
        pixels = read_image(path)
        one, other = (predictor.predict(pixels).class_ids for predictor in predictors)
        found.append((pixels, truths.get(path.resolve()), one, other))
    return found, tables[1]


def _truths(recipe: Recipe, images: Sequence[Path]) -> dict[Path, NDArray[np.uint8]]:
    """Return the labels of those images that the validation data of a recipe have; none where these are not at hand."""
    source = recipe.data.located_validation
    if source is None:
        return {}
    try:
        samples = find_samples(source)
    except LayoutError:
        return {}
    wanted = {path.resolve() for path in images}
    return {
        sample.image.resolve(): read_sample(sample, recipe.table, source.label_encoding, confidence=source.confidence)
        for sample in samples
        if sample.image is not None and sample.image.resolve() in wanted
    }
