"""Damaged, hostile and foreign files: each one line that names the file."""

import io
import zlib
from unittest import mock

import numpy as np
import pytest
from PIL import Image
from png_writer import SIGNATURE, chunk, header, write_png

from segdata.codecs.png import decode_label
from segdata.errors import LabelError

IDS = np.arange(60, dtype=np.uint8).reshape(6, 10)
GOOD = write_png(IDS, color_type=0)


def png(*chunks):
    return SIGNATURE + b"".join([*chunks, chunk(b"IEND")])


def idat(rows):
    return chunk(b"IDAT", zlib.compress(bytes(rows)))


def saved_by_pillow(mode):
    stream = io.BytesIO()
    Image.new(mode, (4, 3)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("size", range(len(GOOD)))
def test_every_truncation_is_refused(size):
    with pytest.raises(LabelError, match=r"^x\.png: "):
        decode_label(GOOD[:size], "x.png")


@pytest.mark.parametrize("position", range(len(GOOD)))
def test_every_flipped_bit_is_refused(position):
    damaged = bytearray(GOOD)
    damaged[position] ^= 1 << position % 8
    with pytest.raises(LabelError, match=r"^x\.png: "):
        decode_label(bytes(damaged), "x.png")


def test_empty_file():
    with pytest.raises(LabelError, match=r"is not a PNG file .it is empty"):
        decode_label(b"", "x.png")


def test_jpeg_under_the_name_of_a_png():
    with pytest.raises(LabelError, match=r"is a JPEG photograph, whose pixels are not class ids"):
        decode_label(b"\xff\xd8\xff\xe0", "x.png")


def test_bytes_after_the_end():
    with pytest.raises(LabelError, match="3 bytes follow the end of the image"):
        decode_label(GOOD + b"abc", "x.png")


@pytest.mark.parametrize(
    ("mode", "told"),
    [("RGB", "8-bit RGB image"), ("RGBA", "RGB with alpha"), ("LA", "gray with alpha"), ("I;16", "16-bit gray image")],
)
def test_more_than_one_8_bit_channel(mode, told):
    with pytest.raises(LabelError, match=told):
        decode_label(saved_by_pillow(mode), "x.png")


def test_a_size_over_the_limit_is_refused_before_memory_is_taken():
    data = png(header(2**31 - 1, 2**31 - 1, color_type=0), idat([0]))
    with pytest.raises(LabelError, match="is 2147483647 x 2147483647 pixels"):
        decode_label(data, "x.png")


def test_the_limit_can_be_set():
    with pytest.raises(LabelError, match=r"Expected at most 59\. convert and convert-mapillary take larger ones"):
        decode_label(GOOD, "x.png", max_pixels=59)
    assert decode_label(GOOD, "x.png", max_pixels=60).shape == (6, 10)


def test_a_size_that_the_data_cannot_fill():
    with pytest.raises(LabelError, match=r"too few for 16000 x 16000 pixels"):
        decode_label(png(header(16000, 16000, color_type=0), idat([0])), "x.png")


def test_no_pixels():
    with pytest.raises(LabelError, match="is 0 x 5 pixels"):
        decode_label(png(header(0, 5, color_type=0), idat([0])), "x.png")


def test_no_pixel_data():
    with pytest.raises(LabelError, match="holds no pixel data"):
        decode_label(png(header(2, 2, color_type=0)), "x.png")


def test_a_stream_that_inflates_to_more():
    with pytest.raises(LabelError, match="hold more than the 6 bytes"):
        decode_label(png(header(2, 2, color_type=0), idat(bytes(100_000))), "x.png")


def test_a_stream_that_inflates_to_less():
    with pytest.raises(LabelError, match="hold fewer than the 6 bytes"):
        decode_label(png(header(2, 2, color_type=0), idat([0, 1, 2])), "x.png")


def test_bytes_after_the_stream():
    data = png(header(2, 1, color_type=0), chunk(b"IDAT", zlib.compress(b"\0\1\2") + b"more"))
    with pytest.raises(LabelError, match="hold more than the 3 bytes"):
        decode_label(data, "x.png")


def test_a_stream_with_a_false_checksum():
    stream = bytearray(zlib.compress(bytes([0, 1, 2])))
    stream[-1] ^= 1
    with pytest.raises(LabelError, match="the pixel data are damaged"):
        decode_label(png(header(2, 1, color_type=0), chunk(b"IDAT", bytes(stream))), "x.png")


def test_an_unknown_filter():
    with pytest.raises(LabelError, match="a filter that PNG does not know"):
        decode_label(png(header(2, 1, color_type=0), idat([5, 1, 2])), "x.png")


def test_an_unknown_interlacing():
    with pytest.raises(LabelError, match="interlace 2 in the header"):
        decode_label(png(header(2, 1, interlace=2, color_type=0), idat([0, 1, 2])), "x.png")


def test_a_file_that_does_not_begin_with_its_header():
    with pytest.raises(LabelError, match="does not begin with a header"):
        decode_label(png(idat([0, 1, 2]), header(2, 1, color_type=0)), "x.png")


def parts_of(data=GOOD):
    """Return the chunks of a PNG as bytes, without signature and IEND."""
    found, at = [], 8
    while data[at + 4 : at + 8] != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big") + 12
        found.append(data[at : at + length])
        at += length
    return found


PALETTE = chunk(b"PLTE", bytes(768))
HEAD, *_, PIXELS = parts_of()
STREAM = PIXELS[8:-4]
HALVES = [chunk(b"IDAT", STREAM[:9]), chunk(b"IDAT", STREAM[9:])]


@pytest.mark.parametrize(
    ("chunks", "told"),
    [
        ([HEAD, HALVES[0], chunk(b"tEXt", b"a\0b"), HALVES[1]], "other chunks lie between"),
        ([HEAD, HEAD, PIXELS], "two headers"),
        ([header(10, 6), PALETTE, PALETTE, PIXELS], "two palettes"),
        ([header(10, 6), PIXELS, PALETTE], "palette comes after"),
        ([header(10, 6), PIXELS], "palette image without a palette"),
        ([header(10, 6), chunk(b"PLTE", bytes(7)), PIXELS], "palette has 7 bytes"),
        ([header(10, 6), chunk(b"PLTE", bytes(771)), PIXELS], "palette has 771 bytes"),
        ([HEAD, chunk(b"ABCD", b""), PIXELS], "a chunk 'ABCD' that must be known"),
    ],
)
def test_what_libpng_refuses_is_refused(chunks, told):
    with pytest.raises(LabelError, match=told):
        decode_label(png(*chunks), "x.png")


def test_pixel_data_in_two_chunks_in_a_row_are_read():
    assert decode_label(png(HEAD, chunk(b"aBCd", b"may be skipped"), *HALVES), "x.png").tolist() == IDS.tolist()


def stream_of_a_repeated_block(rows, window):
    """Return 2 * rows of 500 ids, the second half found by matches as far back as the first is long, and the ids."""
    block = np.random.default_rng(0).integers(0, 256, (rows, 500), np.uint8)
    ids = np.concatenate([block, block])
    stream = bytearray(zlib.compress(b"".join(b"\0" + row.tobytes() for row in ids), 9))
    stream[0] = (window - 8) << 4 | 8
    stream[1] = 31 - (stream[0] << 8) % 31
    return bytes(stream), ids


def png_of(stream, ids):
    return png(header(ids.shape[1], ids.shape[0], color_type=0), chunk(b"IDAT", stream))


@pytest.mark.parametrize("window", range(8, 16))
@pytest.mark.parametrize("rows", [1, 3, 10, 30, 60])
def test_matches_from_beyond_the_window_are_refused_as_by_libpng(rows, window):
    stream, ids = stream_of_a_repeated_block(rows, window)
    data = png_of(stream, ids)
    if rows * 501 > 1 << window:  # libpng 1.6.39 refuses these 22 and no other
        with pytest.raises(LabelError, match=r"x\.png: the pixel data are damaged \(.*invalid distance too far back\)"):
            decode_label(data, "x.png")
    else:
        assert decode_label(data, "x.png").tolist() == ids.tolist()


@pytest.mark.parametrize("piece_bytes", [1, 7, 500, 10**6])
def test_a_stream_of_a_small_window_may_come_in_pieces(piece_bytes, monkeypatch):
    monkeypatch.setattr("segdata.codecs.png._PIECE_BYTES", piece_bytes)
    stream, ids = stream_of_a_repeated_block(30, 14)
    assert decode_label(png_of(stream, ids), "x.png").tolist() == ids.tolist()
    with pytest.raises(LabelError, match="hold more than the 30060 bytes"):
        decode_label(png_of(stream + b"more", ids), "x.png")
    for cut in (1, 4, 5, 9000):
        with pytest.raises(LabelError, match="hold fewer than the 30060 bytes"):
            decode_label(png_of(stream[:-cut], ids), "x.png")


def test_each_row_of_a_small_window_copies_no_more_than_a_piece(rng):
    ids = rng.integers(0, 256, (60_000, 1), np.uint8)
    packer = zlib.compressobj(wbits=9)
    stream = packer.compress(np.pad(ids, ((0, 0), (1, 0))).tobytes()) + packer.flush()
    given, inflate = [], zlib.decompressobj

    class Counted:
        def __init__(self, wbits):
            self._stream = inflate(wbits)

        def __getattr__(self, name):
            return getattr(self._stream, name)

        def decompress(self, data, size):
            given.append(len(data))
            return self._stream.decompress(data, size)

    with mock.patch.object(zlib, "decompressobj", Counted):
        assert decode_label(png_of(stream, ids), "x.png").tolist() == ids.tolist()
    assert len(given) >= len(ids)
    assert max(given) <= 2**13 < len(stream)


@pytest.mark.parametrize("first", [0x79, 0x88, 0x07])
def test_a_stream_that_is_not_zlib_is_refused(first):
    stream = bytearray(STREAM)
    stream[0] = first
    with pytest.raises(LabelError, match=r"do not begin as a zlib stream does|are damaged"):
        decode_label(png(HEAD, chunk(b"IDAT", bytes(stream))), "x.png")


def test_a_stream_with_every_pixel_but_no_end_is_short_of_it():
    packer = zlib.compressobj()
    open_ended = packer.compress(bytes(6 * 11)) + packer.flush(zlib.Z_SYNC_FLUSH)
    data = png(header(10, 6, color_type=0), chunk(b"IDAT", open_ended))
    with pytest.raises(LabelError, match=r"a\.png: .*fewer"):
        decode_label(data, "a.png")


def test_an_unknown_filter_in_an_interlaced_image_is_named():
    data = png(header(1, 1, color_type=0, interlace=1), idat([9, 0]))
    with pytest.raises(LabelError, match=r"a\.png: .*filter"):
        decode_label(data, "a.png")
