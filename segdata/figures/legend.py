"""Which color is which class."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from segdata.figures.lettering import font
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.labels.palette import color_image

_INK, _SWATCH, _LINE, _GAP = (28, 30, 34), 16, 26, 18


def class_legend(table: ClassTable, class_ids: Sequence[int], width: int) -> Image.Image:
    """Draw the names of classes beside their colors, in as many lines as they need.

    Parameters
    ----------
    table : ClassTable
        Names and colors.
    class_ids : sequence of int
        Training ids, in the order in which they are named; 255 is what is ignored.
    width : int
        Of the legend in pixels.
    """
    typeface, left, top, places = font(16), 0, 0, []
    for class_id in class_ids:
        name = "ignored" if class_id == IGNORE_ID else table.train_names[class_id]
        needed = _SWATCH + 6 + int(typeface.getlength(name)) + _GAP
        if left and left + needed > width:
            left, top = 0, top + _LINE
        places.append((left, top, class_id, name))
        left += needed
    legend = Image.new("RGB", (width, top + _LINE), "white")
    pen = ImageDraw.Draw(legend)
    for left, top, class_id, name in places:
        color = tuple(color_image(np.array([[class_id]], np.uint8), table)[0, 0].tolist())
        pen.rectangle((left, top + 4, left + _SWATCH, top + 4 + _SWATCH), color, _INK)
        pen.text((left + _SWATCH + 6, top + 12), name, _INK, typeface, anchor="lm")
    return legend
