"""Any images and labels that a list file names, one pair a line.

::

    train.txt:  images/a.jpg<TAB>labels/a.png            paths relative to the root
                images/b.jpg labels/b.png prob/b.png     spaces do where names have none; the third is the confidence
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from segdata.errors import LayoutError
from segdata.layouts.base import LabeledImage
from segdata.layouts.pairs import labeled_image, need_folder, read_list, refuse_twice

_EXPECTED = "An image and its label, set apart by a tab"


def find(root: str | Path, *, splits: Iterable[str] = ("train.txt",)) -> list[LabeledImage]:
    """List the pairs that list files name, in the order of their keys.

    Parameters
    ----------
    root : str or pathlib.Path
        What the paths in the lists, and of the lists, are relative to.
    splits : iterable of str
        The list files.

    Returns
    -------
    list of LabeledImage
        The key is the label's path without its ending, the split the list's name without its ending. Whether the
        files are there is not looked at: reading one gives the error.

    Raises
    ------
    LayoutError
        If the root or a list is missing, a line holds no pair, or a label is named twice.
    """
    root = Path(root)
    need_folder(root, "The folder of the list files")
    return [item for split in splits for item in _read(root, root / split)]


def _read(root: Path, path: Path) -> list[LabeledImage]:
    items = [_item(root, path, line) for line in read_list(path)]
    refuse_twice([item.key for item in items], path)
    return sorted(items, key=lambda item: item.key)


def _item(root: Path, path: Path, line: str) -> LabeledImage:
    parts = [part.strip() for part in line.split("\t")] if "\t" in line else line.split()
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise LayoutError(f"{path}: the line '{line}' has {len(parts)} names. {_EXPECTED}, is expected.")
    image, label = root / parts[0], root / parts[1]
    item = labeled_image(root, path.stem, str(PurePosixPath(parts[1]).with_suffix("")), image, label)
    return replace(item, confidence=root / parts[2]) if len(parts) == 3 else item
