"""A PNG writer in plain Python, so that tests can ask for any filter, bit depth and interlacing."""

import struct
import zlib

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind, body=b""):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width, height, bit_depth=8, color_type=3, interlace=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, interlace))


def write_png(ids, *, bit_depth=8, color_type=3, filters=(0,), interlaced=False, extra=(), idat_size=1 << 30):
    """Return the bytes of a PNG; row i of the stream gets filter filters[i % len(filters)]."""
    height, width = ids.shape
    stream = zlib.compress(b"".join(filtered_rows(ids, bit_depth, filters, interlaced)))
    pieces = [stream[start : start + idat_size] for start in range(0, len(stream), idat_size)]
    palette = [chunk(b"PLTE", bytes(range(256)) * 3)] if color_type == 3 else []
    chunks = [header(width, height, bit_depth, color_type, int(interlaced)), *palette, *extra]
    return SIGNATURE + b"".join([*chunks, *(chunk(b"IDAT", piece) for piece in pieces), chunk(b"IEND")])


def filtered_rows(ids, bit_depth, filters, interlaced):
    number = 0
    for row, column, row_step, column_step in ADAM7 if interlaced else ((0, 0, 1, 1),):
        grid = ids[row::row_step, column::column_step]
        if not grid.size:
            continue
        above = bytes((grid.shape[1] * bit_depth + 7) // 8)
        for samples in grid.tolist():
            packed = pack(samples, bit_depth)
            filter_type = filters[number % len(filters)]
            yield bytes([filter_type]) + filter_row(filter_type, packed, above)
            above, number = packed, number + 1


def pack(samples, bit_depth):
    bits = "".join(format(sample, f"0{bit_depth}b") for sample in samples)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[start : start + 8], 2) for start in range(0, len(bits), 8))


def filter_row(filter_type, row, above):
    corners = bytes(1) + above[:-1]
    lefts = bytes(1) + row[:-1]
    predict = {
        0: lambda a, b, c: 0,
        1: lambda a, b, c: a,
        2: lambda a, b, c: b,
        3: lambda a, b, c: (a + b) // 2,
        4: paeth,
    }.get(filter_type, lambda a, b, c: 0)
    return bytes((x - predict(a, b, c)) % 256 for x, a, b, c in zip(row, lefts, above, corners, strict=True))


def paeth(a, b, c):
    p = a + b - c
    return min((a, b, c), key=lambda value: abs(p - value))


def raw_png(width, height, rows, *, color_type, palette=None):
    """Return an 8-bit PNG of rows that are filtered already, each behind its filter byte."""
    colors = [] if palette is None else [chunk(b"PLTE", palette)]
    chunks = [header(width, height, color_type=color_type), *colors, chunk(b"IDAT", zlib.compress(rows))]
    return SIGNATURE + b"".join([*chunks, chunk(b"IEND")])
