"""Place the image of a converted label beside it: linked or copied, whole or not at all."""

import os
from pathlib import Path
from typing import Literal

from segdata.errors import SettingsError, StoreError
from segdata.files import link_atomic

ImageMode = Literal["symlink", "hardlink", "copy", "skip"]


def place_image(image: Path, target: Path, mode: ImageMode) -> None:
    """Link or copy an image to its place, replacing what stands there; see `segdata.files.link_atomic`."""
    if mode != "skip":
        link_atomic(image, target, mode)


def image_is_placed(image: Path, target: Path, mode: ImageMode, *, overwrite: bool = False) -> bool:
    """Say whether an image stands at its place in the way asked for.

    A copy counts as whole by its size; one that is only the beginning of the image was truncated by a crash and is to
    be recreated.

    Raises
    ------
    StoreError
        If something else stands there and `overwrite` is not set.
    """
    if mode == "skip":
        return True
    if not os.path.lexists(target):
        return False
    if _is_as_asked(image, target, mode):
        return True
    if overwrite or (mode == "copy" and _is_beginning(target, image)):
        return False
    raise StoreError(f"{target}: is something else than a {mode} of {image}. Choose another DST, or pass --overwrite.")


def refuse_other_disk(image: Path, destination: Path) -> None:
    """Check, before a run, that hard links can reach from the images to the destination.

    Raises
    ------
    SettingsError
        If they lie on different file systems.
    """
    existing = next(folder for folder in (destination, *destination.parents) if folder.exists())
    if image.stat().st_dev != existing.stat().st_dev:
        raise SettingsError(
            f"{destination}: lies on another file system than the images ({image.parent}), which hard links cannot "
            "cross. Pass --images symlink or copy, or choose a DST beside SRC."
        )


def _is_beginning(target: Path, image: Path) -> bool:
    """Say whether a file holds the first bytes of an image and no more."""
    if target.is_symlink() or not target.is_file() or _size(target) >= _size(image):
        return False
    with target.open("rb") as ours, image.open("rb") as theirs:
        return all(part == theirs.read(len(part)) for part in iter(lambda: ours.read(1 << 20), b""))


def _is_as_asked(image: Path, target: Path, mode: ImageMode) -> bool:
    if mode == "symlink":
        return target.is_symlink() and target.readlink() == image.absolute()
    if target.is_symlink() or not target.is_file():
        return False
    same = target.samefile(image)
    return same if mode == "hardlink" else not same and _size(target) == _size(image)


def _size(path: Path) -> int:
    return path.stat().st_size
