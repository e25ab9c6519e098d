"""Photographs from disk: the one reader of images that models are fed, whole or the rows that a crop needs."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from simplejpeg import decode_jpeg

from segdata.codecs.jpeg_rows import JpegParts, RowIndex, split_jpeg
from segdata.codecs.png import decode_photo_rows
from segdata.codecs.png_chunks import SIGNATURE, PngParts, split_photo
from segdata.errors import LabelError, StoreError
from segdata.files import read_regular, write_atomic

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
"""Endings of file names that are taken for images."""
_JPEG = b"\xff\xd8\xff"
_SPARED = 0.75  # of an image's rows: who wants more of a JPEG decodes it whole


@dataclass(frozen=True)
class Photo:
    """A photograph of which no pixel has been decoded yet.

    Attributes
    ----------
    size : (int, int)
        Height and width.
    decode : callable of (int, int, int)
        Returns what `rows` does.
    """

    size: tuple[int, int]
    decode: Callable[[int, int, int], NDArray[np.uint8]]

    def rows(self, top: int = 0, bottom: int | None = None, right: int | None = None) -> NDArray[np.uint8]:
        """Return some of its rows, of a PNG or a JPEG at little more than their share of the cost.

        Parameters
        ----------
        top, bottom : int
            The first row and the one after the last, within the image; by default all.
        right : int, optional
            The column after the last that is wanted.

        Returns
        -------
        ndarray of uint8, shape (bottom - top, w, 3)
            Red, green, blue, contiguous; the same, to the bit, whatever is read beside them. All columns, or at least
            those before `right`.

        Raises
        ------
        LabelError
            If the file is damaged where it had to be read.
        """
        height, width = self.size
        return self.decode(top, height if bottom is None else bottom, width if right is None else right)

    @staticmethod
    def of_array(pixels: NDArray[np.uint8]) -> "Photo":
        """Return pixels in memory, uint8 of shape (H, W, 3), as a photograph."""
        height, width, _ = pixels.shape
        return Photo((height, width), lambda top, bottom, _: pixels[top:bottom])


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as an array: uint8 of shape (3, H, W), red, green, blue, contiguous; see `open_photo`."""
    return _channels_first(open_photo(path).rows())


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file as `read_image` does; `where` is the file's name for messages."""
    return _channels_first(decode_photo(data, where).rows())


def open_photo(path: Path, row_indexes: Path | None = None) -> Photo:
    """Open a photograph.

    Parameters
    ----------
    path : pathlib.Path
        A file that Pillow knows. Its pixels are taken as they are stored, as those of its label are: a camera's note
        on how to turn it is not followed.
    row_indexes : pathlib.Path, optional
        Folder that keeps where the rows of JPEG files begin, a few kilobytes for each; made and filled as files are
        read. Without one, a JPEG's codes are gone through each time that rows of it are read.

    Returns
    -------
    Photo

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
    name = blake2b(str(path).encode(errors="surrogateescape"), digest_size=16).hexdigest()
    return decode_photo(data, str(path), None if row_indexes is None else row_indexes / name[:2] / f"{name}.rows")


def decode_photo(data: bytes, where: str, row_index: Path | None = None) -> Photo:
    """Return the photograph that the bytes of a file hold, as `open_photo` does.

    Parameters
    ----------
    data : bytes
        The whole file.
    where : str
        Its name for messages.
    row_index : pathlib.Path, optional
        File that keeps where the rows of this JPEG begin.
    """
    if data.startswith(SIGNATURE):
        parts = split_photo(data)
        if parts is not None and _is_allowed(size := (parts.header.height, parts.header.width)):
            return Photo(size, lambda *part: _png_rows(parts, data, where, *part))
    elif data.startswith(_JPEG):
        jpeg = split_jpeg(data)
        if jpeg is not None and _is_allowed(jpeg.size):
            return Photo(jpeg.size, lambda top, bottom, _: _jpeg_rows(jpeg, data, where, row_index, top, bottom))
    image = _open(data, where)
    return Photo((image.height, image.width), lambda top, bottom, _: _pixels_of(image, where)[top:bottom])


def fault_of_mode(mode: str) -> str | None:
    """Say what is wrong with a kind of image, by Pillow's name of it; None where it has 8 bits a sample or fewer.

    Pillow would cut wider ones off at 255.

    Examples
    --------
    >>> fault_of_mode("RGB"), fault_of_mode("I;16")
    (None, 'is of mode I;16, with more than 8 bits a sample. Convert it to an 8-bit image.')
    """
    wide = mode.startswith(("I", "F"))
    return f"is of mode {mode}, with more than 8 bits a sample. Convert it to an 8-bit image." if wide else None


def _is_allowed(size: tuple[int, int]) -> bool:
    """Say whether Pillow would take an image of this size: its limit holds for every format."""
    most = Image.MAX_IMAGE_PIXELS
    return most is None or size[0] * size[1] <= 2 * most


def _png_rows(parts: PngParts, data: bytes, where: str, top: int, bottom: int, right: int) -> NDArray[np.uint8]:
    """Decode rows of a PNG, or the whole with Pillow, which has more to say of damaged files."""
    rows = decode_photo_rows(parts, top, bottom, right)
    return rows if rows is not None else _pixels_of(_open(data, where), where)[top:bottom]


def _jpeg_rows(
    jpeg: JpegParts, data: bytes, where: str, row_index: Path | None, top: int, bottom: int
) -> NDArray[np.uint8]:
    """Decode rows of a JPEG through its index, or else the whole."""
    if bottom - top <= _SPARED * jpeg.size[0]:
        index = _row_index(jpeg, data, row_index)
        spliced = None if index is None else jpeg.splice(index, top, bottom)
        if spliced is not None:
            part, first = spliced
            return _baseline_pixels(part, where)[first : first + bottom - top]
    return _baseline_pixels(data, where)[top:bottom]


def _baseline_pixels(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode a whole baseline JPEG: libjpeg-turbo's pixels, as Pillow gives them, in a quarter of its time."""
    try:
        pixels: NDArray[np.uint8] = decode_jpeg(data)
    except ValueError:
        return _pixels_of(_open(data, where), where)  # which reads it all the same, or says why not
    return pixels


def _row_index(jpeg: JpegParts, data: bytes, path: Path | None) -> RowIndex | None:
    """Return where rows begin: as it is kept, or found and kept; None where the file is damaged."""
    if path is not None:
        with contextlib.suppress(OSError):
            kept = RowIndex.from_bytes(read_regular(path))
            if kept is not None and kept.is_of(data):
                return kept
    index = jpeg.index()
    if path is not None and index is not None:
        with contextlib.suppress(StoreError):  # a full disk, or a folder that cannot be written, costs time alone
            write_atomic(path, index.to_bytes())
    return index


def _open(data: bytes, where: str) -> Image.Image:
    try:
        return Image.open(BytesIO(data))
    except Image.DecompressionBombError as error:
        raise LabelError(f"{where}: is larger than Pillow's limit for images ({error}). Cut it into parts.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise _no_image(where, error) from error


def _pixels_of(image: Image.Image, where: str) -> NDArray[np.uint8]:
    """Decode an image with Pillow: uint8 of shape (H, W, 3)."""
    if fault := fault_of_mode(image.mode):
        raise LabelError(f"{where}: {fault}")
    try:
        image.load()
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise _no_image(where, error) from error


def _no_image(where: str, error: Exception) -> LabelError:
    told = "its format is not known" if isinstance(error, UnidentifiedImageError) else error
    return LabelError(f"{where}: is not a valid image ({told}). Copy it again from its source.")


def _channels_first(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
