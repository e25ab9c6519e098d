"""The layout of NYU-Depth-v2 in 40 classes, as it is when its one .mat file was taken apart.

::

    {images,image,rgb,RGB}/<key>.{png,jpg}
    {labels,label,label40,labels40,labels_40,seg40,Label}/<key>.png    0 unlabeled, 1 to 40 the classes
    {train,test}.txt                                   one key a line, 795 and 654

or, without lists, ``{train,test}/images`` and ``{train,test}/labels`` (ESANet: ``rgb``, ``labels_40``), or
``images/{train,test}`` and ``labels/{train,test}`` (VainF's toolkit: ``image``, ``seg40``).

References
----------
Silberman, Hoiem, Kohli, Fergus. Indoor Segmentation and Support Inference from RGBD Images. ECCV 2012.
Gupta, Arbelaez, Malik. Perceptual Organization and Recognition of Indoor Scenes (the 40 classes). CVPR 2013.
"""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from segdata.errors import LayoutError
from segdata.layouts.base import LabeledImage
from segdata.layouts.pairs import (
    IMAGE_SUFFIXES,
    by_stem,
    first_folder,
    labeled_image,
    need_folder,
    pair_folders,
    read_list,
    refuse_twice,
)

IMAGES = ("images", "image", "rgb", "RGB")
LABELS = ("labels", "label", "label40", "labels40", "labels_40", "seg40", "Label")
_EXPECTED = "A folder with images, labels, train.txt and test.txt, or with train/images, train/labels and test alike,"


def find(root: str | Path, *, splits: Iterable[str] = ("train",)) -> list[LabeledImage]:
    """List the images of splits with their labels, sorted by key within each split.

    Parameters
    ----------
    root : str or pathlib.Path
        The folder of images, labels and lists.
    splits : iterable of str
        ``train``, ``test``.

    Returns
    -------
    list of LabeledImage
        A label that a list names and that is missing is named all the same: reading it gives the error.

    Raises
    ------
    LayoutError
        If the root, a split or a folder is missing, or a list names an image twice.
    """
    root = Path(root)
    need_folder(root, _EXPECTED)
    return [item for split in splits for item in _split(root, split)]


def _split(root: Path, split: str) -> list[LabeledImage]:
    images, labels = first_folder(root / split, IMAGES), first_folder(root / split, LABELS)
    if images is not None and labels is not None:
        return pair_folders(root, split, images, labels)
    images = first_folder(root, [f"{name}/{split}" for name in IMAGES])
    labels = first_folder(root, [f"{name}/{split}" for name in LABELS])
    if images is not None and labels is not None:
        return pair_folders(root, split, images, labels)
    listed, images, labels = root / f"{split}.txt", first_folder(root, IMAGES), first_folder(root, LABELS)
    if images is None or labels is None or not listed.is_file():
        raise LayoutError(f"{root}: holds no split '{split}' of NYU-Depth-v2. {_EXPECTED} is expected.")
    keys = [PurePosixPath(line.split()[0]).stem for line in read_list(listed)]
    refuse_twice(keys, listed)
    image_of = by_stem(images, IMAGE_SUFFIXES)
    return [
        labeled_image(root, split, key, image_of.get(key, images / f"{key}.png"), labels / f"{key}.png")
        for key in sorted(keys)
    ]
