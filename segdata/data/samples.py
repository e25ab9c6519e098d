"""The images of a source of a recipe, whatever its layout, and the class ids in their labels."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.png import read_label
from segdata.config.data import SourceRecipe
from segdata.errors import LabelError, LayoutError
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.labels.remap import first_unmapped
from segdata.layouts import camvid, cityscapes, list_file, nyuv2, pascal_context, voc2012
from segdata.layouts.base import LabeledImage
from segdata.layouts.sbd import read_sbd_label
from segdata.layouts.vistas import VistasRoot


def find_samples(source: SourceRecipe) -> list[LabeledImage]:
    """Return the images of a source that can be trained on, sorted by split and key.

    Images without a label are left out; `segdata datasets check` counts them.

    Parameters
    ----------
    source : SourceRecipe
        With a root that can be opened from here; see `DataRecipe.located_sources`.

    Returns
    -------
    list of LabeledImage
        Each with a label and an image; that the files are there and can be read is known when they are read.

    Raises
    ------
    LayoutError
        If there is none, or a label has no image.
    """
    labeled = [item for item in list_samples(source) if item.label is not None]
    if not labeled:
        raise LayoutError(f"{source.root}: has no label in {', '.join(source.splits)}. Labels are what is trained on.")
    lonely = [item for item in labeled if item.image is None]
    if lonely:
        raise LayoutError(
            f"{lonely[0].label}: has no image ({len(lonely)} of {len(labeled)} labels). Add the images, or take these "
            "labels out."
        )
    return labeled


def list_samples(source: SourceRecipe) -> list[LabeledImage]:
    """Return every image and label of a source's splits, also those without a partner, sorted by split and key.

    Raises
    ------
    LayoutError
        If the root is not in the layout, or has no such split.
    """
    items = _FINDERS[source.layout](source)
    present = {item.split for item in items}
    missing = [split for split in source.splits if Path(split).stem not in present]
    if missing:
        raise LayoutError(
            f"{source.root}: has no split '{missing[0]}' in the layout '{source.layout}'. {_there(present)}"
        )
    return sorted(items, key=lambda item: (item.split, item.key, str(item.relative)))


def read_class_ids(
    sample: LabeledImage, table: ClassTable, encoding: str = "auto", *, confidence: float = 0.0
) -> NDArray[np.uint8]:
    """Read the label of a sample as training ids.

    Parameters
    ----------
    sample : LabeledImage
        Its label is a PNG, or a .mat file of SBD.
    table : ClassTable
        What its ids mean.
    encoding : {"auto", "trainIds", "labelIds"}
        Training ids, or ids of the table; see `encoding_of` for auto, and `SourceRecipe.label_encoding`.
    confidence : float
        Where the sample has a confidence image, pixels below this part of 255 are ignored.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Values ``0 .. table.num_classes - 1``, or 255 for ignored.

    Raises
    ------
    LabelError
        If the label cannot be read or holds an id that the table does not have, with its count and first place; or if
        the confidence is of another size.
    """
    assert sample.label is not None, "a sample without a label has no class ids"
    meaning = encoding_of(sample, encoding)
    class_ids = to_class_ids(read_ids(sample.label), table, meaning, where=str(sample.label))
    if sample.confidence is None or confidence <= 0:
        return class_ids
    return ignore_unsure(class_ids, sample.confidence, confidence)


def read_ids(path: Path) -> NDArray[np.uint8]:
    """Read the ids of a label file as they are stored, shape (H, W): a PNG, or a .mat file of SBD."""
    return read_sbd_label(path) if path.suffix == ".mat" else read_label(path)


def to_class_ids(ids: NDArray[np.uint8], table: ClassTable, encoding: str, *, where: str) -> NDArray[np.uint8]:
    """Return stored ids, shape (H, W), as training ids with 255 for ignored.

    Raises
    ------
    LabelError
        If an id is none of the table's, with its count and first place; `where` names the file.

    Examples
    --------
    >>> to_class_ids(np.array([[7, 0]], np.uint8), ClassTable.load("cityscapes"), "labelIds", where="example.png")
    array([[  0, 255]], dtype=uint8)
    """
    lookup = table.value_lookup(encoding)
    marker = next((value for value in range(256) if value not in lookup), 0)  # none is free only where all are known
    as_bytes = np.where(lookup < 0, marker, lookup).astype(np.uint8).tobytes()
    mapped = bytearray(np.ascontiguousarray(ids).data).translate(as_bytes)  # with the search, a tenth of an np.take
    if not ((lookup < 0).any() and marker in mapped):
        return np.frombuffer(mapped, np.uint8).reshape(ids.shape)
    unknown = first_unmapped(ids, lookup)
    assert unknown is not None, "the marker stands for an unknown id"
    raise LabelError(
        f"{where}: id {unknown.id} is not in '{table.name}' as {encoding} ({unknown.num_pixels} pixels, first at row "
        f"{unknown.row}, column {unknown.column}). Is the class table or the encoding another? Change data.classes, or "
        "the source's encoding."
    )


def encoding_of(sample: LabeledImage, encoding: str = "auto") -> str:
    """Return what the ids of a label are: as told, or for ``auto`` by its file name.

    Names of Cityscapes' labels say it; its auto-labels hold label ids; any other name stands for training ids.
    """
    if encoding != "auto" or sample.label is None:
        return encoding
    named = cityscapes.label_name(sample.label)
    if named is not None:
        return named[1]
    return "labelIds" if sample.label.name.endswith(cityscapes.AUTO_ENDING) else "trainIds"


def ignore_unsure(class_ids: NDArray[np.uint8], path: Path, threshold: float) -> NDArray[np.uint8]:
    """Return class ids with 255 where the 8-bit confidence image at `path` is below a part of 255.

    Raises
    ------
    LabelError
        If it cannot be read, or is of another size than the label.
    """
    confidence = read_label(path)
    if confidence.shape != class_ids.shape:
        raise LabelError(f"{path}: has {confidence.shape} pixels, its label {class_ids.shape}. Expected the same.")
    return np.where(confidence < threshold * 255, np.uint8(IGNORE_ID), class_ids)


def _there(splits: set[str]) -> str:
    return f"There are {', '.join(sorted(splits))}. Name one of these." if splits else "There is none."


def _in_splits(items: Sequence[LabeledImage], source: SourceRecipe) -> list[LabeledImage]:
    """Keep the splits that are asked for; all, where none of them is there, for the message."""
    chosen = [item for item in items if item.split in source.splits]
    return chosen if {item.split for item in chosen} == set(source.splits) else list(items)


def _find_cityscapes(source: SourceRecipe) -> list[LabeledImage]:
    if source.annotation != "auto":
        items = cityscapes.find(source.root, annotation=source.annotation, encoding=source.encoding)
        return _in_splits(items, source)
    items = cityscapes.find(source.root)
    labeled = [item for item in items if item.label is not None and item.label.name.endswith(cityscapes.AUTO_ENDING)]
    if not labeled:
        raise LayoutError(
            f"{source.root}: has no auto-labels. Looked for <split>/<city>/<key>_leftImg8bit.png, with their "
            "confidence <key>_leftImg8bit_prob.png, right below it."
        )
    return _in_splits(labeled, source)


def _find_vistas(source: SourceRecipe) -> list[LabeledImage]:
    version = source.annotation if source.annotation in ("v1.2", "v2.0") else "auto"
    root = VistasRoot.open(source.root, version)
    return _in_splits([item for split in root.splits.values() for item in split], source)


_FINDERS: dict[str, Callable[[SourceRecipe], list[LabeledImage]]] = {
    "cityscapes": _find_cityscapes,
    "vistas": _find_vistas,
    "voc2012": lambda source: voc2012.find(source.root, splits=source.splits),
    "pascal-context": lambda source: pascal_context.find(source.root, splits=source.splits),
    "nyuv2": lambda source: nyuv2.find(source.root, splits=source.splits),
    "camvid": lambda source: camvid.find(source.root, splits=source.splits),
    "list": lambda source: list_file.find(source.root, splits=source.splits),
}
