"""The layout of CamVid in 11 classes, as segmentation papers pass it on (480x360, 8-bit labels).

::

    {train,val,test}/images/<key>.{png,jpg}   {train,val,test}/labels/<key>.png
    {train,val,test}/<key>.png                {trainannot,valannot,testannot}/<key>.png    SegNet's copy

References
----------
Brostow, Fauqueur, Cipolla. Semantic Object Classes in Video: A High-Definition Ground Truth Database. 2009.
Badrinarayanan, Kendall, Cipolla. SegNet (the 11 classes). 2017.
"""

from collections.abc import Iterable
from pathlib import Path

from segdata.errors import LayoutError
from segdata.layouts.base import LabeledImage
from segdata.layouts.pairs import need_folder, pair_folders

_EXPECTED = "A folder with <split>/images and <split>/labels, or with <split> and <split>annot,"


def find(root: str | Path, *, splits: Iterable[str] = ("train",)) -> list[LabeledImage]:
    """List the images of splits with their labels, sorted by key within each split.

    Parameters
    ----------
    root : str or pathlib.Path
        The folder that holds ``train``.
    splits : iterable of str
        ``train``, ``val``, ``test``.

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
    for images, labels in ((root / split / "images", root / split / "labels"), (root / split, root / f"{split}annot")):
        if images.is_dir() and labels.is_dir():
            return pair_folders(root, split, images, labels)
    raise LayoutError(f"{root}: holds no split '{split}' of CamVid. {_EXPECTED} is expected.")
