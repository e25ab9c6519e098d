"""What a head at a stride is asked to learn: its pooled target as a mixture, as entropy, and class by class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segdata.cpp.pooling import cpp_counts
from segdata.errors import SettingsError
from segdata.figures.heat import heat_colors
from segdata.figures.lettering import font
from segdata.labels.classes import ClassTable
from segdata.labels.names import did_you_mean
from segdata.labels.palette import color_image, mixture_image

_TILE, _GAP, _MARGIN, _HEAD, _CAPTION, _COLUMNS = 400, 12, 24, 84, 28, 4
_INK, _FAINT = (28, 30, 34), (110, 114, 120)
MOST_CLASSES = 9
"""Classes that are shown where none are named."""


def targets_figure(
    class_ids: NDArray[np.uint8], table: ClassTable, stride: int, names: Sequence[str] = ()
) -> Image.Image:
    """Draw the pooled target of a label at one stride.

    First the label, the target in mixed colors, and its entropy; then a map for each class, dark where the class has
    nothing of a cell and bright where it has all of it.

    Parameters
    ----------
    class_ids : ndarray of uint8, shape (H, W)
        Training ids, 255 for ignored.
    table : ClassTable
        Names and colors.
    stride : int
        Side of a cell in pixels, from 2 to the shorter side of the label.
    names : sequence of str
        Classes to show; by default the classes with most mass in cells that they share with others, nine at most.

    Raises
    ------
    SettingsError
        If the stride is out of range, or a class is not in the table.
    """
    if not 2 <= stride <= min(class_ids.shape):
        size = "x".join(map(str, class_ids.shape))
        raise SettingsError(f"--stride {stride}: a whole number from 2 to the size of the label, {size}, is expected.")
    counts = cpp_counts(class_ids, stride, num_classes=table.num_classes)
    shares = _shares(counts)
    chosen = [_class_id(name, table) for name in names] or most_shared(shares)
    entropy = entropy_bits(shares)
    hard = float((shares.max(axis=0) == 1).mean())
    tiles = [
        (f"label, {class_ids.shape[1]} x {class_ids.shape[0]}", color_image(class_ids, table)),
        (f"target, {shares.shape[2]} x {shares.shape[1]}", mixture_image(counts, table)),
        (f"entropy, {entropy.min():.1f} to {entropy.max():.2f} bit", heat_colors(entropy / max(entropy.max(), 1e-9))),
        *(
            (f"{table.train_names[at]}, {shares[at].sum() / shares[at].size:.2%}", heat_colors(shares[at]))
            for at in chosen
        ),
    ]
    told = (
        f"{hard:.1%} of the cells are of one class. A cell's target has {entropy.mean():.3f} bit on average: a cross "
        "entropy cannot fall below it. Ignored pixels count for no class."
    )
    return _laid_out(tiles, f"What a head at stride {stride} is asked to learn", told)


def entropy_bits(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy of each cell in bits, shape (h, w), of shares of shape (K, h, w).

    >>> entropy_bits(np.array([[[0.5, 1.0]], [[0.5, 0.0]]])).tolist()
    [[1.0, 0.0]]
    """
    bits: NDArray[np.float64] = -(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=0) + 0.0
    return bits


def most_shared(shares: NDArray[np.float64]) -> list[int]:
    """Return the classes with most mass in cells that are not theirs alone, in the order of the table."""
    mass = np.where(shares < 1, shares, 0).sum(axis=(1, 2))
    return sorted(int(at) for at in np.argsort(-mass, kind="stable")[:MOST_CLASSES] if mass[at] > 0)


def _shares(counts: NDArray[np.unsignedinteger]) -> NDArray[np.float64]:
    """Return each class's share of the labeled part of each cell; 0 where nothing is labeled."""
    classes = counts[:-1].astype(np.float64)
    shares: NDArray[np.float64] = classes / np.maximum(classes.sum(axis=0), 1)
    return shares


def _class_id(name: str, table: ClassTable) -> int:
    if name not in table.train_names:
        raise SettingsError(f"--class {name}: is not in '{table.name}'.{did_you_mean(name, table.train_names)}")
    return table.train_names.index(name)


def _laid_out(tiles: Sequence[tuple[str, NDArray[np.uint8]]], title: str, told: str) -> Image.Image:
    """Return tiles with their captions in rows of four."""
    rows = -(-len(tiles) // _COLUMNS)
    height = max(40, round(_TILE * tiles[0][1].shape[0] / tiles[0][1].shape[1]))
    width = 2 * _MARGIN + min(_COLUMNS, len(tiles)) * (_TILE + _GAP) - _GAP
    figure = Image.new("RGB", (width, _HEAD + rows * (height + _CAPTION + _GAP) + _MARGIN // 2), "white")
    pen = ImageDraw.Draw(figure)
    pen.text((_MARGIN, 14), title, _INK, font(26))
    pen.text((_MARGIN, 50), told, _FAINT, font(17))
    for number, (caption, pixels) in enumerate(tiles):
        left = _MARGIN + number % _COLUMNS * (_TILE + _GAP)
        top = _HEAD + number // _COLUMNS * (height + _CAPTION + _GAP)
        pen.text((left, top + 4), caption, _INK, font(17))
        figure.paste(Image.fromarray(pixels).resize((_TILE, height), Image.Resampling.NEAREST), (left, top + _CAPTION))
    return figure
