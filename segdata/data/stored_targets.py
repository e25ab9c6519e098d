"""Pooled targets of a crop that need no pooling on the device: from the store, or by exact area of the whole image."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.cpp.scaling import ScaledGrid, scaled_counts
from segdata.cpp.store import ENDING, load_cpp
from segdata.cpp.targets import CPPTargets
from segdata.data.crop_box import CropBox
from segdata.errors import StoreError
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

        Exact they are where the crop is not scaled, lies within the image, and begins on a whole cell.

        Raises
        ------
        StoreError
            If the file is missing or damaged, or was made from another label.
        """
        if box.scale != 1 or not _is_inside(box):
            return {}
        path = self.folder / index.label_name(image_id).with_suffix(ENDING)
        targets = load_cpp(path)
        _refuse_other_label(targets, index, image_id, path)
        (top, left), (height, width) = (int(box.top), int(box.left)), box.size
        if not _on_cells(targets, top, left, height, width) or (flip and width % targets.step):
            return {}
        crop = targets.crop(top, left, height, width)
        crop = crop.flip() if flip else crop
        return {cell: _signed(crop.counts(cell)) for cell in self.cells if any(cell % held == 0 for held in crop.grids)}


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


def _is_inside(box: CropBox) -> bool:
    ends = (box.top + box.size[0], box.left + box.size[1])
    return min(box.top, box.left) >= 0 and ends[0] <= box.image_size[0] and ends[1] <= box.image_size[1]


def _on_cells(targets: CPPTargets, top: int, left: int, height: int, width: int) -> bool:
    """Say whether all sides of a box lie between cells, or at the label's edge."""
    ends = zip((top + height, left + width), targets.size, strict=True)
    return not (top % targets.step or left % targets.step) and all(
        end % targets.step == 0 or end == size for end, size in ends
    )


def _refuse_other_label(targets: CPPTargets, index: ClassIndex, image_id: int, path: Path) -> None:
    digest = index.arrays["label_digests"][image_id].tobytes()
    if any(digest) and targets.meta["about"].get("label_digest") != digest.hex():
        raise StoreError(
            f"{path}: was made from another content of {index.label_path(image_id)}. Run precompute-cpp again."
        )


def _signed(counts: NDArray[Any]) -> NDArray[Any]:
    """Return counts in a dtype that torch calculates with: as they are in uint8, else int32 or int64."""
    wider = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64}
    return counts.astype(wider.get(counts.dtype, counts.dtype))
