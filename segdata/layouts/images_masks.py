"""Images and masks in two parallel folders, as most people keep data of their own.

::

    images/<split>/**/<key>.{png,jpg}    masks/<split>/**/<key>.png
    <split>/images/**/<key>.{png,jpg}    <split>/masks/**/<key>.png
    images/**/<key>.{png,jpg}            masks/**/<key>.png            the split "all"

``labels``, ``annotations`` and ``SegmentationClass`` stand for ``masks`` too; ``JPEGImages`` and ``imgs`` for
``images``.
"""

from collections.abc import Iterable
from pathlib import Path

from segdata.errors import LayoutError
from segdata.files import files_below
from segdata.layouts.base import LabeledImage
from segdata.layouts.pairs import IMAGE_SUFFIXES, LABEL_SUFFIXES, first_folder, labeled_image, need_folder

IMAGES = ("images", "JPEGImages", "imgs")
MASKS = ("masks", "labels", "annotations", "SegmentationClass")
ALL = "all"
_EXPECTED = (
    "A folder with images/<split> and masks/<split>, or <split>/images and <split>/masks, or images and masks (all),"
)


def find(root: str | Path, *, splits: Iterable[str] = ("train",)) -> list[LabeledImage]:
    """List the images of splits with their masks, paired by path below the two folders, without the ending.

    Parameters
    ----------
    root : str or pathlib.Path
        The folder that holds ``images`` and ``masks``, or the splits.
    splits : iterable of str
        Names of folders; ``all`` takes everything below ``images`` and ``masks``.

    Returns
    -------
    list of LabeledImage
        What has no partner of its name is there alone, with ``image`` or ``label`` None.

    Raises
    ------
    LayoutError
        If the root or a split is missing, or two files have the same name but for the ending.
    """
    root = Path(root)
    need_folder(root, _EXPECTED)
    return [item for split in splits for item in _split(root, split)]


def _split(root: Path, split: str) -> list[LabeledImage]:
    above, below = first_folder(root, IMAGES), first_folder(root, MASKS)
    inner = first_folder(root / split, IMAGES), first_folder(root / split, MASKS)
    candidates = [inner]
    if above is not None and below is not None:
        candidates.insert(0, (above, below) if split == ALL else (above / split, below / split))
    for images, masks in candidates:
        if images is not None and masks is not None and images.is_dir() and masks.is_dir():
            return _pairs(root, split, images, masks)
    raise LayoutError(f"{root}: holds no split '{split}' of images and masks. {_EXPECTED} is expected.")


def _pairs(root: Path, split: str, images: Path, masks: Path) -> list[LabeledImage]:
    image_of, mask_of = _by_key(images, IMAGE_SUFFIXES), _by_key(masks, LABEL_SUFFIXES)
    return [
        labeled_image(root, split, key, image_of.get(key), mask_of.get(key))
        for key in sorted(image_of.keys() | mask_of.keys())
    ]


def _by_key(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(files_below(folder, suffixes)):
        key = path.relative_to(folder).with_suffix("").as_posix()
        if key in found:
            raise LayoutError(f"{path}: has the same key as {found[key].name}. Keep one of the two.")
        found[key] = path
    return found
