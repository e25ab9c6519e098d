"""What a confusion matrix says: IoU, precision, recall, accuracy, as figures, a dict and a table."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.text import aligned, counted

Figures = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """Pixels counted over a set of images, and the figures that follow from them.

    A figure without a denominator is nan: the IoU of a class that stands in no label and no prediction. Means leave
    such classes out, as Cityscapes' own evaluation does.

    Attributes
    ----------
    names : tuple of str
        The K classes.
    counts : ndarray of int64, shape (K, K + 1)
        ``[y, p]``: pixels of class y predicted as class p, in the last column as none of the classes.
    num_images : int
        Images counted.
    boundary : ndarray of int64, shape (K, 3), or None
        Border pixels, as `segdata.metrics.boundary.count_boundary` counts them; None if they were not asked for.
    num_tiled : int
        Images that did not fit into memory as asked and were predicted in smaller windows.

    Examples
    --------
    >>> scores = Scores(("road", "sky"), np.array([[3, 1, 0], [0, 2, 2]]), num_images=1)
    >>> scores.iou.tolist(), scores.miou, scores.pixel_accuracy
    ([0.75, 0.4], 0.575, 0.625)
    """

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    num_images: int
    boundary: NDArray[np.int64] | None = None
    num_tiled: int = 0

    @classmethod
    def empty(cls, names: Sequence[str], *, boundary: bool = False) -> "Scores":
        """Return the scores of no image, to add to."""
        num_classes = len(names)
        borders = np.zeros((num_classes, 3), np.int64) if boundary else None
        return cls(tuple(names), np.zeros((num_classes, num_classes + 1), np.int64), 0, borders)

    def __add__(self, other: "Scores") -> "Scores":
        """Return the scores of both sets of images together."""
        assert self.names == other.names, "scores of other classes"
        together = None if self.boundary is None or other.boundary is None else self.boundary + other.boundary
        return replace(
            self,
            counts=self.counts + other.counts,
            num_images=self.num_images + other.num_images,
            boundary=together,
            num_tiled=self.num_tiled + other.num_tiled,
        )

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Pixels of class y (row) predicted as class p (column): int64 of shape (K, K), exact."""
        return self.counts[:, :-1]

    @cached_property
    def iou(self) -> Figures:
        """Hits / (label + predicted - hits) of each class, shape (K,); predictions on ignored pixels do not count."""
        return _ratio(self._hits, self._labeled + self._predicted - self._hits)

    @cached_property
    def precision(self) -> Figures:
        """Share of what was predicted as a class that is of it, shape (K,)."""
        return _ratio(self._hits, self._predicted)

    @cached_property
    def recall(self) -> Figures:
        """Share of what is of a class that was predicted as it, shape (K,)."""
        return _ratio(self._hits, self._labeled)

    @cached_property
    def boundary_iou(self) -> Figures | None:
        """IoU of the borders of each class, shape (K,); None if they were not counted."""
        if self.boundary is None:
            return None
        shared, of_label, of_prediction = self.boundary.T
        return _ratio(shared, of_label + of_prediction - shared)

    @property
    def miou(self) -> float:
        """Mean of `iou` over the classes that occur."""
        return mean_of_known(self.iou)

    @property
    def mean_recall(self) -> float:
        """Mean of `recall`, also called mean accuracy."""
        return mean_of_known(self.recall)

    @property
    def mean_boundary_iou(self) -> float:
        """Mean of `boundary_iou`; nan if borders were not counted."""
        return math.nan if self.boundary_iou is None else mean_of_known(self.boundary_iou)

    @property
    def pixel_accuracy(self) -> float:
        """Share of the labeled pixels that are right."""
        labeled = int(self._labeled.sum())
        return int(self._hits.sum()) / labeled if labeled else math.nan

    @property
    def majority(self) -> "Scores":
        """The scores of calling every pixel the class that most pixels are of."""
        counts = np.zeros_like(self.counts)
        counts[:, int(self._labeled.argmax())] = self._labeled
        return Scores(self.names, counts, self.num_images)

    @property
    def chance_iou(self) -> Figures:
        """IoU to be expected of guessing each pixel by the share p of the classes in the labels: p / (2 - p), (K,)."""
        labeled, total = self._labeled, self._labeled.sum()
        return _ratio(labeled, (2 * total - labeled) * (labeled > 0))

    @property
    def per_class(self) -> dict[str, dict[str, float]]:
        """By class: ``iou``, ``precision``, ``recall``, ``boundary_iou`` if counted, and ``pixels`` of its label."""
        figures = {"iou": self.iou, "precision": self.precision, "recall": self.recall}
        if self.boundary_iou is not None:
            figures["boundary_iou"] = self.boundary_iou
        figures["pixels"] = self._labeled.astype(np.float64)
        return {name: {what: float(values[k]) for what, values in figures.items()} for k, name in enumerate(self.names)}

    def as_dict(self) -> dict[str, Any]:
        """Return all figures and counts as JSON can hold them; nan becomes None."""
        figures = {"miou": self.miou, "pixel_accuracy": self.pixel_accuracy, "mean_recall": self.mean_recall}
        if self.boundary is not None:
            figures["mean_boundary_iou"] = self.mean_boundary_iou
        return {
            **{name: _or_none(value) for name, value in figures.items()},
            "baselines": {
                "majority_miou": _or_none(self.majority.miou),
                "chance_miou": _or_none(mean_of_known(self.chance_iou)),
            },
            "classes": {
                name: {what: _or_none(value) for what, value in row.items()} for name, row in self.per_class.items()
            },
            "confusion": self.confusion.tolist(),
            "predicted_as_none": self.counts[:, -1].tolist(),
            "num_images": self.num_images,
            "num_tiled": self.num_tiled,
        }

    @property
    def _hits(self) -> NDArray[np.int64]:
        return np.diagonal(self.counts)

    @property
    def _labeled(self) -> NDArray[np.int64]:
        labeled: NDArray[np.int64] = self.counts.sum(axis=1)
        return labeled

    @property
    def _predicted(self) -> NDArray[np.int64]:
        predicted: NDArray[np.int64] = self.confusion.sum(axis=0)
        return predicted


def mean_of_known(values: Iterable[float]) -> float:
    """Return the mean of the values that are not nan, added in their order; nan if there is none.

    The order matters for the last digit: Cityscapes' evaluation adds its classes one by one.
    """
    total, number = 0.0, 0
    for value in values:
        if not math.isnan(value):
            total += float(value)
            number += 1
    return total / number if number else math.nan


def format_scores(scores: Scores) -> str:
    """Return a table with a row per class and the means below, in percent.

    Examples
    --------
    >>> print(format_scores(Scores(("road", "sky"), np.array([[3, 1, 0], [0, 2, 2]]), num_images=1)))
    class    IoU  precision  recall  pixels
    road   75.00     100.00   75.00       4
    sky    40.00      66.67   50.00       4
    <BLANKLINE>
    mIoU 57.50, pixel accuracy 62.50, mean recall 62.50 (1 image)
    to compare: mIoU 25.00 if all were road, 33.33 by chance
    """
    heads = ["class", "IoU", "precision", "recall"] + ["boundary"] * (scores.boundary is not None) + ["pixels"]
    rows = [heads]
    for name, row in scores.per_class.items():
        pixels = int(row.pop("pixels"))
        rows.append([name, *(_percent(value) for value in row.values()), f"{pixels:,}"])
    return "\n".join([*aligned(rows), "", _summary(scores), *_baselines(scores)])


def _summary(scores: Scores) -> str:
    """Return the means in one line."""
    told = [
        f"mIoU {_percent(scores.miou)}",
        f"pixel accuracy {_percent(scores.pixel_accuracy)}",
        f"mean recall {_percent(scores.mean_recall)}",
    ]
    if scores.boundary is not None:
        told.append(f"mean boundary IoU {_percent(scores.mean_boundary_iou)}")
    tiled = f", {scores.num_tiled} in tiles for want of memory" if scores.num_tiled else ""
    return f"{', '.join(told)} ({counted(scores.num_images, 'image')}{tiled})"


def _baselines(scores: Scores) -> list[str]:
    """Return what no model is needed for, in one line; none where nothing is labeled."""
    if not scores.counts.any():
        return []
    majority = scores.majority
    name = scores.names[int(np.nanargmax(majority.iou))]
    chance = _percent(mean_of_known(scores.chance_iou))
    return [f"to compare: mIoU {_percent(majority.miou)} if all were {name}, {chance} by chance"]


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Figures:
    """Divide whole numbers, nan where there is nothing to divide by."""
    found = np.full(len(whole), np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
