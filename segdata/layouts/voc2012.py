"""The layout of Pascal VOC 2012, with the augmented labels of SBD as PNG or as their own .mat files.

::

    JPEGImages/<key>.jpg
    SegmentationClass/<key>.png                     VOC's own labels, with a border of 255
    SegmentationClassAug/<key>.png                  the augmented labels, where they were converted
    ImageSets/Segmentation/{train,val,trainval,trainaug}.txt
    ../VOCaug/dataset/{cls/<key>.mat,train.txt,val.txt}    or benchmark_RELEASE/dataset: SBD as it is distributed

References
----------
Hariharan, Arbelaez, Bourdev, Maji, Malik. Semantic Contours from Inverse Detectors (SBD). ICCV 2011.
"""

from collections.abc import Iterable
from pathlib import Path

from segdata.errors import LayoutError
from segdata.layouts.base import LabeledImage
from segdata.layouts.pairs import labeled_image, names_in, need_folder, read_list, refuse_twice

LISTS = "ImageSets/Segmentation"
SBD_FOLDERS = ("../VOCaug/dataset", "benchmark_RELEASE/dataset", "SBD/dataset", "SBD")
AUGMENTED = "trainaug"
_EXPECTED = "The folder VOC2012 of the download, with JPEGImages, SegmentationClass and ImageSets,"


def find(root: str | Path, *, splits: Iterable[str] = ("train",)) -> list[LabeledImage]:
    """List the images of splits with their labels.

    VOC's own label is taken where there is one, else the augmented PNG, else SBD's .mat file. The split ``trainaug``
    is read from its list, or without one made of SBD's lists: all of VOC's train and SBD's train and val that is not in
    VOC's val, 10,582 images.

    Parameters
    ----------
    root : str or pathlib.Path
        The folder ``VOC2012``.
    splits : iterable of str
        Names of lists in ``ImageSets/Segmentation``.

    Returns
    -------
    list of LabeledImage
        Sorted by key within each split. A file that a list names and that is missing is named all the same: reading it
        gives the error.

    Raises
    ------
    LayoutError
        If the root or a list is missing, or a list names an image twice.
    """
    root = Path(root)
    need_folder(root, _EXPECTED)
    sbd = sbd_folder(root)
    own, augmented = names_in(root / "SegmentationClass"), names_in(root / "SegmentationClassAug")
    mats = names_in(sbd / "cls") if sbd else set[str]()

    def label(split: str, key: str) -> Path:
        if f"{key}.png" in own:
            return root / "SegmentationClass" / f"{key}.png"
        if sbd is not None and f"{key}.png" not in augmented and f"{key}.mat" in mats:
            return sbd / "cls" / f"{key}.mat"
        return root / ("SegmentationClassAug" if split == AUGMENTED else "SegmentationClass") / f"{key}.png"

    return [
        labeled_image(root, split, key, root / "JPEGImages" / f"{key}.jpg", label(split, key))
        for split in splits
        for key in sorted(_keys(root, split, sbd))
    ]


def sbd_folder(root: Path) -> Path | None:
    """Return SBD's own folder in or beside the root, None if it is not there."""
    return next((root / name for name in SBD_FOLDERS if (root / name / "cls").is_dir()), None)


def _keys(root: Path, split: str, sbd: Path | None) -> list[str]:
    path = root / LISTS / f"{split}.txt"
    if not path.is_file() and split == AUGMENTED and sbd is not None:
        lists = [root / LISTS / "train.txt", sbd / "train.txt", sbd / "val.txt"]
        held_out = set(_read_keys(root / LISTS / "val.txt"))
        return list({key for each in lists for key in _read_keys(each)} - held_out)
    if not path.is_file():
        there = sorted(name.removesuffix(".txt") for name in names_in(root / LISTS))
        hint = " For trainaug add its list, or SBD beside VOC2012 as VOCaug/dataset." if split == AUGMENTED else ""
        raise LayoutError(
            f"{path}: is missing; there are {', '.join(there) or 'no lists'}. {_EXPECTED} is expected.{hint}"
        )
    return _read_keys(path)


def _read_keys(path: Path) -> list[str]:
    keys = [line.split()[0] for line in read_list(path)]
    refuse_twice(keys, path)
    return keys
