"""Predicted label images measured against labels, file by file; needs neither a model nor torch."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segdata.batch.report import find_shard_reports
from segdata.codecs.png import decode_label, read_bytes
from segdata.codecs.png_chunks import read_text
from segdata.errors import LabelError, LayoutError
from segdata.labels.classes import ClassTable
from segdata.labels.reading import ENDINGS, LabelMeaning, label_name, refuse_contradiction, told_settings
from segdata.layouts import Encoding, LabeledImage, open_labels
from segdata.metrics.boundary import DILATION_RATIO, count_boundary
from segdata.metrics.confusion import NO_CLASS, count_pairs, fold_pairs
from segdata.metrics.scores import Scores

_NAME_ENDINGS = ("_leftImg8bit", "_gtFine", "_gtCoarse")


@dataclass(frozen=True)
class LabelFile:
    """A label image on disk.

    Attributes
    ----------
    path : pathlib.Path
    encoding : {"trainIds", "labelIds"}
        What its values are.
    """

    path: Path
    encoding: Encoding

    def read(self) -> NDArray[np.uint8]:
        """Return the stored values, uint8 of shape (H, W)."""
        return decode_label(read_bytes(self.path), str(self.path))

    def refuse_other(self, table: ClassTable) -> None:
        """Raise `LabelError` if the file says of itself that its classes or encoding are others."""
        text = read_text(read_bytes(self.path), str(self.path))
        refuse_contradiction(text, str(self.path), LabelMeaning.of(table, self.encoding))


@dataclass(frozen=True)
class Pair:
    """A label and what was predicted for the same image."""

    label: LabelFile
    prediction: LabelFile


def find_pairs(
    predictions: Path,
    labels: Path,
    *,
    split: str | None = None,
    encoding: Literal["auto", "trainIds", "labelIds"] = "auto",
    prediction_encoding: Literal["auto", "trainIds", "labelIds"] = "auto",
) -> list[Pair]:
    """Find the prediction of every label.

    A label and a prediction belong together if their file names are the same but for endings such as
    ``_gtFine_labelIds`` and ``_leftImg8bit``; where several predictions have the name, the one whose folders below
    `predictions` are those of the label.

    Parameters
    ----------
    predictions, labels : Path
        Cityscapes roots or folders of label images, all folders below searched; see `segdata.layouts.open_labels`.
    split : str, optional
        Only labels of this split: ``val`` of a Cityscapes root, else the first folder below `labels`.
    encoding, prediction_encoding : {"auto", "trainIds", "labelIds"}
        What the values are. ``auto`` goes by file names, for predictions first by what `segdata predict` wrote inside;
        files that say nothing are taken to hold train ids.

    Returns
    -------
    list of Pair
        One per label, in the order of the labels.

    Raises
    ------
    LayoutError
        If a label has no prediction, or more than one; names them.
    """
    samples, label_encoding = open_labels(labels, encoding)
    chosen = [sample for sample in samples if split in (None, sample.split)]
    if not chosen:
        splits = ", ".join(sorted({sample.split for sample in samples}))
        raise LayoutError(f"{labels}: no label of split '{split}'. There are labels of {splits}. Name one of these.")
    return pair_samples([(sample, label_encoding) for sample in chosen], predictions, prediction_encoding)


def pair_samples(
    samples: Sequence[tuple[LabeledImage, Encoding]],
    predictions: Path,
    prediction_encoding: Literal["auto", "trainIds", "labelIds"] = "auto",
) -> list[Pair]:
    """Find the prediction of every sample with a label; see `find_pairs`.

    Parameters
    ----------
    samples : sequence of (LabeledImage, {"trainIds", "labelIds"})
        Each with what the values of its label are.
    predictions, prediction_encoding
        As for `find_pairs`.
    """
    by_name: dict[str, list[Path]] = defaultdict(list)
    predictions = _label_images(predictions)
    predicted, predicted_encoding = open_labels(predictions, prediction_encoding)
    for item in predicted:
        assert item.label is not None
        by_name[bare_name(item.label)].append(item.label)
    found = [_prediction_of(sample, by_name, predictions) for sample, _ in samples]
    missing = [sample.label for (sample, _), path in zip(samples, found, strict=True) if path is None]
    if missing:
        raise LayoutError(
            f"{predictions}: no prediction for {len(missing)} of {len(samples)} labels, first {missing[0]}. Expected "
            "is a PNG with the name of its image. Predict them, or name the right --split."
        )
    pairs: list[Pair] = []
    label_of: dict[Path, Path] = {}
    for (sample, encoding), path in zip(samples, found, strict=True):
        assert sample.label is not None
        assert path is not None
        if label_of.setdefault(path, sample.label) != sample.label:
            raise LayoutError(
                f"{path}: is the one prediction named as {label_of[path]} and as {sample.label}. Name "
                "one folder of labels, such as gtFine, or put predictions into the folders of theirs."
            )
        told = told_inside(path) if prediction_encoding == "auto" else None
        pairs.append(Pair(LabelFile(sample.label, encoding), LabelFile(path, told or predicted_encoding)))
    return pairs


def compare(
    pairs: Sequence[Pair], table: ClassTable, *, boundary: bool = False, boundary_width: float = DILATION_RATIO
) -> Iterator[Scores]:
    """Yield the scores of each pair of images; their sum are the scores of all.

    Raises
    ------
    LabelError
        If a file is damaged, holds a value that is not a class, or the two sizes differ.

    Notes
    -----
    For labels of Cityscapes the sum gives class scores and their mean as Cityscapes' own evaluation
    (evalPixelLevelSemanticLabeling) prints them, to the last digit. Where a prediction holds a class that is not
    trained, the pixel counts as missed.
    """
    for pair in pairs:
        yield _compare_pair(pair, table, boundary_width if boundary else None)


def _compare_pair(pair: Pair, table: ClassTable, boundary_width: float | None) -> Scores:
    """Return the scores of one pair, with borders if a width is given."""
    for file in (pair.label, pair.prediction):
        file.refuse_other(table)
    labels, predictions = pair.label.read(), pair.prediction.read()
    if labels.shape != predictions.shape:
        raise LabelError(
            f"{pair.prediction.path}: has {predictions.shape[0]}x{predictions.shape[1]} pixels, its label "
            f"{pair.label.path} {labels.shape[0]}x{labels.shape[1]}. Expected is the same size. Predict at full size."
        )
    of_label, of_prediction = (table.value_lookup(file.encoding) for file in (pair.label, pair.prediction))
    counts = count_pairs(labels, predictions)
    _refuse_unknown(counts.sum(axis=1), of_label, pair.label, table)
    _refuse_unknown(counts.sum(axis=0), of_prediction, pair.prediction, table)
    borders = None
    if boundary_width is not None:
        class_ids, predicted = of_label.astype(np.uint8)[labels], of_prediction.astype(np.uint8)[predictions]
        borders = count_boundary(class_ids, predicted, table.num_classes, boundary_width)
    return Scores(table.train_names, fold_pairs(counts, of_label, of_prediction, table.num_classes), 1, borders)


def bare_name(path: Path) -> str:
    """Return what a file's name says of its image.

    >>> [bare_name(Path(name)) for name in ("a_gtFine_labelIds.png", "val/a_leftImg8bit.png", "a.png")]
    ['a', 'a', 'a']
    """
    named = label_name(path)
    name = path.stem if named is None else named[0]
    for ending in _NAME_ENDINGS:
        name = name.removesuffix(ending)
    return name


def told_inside(path: Path) -> Encoding | None:
    """Return what a label image that segdata wrote says that it holds; None where it says nothing."""
    told = told_settings(read_text(read_bytes(path), str(path))).get("encoding")
    return next((encoding for encoding in ENDINGS if encoding == told), None)


def _label_images(predictions: Path) -> Path:
    """Return the folder of label images where `segdata predict` wrote overlays and the like beside it."""
    report = predictions / "predict.json"
    if not report.exists() and not find_shard_reports(report):
        return predictions
    if not (predictions / "labels").is_dir():
        raise LayoutError(f"{predictions}: holds no labels. Predict with --write labels, into another folder.")
    return predictions / "labels"


def _prediction_of(sample: LabeledImage, by_name: dict[str, list[Path]], root: Path) -> Path | None:
    """Return the one prediction of a label; where names are not enough, the one that lies as the label does."""
    assert sample.label is not None
    named = by_name.get(bare_name(sample.label), [])
    folders = sample.relative.parent.parts
    candidates = [path for path in named if _ends_alike(path.relative_to(root).parent.parts, folders)]
    if len(named) == 1 or not candidates:
        candidates = named
    if len(candidates) > 1:
        raise LayoutError(f"{sample.label}: two predictions for it, {candidates[0]} and {candidates[1]}. Remove one.")
    return candidates[0] if candidates else None


def _ends_alike(ours: Iterable[str], theirs: Iterable[str]) -> bool:
    """Say whether the shorter of two rows of folders is the end of the longer."""
    pairs = zip(reversed(tuple(ours)), reversed(tuple(theirs)), strict=False)
    return all(mine == other for mine, other in pairs)


def _refuse_unknown(counts: NDArray[np.int64], lookup: NDArray[np.int16], file: LabelFile, table: ClassTable) -> None:
    """Raise for a value that stands for no class."""
    unknown = np.flatnonzero((counts > 0) & (lookup == NO_CLASS))
    if unknown.size:
        value = int(unknown[0])
        row, column = np.argwhere(file.read() == value)[0].tolist()
        other = "labelIds" if file.encoding == "trainIds" else "trainIds"
        raise LabelError(
            f"{file.path}: id {value} is none of the {file.encoding} of '{table.name}' ({counts[value]} pixels, first "
            f"at row {row}, column {column}). Does it hold {other}? Say so with --encoding or --prediction-encoding."
        )
