"""A contact sheet: the first crops of a stream, the drawn class outlined."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segdata.data.crops import Crop
from segdata.figures.lettering import font
from segdata.sampling.stream import Draw, Source

_SIDE, _COLUMNS, _GAP, _TEXT = 300, 5, 12, 30
_OUTLINE, _INK, _GRAY = (255, 64, 64), (33, 37, 41), (134, 142, 150)


def contact_sheet(crops: Sequence[Crop], draws: Sequence[Draw], sources: Sequence[Source]) -> Image.Image:
    """Draw the crops of some draws, each with its source and class; the class is outlined, its center ringed.

    Parameters
    ----------
    crops : sequence of Crop
        At least one, all of one size, in the order of `draws`.
    draws : sequence of Draw
    sources : sequence of Source
        Those of the sampler that drew them.
    """
    height, width = crops[0].label.shape
    high, wide = (max(1, round(side * _SIDE / max(height, width))) for side in (height, width))
    rows = -(-len(draws) // _COLUMNS)
    size = (_GAP + _COLUMNS * (wide + _GAP), _GAP + rows * (high + _TEXT + _GAP))
    sheet = Image.new("RGB", size, (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for number, (crop, draw) in enumerate(zip(crops, draws, strict=True)):
        left = _GAP + number % _COLUMNS * (wide + _GAP)
        top = _GAP + number // _COLUMNS * (high + _TEXT + _GAP)
        sheet.paste(_figure(crop, draw, (wide, high)), (left, top))
        source = sources[draw.source]
        name = "whole image" if draw.class_id is None else source.index.head.class_names[draw.class_id]
        pen.text((left, top + high + 5), name, _GRAY if draw.class_id is None else _INK, font(17))
        pen.text((left + wide, top + high + 6), source.name or str(draw.source), _GRAY, font(15), anchor="ra")
    return sheet


def _figure(crop: Crop, draw: Draw, size: tuple[int, int]) -> Image.Image:
    """Return a crop at the size of the sheet, with its outline."""
    figure = Image.fromarray(np.ascontiguousarray(crop.image)).resize(size, Image.Resampling.LANCZOS)
    if draw.class_id is None or draw.center is None:
        return figure
    rows = np.arange(size[1]) * crop.label.shape[0] // size[1]
    columns = np.arange(size[0]) * crop.label.shape[1] // size[0]
    mask = crop.label[np.ix_(rows, columns)] == draw.class_id
    pixels = np.array(figure)
    pixels[_outline(mask)] = _OUTLINE
    figure = Image.fromarray(pixels)
    x, y = _place_of_center(crop, draw.center, size)
    ImageDraw.Draw(figure).ellipse((x - 6, y - 6, x + 6, y + 6), outline=(255, 255, 255), width=3)
    return figure


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels within two of the border of a mask, inside it."""
    inside = np.pad(mask, 2, mode="edge")
    eroded = mask.copy()
    for down, across in ((0, 2), (4, 2), (2, 0), (2, 4), (1, 2), (3, 2), (2, 1), (2, 3)):
        eroded &= inside[down : down + mask.shape[0], across : across + mask.shape[1]]
    return mask & ~eroded


def _place_of_center(crop: Crop, center: tuple[int, int], size: tuple[int, int]) -> tuple[float, float]:
    """Return (x, y) of the drawn pixel on the sheet's figure."""
    x = (center[1] + 0.5 - crop.box.left) * crop.box.scale * size[0] / crop.box.size[1]
    y = (center[0] + 0.5 - crop.box.top) * crop.box.scale * size[1] / crop.box.size[0]
    return (size[0] - x if crop.flipped else x), y
