"""Label images as PNG files: ids in, ids out, never colors.

ISA-L inflates and deflates, the kernels of `png_filters` do the rest; every PNG that a label may be (palette or
gray, 1 to 8 bits, any filter, interlaced or not) is read here, so that hostile and damaged files meet one set of
checks. Transparency, gamma and palette never change an id.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from isal import igzip_lib, isal_zlib
from numpy.typing import NDArray

from segdata.codecs.png_chunks import MAX_PIXELS, PngHeader, PngParts, join_png, split_png
from segdata.codecs.png_filters import RowMapper, RowRestorer, undo_filters
from segdata.errors import LabelError
from segdata.files import HOW_TO_FIX, read_regular

Compression = Literal["fast", "small"]
_IsalError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub says an instance
BAND_BYTES = 2**20  # of rows worked on at once: enough to be worth a call, little enough to stay in a core's cache
_PIECE_BYTES = 2**13  # of deflated data for zlib at once, as many as libpng gives it
_IDENTITY = np.arange(256, dtype=np.uint8)
_COPY_AGAIN = "Copy it again from its source."


def read_label(path: Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Read the ids of a label image.

    Parameters
    ----------
    path : Path
        A PNG file in mode P or L, 1 to 8 bits per sample.
    max_pixels : int
        Largest number of pixels that is accepted; checked before memory is taken.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        The stored samples: palette indices or gray values, not scaled where they have fewer than 8 bits.

    Raises
    ------
    LabelError
        If the file cannot be read, is damaged, too large, or no label image.
    """
    return decode_label(read_bytes(path), str(path), max_pixels=max_pixels)


def decode_label_rows(parts: PngParts, where: str, top: int, bottom: int) -> NDArray[np.uint8]:
    """Decode some rows of a label; those below them are not inflated.

    Parameters
    ----------
    parts : PngParts
        As `segdata.codecs.png_chunks.split_png` gives them.
    where : str
        The file's name for messages.
    top, bottom : int
        First row, and the one after the last, within the image.

    Returns
    -------
    ndarray of uint8, shape (bottom - top, W)

    Raises
    ------
    LabelError
        If the pixel data are damaged as far as they are read.
    """
    if not _has_plain_rows(parts.header):
        return _decode_packed(parts, where)[top:bottom]
    ids = np.empty((bottom - top, parts.header.width), np.uint8)
    _fill_rows(ids, _restore_bands(parts, where), top)
    return ids


def decode_photo_rows(parts: PngParts, top: int, bottom: int, right: int) -> NDArray[np.uint8] | None:
    """Decode some rows of a photograph up to a column; what is below is not inflated, what is beyond not restored.

    Parameters
    ----------
    parts : PngParts
        As `segdata.codecs.png_chunks.split_photo` gives them.
    top, bottom : int
        First row, and the one after the last, within the image.
    right : int
        The column after the last.

    Returns
    -------
    ndarray of uint8, shape (bottom - top, right, 3), or None
        Red, green, blue; without transparency, as Pillow gives them. None if the pixel data are damaged.
    """
    header = parts.header
    pixels = np.empty((bottom - top, right * header.samples), np.uint8)
    try:
        _fill_rows(pixels, _restore_bands(parts, "", row_bytes=pixels.shape[1]), top)
    except LabelError:
        return None
    samples = pixels.reshape(bottom - top, right, header.samples)
    if header.is_palette:
        palette = np.frombuffer(parts.palette or b"", np.uint8).reshape(-1, 3)
        return palette[samples[:, :, 0]] if int(samples.max()) < len(palette) else None
    return np.repeat(samples[:, :, :1], 3, axis=2) if header.samples < 3 else np.ascontiguousarray(samples[:, :, :3])


def _fill_rows(out: NDArray[np.uint8], bands: Iterator[NDArray[np.uint8]], top: int) -> None:
    """Copy rows from `top` on out of bands of all rows, each behind one byte, until `out` is full."""
    first, bottom = 0, top + len(out)
    for band in bands:
        last = first + len(band)
        start, stop = max(first, top), min(last, bottom)
        if start < stop:
            out[start - top : stop - top] = band[start - first : stop - first, 1 : 1 + out.shape[1]]
        if last > bottom:
            return  # where the last row is wanted, the stream's end is verified
        first = last


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file, or raise a `LabelError` that says why they cannot be had."""
    try:
        return read_regular(Path(path))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        how_to_fix = HOW_TO_FIX.get(error.errno or 0, "Expected a readable PNG label image.")
        raise LabelError(f"{path}: cannot be read ({reason}). {how_to_fix}") from error


def decode_label(data: bytes, where: str, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode the ids of a PNG label image; see `read_label`.

    Parameters
    ----------
    data : bytes
        The whole file.
    where : str
        The file's name for messages.

    Returns
    -------
    ndarray of uint8, shape (H, W)

    Raises
    ------
    LabelError
        If the bytes are damaged, too large an image, or no label image.

    Examples
    --------
    >>> decode_label(encode_label(np.array([[7, 8], [9, 255]], np.uint8)), "example.png").tolist()
    [[7, 8], [9, 255]]
    """
    parts = split_png(data, where, max_pixels=max_pixels)
    return decode_pixels(parts, where)


def encode_label(
    ids: NDArray[np.uint8], *, compression: Compression = "fast", text: Mapping[str, str] | None = None
) -> bytes:
    """Encode ids as an 8-bit gray PNG.

    Parameters
    ----------
    ids : ndarray of uint8, shape (H, W)
        At least one pixel.
    compression : {"fast", "small"}
        Up-filtered rows through ISA-L, or through zlib's run-length strategy: half the size, several times the time.
    text : mapping of str to str, optional
        Text chunks by keyword, written before the pixels.

    Returns
    -------
    bytes
        The same ids, compression and text give the same bytes.
    """
    height, width = ids.shape
    idat, _ = map_bands(plain_bands(ids), height, width, _IDENTITY, compression)
    return join_png(width, height, idat, text)


def map_bands(
    bands: Iterable[NDArray[np.uint8]],
    height: int,
    width: int,
    lookup: NDArray[np.uint8],
    compression: Compression,
) -> tuple[bytes, NDArray[np.int64]]:
    """Map ids band by band to the pixel data of an 8-bit PNG, and count them.

    Parameters
    ----------
    bands : iterable of ndarray of uint8, shape (n, 1 + width)
        All rows of the image, each behind one byte that is not looked at.
    lookup : ndarray of uint8, shape (256,)
        The value that is written for each id.

    Returns
    -------
    idat : bytes
        A zlib stream of Up-filtered rows.
    counts : ndarray of int64, shape (256,)
        Pixels of each id before the mapping.
    """
    mapper, deflater = RowMapper(height, width, lookup), _deflater(compression)
    pieces = [deflater.compress(mapper.map_rows(band).data) for band in bands]
    return b"".join([*pieces, deflater.flush()]), mapper.counts


def plain_bands(ids: NDArray[np.uint8], multiple: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Yield the rows of ids in bands, each row behind a byte 0 as PNG wants it for "no filter"."""
    step = rows_per_band(1 + ids.shape[1], multiple)
    for first in range(0, len(ids), step):
        yield np.pad(ids[first : first + step], ((0, 0), (1, 0)))


def decode_bands(parts: PngParts, where: str, multiple: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Yield the ids of a label in bands of rows, each row behind one byte, as `map_bands` takes them.

    A label of a byte per pixel that is not interlaced is never held as a whole.

    Parameters
    ----------
    multiple : int
        What the heights of all bands but the last are a multiple of.

    Raises
    ------
    LabelError
        If the pixel data are damaged, or hold more or less than the header says.
    """
    if _has_plain_rows(parts.header):
        yield from _restore_bands(parts, where, multiple)
    else:
        yield from plain_bands(_decode_packed(parts, where), multiple)


def rows_per_band(row_bytes: int, multiple: int = 1) -> int:
    """Return how many rows of so many bytes make a band: a multiple of a number, at least once."""
    return max(1, BAND_BYTES // (row_bytes * multiple)) * multiple


def decode_pixels(parts: PngParts, where: str) -> NDArray[np.uint8]:
    """Decode the ids of a PNG taken apart, shape (H, W); see `decode_label`."""
    return decode_label_rows(parts, where, 0, parts.header.height)


def _has_plain_rows(header: PngHeader) -> bool:
    """Say whether the stream holds whole bytes, row by row."""
    return header.bit_depth == 8 and not header.interlaced


class _PixelStream:
    """The inflating of a label's pixel data: as many bytes as are asked for, and never more."""

    def __init__(self, parts: PngParts, where: str) -> None:
        self._inflater = _inflater(parts, where)
        self._waiting = parts.idat
        self._expected = parts.header.raw_size
        self._where = where

    def read(self, size: int) -> NDArray[np.uint8]:
        """Return the next `size` bytes, read-only; a stream that has fewer is an error."""
        data = self._inflate(size)
        while len(data) < size:
            piece = self._inflate(size - len(data))
            if not piece:
                raise self._wrong_size("fewer")
            data += piece
        return np.frombuffer(data, np.uint8)

    def finish(self) -> None:
        """Verify that the stream ends here, checksum and all."""
        if self._inflate(1) or self._inflater.unused_data:
            raise self._wrong_size("more")
        if not self._inflater.eof:
            raise self._wrong_size("fewer")

    def _inflate(self, size: int) -> bytes:
        if self._inflater.eof:
            return b""
        try:
            data: bytes = self._inflater.decompress(self._waiting, size)
        except (_IsalError, zlib.error) as error:
            raise LabelError(f"{self._where}: the pixel data are damaged ({error}). {_COPY_AGAIN}") from error
        self._waiting = b""
        return data

    def _wrong_size(self, held: str) -> LabelError:
        return LabelError(
            f"{self._where}: the pixel data hold {held} than the {self._expected} bytes of its size. {_COPY_AGAIN}"
        )


class _Zlib:
    """zlib with the calls of ISA-L's decompressor: slower, but it holds matches against the window of the header.

    It does so across calls alone, so that it inflates a row at a time: what it refuses is then what libpng refuses. The
    data are handed over in pieces, as each call copies what is left of them.
    """

    def __init__(self, row_bytes: int) -> None:
        self._stream, self._row_bytes = zlib.decompressobj(wbits=0), row_bytes  # 0: the window of the header
        self._waiting = memoryview(b"")

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data + self._waiting

    def decompress(self, data: bytes, size: int) -> bytes:
        if data:
            self._waiting = memoryview(data)
        rows = []
        while size and not self.eof:
            piece: bytes | memoryview = self._stream.unconsumed_tail
            if not piece:
                piece, self._waiting = self._waiting[:_PIECE_BYTES], self._waiting[_PIECE_BYTES:]
            row = self._stream.decompress(piece, min(size, self._row_bytes))
            if not row and not piece:
                break  # the stream has no end
            rows.append(row)
            size -= len(row)
        return b"".join(rows)


def _inflater(parts: PngParts, where: str) -> Any:
    """Return what inflates pixel data: ISA-L, which takes matches from 32 KiB back, or zlib where fewer are allowed."""
    if parts.idat[0] & 0x0F != 8 or parts.idat[0] >> 4 > 7:
        raise LabelError(f"{where}: the pixel data do not begin as a zlib stream does. {_COPY_AGAIN}")
    window = 256 << (parts.idat[0] >> 4)
    if window < 1 << 15 and parts.header.raw_size > window:
        return _Zlib(1 + parts.header.passes()[-1].row_bytes)
    return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_ZLIB)


def _restore_bands(
    parts: PngParts, where: str, multiple: int = 1, row_bytes: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Inflate plain rows band by band and undo their filters while a band is in the cache, shape (n, 1 + width).

    `row_bytes` is how many bytes of a photograph's rows are wanted; of gray ones all are made.
    """
    height, width, samples = parts.header.height, parts.header.width, parts.header.samples
    wanted = row_bytes if row_bytes is not None and samples > 1 else width * samples
    stream, restorer = _PixelStream(parts, where), RowRestorer(wanted, samples)
    row_bytes = width * samples
    step = rows_per_band(1 + row_bytes, multiple)
    for first in range(0, height, step):
        num_rows = min(step, height - first)
        rows = restorer.restore_rows(stream.read(num_rows * (1 + row_bytes)).reshape(num_rows, -1))
        if rows is None:
            raise _unknown_filter(where)
        yield rows
    stream.finish()


def _deflater(compression: Compression) -> "_Deflater":
    if compression == "fast":
        return isal_zlib.compressobj(1)
    return zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, zlib.Z_RLE)


class _Deflater(Protocol):
    def compress(self, data: memoryview, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _decode_packed(parts: PngParts, where: str) -> NDArray[np.uint8]:
    """Decode samples of any depth, interlaced or not, from the whole of the inflated stream.

    Returns
    -------
    ndarray of uint8, shape (H, W)
    """
    header, start = parts.header, 0
    stream = _PixelStream(parts, where)
    raw = stream.read(header.raw_size)
    stream.finish()
    ids = np.empty((header.height, header.width), np.uint8)
    for grid in header.passes():
        rows = undo_filters(raw[start : start + grid.size], grid.height, grid.row_bytes)
        if rows is None:
            raise _unknown_filter(where)
        ids[grid.rows, grid.columns] = _unpack(rows, header.bit_depth, grid.width)
        start += grid.size
    return ids


def _unknown_filter(where: str) -> LabelError:
    return LabelError(f"{where}: a row has a filter that PNG does not know. Expected 0 to 4. {_COPY_AGAIN}")


def _unpack(rows: NDArray[np.uint8], bit_depth: int, width: int) -> NDArray[np.uint8]:
    """Spread packed samples to one byte each, high bits first."""
    shifts = np.arange(8 - bit_depth, -1, -bit_depth, dtype=np.uint8)
    samples = rows[:, :, np.newaxis] >> shifts & np.uint8(2**bit_depth - 1)
    return samples.reshape(len(rows), -1)[:, :width]
