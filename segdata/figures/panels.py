"""Two models side by side on images, with a close view of where they differ most (the paper's Figures 4 to 6)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segdata.figures.legend import class_legend
from segdata.figures.lettering import font
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.labels.palette import color_image

_TILE, _GAP, _MARGIN, _HEAD = 420, 10, 24, 34
_INK, _FAINT, _MARK = (28, 30, 34), (110, 114, 120), (255, 220, 0)
_VIEW_SHARE = 0.3  # of the image's sides


class Panel(NamedTuple):
    """One image with what is said of it.

    Attributes
    ----------
    image : ndarray of uint8, shape (3, H, W)
    truth : ndarray of uint8, shape (H, W), or None
        Training ids; None without a label.
    first, second : ndarray of uint8, shape (H, W)
        Predictions of the two models.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    first: NDArray[np.uint8]
    second: NDArray[np.uint8]


def panels_figure(panels: Sequence[Panel], names: tuple[str, str], table: ClassTable) -> Image.Image:
    """Draw a row for each image (image, truth, both predictions), and below it the same close up.

    The close view is where the two predictions differ in most labeled pixels; it is outlined in the image.
    """
    titles = ["image", "truth", *names]
    blocks = [_block(panel, table) for panel in panels]
    width = 2 * _MARGIN + 4 * _TILE + 3 * _GAP
    shown = [panel.truth for panel in panels if panel.truth is not None]
    shown += [ids for panel in panels for ids in (panel.first, panel.second)]
    present = sorted({int(each) for ids in shown for each in np.unique(ids)})
    legend = class_legend(table, present, width - 2 * _MARGIN)
    height = _HEAD + sum(block.height + 2 * _GAP for block in blocks) + legend.height + _MARGIN
    figure = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(figure)
    for column, title in enumerate(titles):
        pen.text((_MARGIN + column * (_TILE + _GAP), 8), title, _INK, font(18))
    top = _HEAD
    for block in blocks:
        figure.paste(block, (_MARGIN, top))
        top += block.height + 2 * _GAP
    figure.paste(legend, (_MARGIN, top))
    return figure


def most_different(panel: Panel) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the view in which the two predictions differ in most labeled pixels."""
    differs = panel.first != panel.second
    if panel.truth is not None:
        differs &= panel.truth != IGNORE_ID
    height, width = (max(1, round(side * _VIEW_SHARE)) for side in differs.shape)
    sums = np.pad(differs.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left), height, width


def _block(panel: Panel, table: ClassTable) -> Image.Image:
    """Draw one image: four tiles, and the same four close up."""
    photo = np.ascontiguousarray(panel.image.transpose(1, 2, 0))
    tiles = [
        photo,
        *(None if ids is None else color_image(ids, table) for ids in (panel.truth, panel.first, panel.second)),
    ]
    tile_height = round(_TILE * photo.shape[0] / photo.shape[1])
    top, left, height, width = most_different(panel)
    block = Image.new("RGB", (4 * _TILE + 3 * _GAP, 2 * tile_height + _GAP), "white")
    pen = ImageDraw.Draw(block)
    factor = _TILE / photo.shape[1]
    for column, tile_pixels in enumerate(tiles):
        x = column * (_TILE + _GAP)
        if tile_pixels is None:
            pen.text((x + 10, 10), "no label", _FAINT, font(18))
            continue
        block.paste(Image.fromarray(tile_pixels).resize((_TILE, tile_height), Image.Resampling.BOX), (x, 0))
        close = np.ascontiguousarray(tile_pixels[top : top + height, left : left + width])
        block.paste(
            Image.fromarray(close).resize((_TILE, tile_height), Image.Resampling.NEAREST), (x, tile_height + _GAP)
        )
        corners = (x + left * factor, top * factor, x + (left + width) * factor, (top + height) * factor)
        pen.rectangle(corners, outline=_INK, width=4)
        pen.rectangle(corners, outline=_MARK, width=2)
    return block
