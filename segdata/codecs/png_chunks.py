"""The outside of a PNG label: its chunks, their checksums, the header and our text, without inflating a pixel.

Format: PNG Specification, Third Edition (W3C 2025). A label has one 8-bit-or-less channel: gray (color type 0)
or palette indices (color type 3); everything else is refused here, before any memory is taken for pixels.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from isal import isal_zlib

from segdata.errors import LabelError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 2**28
GRAY, PALETTE = 0, 3
# Deflate cannot shrink more than this (RFC 1951: 258 bytes from two bits); more is a header that lies about the size.
MAX_DEFLATE_RATIO = 1032

_IHDR = struct.Struct(">IIBBBBB")
_COLOR_TYPES = {0: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGB with alpha"}
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by color type
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_COPY_AGAIN = "Copy it again from its source."
# (first row, first column, row step, column step) of Adam7's seven passes.
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


@dataclass(frozen=True)
class PngPass:
    """One rectangle of filtered rows: the whole image, or one of Adam7's passes over every n-th pixel.

    Attributes
    ----------
    rows, columns : slice
        The pixels of the image that the pass holds.
    height, width : int
        Size of the pass in pixels; neither is 0.
    row_bytes : int
        Bytes of packed samples per row, without the filter byte before them.
    """

    rows: slice
    columns: slice
    height: int
    width: int
    row_bytes: int

    @property
    def size(self) -> int:
        """Return the bytes of the pass in the inflated stream, filter bytes included."""
        return self.height * (1 + self.row_bytes)


@dataclass(frozen=True)
class PngHeader:
    """The IHDR chunk of an image: sizes in pixels, bits per sample."""

    width: int
    height: int
    bit_depth: int
    color_type: int
    interlaced: bool

    @property
    def is_palette(self) -> bool:
        """Say whether samples are palette indices (mode P) rather than gray values (mode L)."""
        return self.color_type == PALETTE

    @property
    def samples(self) -> int:
        """Return the samples of a pixel: 1 for labels, up to 4 for photographs."""
        return _SAMPLES[self.color_type]

    def passes(self) -> list[PngPass]:
        """Return the rectangles of the inflated stream in their order; one if the image is not interlaced."""
        grids = _ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        return [self._pass(*grid) for grid in grids if grid[0] < self.height and grid[1] < self.width]

    def _pass(self, row: int, column: int, row_step: int, column_step: int) -> PngPass:
        height = -(-(self.height - row) // row_step)
        width = -(-(self.width - column) // column_step)
        rows, columns = slice(row, None, row_step), slice(column, None, column_step)
        return PngPass(rows, columns, height, width, row_bytes=(width * self.samples * self.bit_depth + 7) // 8)

    @property
    def raw_size(self) -> int:
        """Return the bytes that the pixel data inflate to."""
        return sum(grid.size for grid in self.passes())


@dataclass(frozen=True)
class PngParts:
    """What a PNG file holds, every checksum of its chunks verified, nothing inflated.

    Attributes
    ----------
    header : PngHeader
    palette : bytes or None
        The colors of the PLTE chunk, three bytes each: an aid to tell data sets apart, never a way to read ids.
    idat : bytes
        The zlib stream of the pixels.
    text : dict of str to str
        Uncompressed tEXt and iTXt chunks by keyword.
    """

    header: PngHeader
    palette: bytes | None
    idat: bytes
    text: dict[str, str]


def split_png(data: bytes, where: str, *, max_pixels: int = MAX_PIXELS) -> PngParts:
    """Take a PNG label apart and verify the checksums of its chunks.

    Parameters
    ----------
    data : bytes
        The whole file.
    where : str
        The file's name for messages.
    max_pixels : int
        Largest width x height that is accepted.

    Raises
    ------
    LabelError
        If the bytes are not a PNG, are truncated or damaged, go on after the end, hold something other than one
        channel of at most 8 bits, or more than `max_pixels` pixels.
    """
    chunks = list(_walk_chunks(data, where))
    header = _parse_header(chunks[0], where)
    _check_header(header, where, max_pixels)
    return _parts_of(chunks, header, where)


def split_photo(data: bytes) -> PngParts | None:
    """Take a PNG photograph apart, if its rows can be read one by one.

    Returns
    -------
    PngParts or None
        None for other than 8 bits per sample, for interlaced files, and for damaged ones, about which Pillow has more
        to say or which it reads all the same.
    """
    try:
        chunks = list(_walk_chunks(data, ""))
        header = _parse_header(chunks[0], "")
        if header.bit_depth != 8 or header.interlaced or header.color_type not in _SAMPLES:
            return None
        return _parts_of(chunks, header, "") if header.width and header.height else None
    except LabelError:
        return None


def _parts_of(chunks: list[tuple[bytes, memoryview]], header: PngHeader, where: str) -> PngParts:
    """Return the parts of a PNG from its chunks, having checked their order and sizes."""
    _check_order([kind for kind, _ in chunks], header, where)
    idat = [body for kind, body in chunks if kind == b"IDAT"]
    palette = next((bytes(body) for kind, body in chunks if kind == b"PLTE"), None)
    if palette is not None and (len(palette) % 3 or not 3 <= len(palette) <= 768):
        raise LabelError(f"{where}: its palette has {len(palette)} bytes. Expected 3 for each color. {_COPY_AGAIN}")
    if not idat:
        raise LabelError(f"{where}: holds no pixel data (no IDAT chunk). Expected a label image. {_COPY_AGAIN}")
    parts = PngParts(header, palette, idat=b"".join(idat), text=dict(_texts(chunks)))
    if header.raw_size > MAX_DEFLATE_RATIO * len(parts.idat):
        raise LabelError(
            f"{where}: {len(parts.idat)} bytes of pixel data are too few for {header.width} x {header.height} pixels. "
            f"The header is damaged or false. {_COPY_AGAIN}"
        )
    return parts


def read_text(data: bytes, where: str) -> dict[str, str]:
    """Return the uncompressed text chunks of any PNG by keyword, having verified the checksums of all its chunks.

    Raises
    ------
    LabelError
        If the bytes are not a PNG, are truncated or damaged, or go on after the end.
    """
    return dict(_texts(list(_walk_chunks(data, where))))


def join_png(width: int, height: int, idat: bytes, text: Mapping[str, str] | None = None) -> bytes:
    """Put an 8-bit gray PNG together: header, text chunks, pixel data.

    Parameters
    ----------
    width, height : int
        Size in pixels.
    idat : bytes
        The zlib stream of the filtered rows.
    text : mapping of str to str, optional
        Text by keyword (1 to 79 Latin-1 characters); written before the pixels, so that the start of a file tells it.
    """
    chunks = [_chunk(b"IHDR", _IHDR.pack(width, height, 8, GRAY, 0, 0, 0))]
    chunks += [_text_chunk(keyword, value) for keyword, value in (text or {}).items()]
    chunks += [_chunk(b"IDAT", idat), _chunk(b"IEND", b"")]
    return SIGNATURE + b"".join(chunks)


def _walk_chunks(data: bytes, where: str) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and body of every chunk up to IEND, which must end the file."""
    if data.startswith(b"\xff\xd8\xff"):
        raise LabelError(
            f"{where}: is a JPEG photograph, whose pixels are not class ids. Expected is a label image: name the PNG "
            "file of class ids that belongs to it."
        )
    if not data.startswith(SIGNATURE):
        raise LabelError(
            f"{where}: is not a PNG file ({_first_bytes(data)}). Expected a PNG label image. {_COPY_AGAIN}"
        )
    view, position, kind = memoryview(data), len(SIGNATURE), b""
    while kind != b"IEND":
        kind, body = _chunk_at(view, position, where)
        yield kind, body
        position += 12 + len(body)
    if position != len(data):
        raise LabelError(
            f"{where}: {len(data) - position} bytes follow the end of the image (chunk IEND). "
            f"Expected the file to end there, at byte {position}. {_COPY_AGAIN}"
        )


def _chunk_at(view: memoryview, position: int, where: str) -> tuple[bytes, memoryview]:
    """Return the kind and body of the chunk at `position`, its checksum verified."""
    head = view[position : position + 8]
    length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
    end = position + 12 + length
    if end > len(view) or not kind:
        inside = f"inside the chunk at byte {position}" if len(head) else "before its last chunk (IEND)"
        raise LabelError(f"{where}: ends at byte {len(view)}, {inside}: it is truncated. {_COPY_AGAIN}")
    stored = int.from_bytes(view[end - 4 : end], "big")
    found = isal_zlib.crc32(view[position + 4 : end - 4])
    if stored != found:
        raise LabelError(
            f"{where}: the chunk at byte {position} is damaged (checksum {found:08x}, the file says {stored:08x}). "
            f"{_COPY_AGAIN}"
        )
    return bytes(kind), view[position + 8 : end - 4]


def _first_bytes(data: bytes) -> str:
    return f"it begins with {data[:8].hex(' ')}" if data else "it is empty"


def _parse_header(chunk: tuple[bytes, memoryview], where: str) -> PngHeader:
    kind, body = chunk
    if kind != b"IHDR" or len(body) != _IHDR.size:
        raise LabelError(
            f"{where}: does not begin with a header of 13 bytes (IHDR). Expected a PNG file. {_COPY_AGAIN}"
        )
    width, height, bit_depth, color_type, compression, filtering, interlace = _IHDR.unpack(body)
    if compression or filtering or interlace > 1:
        raise LabelError(
            f"{where}: compression {compression}, filter {filtering}, interlace {interlace} in the header. "
            f"Expected 0, 0, and 0 or 1. {_COPY_AGAIN}"
        )
    return PngHeader(width, height, bit_depth, color_type, interlaced=interlace == 1)


def _check_header(header: PngHeader, where: str, max_pixels: int) -> None:
    """Refuse what is not a label image, or larger than `max_pixels`."""
    size = f"{header.width} x {header.height}"
    if header.color_type not in (GRAY, PALETTE) or header.bit_depth not in (1, 2, 4, 8):
        kind = _COLOR_TYPES.get(header.color_type, f"color type {header.color_type}")
        raise LabelError(
            f"{where}: is a {header.bit_depth}-bit {kind} image. Expected one id per pixel: 8-bit palette (P) or "
            "gray (L). Name the folder of label ids, not of colors or instances."
        )
    if not header.width or not header.height:
        raise LabelError(f"{where}: is {size} pixels. Expected at least one pixel. {_COPY_AGAIN}")
    if header.width * header.height > max_pixels:
        raise LabelError(
            f"{where}: is {size} pixels, {header.width * header.height} in all. Expected at most {max_pixels}. "
            "convert and convert-mapillary take larger ones with --max-pixels; for all else cut the image into parts."
        )


def _check_order(kinds: list[bytes], header: PngHeader, where: str) -> None:
    """Refuse what libpng refuses: a second header or palette, pixel data in two places, chunks that must be known."""
    fault = None
    first, number = kinds.index(b"IDAT") if b"IDAT" in kinds else 0, kinds.count(b"IDAT")
    unknown = [kind for kind in kinds if kind not in _CRITICAL and not kind[0] & 0x20]
    if kinds.count(b"IHDR") > 1 or kinds.count(b"PLTE") > 1:
        fault = "it has two headers or two palettes"
    elif kinds[first : first + number] != [b"IDAT"] * number:
        fault = "other chunks lie between those of the pixel data (IDAT)"
    elif number and b"PLTE" in kinds[first:]:
        fault = "its palette comes after the pixel data"
    elif number and header.is_palette and b"PLTE" not in kinds:
        fault = "it is a palette image without a palette (PLTE)"
    elif unknown:
        fault = f"it has a chunk {unknown[0].decode('latin-1')!r} that must be known to read it"
    if fault is not None:
        raise LabelError(f"{where}: is not a valid PNG file: {fault}. {_COPY_AGAIN}")


def _texts(chunks: list[tuple[bytes, memoryview]]) -> Iterator[tuple[str, str]]:
    """Yield keyword and text of the uncompressed text chunks; compressed ones are not ours and are passed over."""
    for kind, body in chunks:
        keyword, _, rest = bytes(body).partition(b"\0") if kind in (b"tEXt", b"iTXt") else (b"", b"", b"")
        if kind == b"tEXt":
            yield keyword.decode("latin-1"), rest.decode("latin-1")
        elif kind == b"iTXt" and rest[:1] == b"\0":
            # After the two compression bytes: language tag, translated keyword, text.
            yield keyword.decode("latin-1"), rest[2:].split(b"\0", 2)[-1].decode("utf-8", errors="replace")


def _text_chunk(keyword: str, value: str) -> bytes:
    key = keyword.encode("latin-1")
    assert 1 <= len(key) <= 79, f"PNG text keyword {keyword!r}"
    try:
        return _chunk(b"tEXt", key + b"\0" + value.encode("latin-1"))
    except UnicodeEncodeError:
        return _chunk(b"iTXt", key + b"\0\0\0\0\0" + value.encode("utf-8"))


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = isal_zlib.crc32(body, isal_zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)))
