"""Index a folder of labels or of pooled targets: what `segdata index` finds there."""

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from segdata.cpp.store import ENDING
from segdata.errors import LayoutError
from segdata.files import files_below
from segdata.labels.classes import ClassTable
from segdata.layouts import Encoding, LabeledImage, folder, open_labels
from segdata.layouts.cityscapes import ANNOTATIONS, is_root
from segdata.layouts.pairs import IMAGE_SUFFIXES
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
    splits: Sequence[str] = (),
    annotation: str | None = None,
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
    splits : sequence of str
        Only labels of these splits of a Cityscapes root.
    annotation : {"gtFine", "gtCoarse", "auto"}, optional
        Only labels of this kind of a Cityscapes root.

    Raises
    ------
    LayoutError, MappingError, SettingsError
        If nothing is found, there is no such table, or a setting is out of range; or if labels of several kinds, or for
        training and for validation, would be mixed without being asked for.
    """
    table = ClassTable.load(classes)
    found, meaning, kind = _find(source, encoding)
    found = _chosen(source, found, splits, annotation)
    settings = IndexSettings(classes=table, encoding=meaning, tile=tile, confidence=confidence, kind=kind)
    by_stem = _images_by_stem(images, {label.label for label in found}) if images is not None else {}
    items = [_item(label, source, by_stem) for label in found]
    if images is not None and not any(item.image for item in items):
        raise LayoutError(f"{images}: no image here has the path of a label in {source}. Pass another --images.")
    return IndexPlan(source=source, destination=parts_of(output), output=output, items=items, settings=settings)


def count_labels(items: Sequence[IndexItem]) -> str:
    """Say how many labels of which kind and split of a Cityscapes root a plan has."""
    there = Counter((_kind(item.path), item.path.parent.parent.name) for item in items)
    return ", ".join(f"{number} of {kind} {split}" for (kind, split), number in sorted(there.items()))


def _chosen(
    source: Path, found: list[LabeledImage], splits: Sequence[str], annotation: str | None
) -> list[LabeledImage]:
    """Keep what is asked for, and refuse what would mix unasked; other folders than Cityscapes roots have one kind."""
    if not is_root(source):
        if splits or annotation:
            raise LayoutError(
                f"{source}: is not a Cityscapes root, which alone has splits and annotations. Leave out "
                "--split and --annotation, or name the folder of the split."
            )
        return found
    there = Counter((label.split, _kind(label.label)) for label in found)
    listed = ", ".join(f"{number} labels of {kind} {split}" for (split, kind), number in sorted(there.items()))
    kept = [
        label
        for label in found
        if label.split in (splits or (label.split,)) and _kind(label.label) == (annotation or _kind(label.label))
    ]
    missing = [split for split in splits if split not in {label.split for label in kept}]
    if missing or not kept:
        wanted = " ".join(filter(None, (annotation, *(missing or splits))))
        raise LayoutError(f"{source}: has no labels of {wanted}. There are {listed}.")
    kinds = sorted({_kind(label.label) for label in kept})
    if len(kinds) > 1:
        raise LayoutError(
            f"{source}: holds {listed}. Fine and coarse labels belong in an index each. Pass --annotation {kinds[0]} "
            f"(or {', '.join(kinds[1:])})."
        )
    held = sorted({label.split for label in kept})
    if not splits and len(held) > 1 and set(held) & {"val", "test"}:
        raise LayoutError(
            f"{source}: holds {listed}. What is trained on and what is evaluated on would be mixed. Pass --split "
            f"{next((split for split in held if split not in ('val', 'test')), held[0])}, or to mix them all "
            f"{' '.join(f'--split {split}' for split in held)}."
        )
    return kept


def _kind(label: Path | None) -> str:
    """Return the kind of annotation that a label's name says; auto-labels are named as their images."""
    assert label is not None
    return next((kind for kind in ANNOTATIONS if f"_{kind}_" in label.name), "auto")


def _find(source: Path, encoding: str) -> tuple[list[LabeledImage], Encoding, Kind]:
    """Find labels, or where there are none, pooled targets."""
    try:
        return *open_labels(source, encoding), "labels"
    except LayoutError as no_labels:
        if encoding != "auto" or _holds_png(source):  # labels are asked for or there, so targets are no answer
            raise
        try:
            return folder.find(source, suffix=ENDING), "trainIds", "targets"
        except LayoutError:
            raise no_labels from None


def _holds_png(source: Path) -> bool:
    """Say whether a folder holds what may be labels, whatever is amiss with them."""
    try:
        return bool(folder.find(source))
    except LayoutError:
        return False


def _item(label: LabeledImage, source: Path, images: dict[str, list[Path]]) -> IndexItem:
    assert label.label is not None
    of_stem = images.get(_stem(label.relative), [])
    if len(of_stem) > 1 and label.image is None:
        raise LayoutError(f"{of_stem[1]}: and {of_stem[0].name} beside it are both images of {label.label}. Keep one.")
    image = label.image or next(iter(of_stem), None)
    return IndexItem(
        key=str(label.relative),
        path=label.label,
        confidence=label.confidence,
        image="" if image is None else path_below(image, source),
        image_path=image,
        confidence_name="" if label.confidence is None else path_below(label.confidence, source),
    )


def _images_by_stem(images: Path, labels: set[Path | None]) -> dict[str, list[Path]]:
    """Return the images of a folder by their relative path without ending; labels that lie there too are none."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    images = Path(os.path.abspath(images))  # noqa: PTH100 - as the labels' paths, links stay
    for path in sorted(files_below(images, IMAGE_SUFFIXES)):
        if path not in labels:
            by_stem[path.relative_to(images).with_suffix("").as_posix()].append(path)
    return by_stem


def _stem(relative: PurePosixPath) -> str:
    """Return the path of a label or of targets without its ending."""
    if relative.name.lower().endswith(ENDING):
        return str(relative)[: -len(ENDING)]
    return str(relative.with_suffix(""))
