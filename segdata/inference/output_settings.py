"""What decides the files of a prediction."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segdata.config.steps import EvaluationRecipe
from segdata.errors import SettingsError
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.layouts import Encoding

Kind = Literal["labels", "color", "overlay", "probabilities", "confidence"]


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """What decides the bytes of the output files, the image apart.

    Attributes
    ----------
    model_digest : str
        Of the checkpoint's bytes.
    table : ClassTable
        The classes of the model.
    evaluation : EvaluationRecipe
        Scales, flip, window.
    precision : {"float32", "bfloat16", "float16"}
        Of the model's arithmetic.
    encoding : {"trainIds", "labelIds"}
        What label images hold.
    threshold : float
        Pixels whose confidence is lower become ignored in label images; 0 keeps all.
    """

    model_digest: str
    table: ClassTable
    evaluation: EvaluationRecipe
    precision: str = "float32"
    encoding: Encoding = "trainIds"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise SettingsError(f"threshold {self.threshold}: expected a probability from 0 to 1.")
        if self.threshold > 0 and self.encoding == "labelIds" and self.table.void_id is None:
            raise SettingsError(
                f"threshold {self.threshold}: '{self.table.name}' has no id for what is ignored. Write trainIds."
            )

    def recorded(self) -> dict[str, Any]:
        """Return what outputs and report say of the settings, as JSON can hold it."""
        applied = self.evaluation.model_dump(mode="json", include={"scales", "flip", "average", "window", "stride"})
        return {
            "model_digest": self.model_digest,
            "classes": self.table.name,
            "classes_digest": self.table.digest,
            "encoding": self.encoding,
            "threshold": self.threshold,
            "precision": self.precision,
            **applied,
        }

    @cached_property
    def values(self) -> NDArray[np.uint8]:
        """What a label image holds for each training id, and for `IGNORE_ID`; shape (256,)."""
        if self.encoding == "trainIds":
            return np.arange(256, dtype=np.uint8)
        values = np.full(256, 0 if self.table.void_id is None else self.table.void_id, np.uint8)
        for row in self.table.classes:
            if row.train_id != IGNORE_ID:
                values[row.train_id] = row.id
        return values
