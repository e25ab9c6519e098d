"""Images from disk as arrays, and as what the models are fed."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdata.errors import LabelError
from segdata.files import read_regular

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
"""Endings of file names that are taken for images."""

_COPY_AGAIN = "Copy it again from its source."


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image.

    Parameters
    ----------
    path : pathlib.Path
        A file that Pillow knows. Its pixels are taken as they are stored, as those of its label are: a camera's note
        on how to turn it is not followed.

    Returns
    -------
    ndarray of uint8, shape (3, H, W)
        Red, green, blue; contiguous.

    Raises
    ------
    LabelError
        If the file cannot be read, is damaged, or is no image.
    """
    try:
        data = read_regular(Path(path))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise LabelError(f"{path}: cannot be read ({reason}). Expected a readable image.") from error
    return decode_image(data, str(path))


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file; see `read_image`.

    Parameters
    ----------
    data : bytes
        The whole file.
    where : str
        The file's name for messages.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            pixels = np.asarray(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise LabelError(f"{where}: is larger than Pillow's limit for images ({error}). Cut it into parts.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise LabelError(f"{where}: is no sound image ({error}). {_COPY_AGAIN}") from error
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
