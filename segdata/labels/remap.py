"""Apply a mapping to a label image, and say which id it does not name."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segdata.errors import LabelError
from segdata.labels.mapping import Encoding, LabelMapping
from segdata.text import counted

Unmapped = Literal["error", "ignore"]


@dataclass(frozen=True)
class UnmappedId:
    """An id that a mapping does not name, as found in a label image.

    Attributes
    ----------
    id : int
        What the image holds.
    num_pixels : int
        In how many pixels.
    row, column : int
        Its first place, row by row from the top left.
    """

    id: int
    num_pixels: int
    row: int
    column: int


def remap_labels(
    ids: NDArray[np.integer], mapping: LabelMapping, unmapped: Unmapped = "error", encoding: Encoding = "trainIds"
) -> NDArray[np.uint8]:
    """Map the ids of a label image to the target classes.

    Parameters
    ----------
    ids : ndarray of integers, shape (H, W)
        Ids of ``mapping.source``. uint8 is the fast way.
    mapping : LabelMapping
        The rule.
    unmapped : {"error", "ignore"}
        What to do with an id that the mapping does not name.
    encoding : {"trainIds", "labelIds"}
        What the result holds.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Training ids with 255 for ignored, or label ids with ``mapping.ignored_value("labelIds")`` (Cityscapes: 0).

    Raises
    ------
    LabelError
        If `ids` is no (H, W) array of integers, or holds an id that the mapping does not name and `unmapped` is
        ``"error"``; the message gives the id, its pixels and its first place.

    Examples
    --------
    >>> mapping = LabelMapping.load("vistas-v1.2-to-cityscapes")
    >>> remap_labels(np.array([[13, 2], [17, 65]], np.uint8), mapping)
    array([[  0,   1],
           [  2, 255]], dtype=uint8)
    """
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        raise LabelError(f"label: is {ids.dtype} of shape {ids.shape}. Give ids as an integer array of shape (H, W).")
    if unmapped not in ("error", "ignore"):
        raise LabelError(f"unmapped: '{unmapped}' is not known. Use error or ignore.")
    lookup = mapping.lookup(encoding)
    ignored = mapping.ignored_value(encoding)
    if ids.dtype != np.uint8:
        return _remap_wide(ids, mapping, lookup, unmapped, ignored)
    # One output value is free to mark the unmapped: a table of 256 bytes that names all ids needs no mark.
    marker = ignored if unmapped == "ignore" else _unused_value(lookup)
    table = np.where(lookup < 0, marker, lookup).astype(np.uint8).tobytes()
    # bytearray.translate: as fast as a compiled loop, four times np.take; the search for the mark is a memchr.
    mapped = bytearray(np.ascontiguousarray(ids).data).translate(table)
    if unmapped == "error" and (lookup < 0).any() and marker in mapped:
        raise unmapped_error(ids, mapping)
    return np.frombuffer(mapped, np.uint8).reshape(ids.shape)


def first_unmapped(ids: NDArray[np.integer], lookup: NDArray[np.int16]) -> UnmappedId | None:
    """Return the first id, row by row, for which `lookup` (shape (256,)) holds -1 or nothing; None if there is none."""
    unnamed = _looked_up(ids, lookup) < 0
    if not unnamed.any():
        return None
    row, column = divmod(int(unnamed.argmax()), ids.shape[1])
    found = int(ids[row, column])
    return UnmappedId(found, int((ids == found).sum()), row, column)


def unmapped_error(
    ids: NDArray[np.integer], mapping: LabelMapping, where: str = "label", how_to_fix: str = 'Pass unmapped="ignore".'
) -> LabelError:
    """Return the error for a label image that holds an id the mapping does not name.

    Parameters
    ----------
    ids : ndarray of integers, shape (H, W)
        The label image.
    mapping : LabelMapping
        The rule that does not name one of its ids.
    where : str
        The file, for the message.
    how_to_fix : str
        What the user can do, in the words of the command at hand.
    """
    found = first_unmapped(ids, mapping.lookup())
    assert found is not None, "every id is named by the mapping"
    return LabelError(unmapped_text(found, mapping, where, how_to_fix))


def unmapped_text(found: UnmappedId, mapping: LabelMapping, where: str, how_to_fix: str) -> str:
    """Return the one line that says which id `mapping` does not name, where it stands, and what to do.

    Examples
    --------
    >>> mapping = LabelMapping.load("vistas-v1.2-to-cityscapes")
    >>> unmapped_text(UnmappedId(66, 1, 80, 1311), mapping, "a.png", "Pass --unmapped ignore.")[:71]
    "a.png: id 66 is not named by mapping 'vistas-v1.2-to-cityscapes' (1 pix"
    """
    pixels = counted(found.num_pixels, "pixel") + (", first" if found.num_pixels > 1 else "")
    return (
        f"{where}: id {found.id} is not named by mapping '{mapping.name}' ({pixels} at row {found.row}, column "
        f"{found.column}). The mapping names ids {_ranges(mapping)}. {how_to_fix}"
    )


def _remap_wide(
    ids: NDArray[np.integer], mapping: LabelMapping, lookup: NDArray[np.int16], unmapped: Unmapped, ignored: int
) -> NDArray[np.uint8]:
    """Map ids of another type than uint8, which may lie outside 0-255."""
    values = _looked_up(ids, lookup)
    unnamed = values < 0
    if unmapped == "error" and unnamed.any():
        raise unmapped_error(ids, mapping)
    return np.where(unnamed, ignored, values).astype(np.uint8)


def _looked_up(ids: NDArray[np.integer], lookup: NDArray[np.int16]) -> NDArray[np.int16]:
    values: NDArray[np.int16] = lookup[np.clip(ids, 0, 255).astype(np.uint8)]
    values[(ids < 0) | (ids > 255)] = -1
    return values


def _unused_value(lookup: NDArray[np.int16]) -> int:
    """Return a byte that no id is mapped to; 0 if there is none, which takes 256 named ids."""
    return min(set(range(256)) - set(lookup.tolist()), default=0)


def _ranges(mapping: LabelMapping) -> str:
    """Return the ids that a mapping names, as in ``0-65`` or ``0-3, 7``."""
    ids = np.flatnonzero(mapping.lookup() >= 0)
    runs = np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
