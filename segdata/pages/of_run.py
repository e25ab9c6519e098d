"""The page of a training run: its curves, its classes, and, with predictions, its confusions and its worst images."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.photos import read_image
from segdata.config.recipe import Recipe, load_recipe, recipe_digest
from segdata.data.samples import find_samples
from segdata.errors import SettingsError
from segdata.experiments.results import METRICS, read_metrics
from segdata.jobs.compare import LabelFile, compare, pair_samples
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.labels.reading import encoding_of
from segdata.layouts import Encoding, LabeledImage
from segdata.logs import progress_bar
from segdata.metrics.scores import Scores
from segdata.pages.charts import line_chart
from segdata.pages.html import Cell, Part, bar, facts, paragraph, swatch, table
from segdata.pages.thumbnails import gallery, label_layer, photo_layer, stack

RECIPE = "recipe.yaml"
NUM_SHOWN = 24
"""Images with the lowest mIoU that are shown; two more of each class."""
_PER_CLASS = 2
_MOST_SHOWN = 60


class ImageScores(NamedTuple):
    """The scores of single images.

    Attributes
    ----------
    total : Scores
        Of all together.
    names : list of str
    miou : list of float
        Mean over the classes in label or prediction; nan of an image whose label is wholly ignored.
    iou : ndarray of float64, shape (N, K)
        nan where a class stands in neither.
    """

    total: Scores
    names: list[str]
    miou: list[float]
    iou: NDArray[np.float64]


def sections_of_run(
    folder: Path, predictions: Path | None, *, progress: bool = False
) -> tuple[list[Part], dict[str, Any]]:
    """Return the page of what `segdata train` wrote, and the data of its program.

    Parameters
    ----------
    folder : Path
    predictions : Path, optional
        What `segdata predict` wrote for the images of the recipe's validation source.
    progress : bool
        Show how far the comparison is.

    Raises
    ------
    SegdataError
        If the recipe or a file cannot be read, or a prediction is missing.
    """
    recipe = load_recipe(folder / RECIPE)
    records = read_metrics(folder / METRICS)
    steps = [one for one in records if one.get("kind") == "train"]
    evaluations = [one for one in records if one.get("kind") == "evaluation"]
    sections = [
        Part("Overview", _overview(recipe, steps, evaluations)),
        Part("Over training", f'<div class="charts">{"".join(_charts(steps, evaluations))}</div>'),
    ]
    if evaluations:
        sections.append(Part("Classes", _classes(recipe.table, evaluations)))
    if predictions is None:
        return sections, {}
    found = _images_of(recipe)
    scores = _image_scores(found, predictions, recipe.table, progress=progress)
    sections += [
        Part("Confusion", _confusion(scores.total)),
        Part("Images", _explorer(scores)),
        Part("Images to look at", _shots(found, predictions, scores, recipe.table)),
    ]
    return sections, {"scores": _as_data(scores)}


def _overview(recipe: Recipe, steps: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]]) -> str:
    best = max(evaluations, key=lambda one: one["miou"], default=None)
    last = steps[-1] if steps else {}
    height, width = recipe.augmentation.crop
    speed = last.get("speed", {})
    return facts(
        [
            ("recipe", recipe.name),
            ("model", f"{recipe.model.name} on {recipe.model.backbone or 'its default backbone'}"),
            ("loss", recipe.loss.main),
            ("auxiliary loss", "none" if recipe.model.aux_stages == () else recipe.loss.auxiliary),
            ("optimizer", f"{recipe.optimizer.name}, rate {recipe.optimizer.lr:g}"),
            ("weight decay", f"{recipe.optimizer.weight_decay:g}"),
            ("a step", f"{recipe.schedule.batch_size} crops of {height}x{width}"),
            ("steps logged", f"{last['step']:,}" if last else "none yet"),
            ("best mIoU", None if best is None else f"{100 * best['miou']:.2f} after step {best['step']:,}"),
            ("last mIoU", f"{100 * evaluations[-1]['miou']:.2f}" if evaluations else None),
            ("images per second", f"{speed['images_per_second']:.1f} at the end" if speed else None),
            ("steps skipped", last.get("skipped_steps") or None),
            ("images left out", last.get("left_out_images") or None),
            ("seed", recipe.seed),
            ("digest", recipe_digest(recipe)),
        ]
    )  # fmt: skip


def _charts(steps: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    def curve(
        lines: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], Any]
    ) -> list[tuple[float, float]]:
        points = [(float(line["step"]), value(line)) for line in lines]
        return [(step, float(number)) for step, number in points if number is not None]

    parts = dict.fromkeys(name for line in steps for name in line.get("parts", {}))
    losses = {"all": curve(steps, lambda line: line.get("loss"))}
    losses |= {name: [(line["step"], line["parts"][name]) for line in steps if name in line["parts"]] for name in parts}
    yield line_chart("loss", losses)
    weights = dict.fromkeys(one.get("weights", "model") for one in evaluations)
    scored = {
        f"mIoU of the {which}": curve([one for one in evaluations if one.get("weights", "model") == which], _miou)
        for which in weights
    }
    if any("mean_boundary_iou" in one for one in evaluations):
        scored["boundary IoU"] = curve(
            evaluations, lambda one: None if one.get("mean_boundary_iou") is None else 100 * one["mean_boundary_iou"]
        )
    yield line_chart("validation, in percent", scored)
    yield line_chart("learning rate", {"rate": curve(steps, lambda line: line.get("lr"))})
    yield line_chart("gradient norm", {"norm": curve(steps, lambda line: line.get("gradient_norm"))})
    yield line_chart(
        "images per second", {"speed": curve(steps, lambda line: line.get("speed", {}).get("images_per_second"))}
    )


def _miou(line: Mapping[str, Any]) -> float:
    return 100 * float(line["miou"])


def _classes(classes: ClassTable, evaluations: Sequence[Mapping[str, Any]]) -> str:
    last, first = evaluations[-1], evaluations[0]
    borders = last.get("boundary_iou") or {}
    head = ["class", f"IoU after step {last['step']:,}", f"after step {first['step']:,}"]
    head += ["boundary IoU"] if borders else []
    rows = []
    for name, color in zip(classes.train_names, classes.train_colors, strict=True):
        value = last["iou"].get(name)
        cells = [swatch(color, name), "-" if value is None else bar(value, f"{100 * value:.2f}")]
        cells.append(_percent(first["iou"].get(name)))
        rows.append([*cells, _percent(borders.get(name))] if borders else cells)
    return table(head, rows, caption="in percent, on the validation images")


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def _images_of(recipe: Recipe) -> list[tuple[LabeledImage, Encoding]]:
    """Return the validation images, each with what the values of its label are."""
    source = recipe.data.located_validation
    if source is None:
        raise SettingsError(
            f"recipe '{recipe.name}': has no validation source, whose labels predictions are held against."
        )
    samples = [sample for sample in find_samples(source) if sample.label is not None]
    return [(sample, encoding_of(sample.label, source.label_encoding)) for sample in samples if sample.label]


def _image_scores(
    samples: Sequence[tuple[LabeledImage, Encoding]], predictions: Path, classes: ClassTable, *, progress: bool
) -> ImageScores:
    """Compare the predictions of all images with their labels."""
    pairs = pair_samples(samples, predictions)
    total, rows = Scores.empty(classes.train_names), []
    with progress_bar(total=len(pairs), unit="images", desc="compared", enabled=progress) as shown:
        for one in compare(pairs, classes):
            total += one
            rows.append(one.iou)
            shown.update()
    iou = np.array(rows).reshape(len(pairs), classes.num_classes)
    known = ~np.isnan(iou)
    miou = np.where(known.any(axis=1), np.where(known, iou, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1), np.nan)
    return ImageScores(total, [_name(sample) for sample, _ in samples], miou.tolist(), iou)


def _name(sample: LabeledImage) -> str:
    return str(sample.relative if sample.image is None else sample.image.name)


def _confusion(scores: Scores) -> str:
    """Return the confusion matrix: of the pixels of each class, how many were predicted as which."""
    counts = scores.confusion
    parts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = []
    for name, row in zip(scores.names, parts, strict=True):
        cells = [
            Cell(
                f'<span style="display:block;background:color-mix(in srgb, var(--c0) {75 * part:.0f}%, transparent)">'
                f"{'' if part < 0.0005 else f'{100 * part:.1f}'}</span>"
            )
            for part in row
        ]
        rows.append([name, *cells])
    told = table(
        ["", *scores.names],
        rows,
        caption="percent of the pixels of the row's class that were predicted as the column's",
    )
    summary = facts(
        [
            ("mIoU", f"{100 * scores.miou:.2f}"),
            ("pixel accuracy", f"{100 * scores.pixel_accuracy:.2f}"),
            ("images", f"{scores.num_images:,}"),
        ]
    )
    return f'{summary}<div class="confusion">{told}</div>'


def _explorer(scores: ImageScores) -> str:
    """Return the table that the page's program fills."""
    return (
        f"{paragraph(f'{len(scores.names):,} images. mIoU is over the classes in the label or the prediction.')}"
        '<div id="scores"><div class="tools"><label>class <select></select></label>'
        '<button type="button" class="order">worst first</button><output aria-live="polite"></output></div>'
        '<div class="wide"><table><caption>scores by image, in percent</caption><thead><tr><th scope="col">image</th>'
        '<th scope="col" class="first">mIoU</th><th scope="col" class="second" hidden>mIoU</th></tr></thead>'
        '<tbody></tbody></table></div><button type="button" class="more">more</button></div>'
    )


def _as_data(scores: ImageScores) -> dict[str, Any]:
    """Return scores in tenths of a percent: a page of 25,000 images stays small."""
    miou, *iou = (
        [None if math.isnan(value) else round(1000 * value) for value in column]
        for column in (scores.miou, *scores.iou.T.tolist())
    )
    return {"names": scores.names, "classes": list(scores.total.names), "miou": miou, "iou": iou}


def _shots(
    samples: Sequence[tuple[LabeledImage, Encoding]], predictions: Path, scores: ImageScores, classes: ClassTable
) -> str:
    """Return the images that went worst, and the worst of each class."""
    chosen = dict.fromkeys(_worst(scores.miou)[:NUM_SHOWN], "mIoU")
    for class_id, name in enumerate(scores.total.names):
        for at in _worst(scores.iou[:, class_id])[:_PER_CLASS]:
            chosen.setdefault(at, name)
    shown = list(chosen.items())[:_MOST_SHOWN]
    pairs = pair_samples([samples[at] for at, _ in shown], predictions)
    stacks = []
    for (at, why), pair in zip(shown, pairs, strict=True):
        sample, _ = samples[at]
        label, predicted = (_class_ids(file, classes) for file in (pair.label, pair.prediction))
        layers = [] if sample.image is None else [photo_layer(read_image(sample.image))]
        layers += [label_layer("label", label, classes), label_layer("prediction", predicted, classes)]
        value = scores.miou[at] if why == "mIoU" else scores.iou[at, scores.total.names.index(why)]
        stacks.append(
            stack(layers, f"{scores.names[at]}: {100 * value:.1f} {why if why == 'mIoU' else f'IoU of {why}'}")
        )
    told = (
        "The images with the lowest mIoU, and of each class two of those where it goes worst. Move the slider from "
        "image to label to prediction."
    )
    return paragraph(told) + gallery(stacks, classes)


def _worst(values: Sequence[float] | NDArray[np.float64]) -> list[int]:
    """Return the places of the values from the lowest up, without those that are nan."""
    return [int(at) for at in np.argsort(values, kind="stable") if not math.isnan(values[at])]


def _class_ids(file: LabelFile, classes: ClassTable) -> NDArray[np.uint8]:
    lookup = classes.value_lookup(file.encoding)
    return np.where(lookup < 0, IGNORE_ID, lookup).astype(np.uint8)[file.read()]
