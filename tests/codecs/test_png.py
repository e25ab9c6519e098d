"""Reading and writing label images, against Pillow and a plain Python writer."""

import io
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from png_writer import chunk, write_png

from segdata.codecs import png
from segdata.codecs.png import decode_label, encode_label, read_label
from segdata.codecs.png_chunks import split_png
from segdata.errors import LabelError

GAMMA = chunk(b"gAMA", (45455).to_bytes(4, "big"))
TRANSPARENT = chunk(b"tRNS", bytes(range(40, 50)))
GRAY_TRANSPARENT = chunk(b"tRNS", b"\0\1")


@st.composite
def flat_labels(draw, max_id=255):
    """Labels as they are: patches of one id, wide enough for whole words, with edges at any place."""
    seed = draw(st.integers(0, 2**32 - 1))
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 70))
    rng = np.random.default_rng(seed)
    patch = draw(st.sampled_from([(1, 1), (3, 5), (9, 40)]))
    patches = rng.integers(0, max_id + 1, (height, width), np.uint8)
    return patches.repeat(patch[0], axis=0).repeat(patch[1], axis=1)[:height, :width]


def by_pillow(data):
    return np.asarray(Image.open(io.BytesIO(data)))


@given(flat_labels(), st.lists(st.integers(0, 4), min_size=1, max_size=5), st.booleans(), st.sampled_from([0, 3]))
@settings(max_examples=80, deadline=None)
def test_every_filter_and_interlacing_gives_the_ids_back(ids, filters, interlaced, color_type):
    data = write_png(ids, filters=filters, interlaced=interlaced, color_type=color_type)
    assert np.array_equal(decode_label(data, "x.png"), ids)
    assert np.array_equal(by_pillow(data), ids)


@given(
    flat_labels(),
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    st.booleans(),
    st.integers(1, 600),
    st.sampled_from([1, 2, 5]),
)
@settings(max_examples=80, deadline=None)
def test_bands_of_any_height_hold_the_rows(ids, filters, interlaced, band_bytes, multiple):
    parts = split_png(write_png(ids, filters=filters, interlaced=interlaced), "x.png")
    with mock.patch.object(png, "BAND_BYTES", band_bytes):
        bands = list(png.decode_bands(parts, "x.png", multiple))
        assert np.array_equal(png.decode_pixels(parts, "x.png"), ids)
        top = len(filters) * len(ids) // 6
        for bottom in range(top, len(ids) + 1):
            assert np.array_equal(png.decode_label_rows(parts, "x.png", top, bottom), ids[top:bottom])
    assert np.array_equal(np.concatenate(bands)[:, 1:], ids)
    assert {len(band) % multiple for band in bands[:-1]} <= {0}
    assert len(bands) == 1 or max(map(len, bands)) * (1 + ids.shape[1]) <= max(
        band_bytes, multiple * (1 + ids.shape[1])
    )


@given(st.data(), st.sampled_from([1, 2, 4]), st.booleans(), st.sampled_from([0, 3]))
@settings(max_examples=60, deadline=None)
def test_fewer_bits_give_the_stored_samples(data, bit_depth, interlaced, color_type):
    ids = data.draw(flat_labels(max_id=2**bit_depth - 1))
    png = write_png(ids, bit_depth=bit_depth, interlaced=interlaced, color_type=color_type, filters=(0, 1, 2, 3, 4))
    assert np.array_equal(decode_label(png, "x.png"), ids)


@pytest.mark.parametrize("bit_depth", [1, 2, 4])
def test_palette_of_fewer_bits_agrees_with_pillow(bit_depth, rng):
    ids = rng.integers(0, 2**bit_depth, (7, 19), np.uint8)
    png = write_png(ids, bit_depth=bit_depth)
    assert np.array_equal(decode_label(png, "x.png"), by_pillow(png))


@pytest.mark.parametrize(("color_type", "extra"), [(3, TRANSPARENT), (3, GAMMA), (0, GRAY_TRANSPARENT), (0, GAMMA)])
def test_transparency_and_gamma_change_no_id(color_type, extra, rng):
    ids = rng.integers(0, 256, (5, 9), np.uint8)
    assert np.array_equal(decode_label(write_png(ids, color_type=color_type, extra=[extra]), "x.png"), ids)


def test_one_pixel():
    assert decode_label(write_png(np.array([[7]], np.uint8)), "x.png").tolist() == [[7]]


def test_pixel_data_in_many_chunks(rng):
    ids = rng.integers(0, 256, (9, 33), np.uint8)
    assert np.array_equal(decode_label(write_png(ids, idat_size=5), "x.png"), ids)


@pytest.mark.parametrize("compression", ["fast", "small"])
@given(ids=flat_labels())
@settings(max_examples=40, deadline=None)
def test_pillow_reads_what_is_written(compression, ids):
    image = Image.open(io.BytesIO(encode_label(ids, compression=compression)))
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), ids)


def test_a_view_is_encoded_as_its_values():
    ids = np.arange(48, dtype=np.uint8).reshape(6, 8)[::2, ::-1]
    assert decode_label(encode_label(ids), "x.png").tolist() == ids.tolist()


def test_small_is_smaller_on_a_label():
    ids = np.add.outer(np.arange(200) // 9, np.arange(300) // 7).astype(np.uint8) * 3
    assert len(encode_label(ids, compression="small")) < len(encode_label(ids, compression="fast"))


def test_the_same_label_gives_the_same_bytes():
    ids = np.eye(9, dtype=np.uint8)
    assert encode_label(ids, text={"segdata": "a"}) == encode_label(ids.copy(), text={"segdata": "a"})


def test_read_label_names_the_missing_file(tmp_path):
    with pytest.raises(LabelError, match=r"gone\.png: cannot be read"):
        read_label(tmp_path / "gone.png")


def test_read_label_names_a_folder(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(LabelError, match=r"x\.png: cannot be read"):
        read_label(tmp_path / "x.png")


def test_real_labels_agree_with_pillow(vistas_sample):
    paths = sorted(vistas_sample.glob("*/labels/*.png"))
    assert len(paths) == 6
    for path in paths:
        assert np.array_equal(read_label(path), np.asarray(Image.open(path)))


def test_real_labels_of_a_second_kind_agree_with_pillow(real_data):
    for path in sorted((real_data / "camvid" / "val" / "labels").iterdir())[:20]:
        assert np.array_equal(read_label(path), np.asarray(Image.open(path)))


def test_an_inflater_that_gives_a_few_bytes_at_a_time_gives_the_same_label(monkeypatch):
    ids = np.random.default_rng(0).integers(0, 9, (30, 70), np.uint8)
    data = encode_label(ids)
    whole = png._inflater

    class Slow:
        """Return no more than seven bytes, whatever was asked for."""

        unused_data = b""

        def __init__(self, parts, where):
            self._inflater = whole(parts, where)

        @property
        def eof(self):
            return self._inflater.eof

        def decompress(self, waiting, size):
            return self._inflater.decompress(waiting, min(size, 7))

    monkeypatch.setattr(png, "_inflater", Slow)
    assert np.array_equal(decode_label(data, "x"), ids)
