"""Small images inside a page, as text."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdata.labels.classes import ClassTable
from segdata.labels.palette import class_colors
from segdata.pages.html import swatch

WIDTH = 480
"""Pixels of the longer side."""


class ImageLayer(NamedTuple):
    """One image of a stack.

    Attributes
    ----------
    name : str
        What it is, as ``label``.
    url : str
        With the pixels in it.
    """

    name: str
    url: str


def photo_layer(image: NDArray[np.uint8]) -> ImageLayer:
    """Return an image of shape (3, H, W) as a small JPEG."""
    small = _small(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))), Image.Resampling.BOX)
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=72, optimize=True)
    return ImageLayer("image", f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}")


def label_layer(name: str, class_ids: NDArray[np.uint8], table: ClassTable) -> ImageLayer:
    """Return training ids of shape (H, W) in the colors of their classes as a small PNG."""
    small = _small(Image.fromarray(np.minimum(class_ids, table.num_classes).astype(np.uint8)), Image.Resampling.NEAREST)
    small.putpalette(class_colors(table).tobytes())
    buffer = BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return ImageLayer(name, f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}")


def stack(layers: Sequence[ImageLayer], caption: str) -> str:
    """Return images on one another, with a slider that fades from one to the next."""
    images = "".join(
        f'<img src="{layer.url}" alt="{escape(f"{layer.name} of {caption}")}" loading="lazy" decoding="async">'
        for layer in layers
    )
    slider = ""
    if len(layers) > 1:
        names = ", ".join(layer.name for layer in layers)
        slider = (
            f'<input type="range" min="0" max="{len(layers) - 1}" step="0.05" value="0" '
            f'aria-label="{escape(f"{names} of {caption}")}"><output></output>'
        )
    told = f"<figcaption>{escape(caption)}</figcaption>"
    return f'<figure class="shot"><div class="stack">{images}</div>{slider}{told}</figure>'


def gallery(stacks: Sequence[str], table: ClassTable) -> str:
    """Return stacks side by side, below the colors of the classes."""
    named = [
        *zip(table.train_names, table.train_colors.tolist(), strict=True),
        ("ignored", class_colors(table)[-1].tolist()),
    ]
    legend = "".join(f"<li>{swatch(color, name).html}</li>" for name, color in named)
    return f'<ul class="legend">{legend}</ul><div class="shots">{"".join(stacks)}</div>'


def _small(image: Image.Image, how: Image.Resampling) -> Image.Image:
    factor = min(1.0, WIDTH / max(image.size))
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image if size == image.size else image.resize(size, how)
