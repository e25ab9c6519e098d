"""One label converted: against plain look-ups, and what is refused."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segdata.codecs.png import decode_label, encode_label
from segdata.codecs.png_chunks import split_png
from segdata.errors import LabelError
from segdata.jobs.convert_label import ConvertSettings, convert_label
from segdata.labels.classes import ClassTable
from segdata.labels.mapping import LabelMapping

VISTAS = ConvertSettings(mapping=LabelMapping.load("vistas-v1.2-to-cityscapes"))


def pixels(data):
    image = Image.open(io.BytesIO(data))
    assert image.mode == "L"
    return np.asarray(image)


def palette_png(ids, table):
    image = Image.frombytes("P", ids.shape[::-1], ids.tobytes())
    image.putpalette([part for row in ClassTable.load(table).classes for part in row.color])
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def test_a_label_worked_by_hand():
    ids = np.array([[13, 2, 17], [65, 58, 55]], np.uint8)  # road, curb, building; unlabeled, on rails, car
    assert pixels(convert_label(encode_label(ids), "x.png", VISTAS).data).tolist() == [[0, 1, 2], [255, 255, 13]]


def test_label_ids():
    ids = np.array([[13, 2, 65]], np.uint8)
    as_label_ids = ConvertSettings(mapping=VISTAS.mapping, encoding="labelIds")
    assert pixels(convert_label(encode_label(ids), "x.png", as_label_ids).data).tolist() == [[7, 8, 0]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 60), st.sampled_from([1, 12]), st.booleans())
@settings(max_examples=50, deadline=None)
def test_every_pixel_is_looked_up(seed, height, width, run, as_palette):
    ids = np.random.default_rng(seed).integers(0, 66, (height, width), np.uint8).repeat(run, axis=1)
    data = palette_png(ids, "vistas-v1.2") if as_palette else encode_label(ids)
    lookup = VISTAS.mapping.lookup().tolist()
    expected = [[lookup[value] for value in row] for row in ids.tolist()]
    converted = convert_label(data, "x.png", VISTAS)
    assert pixels(converted.data).tolist() == expected
    assert sum(converted.facts["pixels"].values()) == ids.size


@pytest.mark.parametrize("compression", ["fast", "small"])
def test_real_labels_agree_with_pillow_and_numpy(vistas_sample, compression):
    lookup = VISTAS.mapping.lookup().astype(np.uint8)
    settings_ = ConvertSettings(mapping=VISTAS.mapping, compression=compression)
    for path in sorted(vistas_sample.glob("*/labels/*.png")):
        ids = np.asarray(Image.open(path))
        converted = convert_label(path.read_bytes(), str(path), settings_)
        assert np.array_equal(pixels(converted.data), lookup[ids])
        counts = np.bincount(ids.reshape(-1), minlength=256)
        assert converted.facts["pixels"] == {str(value): counts[value] for value in np.flatnonzero(counts)}


def test_a_label_of_several_bands(rng):
    ids = rng.integers(0, 66, (40, 30), np.uint8).repeat(50, axis=0).repeat(40, axis=1)
    expected = VISTAS.mapping.lookup()[ids]
    # filtered by our own encoder, and as Pillow leaves a palette image: without filters
    for data in (encode_label(ids), palette_png(ids, "vistas-v1.2")):
        assert np.array_equal(pixels(convert_label(data, "x.png", VISTAS).data), expected)


def test_an_unnamed_id_is_named_with_its_first_place():
    ids = np.full((3, 4), 13, np.uint8)
    ids[1, 2:] = 66
    told = r"^x\.png: id 66 is not named .*\(2 pixels, first at row 1, column 2\).* v2\.0 label\? Pass --labels v2\.0"
    with pytest.raises(LabelError, match=told):
        convert_label(encode_label(ids), "x.png", VISTAS)


def test_unnamed_ids_can_be_ignored():
    ids = np.array([[13, 200]], np.uint8)
    lenient = ConvertSettings(mapping=VISTAS.mapping, unmapped="ignore")
    converted = convert_label(encode_label(ids), "x.png", lenient)
    assert pixels(converted.data).tolist() == [[0, 255]]
    assert converted.facts["pixels"] == {"13": 1, "200": 1}


@pytest.mark.parametrize("unmapped", ["error", "ignore"])
def test_a_label_with_the_palette_of_the_other_version(unmapped):
    ids = np.zeros((2, 2), np.uint8)
    with pytest.raises(LabelError, match=r"is a v2\.0 label \(its palette\)"):
        convert_label(
            palette_png(ids, "vistas-v2.0"), "x.png", ConvertSettings(mapping=VISTAS.mapping, unmapped=unmapped)
        )


def test_the_output_says_what_made_it():
    data = encode_label(np.array([[13, 13, 2]], np.uint8))
    converted = convert_label(data, "x.png", VISTAS)
    text = json.loads(split_png(converted.data, "y.png").text["segdata"])
    assert text["facts"] == converted.facts
    assert text["facts"]["pixels"] == {"13": 2, "2": 1}
    assert text["settings"]["mapping_digest"] == VISTAS.mapping.digest


def test_the_same_label_gives_the_same_bytes(rng):
    data = encode_label(rng.integers(0, 66, (9, 9), np.uint8))
    assert convert_label(data, "x.png", VISTAS).data == convert_label(data, "elsewhere/x.png", VISTAS).data


def test_too_many_pixels():
    tight = ConvertSettings(mapping=VISTAS.mapping, max_pixels=3)
    with pytest.raises(LabelError, match="Expected at most 3"):
        convert_label(encode_label(np.zeros((2, 2), np.uint8)), "x.png", tight)


def test_an_output_decodes_to_what_it_holds():
    converted = convert_label(encode_label(np.array([[13, 65]], np.uint8)), "x.png", VISTAS)
    assert decode_label(converted.data, "y.png").tolist() == [[0, 255]]
