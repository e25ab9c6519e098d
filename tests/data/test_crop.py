"""Crops: the drawn pixel is inside, and nothing is padded that need not be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segdata.codecs.photos import Photo
from segdata.data.crop_box import CropBox, crop_image, crop_label, place_crop
from segdata.errors import SettingsError

SIDES = st.integers(1, 70)
PLACES = st.floats(0, 1, exclude_max=True)


@st.composite
def placed_crops(draw):
    """Return an image size, a crop size, a scale, a center in the image, and where to place the crop."""
    image, crop = (draw(SIDES), draw(SIDES)), (draw(SIDES), draw(SIDES))
    center = tuple(draw(st.integers(0, side - 1)) for side in image)
    return image, crop, draw(st.floats(0.1, 8)), center, (draw(PLACES), draw(PLACES))


@settings(max_examples=300, deadline=None)
@given(placed_crops())
def test_the_drawn_pixel_is_always_in_the_crop_of_the_label(case):
    image, crop, scale, center, where = case
    ids = np.zeros(image, np.uint8)
    ids[center] = 7
    assert (crop_label(ids, place_crop(image, crop, scale=scale, center=center, where=where)) == 7).any()


@settings(max_examples=300, deadline=None)
@given(placed_crops())
def test_a_crop_is_padded_by_less_than_a_pixel_of_its_own_unless_the_image_is_too_small(case):
    image, crop, scale, center, where = case
    box = place_crop(image, crop, scale=scale, center=center, where=where)
    for side, length, found in zip(crop, image, (box.rows(), box.columns()), strict=True):
        assert (found < 0).sum() <= max(0, side - int(length * scale)) + 1


@settings(max_examples=200, deadline=None)
@given(placed_crops())
def test_a_whole_image_crop_lies_in_the_image_or_holds_it(case):
    image, crop, scale, _, where = case
    box = place_crop(image, crop, scale=scale, where=where)
    for start, side, length in zip((box.top, box.left), crop, image, strict=True):
        first, last = sorted((0.0, length - side / scale))
        assert first - 1e-9 <= start <= last + 1e-9


@pytest.mark.parametrize(("center", "rows"), [(0, [0, 1, 2, 3]), (9, [6, 7, 8, 9])])
def test_a_crop_at_the_border_stays_in_the_image(center, rows):
    for at in (0.0, 0.5, 0.99):
        assert place_crop((10, 10), (4, 4), center=(center, 5), where=(at, at)).rows().tolist() == rows


def test_every_place_that_shows_the_pixel_is_used():
    starts = {place_crop((10, 10), (4, 4), center=(5, 5), where=(at, 0)).top for at in np.arange(0, 1, 0.05)}
    assert starts == {2.0, 3.0, 4.0, 5.0}


def test_the_drawn_pixel_keeps_an_eighth_of_the_crop_from_its_edge_where_the_image_allows():
    def places(center):
        boxes = [place_crop((100, 100), (16, 16), center=(center, 50), where=(at, 0.5)) for at in np.arange(0, 1, 0.02)]
        return {int(np.flatnonzero(box.rows() == center)[0]) for box in boxes}

    assert places(50) == set(range(2, 14))
    assert places(1) == {1}  # the crop begins where the image does
    assert places(98) == {14}
    assert places(5) == {2, 3, 4, 5}


def test_an_image_smaller_than_the_crop_is_padded_around():
    box = place_crop((2, 2), (5, 5), center=(0, 1), where=(0.0, 0.99))
    assert box.rows().tolist() == [0, 1, -1, -1, -1]
    assert box.columns().tolist() == [-1, -1, -1, 0, 1]


def test_scaling_down_keeps_the_drawn_pixel_where_its_neighbors_are_skipped():
    ids = np.zeros((9, 9), np.uint8)
    ids[4, 4] = 1
    for at in (0.0, 0.4, 0.8):
        assert crop_label(ids, place_crop((9, 9), (3, 3), scale=1 / 3, center=(4, 4), where=(at, at))).sum() == 1


def test_scaling_up_repeats_pixels():
    box = place_crop((4, 4), (4, 4), scale=2.0, where=(0.0, 0.99))
    assert crop_label(np.arange(16, dtype=np.uint8).reshape(4, 4), box).tolist() == [
        [2, 2, 3, 3],
        [2, 2, 3, 3],
        [6, 6, 7, 7],
        [6, 6, 7, 7],
    ]


def test_padding_is_ignored_in_the_label_and_filled_in_the_image():
    box = place_crop((1, 1), (1, 3), center=(0, 0), where=(0.0, 0.0))
    assert crop_label(np.zeros((1, 1), np.uint8), box).tolist() == [[0, 255, 255]]
    image = np.array([[[9, 8, 7]]], np.uint8)
    assert crop_image(Photo.of_array(image), box, fill=(1, 2, 3)).tolist() == [[[9, 8, 7], [1, 2, 3], [1, 2, 3]]]


def test_image_and_label_crops_agree_at_scale_one(rng):
    values = rng.integers(0, 255, (20, 30, 3), np.uint8)
    box = place_crop((20, 30), (8, 8), center=(11, 29), where=(0.3, 0.6))
    assert (crop_image(Photo.of_array(values), box) == values[np.ix_(box.rows(), box.columns())]).all()


def test_image_and_label_crops_show_the_same_place_under_scaling():
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 15:35] = 255
    box = place_crop((40, 40), (24, 24), scale=0.7, center=(20, 20), where=(0.2, 0.9))
    image = crop_image(Photo.of_array(np.stack([mask] * 3, -1)), box)[..., 0]
    label = crop_label(mask, box, fill=0)
    assert ((image > 127) != (label > 127)).mean() < 0.03


@pytest.mark.parametrize(("size", "scale"), [((0, 4), 1.0), ((4, 4), 0.0)])
def test_an_empty_crop_is_refused(size, scale):
    with pytest.raises(SettingsError, match="expected all above 0"):
        place_crop((5, 5), size, scale=scale)


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.77, 1.0, 1.37, 2.0])
def test_a_crop_reads_the_rows_that_it_needs_and_is_that_of_the_whole_image(rng, scale):
    pixels, read = rng.integers(85, 170, (211, 160, 3), np.uint8), []
    photo = Photo((211, 160), lambda top, bottom, _: (read.append((top, bottom)), pixels[top:bottom])[1])
    for top in (-3.0, 0.0, 60.0, 190.0):
        box = CropBox(top, 10.0, scale, (24, 32), (211, 160))
        shown = box.inside()
        start, stop = max(0.0, top + shown[0] / scale), min(211.0, top + shown[1] / scale)
        region = (max(0.0, 10 + shown[2] / scale), start, min(160.0, 10 + shown[3] / scale), stop)
        size = (shown[3] - shown[2], shown[1] - shown[0])
        whole = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, box=region)
        found = crop_image(photo, box)[shown[0] : shown[1], shown[2] : shown[3]]
        difference = np.abs(found.astype(int) - np.asarray(whole)).max()
        assert difference <= 2  # of rounding
        assert (crop_image(photo, box, flip=True) == crop_image(photo, box)[:, ::-1]).all()
        assert read[-1][1] - read[-1][0] <= stop - start + 2 * (2 * max(1, 1 / scale) + 3)


def test_label_crops_of_the_part_that_is_shown_are_those_of_the_whole(rng):
    ids = rng.integers(0, 19, (50, 70), np.uint8)
    for top, scale in ((-4.0, 1.0), (13.3, 0.5), (40.0, 2.0), (60.0, 1.0)):
        box = CropBox(top, -2.5, scale, (16, 24), (50, 70))
        rows, columns = (axis[axis >= 0] for axis in (box.rows(), box.columns()))
        first = (rows.min(initial=50), columns.min(initial=70))
        part = ids[first[0] : rows.max(initial=-1) + 1, first[1] : columns.max(initial=-1) + 1]
        assert (crop_label(part, box, origin=first) == crop_label(ids, box)).all()


@pytest.mark.parametrize("flip", [False, True])
def test_a_third_is_every_third_pixel_where_bilinear_centers_fall_on_pixels(rng, flip):
    pixels = rng.integers(0, 256, (30, 60, 3), np.uint8)
    box = place_crop((30, 60), (10, 20), scale=1 / 3)
    cropped = crop_image(Photo.of_array(pixels), box, flip=flip, interpolation="bilinear")
    thirds = pixels[1::3, 1::3]
    assert np.array_equal(cropped, thirds[:, ::-1] if flip else thirds)
