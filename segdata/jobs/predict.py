"""Predict many images through the batch runner: one after the other, what is done and valid kept."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segdata.batch.report import open_run
from segdata.batch.run import BatchSettings, Outcome, run_batch, take_shard
from segdata.codecs.photos import decode_image
from segdata.codecs.png import read_bytes
from segdata.files import digest_of_bytes, refuse_shared_targets, write_atomic
from segdata.inference.predictor import Prediction, Predictor
from segdata.inference.settings import PredictionSettings
from segdata.jobs.predict_outputs import encode_output, sure_class_ids
from segdata.jobs.predict_provenance import describe_output, kept_facts
from segdata.jobs.predict_sources import ImageItem
from segdata.labels.classes import IGNORE_ID


@dataclass(frozen=True, kw_only=True)
class PredictionPlan:
    """What a run predicts.

    Attributes
    ----------
    tool : str
        The command's name, which is also that of the report.
    source, out : Path
        IMAGES and OUT, absolute.
    items : sequence of ImageItem
        All images, whatever the shard.
    settings : PredictionSettings
    """

    tool: Literal["predict", "autolabel"]
    source: Path
    out: Path
    items: Sequence[ImageItem]
    settings: PredictionSettings


@dataclass(frozen=True)
class PredictionWork:
    """The work of a run on one image, in the one process that holds the model."""

    predictor: Predictor
    plan: PredictionPlan
    batch: BatchSettings

    def __call__(self, item: ImageItem) -> Outcome:
        """Predict the image and write its files, unless all are there and valid."""
        data = read_bytes(item.image)
        told = {"source": item.source, "target": item.target}
        kept = None if self.batch.overwrite else self._kept(item, digest_of_bytes(data))
        if kept is not None:
            return Outcome(key=item.key, status="kept", facts=told | kept)
        if self.batch.dry_run:
            return Outcome(key=item.key, status="todo", facts=told)
        return Outcome(key=item.key, status="done", facts=told | self._make(item, data))

    def _kept(self, item: ImageItem, digest: str) -> dict[str, Any] | None:
        """Return the facts that all of an image's outputs hold; None if one of them is to be made."""
        recorded = self.plan.settings.recorded()
        found = [kept_facts(path, self.plan.tool, recorded, digest) for path in item.targets.values()]
        return None if None in found else found[0]

    def _make(self, item: ImageItem, data: bytes) -> dict[str, Any]:
        """Predict an image, write all of its outputs and return the facts in them."""
        settings = self.plan.settings
        image = decode_image(data, str(item.image))
        prediction = self.predictor.predict(image, keep_probabilities="probabilities" in item.targets)
        facts = {"digest": digest_of_bytes(data), **_facts_of(prediction, settings)}
        about = describe_output(self.plan.tool, settings.recorded(), facts)
        for kind, path in item.targets.items():
            write_atomic(path, encode_output(kind, prediction, image, settings, about))
        return facts


def run_predictions(
    plan: PredictionPlan, predictor: Predictor, batch: BatchSettings
) -> tuple[list[Outcome], dict[str, Any]]:
    """Predict what is planned and write the report ``OUT/<tool>.json``.

    Parameters
    ----------
    plan : PredictionPlan
    predictor : Predictor
        Made with the settings of the plan.
    batch : BatchSettings
        With one job: a model is held once. To use several GPUs, start a shard on each.

    Returns
    -------
    outcomes : list of Outcome
        One per image of the shard, and one for the report if it cannot be written at the end.
    report : dict
        As written; see `segdata.batch.report`.

    Raises
    ------
    SettingsError
        If OUT holds output of other settings, or two images would be written to the same file.
    StoreError
        If OUT cannot be written at all.
    """
    assert batch.num_processes == 1, "a model is held by one process"
    refuse_shared_targets((item.image, path) for item in plan.items for path in item.targets.values())
    mine = take_shard(plan.items, batch.shard)
    with open_run(
        plan.out / f"{plan.tool}.json",
        tool=plan.tool,
        source=plan.source,
        settings=plan.settings.recorded(),
        batch=batch,
        targets=[path for item in mine for path in item.targets.values()],
    ) as run:
        outcomes = run_batch(PredictionWork(predictor, plan, batch), plan.items, batch)
        totals = _sum_up(outcomes, plan.settings)
        report, faults = run.conclude([_without_counts(outcome) for outcome in outcomes], totals)
    return [*outcomes, *faults], report


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


def _sum_up(outcomes: Sequence[Outcome], settings: PredictionSettings) -> dict[str, Any]:
    """Return the pixels of each class, by name, and how many images went through smaller windows."""
    pixels: Counter[str] = Counter()
    for outcome in outcomes:
        pixels.update(outcome.facts.get("pixels", {}))
    names = {str(class_id): name for class_id, name in enumerate(settings.table.train_names)}
    return {
        "pixels": {name: pixels[class_id] for class_id, name in names.items()},
        "ignored": pixels[str(IGNORE_ID)],
        "tiled": sum(bool(outcome.facts.get("tiled")) for outcome in outcomes),
    }


def _without_counts(outcome: Outcome) -> Outcome:
    """Leave the pixels of each class to the outputs and the totals; the report keeps one short line per file."""
    return replace(outcome, facts={name: fact for name, fact in outcome.facts.items() if name != "pixels"})
