"""One label file, whatever its encoding, as training ids."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdata.errors import LabelError
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.labels.png import read_label

_ENDINGS = {"trainIds": "_labelTrainIds", "labelIds": "_labelIds"}


def read_class_ids(path: str | Path, table: ClassTable, encoding: str = "auto") -> NDArray[np.uint8]:
    """Read a label image and return training ids.

    Parameters
    ----------
    path : str or pathlib.Path
        A label PNG.
    table : ClassTable
        What the ids mean.
    encoding : {"auto", "trainIds", "labelIds"}
        ``auto`` goes by the file's name, ``..._labelIds.png``; where that does not tell, the file holds train ids if
        all of its values can be such.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        ``0 .. num_classes-1`` and 255 for ignored.

    Raises
    ------
    LabelError
        If the file is no label image, or holds an id that the table does not name.
    """
    ids = read_label(Path(path))
    lookup = table.value_lookup(_encoding(Path(path), ids, table) if encoding == "auto" else encoding)
    unknown = lookup[ids] < 0
    if unknown.any():
        row, column = np.argwhere(unknown)[0].tolist()
        raise LabelError(
            f"{path}: id {ids[row, column]} is not a class of '{table.name}' ({unknown.sum()} pixels, first at row "
            f"{row}, column {column}). Pass --encoding trainIds or labelIds, or another --classes."
        )
    return lookup.astype(np.uint8)[ids]


def _encoding(path: Path, ids: NDArray[np.uint8], table: ClassTable) -> str:
    """Say what a file holds, by its name or else by its values."""
    for encoding, ending in _ENDINGS.items():
        if path.stem.endswith(ending):
            return encoding
    fits = ((ids < table.num_classes) | (ids == IGNORE_ID)).all()
    return "trainIds" if fits else "labelIds"
