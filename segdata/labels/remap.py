"""Apply a mapping to a label image, and say which id it does not name."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled
from segdata.errors import LabelError
from segdata.labels.mapping import Encoding, LabelMapping
from segdata.text import counted

Unmapped = Literal["error", "ignore"]
_SPREAD = np.uint64(0x0101010101010101)  # times a byte: that byte eight times


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
    if unmapped == "ignore":
        lookup = np.where(lookup < 0, ignored, lookup).astype(np.int16)
    mapped = np.empty(ids.shape, np.uint8)
    if look_up_rows(np.ascontiguousarray(ids), lookup, mapped) < len(ids):
        raise unmapped_error(ids, mapping)
    return mapped


def look_up_rows(ids: NDArray[np.uint8], lookup: NDArray[np.int16], out: NDArray[np.uint8]) -> int:
    """Write what a table holds for each id, row by row, up to a row with an id for which that is negative.

    Parameters
    ----------
    ids : ndarray of uint8, shape (H, W), contiguous
    lookup : ndarray of int16, shape (256,)
        0 to 255, or negative for ids that may not occur.
    out : ndarray of uint8, shape (H, W), contiguous
        Where the values go; may be the ids themselves.

    Returns
    -------
    int
        How many rows were written; from there on `out` is as it was.
    """
    ids = ids.view()
    ids.flags.writeable = False  # one type for the kernel, whoever gives the ids
    done: int = _look_up_rows(ids, lookup, lookup.astype(np.uint8), out)
    return done


@compiled
def _look_up_rows(
    ids: NDArray[np.uint8], lookup: NDArray[np.int16], table: NDArray[np.uint8], out: NDArray[np.uint8]
) -> int:
    """Eight pixels at once where they are of one id, as labels mostly are."""
    end = ids.shape[1] // 8 * 8
    for i in range(ids.shape[0]):
        row, out_row = ids[i], out[i]
        words, out_words = row[:end].view(np.uint64), out_row[:end].view(np.uint64)
        signs = np.int16(0)
        for k in range(words.size):
            signs |= lookup[row[8 * k]]
            if words[k] != np.uint64(row[8 * k]) * _SPREAD:
                for j in range(8 * k + 1, 8 * k + 8):
                    signs |= lookup[row[j]]
        for j in range(end, row.size):
            signs |= lookup[row[j]]
        if signs < 0:
            return i
        for k in range(words.size):
            first = row[8 * k]
            if words[k] == np.uint64(first) * _SPREAD:
                out_words[k] = np.uint64(table[first]) * _SPREAD
            else:
                for j in range(8 * k, 8 * k + 8):
                    out_row[j] = table[row[j]]
        for j in range(end, row.size):
            out_row[j] = table[row[j]]
    return len(ids)


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


def _ranges(mapping: LabelMapping) -> str:
    """Return the ids that a mapping names, as in ``0-65`` or ``0-3, 7``."""
    ids = np.flatnonzero(mapping.lookup() >= 0)
    runs = np.split(ids, np.flatnonzero(np.diff(ids) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
