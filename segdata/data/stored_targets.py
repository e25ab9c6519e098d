"""Pooled targets of a crop that need no pooling on the device: from the store, or by exact area of the whole image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.png import read_bytes
from segdata.cpp.checks import count_dtype
from segdata.cpp.scaling import ScaledGrid, scaled_counts
from segdata.cpp.store import ENDING, load_cpp
from segdata.cpp.targets import CPPTargets
from segdata.data.crop_box import CropBox
from segdata.errors import StoreError
from segdata.files import digest_of_bytes
from segdata.sampling.class_index import ClassIndex

SCALE_STEPS = 512
"""Scales of crops whose areas are measured exactly are multiples of 1 / SCALE_STEPS."""

Counts = dict[int, NDArray[Any]]
"""By side of a cell: (K + 1, h, w)."""


@dataclass(frozen=True)
class TargetStore:
    """What ``segdata precompute-cpp`` wrote for the labels of one source.

    Attributes
    ----------
    folder : Path
        Its DST.
    cells : tuple of int
        Pooling strides that are wanted: the strides of the model's maps that are trained on pooled targets.
    """

    folder: Path
    cells: tuple[int, ...]

    def counts(self, index: ClassIndex, image_id: int, box: CropBox, *, flip: bool) -> Counts:
        """Return the counts of a crop, for those of the cells that the store has exactly; none where it has none.

        A cell of s pixels of the crop covers s / r pixels of a label that is scaled by r. The store has it exactly
        where that is a multiple of a stored scale and the crop begins on whole cells. Beyond the image, cells are
        ignored.

        Returns
        -------
        dict of int to ndarray, shape (K + 1, ceil(h / cell), ceil(w / cell))
            By side of the cell in pixels of the crop; in pixels of the label, so that a cell sums to (s / r)^2.

        Raises
        ------
        StoreError
            If the file is missing or damaged, or was made from another label or by another class table.
        """
        sides = {cell: side for cell in self.cells if (side := _side_in_label(box, cell)) is not None}
        if not sides:
            return {}  # no file is read in vain where scales are drawn from a range
        path = self.folder / index.label_name(image_id).with_suffix(ENDING)
        targets = load_cpp(path)
        _refuse_other_label(targets, index, image_id, path, box.image_size)
        return {
            cell: _signed(_counts_of_crop(targets, box, cell, side, flip=flip))
            for cell, side in sides.items()
            if any(side % held == 0 for held in targets.grids)
        }


def _side_in_label(box: CropBox, cell: int) -> int | None:
    """Return the side, in the label's pixels, of a crop's cells; None where the label has no such whole cells."""
    side = cell / box.scale
    if not side.is_integer() or box.top % side or box.left % side or box.size[0] % cell or box.size[1] % cell:
        return None
    return int(side)


def _counts_of_crop(targets: CPPTargets, box: CropBox, cell: int, side: int, *, flip: bool) -> NDArray[Any]:
    """Return the counts of a crop in cells of `cell` of its pixels, `side` of the label's."""
    (top, left), (height, width) = (box.top, box.left), box.size
    rows = _inside(int(top) // side, height // cell, -(-targets.size[0] // side))
    columns = _inside(int(left) // side, width // cell, -(-targets.size[1] // side))
    dtype = count_dtype(side)
    counts = np.zeros((targets.num_classes + 1, height // cell, width // cell), dtype)
    counts[-1] = side * side  # what lies beyond the label is ignored
    if len(rows) and len(columns):
        first_row, first_column = int(top) // side, int(left) // side
        down = slice(rows.start - first_row, rows.stop - first_row)
        across = slice(columns.start - first_column, columns.stop - first_column)
        counts[:, down, across] = _counts_of_cells(targets, side, rows, columns)
    return counts[:, :, ::-1] if flip else counts


def _inside(first: int, number: int, there: int) -> range:
    """Return which of `number` cells from `first` on lie in a label of `there` cells."""
    return range(max(first, 0), max(min(first + number, there), 0))


def _counts_of_cells(targets: CPPTargets, side: int, rows: range, columns: range) -> NDArray[Any]:
    """Return the counts of a box of cells; where the stored scales allow it, nothing else is made dense."""
    ends = [min(cells.stop * side, size) for cells, size in zip((rows, columns), targets.size, strict=True)]
    if side % targets.step == 0:
        top, left = rows.start * side, columns.start * side
        return targets.crop(top, left, ends[0] - top, ends[1] - left).counts(side)
    return targets.counts(side)[:, rows.start : rows.stop, columns.start : columns.stop]


def image_areas(
    class_ids: NDArray[np.uint8], box: CropBox, cells: Sequence[int], *, flip: bool, num_classes: int
) -> Counts:
    """Measure the classes in each cell of a scaled crop by their exact area in the image.

    Parameters
    ----------
    class_ids : ndarray of uint8, shape (H, W)
        The whole label, not scaled; 255 for ignored.
    box : CropBox
        The crop; its scale is a multiple of 1 / SCALE_STEPS.
    cells : sequence of int
        Pooling strides, in pixels of the crop.
    flip : bool
        Whether the crop is mirrored left to right.
    num_classes : int

    Returns
    -------
    dict of int to ndarray of an integer dtype, shape (K + 1, ceil(h / cell), ceil(w / cell))
        In units of which a cell has ``(2 cell SCALE_STEPS)**2`` (fewer where the scale is a simpler fraction).

    Notes
    -----
    In the image scaled by p / q, crops begin at multiples of 1 / (2 q) of a pixel. Seen in an image that is larger by
    2 q once more, all corners are whole numbers, which is what `segdata.cpp.scaling` takes.
    """
    scale = Fraction(round(box.scale * SCALE_STEPS), SCALE_STEPS)
    finer = 2 * scale.denominator
    height, width = (side * finer for side in box.size)
    top, left = (round(start * float(scale) * finer) for start in (box.top, box.left))
    if flip:
        left = round(box.image_size[1] * scale * finer) - left - width
    counts = {}
    for cell in cells:
        grid = ScaledGrid(
            source_size=box.image_size,
            scale=(scale * finer, scale * finer),
            cell=cell * finer,
            box=(top, left, height, width),
            flip=flip,
        )
        counts[cell] = _signed(scaled_counts(class_ids, grid, num_classes=num_classes))
    return counts


def refuse_other_origin(
    meta: Mapping[str, Any], path: Path, label: Path, *, digest: str, class_table: str, encoding: str
) -> None:
    """Check that a file of targets says that it was made from a label, as the label is read here.

    Parameters
    ----------
    meta : mapping
        What the file says of itself; see `segdata.cpp.store.read_meta`.
    path, label : Path
        The file, and the label.
    digest : str
        Of the label's bytes; see `segdata.files.digest_of_bytes`.
    class_table : str
        Digest of the class table.
    encoding : {"trainIds", "labelIds"}

    Raises
    ------
    StoreError
        If it says otherwise. What another program wrote may say nothing of table and encoding.
    """
    about = meta["about"]
    settings = about.get("settings", {})
    if about.get("label_digest") != digest:
        raise StoreError(f"{path}: was made from another content of {label}. Run precompute-cpp again.")
    if settings.get("classes_digest", class_table) != class_table:
        raise StoreError(f"{path}: was made by another class table than {label} is read by. Make it again.")
    if settings.get("encoding", encoding) != encoding:
        raise StoreError(
            f"{path}: was made from {settings['encoding']}, and {label} is read as {encoding}. Run precompute-cpp "
            f"with --encoding {encoding}, or set the source's encoding."
        )


def _refuse_other_label(
    targets: CPPTargets, index: ClassIndex, image_id: int, path: Path, size: tuple[int, int]
) -> None:
    label = index.label_path(image_id)
    digest = index.arrays["label_digests"][image_id].tobytes()
    held = digest.hex() if any(digest) else digest_of_bytes(read_bytes(label))  # an index of images alone has none
    encoding = str(index.head.settings.get("encoding"))
    refuse_other_origin(targets.meta, path, label, digest=held, class_table=index.head.class_table, encoding=encoding)
    if targets.size != size:
        raise StoreError(f"{path}: is of {targets.size} pixels, {label} has {size}. Run precompute-cpp again.")


def _signed(counts: NDArray[Any]) -> NDArray[Any]:
    """Return counts in a dtype that torch calculates with: as they are in uint8, else int32 or int64."""
    wider = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64}
    return counts.astype(wider.get(counts.dtype, counts.dtype))
