"""The images of a source of a recipe, whatever its layout, and the class ids in their labels."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from segdata.config.data import SourceRecipe
from segdata.errors import LayoutError
from segdata.labels.classes import ClassTable
from segdata.labels.reading import AUTO_ENDING, LabelMeaning, encoding_of, read_class_ids
from segdata.layouts import camvid, cityscapes, images_masks, list_file, nyuv2, pascal_context, voc2012
from segdata.layouts.base import LabeledImage
from segdata.layouts.vistas import VistasRoot

Item = TypeVar("Item")


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
    if source.layout != "list":  # whose splits are files
        # Of `val/`, which a shell completes to, and `./val`, the folder is meant.
        splits = dict.fromkeys(PurePosixPath(split).as_posix() for split in source.splits)
        source = source.model_copy(update={"splits": tuple(splits)})
    items = _FINDERS[source.layout](source)
    present = {item.split for item in items}
    names = {split: Path(split).stem if source.layout == "list" else split for split in source.splits}
    missing = [split for split, name in names.items() if name not in present]
    if missing:
        raise LayoutError(
            f"{source.root}: has no split '{missing[0]}' in the layout '{source.layout}'. {_there(present)}"
        )
    return sorted(items, key=lambda item: (item.split, item.key, str(item.relative)))


def read_sample(
    sample: LabeledImage, table: ClassTable, encoding: str = "auto", *, confidence: float = 0.0
) -> NDArray[np.uint8]:
    """Read the label of a sample as training ids, shape (H, W); see `segdata.labels.reading.read_class_ids`.

    Parameters
    ----------
    sample : LabeledImage
        With a label.
    table : ClassTable
        What its ids mean.
    encoding : {"auto", "trainIds", "labelIds"}
        Training ids, or ids of the table; see `encoding_of` for auto, and `SourceRecipe.label_encoding`.
    confidence : float
        Where the sample has a confidence image, pixels below this part of 255 are ignored.
    """
    assert sample.label is not None, "a sample without a label has no class ids"
    meaning = encoding_of(sample.label, encoding)
    return read_class_ids(
        sample.label,
        table.value_lookup(meaning),
        meaning=f"'{table.name}' as {meaning}",
        read_as=LabelMeaning.of(table, meaning),
        confidence=sample.confidence,
        threshold=confidence,
    )


def take_evenly(items: Sequence[Item], limit: int | None) -> Sequence[Item]:
    """Return at most `limit` of the items, evenly spread over them and in their order; all of them for None.

    >>> take_evenly("abcdefg", 3)
    ['a', 'c', 'e']
    """
    if limit is None or limit >= len(items):
        return items
    return [items[number * len(items) // limit] for number in range(limit)]


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
    labeled = [item for item in items if item.label is not None and item.label.name.endswith(AUTO_ENDING)]
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
    "images-masks": lambda source: images_masks.find(source.root, splits=source.splits),
    "list": lambda source: list_file.find(source.root, splits=source.splits),
}
