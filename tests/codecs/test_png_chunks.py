"""Text and structure of a PNG, read without inflating a pixel."""

import io

import numpy as np
import pytest
from PIL import Image
from png_writer import SIGNATURE, chunk, header, write_png

from segdata.codecs.png import encode_label
from segdata.codecs.png_chunks import PngHeader, read_text, split_png
from segdata.errors import LabelError

ONE = np.ones((1, 1), np.uint8)


@pytest.mark.parametrize("value", ['{"a": 1}', "", "Straße", "道路"])
def test_text_comes_back(value):
    data = encode_label(ONE, text={"segdata": value})
    assert split_png(data, "x.png").text == {"segdata": value}
    assert Image.open(io.BytesIO(data)).text == {"segdata": value}


def test_text_stands_before_the_pixels():
    data = encode_label(ONE, text={"segdata": "a"})
    assert data.index(b"tEXt") < data.index(b"IDAT")


def test_compressed_text_is_passed_over():
    packed = chunk(b"iTXt", b"segdata\0\1\0\0\0" + b"whatever")
    assert split_png(write_png(ONE, extra=[packed, chunk(b"zTXt", b"segdata\0\0zz")]), "x.png").text == {}


def test_text_is_read_without_inflating():
    stream_of_nothing = chunk(b"IDAT", b"no zlib stream")
    note = chunk(b"tEXt", b"segdata\0here")
    data = SIGNATURE + header(1, 1) + note + stream_of_nothing + chunk(b"IEND")
    assert read_text(data, "x.png") == {"segdata": "here"}


def test_text_of_any_kind_of_png_is_read():
    data = SIGNATURE + header(9, 9, bit_depth=16, color_type=2) + chunk(b"tEXt", b"a\0b") + chunk(b"IEND")
    assert read_text(data, "x.png") == {"a": "b"}


def test_text_of_a_damaged_file_is_not_trusted():
    data = encode_label(ONE, text={"segdata": "here"}).replace(b"here", b"hare")
    with pytest.raises(LabelError, match="is damaged"):
        read_text(data, "x.png")


def test_header_and_palette():
    parts = split_png(write_png(np.zeros((3, 5), np.uint8)), "x.png")
    assert parts.header == PngHeader(width=5, height=3, bit_depth=8, color_type=3, interlaced=False)
    assert parts.header.is_palette
    assert parts.palette is not None
    assert len(parts.palette) == 768


def test_a_palette_of_one_color_is_one():
    data = SIGNATURE + header(2, 1) + chunk(b"PLTE", bytes((9, 8, 7))) + chunk(b"IDAT", bytes(9)) + chunk(b"IEND")
    assert split_png(data, "x.png").palette == bytes((9, 8, 7))


def test_an_interlaced_header_knows_its_passes():
    tall = PngHeader(width=1, height=3, bit_depth=8, color_type=0, interlaced=True)
    assert [(grid.height, grid.width) for grid in tall.passes()] == [(1, 1), (1, 1), (1, 1)]
    assert tall.raw_size == 6
