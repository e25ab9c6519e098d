"""The figure of nearest against CPP pooling, and its parts."""

import numpy as np
import pytest

from segdata.cpp.pooling import cpp_counts
from segdata.errors import LabelError, SettingsError
from segdata.labels.classes import ClassTable
from segdata.labels.png import encode_label
from segdata.pictures.palette import colour_image, mixture_image
from segdata.pictures.pooling import pooling_figure
from segdata.pictures.reading import read_class_ids
from segdata.pictures.thin import most_lost, nearest

CITY = ClassTable.load("cityscapes")


def _street_with_pole() -> np.ndarray:
    """Road with a pole one pixel wide, in a column that nearest at 4 does not take."""
    ids = np.zeros((64, 128), np.uint8)
    ids[8:32, 101] = 5
    return ids


def test_colours_are_those_of_the_classes_and_black_for_ignored():
    painted = colour_image(np.array([[0, 10, 255]], np.uint8), CITY)
    assert painted.tolist() == [[[128, 64, 128], [70, 130, 180], [0, 0, 0]]]


def test_cell_has_the_mean_of_its_class_colours():
    ids = np.array([[0, 0], [0, 10]], np.uint8)  # 3 road, 1 sky
    painted = mixture_image(cpp_counts(ids, 2), CITY)
    assert painted.tolist() == [[[round((3 * 128 + 70) / 4), round((3 * 64 + 130) / 4), round((3 * 128 + 180) / 4)]]]


def test_pure_cells_keep_their_colour(rng):
    ids = np.repeat(np.repeat(rng.integers(0, 19, (4, 6)), 4, axis=0), 4, axis=1).astype(np.uint8)
    assert np.array_equal(mixture_image(cpp_counts(ids, 4), CITY), colour_image(nearest(ids, 4), CITY))


def test_close_view_is_where_a_class_is_lost():
    view = most_lost(_street_with_pole(), (2, 4, 8), 19, side=32)
    assert view.class_id == 5
    assert view.top <= 8 < 32 <= view.top + view.height
    assert view.left <= 101 < view.left + view.width


def test_view_is_cut_alike_at_every_scale():
    view = most_lost(_street_with_pole(), (2, 4, 8), 19, side=32)
    ids = _street_with_pole()
    for cell in (2, 4, 8):
        assert np.array_equal(view.cut(nearest(ids, cell), cell), nearest(view.cut(ids, 1), cell))


def test_view_of_a_small_label_is_the_label():
    view = most_lost(np.zeros((20, 30), np.uint8), (16,), 19, side=500)
    assert (view.top, view.left, view.height, view.width) == (0, 0, 20, 30)


def test_figure_has_a_column_per_scale():
    two, three = (pooling_figure(_street_with_pole(), CITY, scales) for scales in ((2, 4), (2, 4, 8)))
    assert three.width - two.width == 282
    assert two.height > 4 * 60


def test_figure_shows_the_mixture_where_nearest_shows_one_class():
    colours = {colour for _, colour in pooling_figure(_street_with_pole(), CITY, (4, 8)).getcolors(1 << 20)}
    road, pole = np.array([128, 64, 128]), np.array([153, 153, 153])
    mixed = tuple(np.rint(road + (pole - road) * 0.25).astype(int).tolist())  # a column of four in a cell
    assert mixed in colours


def test_figure_is_drawn_the_same_twice():
    assert pooling_figure(_street_with_pole(), CITY).tobytes() == pooling_figure(_street_with_pole(), CITY).tobytes()


@pytest.mark.parametrize("scales", [(), (1, 2), (2, 65)])
def test_scales_out_of_range_are_refused(scales):
    with pytest.raises(SettingsError, match="from 2 to the size of the label, 64x128"):
        pooling_figure(_street_with_pole(), CITY, scales)


@pytest.mark.parametrize(
    ("name", "stored", "expected"),
    [
        ("a_gtFine_labelIds.png", [[7, 8, 0]], [[0, 1, 255]]),
        ("a_gtFine_labelTrainIds.png", [[7, 8, 0]], [[7, 8, 0]]),
        ("plain.png", [[7, 18, 255]], [[7, 18, 255]]),
        ("plain.png", [[7, 33, 0]], [[0, 18, 255]]),
    ],
)
def test_encoding_goes_by_name_then_by_values(tmp_path, name, stored, expected):
    path = tmp_path / name
    path.write_bytes(encode_label(np.array(stored, np.uint8)))
    assert read_class_ids(path, CITY).tolist() == expected


def test_unknown_id_is_named_with_its_place(tmp_path):
    path = tmp_path / "label.png"
    path.write_bytes(encode_label(np.array([[0, 1], [77, 77]], np.uint8)))
    with pytest.raises(
        LabelError, match=r"id 77 is not a class of 'cityscapes' \(2 pixels, first at row 1, column 0\)"
    ):
        read_class_ids(path, CITY, "trainIds")
