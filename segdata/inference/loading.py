"""A trained model from its checkpoint, ready to predict as its recipe says or as it is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from segdata.config.recipe import EvaluationRecipe, Recipe
from segdata.errors import SettingsError
from segdata.files import digest_of_bytes
from segdata.inference.choices import Choices
from segdata.inference.output_settings import PredictionSettings
from segdata.inference.predictor import Precision, Predictor
from segdata.labels.classes import ClassTable
from segdata.layouts import Encoding
from segdata.models import Segmenter
from segdata.models.checkpoint import find_checkpoint, load_model


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model, what it was trained by, and how it is to be applied.

    Attributes
    ----------
    path : Path
        The checkpoint.
    model : Segmenter
    recipe : Recipe
    evaluation : EvaluationRecipe
        That of the recipe with the user's choices.
    precision : {"float32", "bfloat16", "float16"}
    """

    path: Path
    model: Segmenter
    recipe: Recipe
    evaluation: EvaluationRecipe
    precision: Precision

    @property
    def table(self) -> ClassTable:
        """The classes it tells apart."""
        return self.recipe.table

    def predictor(self, device: torch.device) -> Predictor:
        """Return the model ready to predict on a device."""
        normalized = self.recipe.augmentation
        return Predictor(
            self.model, self.evaluation, device, precision=self.precision, mean=normalized.mean, std=normalized.std
        )

    def prediction_settings(self, *, encoding: Encoding, threshold: float = 0.0) -> PredictionSettings:
        """Return what decides the files of its predictions."""
        return PredictionSettings(
            model_digest=digest_of_bytes(self.path.read_bytes()),
            table=self.table,
            evaluation=self.evaluation,
            precision=self.precision,
            encoding=encoding,
            threshold=threshold,
        )


def open_model(checkpoint: Path, choices: Choices) -> TrainedModel:
    """Load a checkpoint, or the best of a run's folder.

    Raises
    ------
    StoreError
        If there is none, or it is damaged.
    SettingsError
        If a choice is out of range.
    """
    path = find_checkpoint(checkpoint)
    model, recipe = load_model(path)
    return TrainedModel(
        path=path,
        model=model,
        recipe=recipe,
        evaluation=change_evaluation(recipe.evaluation, choices.evaluation),
        precision=choices.precision or recipe.run.precision,
    )


def change_evaluation(evaluation: EvaluationRecipe, changes: Mapping[str, Any]) -> EvaluationRecipe:
    """Return settings with some of them changed, checked as a whole; a new window takes its own stride.

    Raises
    ------
    SettingsError
        If a value is out of range, or two do not fit.

    Examples
    --------
    >>> change_evaluation(EvaluationRecipe(flip=True), {"scales": (0.5, 1.0), "flip": None}).scales
    (0.5, 1.0)
    """
    given = {name: value for name, value in changes.items() if value is not None}
    before = evaluation.model_dump()
    if "window" in given:
        before["stride"] = None
    try:
        return EvaluationRecipe.model_validate(before | given)
    except ValidationError as error:
        fault = error.errors()[0]
        told = fault["msg"].removeprefix("Value error, ")
        place = ".".join(map(str, fault["loc"]))
        raise SettingsError(f"{place}: {told}" if place else told) from None
