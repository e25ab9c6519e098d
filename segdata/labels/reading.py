"""Label files as training ids: the one way from a file to class ids."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.png import decode_label_rows, decode_pixels, read_bytes, read_label
from segdata.codecs.png_chunks import split_png
from segdata.codecs.sbd import read_sbd_label
from segdata.errors import LabelError
from segdata.labels.bundled import bundled_classes
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.labels.mapping import Encoding
from segdata.labels.remap import first_unmapped, look_up_rows

ENDINGS: dict[Encoding, str] = {"trainIds": "_labelTrainIds.png", "labelIds": "_labelIds.png"}
"""What names of label files in the Cityscapes layout end with."""
AUTO_ENDING = "_leftImg8bit.png"
"""Of auto-labels in that layout, which hold label ids."""

_ADVICE = (
    "Is the class table or the encoding another? Change data.classes, or the source's encoding; index again with the "
    "--classes and --encoding that the labels follow."
)


class Window(NamedTuple):
    """A part of an image, by its first row, the one after the last, and the same of columns."""

    top: int
    bottom: int
    left: int
    right: int


class LabelMeaning(NamedTuple):
    """What the ids in a label file are read as.

    Attributes
    ----------
    encoding : str
        ``trainIds`` or ``labelIds``.
    classes, digest : str
        Name and digest of the class table.
    """

    encoding: str
    classes: str
    digest: str

    @classmethod
    def of(cls, table: ClassTable, encoding: str) -> "LabelMeaning":
        """Return the meaning of ids of a table."""
        return cls(encoding, table.name, table.digest)


def read_class_ids(
    path: Path,
    lookup: NDArray[np.int16],
    *,
    meaning: str = "the class table",
    read_as: LabelMeaning | None = None,
    confidence: Path | None = None,
    threshold: float = 0.0,
    window: Window | None = None,
    size: tuple[int, int] | None = None,
    size_of: str = "expected",
) -> NDArray[np.uint8]:
    """Read a label file as training ids.

    Parameters
    ----------
    path : Path
        A PNG, or a .mat file of SBD.
    lookup : ndarray of int16, shape (256,)
        The training id of each stored id, 255 for ignored ones, negative for ids that may not occur; see
        `ClassTable.value_lookup`.
    meaning : str
        What messages say that the ids are of.
    read_as : LabelMeaning, optional
        Refuse a file that says of itself that it holds others.
    confidence : Path, optional
        8-bit image of how sure each pixel is, beside auto-labels.
    threshold : float
        Pixels whose confidence is below this part of 255 are ignored.
    window : Window, optional
        The part that is wanted; of a PNG, no row below it is decoded, nor checked.
    size : (int, int), optional
        Height and width that the label must have.
    size_of : str
        Where that size is from, for the message.

    Returns
    -------
    ndarray of uint8, shape (H, W), or that of the window
        Training ids, or 255 for ignored.

    Raises
    ------
    LabelError
        If a file cannot be read, the label holds an id that may not occur or is of another size, or the confidence is;
        or if the file contradicts `read_as`.
    """
    ids, found = _read_window(path, window, read_as)
    if size is not None and found != size:
        raise LabelError(f"{path}: has {found[0]}x{found[1]} pixels, {size[0]}x{size[1]} {size_of}.")
    origin = (0, 0) if window is None else (window.top, window.left)
    class_ids = to_class_ids(ids, lookup, where=str(path), meaning=meaning, origin=origin, reuse=True)
    if confidence is None or threshold <= 0:
        return class_ids
    how_sure, of_size = _read_window(confidence, window)
    if of_size != found:
        raise LabelError(f"{confidence}: has {of_size} pixels, its label {found}. Expected the same.")
    return ignore_unsure(class_ids, how_sure, threshold, where=str(confidence))


def read_ids(path: Path) -> NDArray[np.uint8]:
    """Read the ids of a label file as they are stored, shape (H, W): a PNG, or a .mat file of SBD."""
    return read_sbd_label(path) if path.suffix == ".mat" else read_label(path)


def _read_window(
    path: Path, window: Window | None, read_as: LabelMeaning | None = None
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Read a window of the ids of a label file; return them and the size of the whole."""
    if path.suffix == ".mat":
        ids = read_ids(path)
        size = (ids.shape[0], ids.shape[1])
        return (ids if window is None else ids[window.top : window.bottom, window.left : window.right]), size
    parts = split_png(read_bytes(path), str(path))
    if read_as is not None:
        refuse_contradiction(parts.text, str(path), read_as)
    size = (parts.header.height, parts.header.width)
    if window is None:
        return decode_pixels(parts, str(path)), size
    if window.bottom > size[0] or window.right > size[1]:
        return np.empty((0, 0), np.uint8), size  # of another size than was expected, which the caller says
    rows = decode_label_rows(parts, str(path), window.top, window.bottom)
    return rows[:, window.left : window.right], size


def to_class_ids(
    ids: NDArray[np.uint8],
    lookup: NDArray[np.int16],
    *,
    where: str,
    meaning: str = "the class table",
    advice: str = _ADVICE,
    origin: tuple[int, int] = (0, 0),
    reuse: bool = False,
) -> NDArray[np.uint8]:
    """Return stored ids, shape (H, W), as training ids with 255 for ignored; see `read_class_ids`.

    `origin` is the row and column of the first of them in the file; `reuse` lets the training ids take the place of the
    stored ones.

    Raises
    ------
    LabelError
        If an id may not occur, with its count and first place; `where` names the file.

    Examples
    --------
    >>> lookup = ClassTable.load("cityscapes").value_lookup("labelIds")
    >>> to_class_ids(np.array([[7, 0]], np.uint8), lookup, where="example.png")
    array([[  0, 255]], dtype=uint8)
    """
    held = np.ascontiguousarray(ids)
    own = held.flags.writeable and (reuse or not np.may_share_memory(held, ids))
    class_ids = held if own else np.empty(ids.shape, np.uint8)
    done = look_up_rows(held, lookup, class_ids)
    if done < len(held):
        unknown = first_unmapped(held[done:], lookup)
        assert unknown is not None, "the row after those done holds one"
        raise LabelError(
            f"{where}: id {unknown.id} is not in {meaning} ({unknown.num_pixels} pixels, first at row "
            f"{origin[0] + done + unknown.row}, column {origin[1] + unknown.column}). {advice}"
        )
    return class_ids


def ignore_unsure(
    class_ids: NDArray[np.uint8], confidence: NDArray[np.uint8], threshold: float, *, where: str
) -> NDArray[np.uint8]:
    """Return class ids with 255 where the confidence is below a part of 255.

    Raises
    ------
    LabelError
        If the confidence is of another size than the label; `where` names its file.
    """
    if confidence.shape != class_ids.shape:
        raise LabelError(f"{where}: has {confidence.shape} pixels, its label {class_ids.shape}. Expected the same.")
    return np.where(confidence < threshold * 255, np.uint8(IGNORE_ID), class_ids)


def refuse_contradiction(text: Mapping[str, str], where: str, read_as: LabelMeaning) -> None:
    """Check that a label image does not say of itself that it holds other ids than it is read as.

    What `segdata convert` and `segdata predict` write says so in a text chunk; other files say nothing.

    Parameters
    ----------
    text : mapping of str to str
        The text chunks of the PNG.
    where : str
        The file's name for messages.
    read_as : LabelMeaning

    Raises
    ------
    LabelError
        If it says otherwise; names both.
    """
    told = told_settings(text)
    if told.get("encoding", read_as.encoding) != read_as.encoding:
        raise LabelError(
            f"{where}: says that it holds {told['encoding']}, and is read as {read_as.encoding}. Pass --encoding "
            f"{told['encoding']}, or set the source's encoding."
        )
    if told.get("classes_digest", read_as.digest) == read_as.digest:
        return
    if told.get("classes") == read_as.classes:
        raise LabelError(
            f"{where}: was made with another class table of the name '{read_as.classes}' (digest "
            f"{told['classes_digest']}; now {read_as.digest}). Pass the file it was made with as --classes or "
            "data.classes, or make it again."
        )
    raise LabelError(
        f"{where}: says that its classes are '{told.get('classes')}', and is read as '{read_as.classes}'. Pass "
        f"--classes {told.get('classes')}, or change data.classes."
    )


def told_settings(text: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that made a label image, as it says in its text chunks; empty where it says nothing."""
    try:
        settings = json.loads(text.get("segdata", "null"))["settings"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def label_name(path: Path) -> tuple[str, Encoding] | None:
    """Split a label file's name into what names the image and the encoding; None for any other file."""
    for encoding, ending in ENDINGS.items():
        if path.name.endswith(ending):
            return path.name.removesuffix(ending), encoding
    return None


def encoding_of(path: Path, encoding: str = "auto") -> Encoding:
    """Return what the ids of a label file are: as told, or for ``auto`` by its file name.

    Names of Cityscapes' labels say it; its auto-labels hold label ids; any other name stands for training ids.
    """
    if encoding != "auto":
        return "trainIds" if encoding == "trainIds" else "labelIds"
    named = label_name(path)
    if named is not None:
        return named[1]
    return "labelIds" if path.name.endswith(AUTO_ENDING) else "trainIds"


def read_single_label(path: Path, table: ClassTable, encoding: str = "auto") -> NDArray[np.uint8]:
    """Read a label file of which nothing but its name is known, as training ids.

    Parameters
    ----------
    path : Path
        A label PNG.
    table : ClassTable
        What the ids mean.
    encoding : {"auto", "trainIds", "labelIds"}
        ``auto`` goes by the file's name, ``..._labelIds.png``; where that does not tell, the file holds train ids if
        all of its values can be such.

    Raises
    ------
    LabelError
        If the file is not a label image, or holds an id that the table does not name; the message says which bundled
        tables do.
    """
    ids = read_label(path)
    meaning = _guess(path, ids, table) if encoding == "auto" else encoding
    held = _ranges(np.unique(ids).tolist())
    advice = f"The file holds {held}. {_options_that_read(path, ids, table, encoding)}"
    return to_class_ids(ids, table.value_lookup(meaning), where=str(path), meaning=f"'{table.name}'", advice=advice)


def _guess(path: Path, ids: NDArray[np.uint8], table: ClassTable) -> str:
    """Say what a file holds, by its name or else by its values."""
    named = label_name(path)
    if named is not None:
        return named[1]
    return "trainIds" if ((ids < table.num_classes) | (ids == IGNORE_ID)).all() else "labelIds"


def _options_that_read(path: Path, ids: NDArray[np.uint8], table: ClassTable, encoding: str) -> str:
    """Say which options would read the file: those under which each of its ids has a meaning."""
    values = np.unique(ids)
    for other in ENDINGS:
        if (table.value_lookup(other)[values] >= 0).all():
            return f"All of these are {other} of it: pass --encoding {other}."
    ways = []
    for bundled in sorted(map(ClassTable.load, bundled_classes()), key=lambda bundled: len(bundled.classes)):
        meaning = _guess(path, ids, bundled) if encoding == "auto" else encoding
        if (bundled.value_lookup(meaning)[values] >= 0).all():
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
