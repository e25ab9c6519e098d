"""What is wrong with one image and its label, and how many pixels of each class it has."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segdata.batch.work import Outcome
from segdata.codecs.photos import fault_of_mode
from segdata.codecs.png import decode_pixels, read_bytes, read_label
from segdata.codecs.png_chunks import split_png
from segdata.cpp.store import read_cpp_bytes, read_meta
from segdata.data.stored_targets import refuse_other_origin
from segdata.errors import LabelError, SegdataError
from segdata.files import digest_of_bytes, open_regular
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.labels.reading import (
    LabelMeaning,
    encoding_of,
    ignore_unsure,
    read_ids,
    refuse_contradiction,
    to_class_ids,
)
from segdata.layouts.base import LabeledImage


@dataclass(frozen=True, kw_only=True)
class SampleItem:
    """One image to check.

    Attributes
    ----------
    source : str
        The source it is of.
    sample : LabeledImage
    encoding : str
        As in the recipe; see `segdata.labels.reading.encoding_of`.
    confidence : float
        Threshold, where it has a confidence image.
    deep : bool
        Decode the image, rather than read its header alone.
    targets : Path, optional
        File that should hold the pooled targets of its label.
    """

    source: str
    sample: LabeledImage
    encoding: str
    confidence: float
    deep: bool = False
    targets: Path | None = None

    @property
    def key(self) -> str:
        """Name the item among those of all sources."""
        return f"{self.source}/{self.sample.split}/{self.sample.relative}"


class _Faults(list[tuple[str, str]]):
    """(check, message) of each fault of one sample."""

    def told(self, check: str, error: Exception, path: Path) -> None:
        """Add an error as one line that names the file."""
        text = " ".join(str(error).split())
        self.append((check, text if str(path) in text else f"{path}: {text}"))


def check_sample(item: SampleItem, table: ClassTable) -> Outcome:
    """Return the faults of a sample and its pixels.

    Returns
    -------
    Outcome
        Always "done"; its facts are ``source``, ``faults`` (pairs of the check's name and one line), ``ids`` (stored id
        to pixels) and ``pixels`` (training id to pixels, 255 for the ignored).
    """
    faults = _Faults()
    size = _image_size(item.sample.image, item.deep, faults)
    ids = _ids(item, table, faults)
    facts: dict[str, Any] = {"source": item.source, "faults": faults, "ids": {}, "pixels": {}}
    if ids is not None:
        facts["ids"] = _counted(ids)
        facts["pixels"] = _counted(_class_ids(item, ids, table, faults))
        if size is not None and size != ids.shape:
            faults.append(("sizes", _other_size(item.sample, size, ids.shape)))
    if item.targets is not None:
        _check_targets(item.targets, item, table, faults)
    return Outcome(key=item.key, status="done", facts=facts)


def _image_size(path: Path | None, deep: bool, faults: _Faults) -> tuple[int, int] | None:
    """Return (height, width) of an image from its header, None where it cannot be read."""
    if path is None:
        return None  # told by the check of pairs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice as large is an error
            with open_regular(path) as file, Image.open(file) as image:
                if deep:
                    image.load()
                if fault := fault_of_mode(image.mode):
                    faults.append(("images", f"{path}: {fault}"))
                return image.height, image.width
    except UnidentifiedImageError:
        faults.append(("images", f"{path}: is not an image of a known kind. Replace it, or take it out."))
    except OSError as error:
        faults.told("images", OSError(error.strerror or str(error)), path)
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        faults.told("images", error, path)
    return None


def _ids(item: SampleItem, table: ClassTable, faults: _Faults) -> NDArray[np.uint8] | None:
    """Return the stored ids of a label, None where they cannot be read or the file says that it holds others."""
    path = item.sample.label
    assert path is not None, "only what has a label is checked"
    try:
        if path.suffix == ".mat":
            return read_ids(path)
        parts = split_png(read_bytes(path), str(path))
        refuse_contradiction(parts.text, str(path), LabelMeaning.of(table, encoding_of(path, item.encoding)))
        return decode_pixels(parts, str(path))
    except (LabelError, OSError) as error:
        faults.told("labels", error, path)
        return None


def _check_targets(path: Path, item: SampleItem, table: ClassTable, faults: _Faults) -> None:
    """Compare what a file of pooled targets says that it was made from with the label; its counts are not decoded."""
    label = item.sample.label
    assert label is not None, "only what has a label is checked"
    if not path.is_file():
        faults.append(("targets", f"{path}: is missing, the target of {label}."))
        return
    try:
        meta, digest = read_meta(read_cpp_bytes(path), str(path)), digest_of_bytes(read_bytes(label))
        encoding = encoding_of(label, item.encoding)
        refuse_other_origin(meta, path, label, digest=digest, class_table=table.digest, encoding=encoding)
    except SegdataError as error:
        faults.told("targets", error, path)


def _class_ids(item: SampleItem, ids: NDArray[np.uint8], table: ClassTable, faults: _Faults) -> NDArray[np.uint8]:
    """Return training ids; none where an id is unknown."""
    path, confidence = item.sample.label, item.sample.confidence
    assert path is not None
    try:
        encoding = encoding_of(path, item.encoding)
        meaning = f"'{table.name}' as {encoding}"
        class_ids = to_class_ids(ids, table.value_lookup(encoding), where=str(path), meaning=meaning)
    except LabelError as error:
        faults.told("ids", error, path)
        return np.empty((0, 0), np.uint8)
    if confidence is None or item.confidence <= 0:
        return class_ids
    try:
        return ignore_unsure(class_ids, read_label(confidence), item.confidence, where=str(confidence))
    except (LabelError, OSError) as error:
        faults.told("confidence", error, confidence)
        return class_ids


def _counted(values: NDArray[np.uint8]) -> dict[int, int]:
    counts = np.bincount(values.reshape(-1), minlength=IGNORE_ID + 1)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _other_size(sample: LabeledImage, size: tuple[int, int], label: tuple[int, ...]) -> str:
    return (
        f"{sample.label}: has {label[0]}x{label[1]} pixels (height x width), its image {size[0]}x{size[1]}. Expected "
        "are the same. Are they a pair?"
    )
