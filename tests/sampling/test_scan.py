"""The scan of a label: exact counts, and points that are pixels of the class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdata.codecs.png import read_label
from segdata.errors import LabelError, SettingsError
from segdata.sampling.scan import band_multiple, scan_bands, scan_label

IDENTITY = np.arange(256, dtype=np.int16)


@st.composite
def labels(draw):
    """Return a label of 4 classes and ignored pixels: noise, or large pieces with some noise."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, draw(st.sampled_from([70, 600]))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    ids = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (height, width))
    if draw(st.booleans()):
        pieces = rng.choice(np.array([0, 3, 255], np.uint8), (height // 9 + 1, width // 9 + 1))
        ids = np.where(rng.random(ids.shape) < 0.05, ids, np.kron(pieces, np.ones((9, 9), np.uint8))[:height, :width])
    return ids


@settings(max_examples=150, deadline=None)
@given(labels(), st.sampled_from([8, 16, 24, 1024]))
def test_counts_points_and_centroids_are_those_of_plain_numpy(ids, tile):
    entries = scan_label(ids, IDENTITY, 4, tile=tile)
    found = []
    across = -(-ids.shape[1] // tile)
    for number in range(across * -(-ids.shape[0] // tile)):
        top, left = number // across * tile, number % across * tile
        part = ids[top : top + tile, left : left + tile]
        for class_id in range(4):
            rows, columns = np.nonzero(part == class_id)
            if rows.size:
                found.append((number, class_id, rows.size, top + int(rows.mean()), left + int(columns.mean())))
    told = zip(entries.tiles, entries.classes, entries.pixels, *entries.centroids.T, strict=True)
    assert [tuple(map(int, row)) for row in told] == found
    assert (ids[entries.points[..., 0], entries.points[..., 1]] == entries.classes[:, np.newaxis]).all()
    places = entries.points // tile
    assert (places[..., 0] * across + places[..., 1] == entries.tiles[:, np.newaxis]).all()
    assert entries.ignored == (ids == 255).sum()


@settings(max_examples=100, deadline=None)
@given(labels(), st.sampled_from([8, 40, 64, 1000]), st.integers(1, 3), st.booleans())
def test_a_label_in_bands_has_the_entries_of_the_whole(ids, tile, times, behind_a_byte):
    height = times * band_multiple(tile)
    rows = np.pad(ids, ((0, 0), (1, 0)), constant_values=2) if behind_a_byte else ids
    bands = [rows[first : first + height] for first in range(0, len(rows), height)]
    whole = scan_label(ids, IDENTITY, 4, tile=tile)
    for name, value in vars(scan_bands(bands, ids.shape, IDENTITY, 4, tile=tile)).items():
        assert np.array_equal(value, getattr(whole, name)), name


def test_an_unknown_id_is_counted_over_all_bands():
    ids = np.zeros((64, 8), np.uint8)
    ids[20, 3] = ids[50, 1] = ids[60] = 9
    ids[63, 2] = 8
    with pytest.raises(LabelError, match=r"id 9 is not a class of the table \(10 pixels, first at row 20, column 3\)"):
        scan_bands(np.split(ids, 8), ids.shape, IDENTITY, 2, tile=16)


def test_points_lie_far_from_each_other():
    ids = np.full((64, 64), 255, np.uint8)
    for row, column in ((0, 0), (0, 63), (63, 0), (63, 63)):
        ids[row, column] = 0
    points = scan_label(ids, IDENTITY, 1, tile=64).points[0]
    assert sorted(map(tuple, points.tolist())) == [(0, 0), (0, 63), (63, 0), (63, 63)]


def test_what_begins_and_ends_within_a_strip_has_points_in_its_middle():
    ids = np.full((1024, 1024), 255, np.uint8)
    ids[41:50, 100:121] = 0  # rows 32 and 64 do not meet it, nor it the first of its columns of cells
    ids[41:50, 700:721] = 0
    points = scan_label(ids, IDENTITY, 1).points[0]
    assert {tuple(point) for point in points.tolist()} == {(41, 110), (41, 710)}


def test_the_first_point_lies_where_the_class_is_widest():
    ids = np.full((64, 64), 255, np.uint8)
    ids[5, 2:4] = 0
    ids[40:50, 20:30] = 0
    row, column = scan_label(ids, IDENTITY, 1, tile=64).points[0, 0]
    assert 40 <= row < 50
    assert column == 24 or column == 25


def test_points_in_the_last_rows_of_a_very_tall_label():
    ids = np.zeros((40_000, 8), np.uint8)
    ids[39_990:39_995, 2:5] = 1
    entries = scan_label(ids, IDENTITY, 2)
    rows, columns = entries.points[entries.classes == 1][0].T
    assert set(rows) <= set(range(39_990, 39_995))
    assert set(columns) == {3}


def test_a_centroid_may_lie_on_another_class_where_no_point_does():
    ids = np.ones((9, 9), np.uint8)
    ids[1:8, 1:8] = 0
    entries = scan_label(ids, IDENTITY, 2)
    assert entries.centroids[1].tolist() == [4, 4]
    assert (ids[entries.points[1, :, 0], entries.points[1, :, 1]] == 1).all()


def test_ids_become_classes_by_the_lookup():
    lookup = np.full(256, -1, np.int16)
    lookup[[7, 8, 0]] = 0, 1, 255
    entries = scan_label(np.array([[7, 7, 8, 0]], np.uint8), lookup, 2)
    assert (entries.classes.tolist(), entries.pixels.tolist(), entries.ignored) == ([0, 1], [2, 1], 1)


def test_an_id_that_is_no_class_is_named_with_count_and_place():
    ids = np.array([[0, 0], [0, 9]], np.uint8)
    with pytest.raises(
        LabelError, match=r"a\.png: id 9 is not a class of the table \(1 pixels, first at row 1, column 1\)"
    ):
        scan_label(ids, IDENTITY, 2, where="a.png")


@pytest.mark.parametrize("tile", [0, 4, 12])
def test_a_tile_that_eight_does_not_divide_is_refused(tile):
    with pytest.raises(SettingsError, match=f"tile {tile}: expected a side of 8 pixels or a multiple"):
        scan_label(np.zeros((4, 4), np.uint8), IDENTITY, 1, tile=tile)


def test_more_tiles_than_the_index_can_number_are_refused():
    with pytest.raises(SettingsError, match=r"2100x2100 pixels in tiles of 8 are too many\. Use larger tiles"):
        scan_label(np.zeros((2100, 2100), np.uint8), IDENTITY, 1, tile=8)


def test_points_on_real_labels_are_pixels_of_their_class(vistas_sample):
    for path in sorted(vistas_sample.glob("*/labels/*.png")):
        ids = read_label(path)
        entries = scan_label(ids, IDENTITY, 66)
        assert (ids[entries.points[..., 0], entries.points[..., 1]] == entries.classes[:, np.newaxis]).all()
        assert (
            np.bincount(entries.classes, entries.pixels, 66).tolist() == np.bincount(ids.ravel(), minlength=66).tolist()
        )
