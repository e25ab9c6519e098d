"""The sparse grid: the same as dense counts after every operation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdata.cpp.sparse import MIXED, find_mixed, pool_label, pyramid, unpooled
from segdata.errors import LabelError, SettingsError

K = 5


def blocky(seed, height, width):
    """Return a label with large areas, thin lines, specks and ignored pixels."""
    rng = np.random.default_rng(seed)
    label = np.kron(rng.integers(0, K, (-(-height // 8), -(-width // 8))), np.ones((8, 8), int))[:height, :width]
    label[rng.integers(0, height)] = 1
    label[:, rng.integers(0, width)] = 255
    specks = rng.random((height, width)) < 0.03
    label[specks] = rng.integers(0, K, np.count_nonzero(specks))
    return label.astype(np.uint8)


def counted(label, cell):
    """Return counts by the definition, pixel by pixel."""
    height, width = (-(-n // cell) for n in label.shape)
    counts = np.zeros((K + 1, height, width), np.int64)
    padded = np.pad(label, [(0, -n % cell) for n in label.shape], constant_values=255)
    rows, columns = np.indices(padded.shape) // cell
    np.add.at(counts, (np.minimum(padded, K), rows, columns), 1)
    return counts


seeds, sides = st.integers(0, 10**6), st.integers(1, 60)


@settings(max_examples=40, deadline=None)
@given(seeds, sides, sides, st.sets(st.integers(1, 20), min_size=1, max_size=4))
def test_all_scales_at_once_are_each_scale_counted(seed, height, width, cells):
    label = blocky(seed, height, width)
    grids = pool_label(label, cells, num_classes=K)
    assert list(grids) == sorted(cells)
    for cell, grid in grids.items():
        assert np.array_equal(grid.counts(), counted(label, cell))


@settings(max_examples=40, deadline=None)
@given(seeds, sides, sides, st.sets(st.integers(1, 20), min_size=1, max_size=4))
def test_a_mixed_cell_has_two_parts_at_least(seed, height, width, cells):
    for grid in pool_label(blocky(seed, height, width), cells, num_classes=K).values():
        assert grid.mixed.size == 0 or np.diff(grid.part_starts).min() >= 2


@settings(max_examples=25, deadline=None)
@given(seeds, sides, sides, st.integers(1, 6), st.integers(1, 6))
def test_the_form_is_one_however_it_came_about(seed, height, width, first, second):
    label = blocky(seed, height, width)
    straight = pool_label(label, [first * second], num_classes=K)[first * second]
    by_steps = pool_label(label, [first], num_classes=K)[first].coarsen(second)
    for name in ("map", "mixed", "part_starts", "part_ids", "part_counts"):
        assert np.array_equal(getattr(straight, name), getattr(by_steps, name)), name


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 5), st.data())
def test_a_crop_is_the_crop_of_the_counts(seed, cell, data):
    grid = pool_label(blocky(seed, 40, 50), [cell], num_classes=K)[cell]
    height, width = grid.map.shape
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows, columns = data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left))
    cut = grid.crop(top, left, rows, columns)
    assert np.array_equal(cut.counts(), grid.counts()[:, top : top + rows, left : left + columns])
    assert np.array_equal(cut.mixed, np.flatnonzero(cut.map == MIXED))


@settings(max_examples=25, deadline=None)
@given(seeds, sides, sides, st.integers(1, 5))
def test_a_mirrored_grid_is_the_mirrored_counts(seed, height, width, cell):
    grid = pool_label(blocky(seed, height, width), [cell], num_classes=K)[cell]
    assert np.array_equal(grid.flip().counts(), grid.counts()[:, :, ::-1])
    assert np.array_equal(grid.flip().flip().part_counts, grid.part_counts)


@settings(max_examples=15, deadline=None)
@given(seeds, sides, sides, st.integers(1, 9))
def test_totals_are_the_sums_of_the_counts(seed, height, width, cell):
    grid = pool_label(blocky(seed, height, width), [cell], num_classes=K)[cell]
    assert np.array_equal(grid.totals(), grid.counts().sum(axis=(1, 2), dtype=np.int64))


def test_the_form_of_a_label_worked_by_hand():
    label = np.array([[3, 3, 0, 1, 255, 255], [3, 3, 2, 1, 255, 255]], np.uint8)
    grid = pool_label(label, [2], num_classes=4)[2]
    assert grid.map.tolist() == [[3, MIXED, 255]]
    assert grid.mixed.tolist() == [1]
    assert grid.part_starts.tolist() == [0, 3]
    assert grid.part_ids.tolist() == [0, 1, 2]
    assert grid.part_counts.tolist() == [1, 2, 1]


def test_a_real_id_254_is_refused_not_taken_for_mixed():
    with pytest.raises(LabelError, match="id 254 is neither"):
        pool_label(np.full((4, 4), 254, np.uint8), [2], num_classes=254)


def test_noise_of_many_classes_fits_its_parts():
    label = np.random.default_rng(1).integers(0, 254, (64, 64)).astype(np.uint8)
    grid = pool_label(label, [16], num_classes=254)[16]
    assert np.array_equal(grid.counts().sum(axis=(1, 2)), np.bincount(label.ravel(), minlength=255))


@pytest.mark.parametrize("size", [1, 7, 8, 9, 63, 64, 1001])
def test_mixed_cells_are_found_at_every_place(size):
    rng = np.random.default_rng(size)
    cells = rng.choice(np.array([0, 1, 253, 254, 255], np.uint8), size)
    assert np.array_equal(find_mixed(cells), np.flatnonzero(cells == MIXED))


def test_a_scale_that_nothing_at_hand_divides_is_refused():
    grid = pool_label(np.zeros((12, 12), np.uint8), [2])[2]
    with pytest.raises(SettingsError, match="scale 3: no multiple of 2"):
        pyramid([grid], [3])


def test_scale_one_is_the_label():
    label = blocky(3, 9, 11)
    assert np.array_equal(unpooled(label, K).counts(), counted(label, 1))


def test_a_cell_too_wide_for_its_counts_is_refused():
    grid = pool_label(np.zeros((4, 4), np.uint8), [300])[300]
    with pytest.raises(SettingsError, match="scale 90000"):
        grid.coarsen(300)


@pytest.mark.parametrize("rare", [0.02, 0.1, 0.3])
def test_cells_of_two_ids_merge_to_those_of_the_label(rare):
    label = (np.random.default_rng(9802).random((64, 96)) < rare).astype(np.uint8)
    for cell, level in pyramid([unpooled(label, K)], [2, 4, 8]).items():
        assert np.array_equal(level.counts(), counted(label, cell))
