"""The figure of nearest against CPP pooling, and its parts."""

from pathlib import Path

import numpy as np
import pytest

from segdata.codecs.png import encode_label
from segdata.cpp.pooling import cpp_counts
from segdata.errors import LabelError, SettingsError
from segdata.figures.pooling_comparison import pooling_figure
from segdata.figures.thin_structures import most_lost, nearest, thinner_than
from segdata.labels.classes import ClassTable
from segdata.labels.palette import color_image, mixture_image
from segdata.labels.reading import read_single_label as read_class_ids

CITY = ClassTable.load("cityscapes")


def _street_with_pole() -> np.ndarray:
    """Road with a pole one pixel wide, in a column that nearest at 4 does not take."""
    ids = np.zeros((64, 128), np.uint8)
    ids[8:32, 101] = 5
    return ids


def test_colors_are_those_of_the_classes_and_black_for_ignored():
    painted = color_image(np.array([[0, 10, 255]], np.uint8), CITY)
    assert painted.tolist() == [[[128, 64, 128], [70, 130, 180], [0, 0, 0]]]


def test_cell_has_the_mean_of_its_class_colors():
    ids = np.array([[0, 0], [0, 10]], np.uint8)  # 3 road, 1 sky
    painted = mixture_image(cpp_counts(ids, 2), CITY)
    assert painted.tolist() == [[[round((3 * 128 + 70) / 4), round((3 * 64 + 130) / 4), round((3 * 128 + 180) / 4)]]]


def test_pure_cells_keep_their_color(rng):
    ids = np.repeat(np.repeat(rng.integers(0, 19, (4, 6)), 4, axis=0), 4, axis=1).astype(np.uint8)
    assert np.array_equal(mixture_image(cpp_counts(ids, 4), CITY), color_image(nearest(ids, 4), CITY))


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
    ids = np.zeros((20, 30), np.uint8)
    ids[:, 5] = 5
    view = most_lost(ids, (16,), 19, side=500)
    assert (view.top, view.left, view.height, view.width) == (0, 0, 20, 30)


@pytest.mark.parametrize("class_id", [0, 255])
def test_label_of_one_class_or_none_has_no_view(class_id):
    assert most_lost(np.full((64, 128), class_id, np.uint8), (2, 4, 8), 19, side=32) is None


def test_thin_pole_that_nearest_keeps_is_no_view():
    ids = np.zeros((64, 64), np.uint8)
    ids[:, 32:36] = 5  # nearest at 4 keeps its one column of cells
    assert most_lost(ids, (4,), 19, side=32) is None


def test_thin_is_what_a_square_of_a_cell_does_not_fit_into():
    ids = np.zeros((6, 9), np.uint8)
    ids[2:4, 1:3] = 5  # as wide as the cell
    ids[1:5, 5] = 7
    assert np.array_equal(thinner_than(ids, 2), ids == 7)


def test_thin_agrees_with_the_opening_of_each_class(rng):
    ids = np.repeat(rng.integers(0, 3, (9, 14)), 2, axis=1).astype(np.uint8)
    padded = np.pad(ids, 3, mode="edge")
    covered = np.zeros(padded.shape, bool)
    for row, column in np.ndindex(padded.shape[0] - 2, padded.shape[1] - 2):
        square = np.s_[row : row + 3, column : column + 3]
        covered[square] |= (padded[square] == padded[row, column]).all()
    assert np.array_equal(thinner_than(ids, 3), ~covered[3:-3, 3:-3])


def test_broad_thing_that_the_image_cuts_is_not_thin():
    ids = np.zeros((16, 16), np.uint8)
    ids[-1] = 1  # one row of it is in the image
    assert not thinner_than(ids, 4).any()


def test_broad_class_that_nearest_loses_by_its_phase_is_not_chosen():
    ids = _street_with_pole()
    ids[33:63, 1:60] = 8  # loses a column and a row at every scale: more pixels than the pole has
    view = most_lost(ids, (2, 4, 8), 19, side=32)
    assert view.class_id == 5


def test_loss_that_broad_parts_make_up_for_is_not_shown():
    ids = np.zeros((32, 32), np.uint8)
    ids[:, 9] = 5  # nearest at 4 loses the column,
    ids[:, 20:25] = 5  # and makes these five eight
    assert most_lost(ids, (4,), 19, side=32) is None


def test_road_between_two_things_is_not_chosen():
    ids = np.zeros((64, 128), np.uint8)
    ids[:40, 70:90], ids[:40, 91:110] = 2, 2  # a gap one pixel wide, through which the road shows
    ids[8:32, 21] = 5
    assert most_lost(ids, (2, 4, 8), 19, side=32).class_id == 5


def test_figure_has_a_column_per_scale():
    two, three = (pooling_figure(_street_with_pole(), CITY, scales) for scales in ((2, 4), (2, 4, 8)))
    assert three.width - two.width == 282
    assert two.height > 4 * 60


def test_figure_shows_the_mixture_where_nearest_shows_one_class():
    colors = {color for _, color in pooling_figure(_street_with_pole(), CITY, (4, 8)).getcolors(1 << 20)}
    road, pole = np.array([128, 64, 128]), np.array([153, 153, 153])
    mixed = tuple(np.rint(road + (pole - road) * 0.25).astype(int).tolist())  # a column of four in a cell
    assert mixed in colors


@pytest.mark.parametrize("class_id", [0, 255])
def test_figure_without_a_thin_thing_has_no_close_view(class_id):
    plain, street = (
        pooling_figure(ids, CITY, (4, 8)) for ids in (np.full((64, 128), class_id, np.uint8), _street_with_pole())
    )
    assert plain.width == street.width
    assert street.height - plain.height == 2 * (270 + 30 + 26)


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
    with pytest.raises(LabelError, match=r"id 77 is not in 'cityscapes' \(2 pixels, first at row 1, column 0\)"):
        read_class_ids(path, CITY, "trainIds")


def _refusal_of(path: Path, ids: list[list[int]], encoding: str = "auto") -> str:
    path.write_bytes(encode_label(np.array(ids, np.uint8)))
    with pytest.raises(LabelError) as caught:
        read_class_ids(path, CITY, encoding)
    return str(caught.value)


def test_label_of_another_table_is_told_which_may_be_meant(tmp_path):
    told = _refusal_of(tmp_path / "label.png", [[13, 27, 28, 65]])
    assert told.endswith(
        "The file holds 13, 27-28, 65. Is it a label of another data set? "
        "Pass --classes vistas-v1.2 or --classes vistas-v2.0."
    )


def test_label_in_another_encoding_is_told_which(tmp_path):
    told = _refusal_of(tmp_path / "label.png", [[7, 33]], "trainIds")
    assert told.endswith("The file holds 7, 33. All of these are labelIds of it: pass --encoding labelIds.")


def test_other_table_is_told_with_the_encoding_it_needs(tmp_path):
    told = _refusal_of(tmp_path / "label.png", [[64, 65]], "trainIds")  # 65 is ignored in Vistas v1.2
    assert "Pass --classes vistas-v1.2 --encoding labelIds or --classes vistas-v2.0." in told


def test_label_that_no_table_names_needs_its_own(tmp_path):
    told = _refusal_of(tmp_path / "label.png", [[0, 200, 254]])
    assert told.endswith(
        "The file holds 0, 200, 254. No bundled class table names them all. Is it a label image? "
        "Pass --classes FILE with its own table."
    )


def test_many_ids_are_told_in_part(tmp_path):
    told = _refusal_of(tmp_path / "label.png", [list(range(0, 240, 2))])
    assert "The file holds 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, ..., 238. " in told
