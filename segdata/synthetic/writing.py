"""Images and label images as the bytes of a file, always the same bytes for the same pixels."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdata.labels.classes import ClassTable

_JPEG_QUALITY = 92


def jpeg_bytes(image: NDArray[np.uint8]) -> bytes:
    """Encode an (H, W, 3) image as JPEG."""
    return _saved(Image.fromarray(image), "JPEG", quality=_JPEG_QUALITY, subsampling=0)


def png_bytes(pixels: NDArray[Any]) -> bytes:
    """Encode gray of 8 or 16 bits, shape (H, W), or RGB, shape (H, W, 3), as PNG."""
    return _saved(Image.fromarray(pixels), "PNG", compress_level=3)


def palette_png_bytes(ids: NDArray[np.uint8], table: ClassTable) -> bytes:
    """Encode ids as a PNG of mode P whose palette holds the table's colors, as Vistas stores labels."""
    palette = np.zeros((256, 3), np.uint8)
    for row in table.classes:
        palette[row.id] = row.color
    image = Image.fromarray(ids)
    image.putpalette(palette.tobytes())
    return _saved(image, "PNG", compress_level=3, bits=8)


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """Return what Pillow would write to a file."""
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
