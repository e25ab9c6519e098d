"""The Cityscapes layout: images and labels in parallel trees, paired by key.

::

    leftImg8bit/<split>/<city>/<key>_leftImg8bit.png                    (or .jpg)
    gtFine/<split>/<city>/<key>_gtFine_{labelTrainIds,labelIds}.png     (gtCoarse alike)
    train_extra/<city>/<key>_leftImg8bit.png, ..._leftImg8bit_prob.png  auto-labels with their confidence

Each tree may lie one folder deeper, as in ``gtFine_trainvaltest/gtFine``. A key is what remains of a name without its
ending: ``aachen_000000_000019``, or for converted Vistas images (city ``mapillary``) the data set's own key.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from segdata.errors import LayoutError
from segdata.files import files_at
from segdata.labels.mapping import Encoding
from segdata.labels.reading import AUTO_ENDING, ENDINGS, label_name
from segdata.layouts.base import LabeledImage

ANNOTATIONS = ("gtFine", "gtCoarse")
IMAGES = "leftImg8bit"
CONFIDENCE_ENDING = f"_{IMAGES}_prob.png"
IMAGE_ENDINGS = (f"_{IMAGES}.png", f"_{IMAGES}.jpg")

_Place = tuple[str, str, str]  # split, city, key


def find(
    root: str | Path,
    *,
    annotation: str | None = None,
    encoding: str = "auto",
    splits: Iterable[str] | None = None,
    need_all: bool = False,
) -> list[LabeledImage]:
    """List the labels of a Cityscapes root with their images, and the images that have no label.

    Parameters
    ----------
    root : str or pathlib.Path
        The folder that holds ``gtFine`` and the like, or one of these folders itself.
    annotation : {"gtFine", "gtCoarse"}, optional
        Only labels of this kind; by default all that are there.
    encoding : {"auto", "trainIds", "labelIds"}
        Which of the label files to take. ``auto`` takes the train ids where every label has them, else the label ids.
        Auto-labels hold label ids.
    splits : iterable of str, optional
        Only these splits, such as ``train_extra``.
    need_all : bool
        Raise if a label has another encoding than the one named, and not that one.

    Returns
    -------
    list of LabeledImage
        Sorted by key, then path. An image without a label of the asked encoding has ``label`` None, a label whose image
        was not found has ``image`` None. An image labeled both fine and coarse gives two items with the same key.

    Raises
    ------
    LayoutError
        If nothing is found, if two trees hold the same label, or if ``auto`` finds no encoding that all labels have.
    """
    root = Path(root)
    labels = {kind: _labels(root, kind) for kind in ANNOTATIONS if annotation in (None, kind)}
    images = _images(root)
    found = [endings for by_kind in labels.values() for endings in by_kind.values()]
    chosen = choose_encoding(root, found, encoding, need_all=need_all)
    items = [
        _item(root, place, endings.get(chosen), images.get(place))
        for by_kind in labels.values()
        for place, endings in by_kind.items()
    ]
    if annotation is None:
        items += _auto_labels(root, images)
    labeled = {(item.split, item.key) for item in items}
    items += [_item(root, place, None, image) for place, image in images.items() if (place[0], place[2]) not in labeled]
    if splits is not None:
        wanted = set(splits)
        items = [item for item in items if item.split in wanted]
    if not items:
        raise LayoutError(f"{root}: no Cityscapes layout found. {_looked_for()}")
    return sorted(items, key=lambda item: (item.key, str(item.relative)))


def encodings(root: str | Path) -> tuple[Encoding, ...]:
    """Name the encodings of the labels under a Cityscapes root, train ids first; empty if there are none."""
    root = Path(root)
    found = {encoding for kind in ANNOTATIONS for endings in _labels(root, kind).values() for encoding in endings}
    if _auto_labels(root, {}):
        found.add("labelIds")
    return tuple(encoding for encoding in ENDINGS if encoding in found)


def is_root(root: str | Path) -> bool:
    """Say whether there are labels in the Cityscapes layout under a folder; stops at the first."""
    root = Path(root)
    named = (label_name(path) for kind in ANNOTATIONS for tree in _trees(root, kind) for path in files_at(tree, 2))
    return any(named) or bool(_auto_labels(root, {}))


def choose_encoding(root: Path, found: list[dict[Encoding, Path]], wanted: str, *, need_all: bool = False) -> Encoding:
    """Return the encoding to read: the wanted one if it is there, for ``auto`` the first that every label has.

    Raises
    ------
    LayoutError
        If `wanted` names no encoding, no label has it, or ``auto`` finds none that all labels have; with `need_all`
        also if some labels do not have the wanted one.
    """
    numbers = {encoding: sum(encoding in endings for endings in found) for encoding in ENDINGS}
    counts = ", ".join(f"{number} as {encoding}" for encoding, number in numbers.items())
    if wanted != "auto":
        for encoding, number in numbers.items():
            if encoding == wanted and need_all and 0 < number < len(found):
                raise LayoutError(
                    f"{root}: {len(found) - number} of {len(found)} labels have no file *{ENDINGS[encoding]} "
                    f"({counts}). Expected is one of each. Write the missing files, or move the other labels away."
                )
            if encoding == wanted and (number or not found):
                return encoding
        expected = ENDINGS.get(wanted, "")  # type: ignore[call-overload]
        raise LayoutError(
            f"{root}: no label as {wanted!r} among {len(found)} ({counts}). Expected are files *{expected}."
        )
    for encoding, number in numbers.items():
        if number == len(found):
            return encoding if found else "labelIds"
    raise LayoutError(
        f"{root}: no encoding that all {len(found)} labels have ({counts}). "
        "Pass --encoding trainIds or labelIds to take those that have it, or write the missing files."
    )


def _trees(root: Path, name: str) -> list[Path]:
    """Return the trees of a name: the root itself, a folder in it, or one a folder deeper; each once."""
    if not root.is_dir():
        raise LayoutError(f"{root}: no such folder. A Cityscapes root is expected.")
    here = [root] if root.name == name else []
    trees = [*here, root / name, *sorted(_deeper(root, name))]
    return list({tree.resolve(): tree for tree in reversed(trees) if tree.is_dir()}.values())[::-1]


def _deeper(root: Path, name: str) -> Iterator[Path]:
    """Yield the folders of a name that lie in a folder whose name begins alike, as a download is unpacked."""
    for path in root.iterdir():
        if path.name.startswith(name) and (path / name).is_dir():
            yield path / name


def _files(tree: Path) -> list[tuple[str, str, Path]]:
    """List (split, city, path) of the files that lie two folders down in a tree, hidden names left out."""
    return [(path.parent.parent.name, path.parent.name, path) for path in sorted(files_at(tree, 2))]


def _labels(root: Path, kind: str) -> dict[_Place, dict[Encoding, Path]]:
    """Return the label files of an annotation kind by place and encoding."""
    labels: dict[_Place, dict[Encoding, Path]] = {}
    for tree in _trees(root, kind):
        for split, city, path in _files(tree):
            named = label_name(path)
            if named is None or not named[0].endswith(f"_{kind}"):
                continue
            endings = labels.setdefault((split, city, named[0].removesuffix(f"_{kind}")), {})
            if named[1] in endings:
                raise LayoutError(f"{path}: the same label lies at {endings[named[1]]}. Remove one of the two trees.")
            endings[named[1]] = path
    return labels


def _images(root: Path) -> dict[_Place, Path]:
    """Return the images by place; those beside the root where it holds none, being itself a tree of labels."""
    base = root if _trees(root, IMAGES) else root.resolve().parent
    if not os.access(base, os.R_OK):  # nobody named the folder above
        return {}
    images: dict[_Place, Path] = {}
    for tree in _trees(base, IMAGES):
        for split, city, path in _files(tree):
            for ending in IMAGE_ENDINGS:
                if path.name.endswith(ending):
                    images.setdefault((split, city, path.name.removesuffix(ending)), path)
    return images


def _auto_labels(root: Path, images: dict[_Place, Path]) -> list[LabeledImage]:
    """Return the auto-labels right below the root, with their confidences."""
    if root.name == IMAGES:  # these are the images
        return []
    found = []
    # Beside a data set there may be folders that are not to be read: what cannot be listed is passed over here.
    for path in sorted(root.glob("*/*/*" + AUTO_ENDING)):
        split, city = path.parent.parent.name, path.parent.name
        if any(name.startswith(".") for name in (split, city, path.name)):
            continue
        key = path.name.removesuffix(AUTO_ENDING)
        item = _item(root, (split, city, key), path, images.get((split, city, key)))
        confidence = path.with_name(key + CONFIDENCE_ENDING)
        found.append(replace(item, confidence=confidence if confidence.exists() else None))
    return found


def _item(root: Path, place: _Place, label: Path | None, image: Path | None) -> LabeledImage:
    """Describe one image with what is there of it."""
    path = label or image
    relative = PurePosixPath(*place[:2], place[2])  # where only a label of another encoding is there
    if path is not None:
        base = root if path.is_relative_to(root) else root.resolve().parent
        relative = PurePosixPath(path.relative_to(base).as_posix())
    return LabeledImage(key=place[2], split=place[0], label=label, image=image, relative=relative)


def _looked_for() -> str:
    """Say which files make a Cityscapes layout."""
    return (
        "Looked for gtFine/<split>/<city>/<key>_gtFine_{labelTrainIds,labelIds}.png, gtCoarse alike, "
        "and <split>/<city>/<key>_leftImg8bit.png for auto-labels."
    )
