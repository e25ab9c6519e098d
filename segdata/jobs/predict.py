"""Predict many images through the batch runner: one after the other, what is done and valid kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segdata.batch.artifact import Provenance, StaleError, facts_to_keep, read_provenance
from segdata.batch.run import Job, Plan, RunResult, run_plan
from segdata.batch.work import BatchSettings, Outcome
from segdata.codecs.photos import decode_image
from segdata.codecs.png import read_bytes
from segdata.files import digest_of_bytes, refuse_shared_targets, write_atomic
from segdata.inference.output_settings import PredictionSettings
from segdata.inference.predictor import Prediction, Predictor
from segdata.jobs.predict_outputs import encode_output, sure_class_ids
from segdata.jobs.predict_sources import ImageItem
from segdata.labels.classes import IGNORE_ID


@dataclass(frozen=True, kw_only=True)
class PredictionPlan(Plan[ImageItem]):
    """What a run of ``predict`` or ``autolabel`` predicts.

    Attributes
    ----------
    settings : PredictionSettings
    predictor : Predictor
        Made with these settings.
    """

    settings: PredictionSettings
    predictor: Predictor = field(repr=False)

    @property
    def recorded(self) -> dict[str, Any]:
        """What determines the outputs."""
        return self.settings.recorded()

    @property
    def job(self) -> "PredictionJob":
        """What is done with each image."""
        return PredictionJob(self.tool, self.settings, self.predictor)

    def sources(self, item: ImageItem) -> list[Path]:
        """Return the image."""
        return [item.image]

    def targets(self, item: ImageItem) -> list[Path]:
        """Return the files that an item may write."""
        return list(item.targets.values())

    def totals(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Return the pixels of each class, by name, and how many images went through smaller windows."""
        pixels: Counter[str] = Counter()
        for outcome in outcomes:
            pixels.update(outcome.facts.get("pixels", {}))
        names = {str(class_id): name for class_id, name in enumerate(self.settings.table.train_names)}
        return {
            "pixels": {name: pixels[class_id] for class_id, name in names.items()},
            "ignored": pixels[str(IGNORE_ID)],
            "tiled": sum(bool(outcome.facts.get("tiled")) for outcome in outcomes),
        }


@dataclass(frozen=True)
class PredictionJob(Job[ImageItem]):
    """Predict an image and write its files, in the one process that holds the model."""

    tool: str
    settings: PredictionSettings
    predictor: Predictor

    def read(self, item: ImageItem) -> bytes:
        """Return the bytes of the image."""
        return read_bytes(item.image)

    def match(self, item: ImageItem, source: bytes) -> dict[str, Any] | None:
        """Return the facts that all of an image's outputs hold; None if one of them is to be made."""
        recorded, digest = self.settings.recorded(), digest_of_bytes(source)
        found, stale = [], None
        for path in item.targets.values():
            provenance = read_provenance(path, self.tool)
            try:
                found.append(facts_to_keep(path, provenance, tool=self.tool, settings=recorded, digest=digest))
            except StaleError as error:  # told after all of them: --update replaces them if none is a foreign file
                stale = stale or error
        if stale is not None:
            raise stale
        return None if None in found else found[0]

    def make(self, item: ImageItem, source: bytes) -> dict[str, Any]:
        """Predict an image, write all of its outputs and return the facts in them."""
        image = decode_image(source, str(item.image))
        prediction = self.predictor.predict(image, keep_probabilities="probabilities" in item.targets)
        facts = {"digest": digest_of_bytes(source), **_facts_of(prediction, self.settings)}
        about = Provenance(tool=self.tool, settings=self.settings.recorded(), facts=facts)
        for kind, path in item.targets.items():
            write_atomic(path, encode_output(kind, prediction, image, self.settings, about))
        return facts


def run_predictions(plan: PredictionPlan, batch: BatchSettings) -> RunResult:
    """Predict what is planned and write the report ``OUT/<tool>.json``; see `segdata.batch.run.run_plan`.

    Parameters
    ----------
    plan : PredictionPlan
    batch : BatchSettings
        With one job: a model is held once. To use several GPUs, start a shard on each.

    Raises
    ------
    SettingsError
        If OUT holds output of other settings, or two images would be written to the same file.
    StoreError
        If OUT cannot be written at all.
    """
    assert batch.num_processes == 1, "a model is held by one process"
    refuse_shared_targets((item.image, path) for item in plan.items for path in item.targets.values())
    return run_plan(plan, batch)


def _facts_of(prediction: Prediction, settings: PredictionSettings) -> dict[str, Any]:
    """Return what the report wants to know of a prediction."""
    height, width = prediction.class_ids.shape
    pixels = np.bincount(sure_class_ids(prediction, settings.threshold).ravel(), minlength=256)
    return {
        "height": height,
        "width": width,
        "pixels": {str(class_id): int(pixels[class_id]) for class_id in np.flatnonzero(pixels)},
        "tiled": prediction.tiled,
    }
