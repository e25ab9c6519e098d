"""What the layouts of split lists and parallel folders share: reading a list, listing a folder, pairing by name."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from segdata.errors import LayoutError
from segdata.layouts.base import LabeledImage

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
LABEL_SUFFIXES = (".png",)
MAX_LIST_BYTES = 1 << 26


def read_list(path: Path) -> list[str]:
    """Return the lines of a list file, trimmed, without empty ones and those that begin with ``#``.

    Raises
    ------
    LayoutError
        If it cannot be read, is not text, or holds nothing.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_BYTES)
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except OSError as error:
        raise LayoutError(
            f"{path}: cannot be read ({error.strerror}). A list with one image a line is expected."
        ) from None
    except UnicodeDecodeError:
        raise LayoutError(f"{path}: is not UTF-8 text. A list with one image a line is expected.") from None
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise LayoutError(f"{path}: names no image. A list with one image a line is expected.")
    return lines


def refuse_twice(keys: Sequence[str], path: Path) -> None:
    """Raise LayoutError if a list names the same image twice."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise LayoutError(f"{path}: names '{key}' twice. Keep one of the two lines.")
        seen.add(key)


def names_in(folder: Path) -> set[str]:
    """Return the names of all entries of a folder; none where there is no such folder."""
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - names alone, and no path object for each of 17,000
    except OSError:
        return set()


def by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of a folder with one of the suffixes, by name without it; hidden ones left out.

    Raises
    ------
    LayoutError
        If two have the same name but for the suffix.
    """
    found: dict[str, Path] = {}
    for name in sorted(names_in(folder)):
        stem, suffix = Path(name).stem, Path(name).suffix
        if suffix.lower() not in suffixes or name.startswith("."):
            continue
        if stem in found:
            raise LayoutError(f"{folder / name}: has the same key as {found[stem].name}. Keep one of the two.")
        found[stem] = folder / name
    return found


def pair_folders(root: Path, split: str, images: Path, labels: Path) -> list[LabeledImage]:
    """Return the images and labels of two folders paired by name, sorted; what has no partner is there alone."""
    image_of, label_of = by_stem(images, IMAGE_SUFFIXES), by_stem(labels, LABEL_SUFFIXES)
    return [
        labeled_image(root, split, key, image_of.get(key), label_of.get(key))
        for key in sorted(image_of.keys() | label_of.keys())
    ]


def labeled_image(root: Path, split: str, key: str, image: Path | None, label: Path | None) -> LabeledImage:
    """Describe one image, its path taken relative to the root where it lies below."""
    path = label or image
    assert path is not None
    relative = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    return LabeledImage(key=key, split=split, label=label, image=image, relative=PurePosixPath(relative.as_posix()))


def first_folder(root: Path, names: Iterable[str]) -> Path | None:
    """Return the first of the folders that is there."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def need_folder(root: Path, expected: str) -> None:
    """Raise LayoutError unless the root is a folder."""
    if not root.is_dir():
        raise LayoutError(f"{root}: no such folder. {expected} is expected.")
