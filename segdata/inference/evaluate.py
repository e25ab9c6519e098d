"""A model measured on labeled images, by one process or by all ranks of a group, to the same numbers."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from segdata.codecs.photos import read_image
from segdata.config.steps import EvaluationRecipe
from segdata.data.normalization import IMAGENET_MEAN, IMAGENET_STD
from segdata.data.samples import read_sample, take_evenly
from segdata.distributed.process_group import gather, rank_and_size
from segdata.errors import LabelError, SegdataError
from segdata.inference.predictor import Precision, Predictor
from segdata.labels.classes import ClassTable
from segdata.layouts import LabeledImage
from segdata.logs import progress_bar
from segdata.metrics.boundary import count_boundary
from segdata.metrics.confusion import count_classes
from segdata.metrics.scores import Scores
from segdata.models import Segmenter
from segdata.text import counted

Item = TypeVar("Item")
MOST_FAULTS = 3  # named in full in the one line of an error


def evaluate(
    model: Segmenter,
    samples: Sequence[LabeledImage],
    table: ClassTable,
    settings: EvaluationRecipe,
    device: torch.device | str,
    *,
    encoding: str = "auto",
    confidence: float = 0.0,
    precision: Precision = "float32",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    progress: bool = False,
) -> Scores:
    """Predict labeled images and count what is right.

    In a process group (`torch.distributed`) it is a collective call: every rank calls it with the same samples,
    predicts its part of them, and gets the scores of all. Each image is predicted exactly once, however many ranks
    there are; counts are whole numbers, so the scores are those of one process.

    Parameters
    ----------
    model : Segmenter
        Bare, not wrapped for DDP. It is put on the device; training or evaluation mode is as before when this returns.
    samples : sequence of LabeledImage
        Each with image and label.
    table : ClassTable
        The classes; what the labels hold is turned into their training ids.
    settings : EvaluationRecipe
        Scales, flip, window, boundary; `limit` takes only so many of the samples, evenly spread.
    device : torch.device or str
        Of this rank.
    encoding : {"auto", "trainIds", "labelIds"}
        Of the labels.
    confidence : float
        Pixels of auto-labels that are less sure are ignored.
    precision : {"float32", "bfloat16", "float16"}
        Of the model's arithmetic.
    mean, std : sequence of three floats
        Of the images the model was trained on.
    progress : bool
        Show progress on stderr, on rank 0.

    Returns
    -------
    Scores

    Raises
    ------
    SegdataError
        After all other images, if some cannot be read or do not fit their label; the same on every rank, naming them.
    """
    rank, num_ranks = rank_and_size()
    mine = take_evenly(samples, settings.limit)[rank::num_ranks]
    was_training = model.training
    predictor = Predictor(model, settings, device, precision=precision, mean=mean, std=std)
    counter = _Counter(predictor, table, settings, encoding, confidence)
    try:
        with progress_bar(total=len(mine), unit="images", desc="evaluation", enabled=progress and rank == 0) as bar:
            for sample_scores in counter.run(mine):
                counter.scores += sample_scores
                bar.update()
    finally:
        model.train(was_training)
    scores, faults = Scores.empty(table.train_names, boundary=settings.boundary), list[str]()
    for rank_scores, rank_faults in gather((counter.scores, counter.faults)):
        scores += rank_scores
        faults += rank_faults
    if faults:
        raise SegdataError(_describe(faults))
    return scores


@dataclass(eq=False)
class _Counter:
    """One rank's part of an evaluation."""

    predictor: Predictor
    table: ClassTable
    settings: EvaluationRecipe
    encoding: str
    confidence: float

    def __post_init__(self) -> None:
        self.scores = Scores.empty(self.table.train_names, boundary=self.settings.boundary)
        self.faults: list[str] = []

    def run(self, samples: Sequence[LabeledImage]) -> Iterator[Scores]:
        """Yield the scores of each image; those that cannot be had become faults."""
        for _sample, future in read_ahead(self._read, samples):
            try:
                image, class_ids = future.result()
                yield self._count(image, class_ids)
            except SegdataError as error:
                self.faults.append(str(error))

    def _read(self, sample: LabeledImage) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return image (3, H, W) and class ids (H, W) of a sample."""
        if sample.image is None or sample.label is None:
            missing, there = ("image", sample.label) if sample.image is None else ("label", sample.image)
            raise LabelError(f"{there}: has no {missing}. Both are needed to evaluate. Put it in its place.")
        class_ids = read_sample(sample, self.table, self.encoding, confidence=self.confidence)
        image = read_image(sample.image)
        if image.shape[1:] != class_ids.shape:
            raise LabelError(
                f"{sample.image}: has {image.shape[1]}x{image.shape[2]} pixels, its label {sample.label} "
                f"{class_ids.shape[0]}x{class_ids.shape[1]}. Expected is the same size. Are they of the same image?"
            )
        return image, class_ids

    def _count(self, image: NDArray[np.uint8], class_ids: NDArray[np.uint8]) -> Scores:
        """Predict one image and compare it with its label."""
        found = self.predictor.predict(image)
        num_classes = self.table.num_classes
        borders = None
        if self.settings.boundary:
            borders = count_boundary(class_ids, found.class_ids, num_classes, self.settings.boundary_width)
        counts = count_classes(class_ids, found.class_ids, num_classes)
        return Scores(self.table.train_names, counts, 1, borders, int(found.tiled))


def _describe(faults: Sequence[str]) -> str:
    """Return one line for the images that could not be evaluated."""
    if len(faults) == 1:
        return faults[0]
    rest = len(faults) - MOST_FAULTS
    told = "; ".join(faults[:MOST_FAULTS]) + (f"; and {rest} more" if rest > 0 else "")
    return f"{counted(len(faults), 'image')} cannot be evaluated: {told}"


Read = TypeVar("Read")


def read_ahead(
    read: Callable[[Item], Read], items: Iterable[Item], *, num_ahead: int = 2
) -> Iterator[tuple[Item, Future[Read]]]:
    """Yield the items in their order, each with a future of what `read` makes of it.

    Parameters
    ----------
    read : callable
        Called in threads; decoders of images let other threads run meanwhile. What it raises, the future raises.
    items : iterable
    num_ahead : int
        How many items are read ahead of the one yielded, and so held in memory at most.

    Examples
    --------
    >>> [future.result() for _, future in read_ahead(len, ["a", "bc", ""])]
    [1, 2, 0]
    """
    waiting = iter(items)
    with ThreadPoolExecutor(max(1, num_ahead)) as pool:
        queue = deque((item, pool.submit(read, item)) for item in islice(waiting, num_ahead))
        for following in waiting:
            queue.append((following, pool.submit(read, following)))
            yield queue.popleft()
        while queue:
            yield queue.popleft()
