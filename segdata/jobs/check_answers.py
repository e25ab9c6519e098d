"""What is asked of one source of a recipe, and the answers: a line that says PASS or FAIL, with counts."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segdata.config.data import SourceRecipe
from segdata.cpp.store import ENDING
from segdata.errors import SegdataError
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.labels.reading import encoding_of
from segdata.layouts.base import LabeledImage

SAMPLE_CHECKS = {
    "images": "images can be read",
    "labels": "labels can be read",
    "sizes": "labels have the size of their image",
    "ids": "labels hold known ids only",
    "confidence": "labels have a confidence image that can be read, of their size",
}
"""What is asked of every image with its label: name -> what holds of so many."""
_MOSTLY = 0.5  # more ignored pixels than this make an encoding doubtful, where another would explain them


@dataclass(frozen=True, kw_only=True)
class Check:
    """The answer to one question about one source.

    Attributes
    ----------
    source : str
        Name of the source, ``validation``, or ``recipe`` for what concerns several.
    name : str
        Of the question: ``files``, ``pairs``, ``images``, ...
    message : str
        What was found, with counts.
    faults : tuple of str
        One line for each file with a fault, or one for the whole; none where all is well.
    """

    source: str
    name: str
    message: str
    faults: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def line(self) -> str:
        """Return the answer as one line."""
        return f"{'PASS' if self.passed else 'FAIL'}  {self.source}: {self.name}: {self.message}"


@dataclass
class Found:
    """What is known of one source: its files, then what reading them has added.

    Attributes
    ----------
    source : SourceRecipe
    samples : list of LabeledImage
        All images and labels of its splits.
    error : str or None
        Why they could not be found.
    faults : dict of str to list of str
        By check, one line for each file.
    read : list of LabeledImage
        Those of the samples with a label that were read.
    ids, pixels : Counter
        Pixels of each stored id, and of each training id (255 for the ignored).
    """

    source: SourceRecipe
    samples: list[LabeledImage] = field(default_factory=list)
    error: str | None = None
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    read: list[LabeledImage] = field(default_factory=list)
    ids: Counter[int] = field(default_factory=Counter)
    pixels: Counter[int] = field(default_factory=Counter)

    @property
    def labeled(self) -> list[LabeledImage]:
        """The samples with a label."""
        return [sample for sample in self.samples if sample.label is not None]

    def target_of(self, sample: LabeledImage) -> Path | None:
        """Return where the pooled targets of a label should be; None where the source names none."""
        return self.source.cpp and self.source.cpp / sample.relative.with_suffix(ENDING)


def answers(found: Found, table: ClassTable, *, prepared: bool = True) -> Iterator[Check]:
    """Answer every question about one source, in the order in which one would fix things.

    Without `prepared`, its index and pooled targets are left out.
    """
    name = found.source.name
    if found.error is not None:
        yield Check(source=name, name="files", message="not found", faults=(found.error,))
        return
    yield _files(found)
    yield _pairs(found)
    total = len(found.read)
    for check, holds in SAMPLE_CHECKS.items():
        if check == "confidence" and not any(sample.confidence for sample in found.read):
            continue
        faults = tuple(sorted(found.faults[check]))
        message = f"{total - len(faults)} of {total} {holds}"
        yield Check(source=name, name=check, message=message, faults=faults)
    yield _encoding(found, table)
    yield _classes(found, table)
    if prepared:
        yield from _prepared(found, table)


def _files(found: Found) -> Check:
    splits = Counter(sample.split for sample in found.labeled)
    told = ", ".join(f"{number} in {split}" for split, number in sorted(splits.items()))
    message = f"{len(found.labeled)} labels ({told or 'none'}) below {found.source.root}"
    faults = () if splits else (f"{found.source.root}: holds no label in {', '.join(found.source.splits)}.",)
    return Check(source=found.source.name, name="files", message=message, faults=faults)


def _pairs(found: Found) -> Check:
    lonely = [sample for sample in found.labeled if sample.image is None]
    spare = len(found.samples) - len(found.labeled)
    message = f"{len(found.labeled) - len(lonely)} of {len(found.labeled)} labels have an image"
    if spare:
        message += f"; {spare} images have no label and are left out"
    faults = [f"{sample.label}: has no image. Add it, or take the label out." for sample in lonely]
    auto = found.source.annotation == "auto"
    unsure = [sample for sample in found.labeled if auto and sample.confidence is None]
    faults += [f"{sample.label}: has no confidence image beside it. Add it." for sample in unsure]
    return Check(source=found.source.name, name="pairs", message=message, faults=tuple(faults))


def _encoding(found: Found, table: ClassTable) -> Check:
    """Doubt an encoding that ignores most pixels where the other one would not."""
    means = Counter(
        encoding_of(sample.label, found.source.label_encoding) for sample in found.labeled if sample.label is not None
    )
    shares = {encoding: _ignored_share(found.ids, table, encoding) for encoding in ("trainIds", "labelIds")}
    message = " and ".join(f"{number} as {encoding}" for encoding, number in sorted(means.items())) or "no labels"
    faults: tuple[str, ...] = ()
    if len(means) == 1:
        (mine,) = means
        other = "labelIds" if mine == "trainIds" else "trainIds"
        own, others = shares[mine], shares[other]
        if others is not None and (own is None or (own > _MOSTLY and others < own / 2)):
            told = "hold unknown ids" if own is None else f"ignore {own:.0%} of the pixels"
            fault = f"{found.source.root}: read as {mine} its labels {told}, as {other} {others:.0%} are ignored. "
            faults = (fault + f"Set the source's encoding: {other}, or name another class table.",)
        if own is not None:
            message += f", {own:.1%} of the pixels ignored"
    return Check(source=found.source.name, name="encoding", message=message, faults=faults)


def _ignored_share(ids: Mapping[int, int], table: ClassTable, encoding: str) -> float | None:
    """Return the part of pixels that an encoding ignores, None where it does not know an id."""
    lookup = table.value_lookup(encoding)
    if not ids or any(lookup[value] < 0 for value in ids):
        return None
    return sum(number for value, number in ids.items() if lookup[value] == IGNORE_ID) / sum(ids.values())


def _classes(found: Found, table: ClassTable) -> Check:
    absent = [name for class_id, name in enumerate(table.train_names) if not found.pixels[class_id]]
    message = f"{table.num_classes - len(absent)} of {table.num_classes} classes have pixels"
    if absent:
        message += f"; none of {', '.join(absent)}"
    faults: tuple[str, ...] = ()
    if len(absent) == table.num_classes:
        fault = f"{found.source.root}: no pixel of any class of '{table.name}'"
        unsure = found.source.confidence > 0 and any(sample.confidence for sample in found.read)
        least = f" has a confidence of {found.source.confidence:g}. Lower the source's confidence, or label anew."
        faults = (fault + (least if unsure else ". Is it another table?"),)
    return Check(source=found.source.name, name="classes", message=message, faults=faults)


def _prepared(found: Found, table: ClassTable) -> Iterator[Check]:
    """Answer whether the index and the pooled targets that the source names are there."""
    source = found.source
    if source.index is not None:
        yield _index(source, source.index, len(found.labeled), table)
    if source.cpp is not None:
        faults, total = tuple(sorted(found.faults["targets"])), len(found.read)
        message = f"{total - len(faults)} of {total} labels have pooled targets in {source.cpp}"
        yield Check(source=source.name, name="targets", message=message, faults=faults)


def _index(source: SourceRecipe, path: Path, num_labels: int, table: ClassTable) -> Check:
    from segdata.data.sources import refuse_other_reading
    from segdata.sampling.class_index import ClassIndex

    try:
        index = ClassIndex.load(path)
    except (SegdataError, OSError) as error:
        return Check(source=source.name, name="index", message=f"{path} cannot be used", faults=(str(error),))
    faults = []
    if index.head.class_table != table.digest:
        faults.append(f"{path}: was made with another class table than '{table.name}'. Make it again: segdata index.")
    try:
        refuse_other_reading(index, source, path)
    except SegdataError as error:
        faults.append(str(error))
    if index.num_images != num_labels:
        faults.append(f"{path}: names {index.num_images} images, the source has {num_labels} labels. Make it again.")
    return Check(source=source.name, name="index", message=f"{index.num_images} images in {path}", faults=tuple(faults))
