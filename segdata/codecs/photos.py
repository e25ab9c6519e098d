"""Photographs from disk: the one reader of images that models are fed."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segdata.errors import LabelError
from segdata.files import read_regular

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
"""Endings of file names that are taken for images."""


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as an array: uint8 of shape (3, H, W), red, green, blue, contiguous; see `read_photo`."""
    return _channels_first(read_photo(path))


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file as `read_image` does; `where` is the file's name for messages."""
    return _channels_first(decode_photo(data, where))


def read_photo(path: Path) -> Image.Image:
    """Read a photograph.

    Parameters
    ----------
    path : pathlib.Path
        A file that Pillow knows. Its pixels are taken as they are stored, as those of its label are: a camera's note
        on how to turn it is not followed.

    Returns
    -------
    PIL.Image.Image
        In mode RGB.

    Raises
    ------
    LabelError
        If the file cannot be read, is damaged, or is not an image.
    """
    try:
        data = read_regular(Path(path))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise LabelError(f"{path}: cannot be read ({reason}). Expected a readable image.") from error
    return decode_photo(data, str(path))


def decode_photo(data: bytes, where: str) -> Image.Image:
    """Decode the bytes of an image file as `read_photo` does; `where` is the file's name for messages."""
    try:
        image = Image.open(BytesIO(data))
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")
    except Image.DecompressionBombError as error:
        raise LabelError(f"{where}: is larger than Pillow's limit for images ({error}). Cut it into parts.") from error
    except (OSError, SyntaxError, ValueError) as error:
        told = "its format is not known" if isinstance(error, UnidentifiedImageError) else error
        raise LabelError(f"{where}: is not a valid image ({told}). Copy it again from its source.") from error


def _channels_first(image: Image.Image) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
