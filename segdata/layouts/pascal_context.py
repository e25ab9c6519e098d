"""The layout of Pascal Context: VOC 2010 with labels of 59 classes and background as PNG.

::

    JPEGImages/<key>.jpg
    SegmentationClassContext/<key>.png              0 background, 1 to 59 the classes
    ImageSets/SegmentationContext/{train,val}.txt

The labels are distributed as one file of masks; MMSegmentation's ``tools/dataset_converters/pascal_context.py`` writes
them in this form. The same files serve 59 and 60 classes: the class table says whether 0 is ignored.

References
----------
Mottaghi, Chen, Liu, Cho, Lee, Fidler, Urtasun, Yuille. The Role of Context for Object Detection and Semantic
Segmentation in the Wild. CVPR 2014.
"""

from collections.abc import Iterable
from pathlib import Path

from segdata.errors import LayoutError
from segdata.layouts.base import LabeledImage
from segdata.layouts.pairs import labeled_image, names_in, need_folder, read_list, refuse_twice

LISTS = "ImageSets/SegmentationContext"
LABELS = "SegmentationClassContext"
_EXPECTED = f"The folder VOC2010 with JPEGImages, {LABELS} and {LISTS}"


def find(root: str | Path, *, splits: Iterable[str] = ("train",)) -> list[LabeledImage]:
    """List the images of splits with their labels, sorted by key within each split.

    Parameters
    ----------
    root : str or pathlib.Path
        The folder ``VOC2010``.
    splits : iterable of str
        Names of lists in ``ImageSets/SegmentationContext``.

    Returns
    -------
    list of LabeledImage
        A file that a list names and that is missing is named all the same: reading it gives the error.

    Raises
    ------
    LayoutError
        If the root or a list is missing, or a list names an image twice.
    """
    root = Path(root)
    need_folder(root, _EXPECTED)
    return [
        labeled_image(root, split, key, root / "JPEGImages" / f"{key}.jpg", root / LABELS / f"{key}.png")
        for split in splits
        for key in sorted(_keys(root, split))
    ]


def _keys(root: Path, split: str) -> list[str]:
    path = root / LISTS / f"{split}.txt"
    if not path.is_file():
        there = sorted(name.removesuffix(".txt") for name in names_in(root / LISTS))
        raise LayoutError(f"{path}: is missing; there are {', '.join(there) or 'no lists'}. {_EXPECTED} is expected.")
    keys = [line.split()[0] for line in read_list(path)]
    refuse_twice(keys, path)
    return keys
