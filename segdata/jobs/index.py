"""Index a folder of labels or of pooled targets: what `segdata index` finds there."""

from pathlib import Path, PurePosixPath

from segdata.cpp.store import ENDING
from segdata.errors import LayoutError
from segdata.labels.classes import ClassTable
from segdata.layouts import Encoding, LabeledImage, folder, open_labels
from segdata.sampling.index_builder import IndexPlan, parts_of
from segdata.sampling.index_part import IndexItem, IndexSettings, Kind, path_below


def plan_index(
    source: Path,
    output: Path,
    *,
    classes: str | Path = "cityscapes",
    encoding: str = "auto",
    tile: int = 1024,
    confidence: float = 0.5,
    images: Path | None = None,
) -> IndexPlan:
    """Plan the index of a Cityscapes root, a folder of label images, or a folder of pooled targets.

    Parameters
    ----------
    source, output : Path
        SRC and FILE, absolute. A folder that holds ``.cpp.npz`` files and no PNG is one of targets.
    classes : str or Path
        Name or file of the class table.
    encoding : {"auto", "trainIds", "labelIds"}
        What the ids mean; see `segdata.layouts.open_labels`.
    tile, confidence
        See `IndexSettings`.
    images : Path, optional
        For a folder of labels: where the images lie, at the same relative paths with any ending.

    Raises
    ------
    LayoutError, MappingError, SettingsError
        If nothing is found, there is no such table, or a setting is out of range.
    """
    table = ClassTable.load(classes)
    found, meaning, kind = _find(source, encoding)
    settings = IndexSettings(classes=table, encoding=meaning, tile=tile, confidence=confidence, kind=kind)
    by_stem = _images_by_stem(images) if images is not None else {}
    items = [_item(label, source, by_stem) for label in found]
    if images is not None and not any(item.image for item in items):
        raise LayoutError(f"{images}: no image here has the path of a label in {source}. Pass another --images.")
    return IndexPlan(source=source, destination=parts_of(output), output=output, items=items, settings=settings)


def _find(source: Path, encoding: str) -> tuple[list[LabeledImage], Encoding, Kind]:
    """Find labels, or where there are none, pooled targets."""
    try:
        return *open_labels(source, encoding), "labels"
    except LayoutError as no_labels:
        try:
            return folder.find(source, suffix=ENDING), "trainIds", "targets"
        except LayoutError:
            raise no_labels from None


def _item(label: LabeledImage, source: Path, images: dict[str, Path]) -> IndexItem:
    assert label.label is not None
    image = label.image or images.get(_stem(label.relative))
    return IndexItem(
        key=str(label.relative),
        path=label.label,
        confidence=label.confidence,
        image="" if image is None else path_below(image, source),
        confidence_name="" if label.confidence is None else path_below(label.confidence, source),
    )


def _images_by_stem(images: Path) -> dict[str, Path]:
    """Return the images of a folder by their relative path without ending."""
    endings = (".jpg", ".jpeg", ".png")
    found = [path for path in sorted(images.rglob("*")) if path.suffix.lower() in endings]
    return {path.relative_to(images).with_suffix("").as_posix(): path for path in found}


def _stem(relative: PurePosixPath) -> str:
    """Return the path of a label or of targets without its ending."""
    if relative.name.lower().endswith(ENDING):
        return str(relative)[: -len(ENDING)]
    return str(relative.with_suffix(""))
