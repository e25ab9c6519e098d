"""Synthetic scenes beside their labels, on one sheet."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdata.synthetic.label_ids import class_ids
from segdata.synthetic.render import render_scene
from segdata.synthetic.write_cityscapes import colors

_GAP = 6


def scene_sheet(seed: int, first: int, count: int, size: tuple[int, int], columns: int = 1) -> Image.Image:
    """Draw scenes, each with its Cityscapes label in class colors to its right.

    Parameters
    ----------
    seed, first : int
        The series, and the number of its first scene to show.
    count : int
        Scenes to show.
    size : tuple of int
        (height, width) of one figure in pixels.
    columns : int
        Scenes side by side.
    """
    pairs = [_pair(seed, index, size) for index in range(first, first + count)]
    rows = -(-count // columns)
    high, wide = pairs[0].shape[:2]
    sheet = Image.new("RGB", (columns * (wide + _GAP) - _GAP, rows * (high + _GAP) - _GAP), "white")
    for place, pair in enumerate(pairs):
        sheet.paste(Image.fromarray(pair), ((place % columns) * (wide + _GAP), (place // columns) * (high + _GAP)))
    return sheet


def _pair(seed: int, index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a scene and its label, side by side."""
    scene = render_scene(seed, index, size)
    return np.concatenate([scene.image, colors(class_ids(scene, "cityscapes"))], axis=1)
