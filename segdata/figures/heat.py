"""What speaks for a class, laid over images: a row for each image, a column for each model."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segdata.figures.lettering import font

_TILE, _GAP, _MARGIN, _HEAD = 480, 10, 24, 70
_INK, _FAINT = (28, 30, 34), (110, 114, 120)
_STOPS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], np.float64)
"""Of 0, 1/4 ... 1: dark to bright in even steps of lightness, so that gray prints show the same."""


def heat_colors(heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return heat from 0 to 1, of shape (H, W), in colors from dark to bright: uint8 of shape (H, W, 3)."""
    at = np.clip(heat, 0, 1).astype(np.float64) * (len(_STOPS) - 1)
    colors = np.stack([np.interp(at, np.arange(len(_STOPS)), _STOPS[:, channel]) for channel in range(3)], -1)
    rounded: NDArray[np.uint8] = np.rint(colors).astype(np.uint8)
    return rounded


def heat_image(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an image, uint8 of shape (3, H, W), under heat from 0 to 1: uint8 of shape (H, W, 3)."""
    gray = image.astype(np.float64).transpose(1, 2, 0).mean(2, keepdims=True)
    colors = heat_colors(heat)
    opacity = 0.25 + 0.5 * np.clip(heat, 0, 1)[..., None]
    shown: NDArray[np.uint8] = np.rint(gray * (1 - opacity) + colors * opacity).astype(np.uint8)
    return shown


def heat_figure(
    images: Sequence[NDArray[np.uint8]],
    heats: Sequence[Sequence[NDArray[np.float32]]],
    names: Sequence[str],
    title: str,
) -> Image.Image:
    """Draw each image beside the heat that each model has of it.

    Parameters
    ----------
    images : sequence of ndarray of uint8, shape (3, H, W)
    heats : sequence of sequence of ndarray of float32, shape (H, W)
        By image, then by model.
    names : sequence of str
        Of the models.
    title : str
    """
    heights = [round(_TILE * image.shape[1] / image.shape[2]) for image in images]
    columns = len(names) + 1
    size = (2 * _MARGIN + columns * (_TILE + _GAP) - _GAP, _HEAD + sum(heights) + _GAP * len(images) + _MARGIN)
    figure = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(figure)
    pen.text((_MARGIN, 10), title, _INK, font(22))
    for column, name in enumerate(["image", *names]):
        pen.text((_MARGIN + column * (_TILE + _GAP), 44), name, _FAINT, font(17))
    top = _HEAD
    for image, of_models, height in zip(images, heats, heights, strict=True):
        tiles = [np.ascontiguousarray(image.transpose(1, 2, 0)), *(heat_image(image, heat) for heat in of_models)]
        for column, pixels in enumerate(tiles):
            tile = Image.fromarray(pixels).resize((_TILE, height), Image.Resampling.BILINEAR)
            figure.paste(tile, (_MARGIN + column * (_TILE + _GAP), top))
        top += height + _GAP
    return figure
