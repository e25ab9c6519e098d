"""One label file, whatever its encoding, as training ids."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.png import read_label
from segdata.errors import LabelError
from segdata.labels.bundled import bundled_classes
from segdata.labels.classes import IGNORE_ID, ClassTable

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
    path = Path(path)
    ids = read_label(path)
    lookup = _lookup(path, ids, table, encoding)
    unknown = lookup[ids] < 0
    if unknown.any():
        row, column = np.argwhere(unknown)[0].tolist()
        raise LabelError(
            f"{path}: id {ids[row, column]} is not a class of '{table.name}' ({unknown.sum()} pixels, first at row "
            f"{row}, column {column}). The file holds {_ranges(np.unique(ids).tolist())}. "
            f"{_way_out(path, ids, table, encoding)}"
        )
    return lookup.astype(np.uint8)[ids]


def _lookup(path: Path, ids: NDArray[np.uint8], table: ClassTable, encoding: str) -> NDArray[np.int16]:
    """Return the training id of each value that the file may hold, -1 for others."""
    return table.value_lookup(_encoding(path, ids, table) if encoding == "auto" else encoding)


def _encoding(path: Path, ids: NDArray[np.uint8], table: ClassTable) -> str:
    """Say what a file holds, by its name or else by its values."""
    for encoding, ending in _ENDINGS.items():
        if path.stem.endswith(ending):
            return encoding
    fits = ((ids < table.num_classes) | (ids == IGNORE_ID)).all()
    return "trainIds" if fits else "labelIds"


def _way_out(path: Path, ids: NDArray[np.uint8], table: ClassTable, encoding: str) -> str:
    """Say which options would read the file: those under which each of its ids has a meaning."""
    values = np.unique(ids)
    for other in _ENDINGS:
        if (table.value_lookup(other)[values] >= 0).all():
            return f"All of these are {other} of it: pass --encoding {other}."
    ways = []
    for bundled in sorted(map(ClassTable.load, bundled_classes()), key=lambda bundled: len(bundled.classes)):
        if (_lookup(path, ids, bundled, encoding)[values] >= 0).all():
            ways.append(f"--classes {bundled.name}")
        elif (bundled.value_lookup("labelIds")[values] >= 0).all():
            ways.append(f"--classes {bundled.name} --encoding labelIds")
    if not ways:
        return "No bundled class table names them all. Is it a label image? Pass --classes FILE with its own table."
    return f"Is it a label of another data set? Pass {' or '.join(ways)}."


def _ranges(values: list[int], most: int = 12) -> str:
    """Write sorted numbers with runs drawn together, no more than `most` parts.

    >>> _ranges([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join(parts if len(parts) <= most else [*parts[: most - 1], "...", parts[-1]])
