"""CPP under scaling against a supersampled label, against exact fractions, and against plain pooling."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdata import LabelMapping
from segdata.codecs.png import read_label
from segdata.cpp.pooling import cpp_counts, cpp_pool
from segdata.cpp.scaling import ScaledGrid, axis_overlaps, scaled_counts, scaled_pool
from segdata.errors import LabelError, SettingsError
from segdata.labels.remap import remap_labels

NUM_CLASSES = 3


def supersampled_counts(label, grid):
    """Count units one by one: every source pixel becomes p x p units, every scaled pixel is q x q of them."""
    rows, columns = grid.scale
    units = np.kron(label, np.ones((rows.numerator, columns.numerator), np.uint8))
    units = units[:, ::-1] if grid.flip else units
    top, left, height, width = (
        value * scale.denominator for value, scale in zip(grid.box, (rows, columns, rows, columns), strict=True)
    )
    high, wide = grid.cell * rows.denominator, grid.cell * columns.denominator
    counts = np.zeros((NUM_CLASSES + 1, *grid.shape), np.int64)
    for i in range(grid.shape[0] * high):
        for j in range(grid.shape[1] * wide):
            y, x = top + i, left + j
            inside = i < height and j < width and 0 <= y < units.shape[0] and 0 <= x < units.shape[1]
            class_id = units[y, x] if inside else 255
            counts[min(class_id, NUM_CLASSES), i // high, j // wide] += 1
    return counts


def overlap(low, high, pixel):
    """Return how much of [pixel, pixel + 1) lies in [low, high)."""
    return max(Fraction(0), min(high, Fraction(pixel + 1)) - max(low, Fraction(pixel)))


labels = st.integers(1, 5).flatmap(
    lambda height: st.integers(1, 5).flatmap(
        lambda width: st.lists(st.sampled_from([0, 1, 2, 255]), min_size=height * width, max_size=height * width).map(
            lambda ids: np.array(ids, np.uint8).reshape(height, width)
        )
    )
)
scales = st.builds(Fraction, st.integers(1, 5), st.integers(1, 4))
boxes = st.tuples(st.integers(-3, 6), st.integers(-3, 6), st.integers(1, 7), st.integers(1, 7))


@settings(max_examples=60, deadline=None)
@given(labels, scales, scales, st.integers(1, 4), boxes, st.booleans())
def test_any_scale_box_and_flip_equal_the_supersampled_label(label, rows, columns, cell, box, flip):
    grid = ScaledGrid(source_size=label.shape, scale=(rows, columns), cell=cell, box=box, flip=flip)
    counts = scaled_counts(label, grid, num_classes=NUM_CLASSES)
    np.testing.assert_array_equal(counts, supersampled_counts(label, grid))


@settings(max_examples=40, deadline=None)
@given(labels, st.integers(1, 5), st.integers(0, 4), st.integers(0, 4))
def test_scale_one_is_plain_pooling_of_the_crop(label, cell, top, left):
    crop = label[min(top, label.shape[0] - 1) :, min(left, label.shape[1] - 1) :]
    box = (label.shape[0] - crop.shape[0], label.shape[1] - crop.shape[1], *crop.shape)
    counts = scaled_counts(label, ScaledGrid.resized(label.shape, label.shape, cell=cell, box=box), num_classes=3)
    plain = cpp_counts(crop, cell, num_classes=3)
    assert counts.dtype == plain.dtype
    np.testing.assert_array_equal(counts, plain)


def test_hand_worked_windows_of_one_and_a_third_pixels():
    label = np.array([[0, 1, 1, 255]], np.uint8)
    grid = ScaledGrid(source_size=(1, 4), scale=(Fraction(1), Fraction(3, 4)), cell=1, box=(0, 0, 1, 3))
    pooled = scaled_counts(label, grid, num_classes=2)[:, 0]
    # Units of a third of a pixel: |000 1|11 11|1 iii|
    np.testing.assert_array_equal(pooled, [[3, 0, 0], [1, 4, 1], [0, 0, 3]])


def test_areas_are_the_exact_fractions_of_the_window(rng):
    label = rng.integers(0, 3, (7, 9), dtype=np.uint8)
    grid = ScaledGrid.resized((7, 9), (5, 12), cell=2, box=(1, 2, 4, 6))
    counts = scaled_counts(label, grid, num_classes=3)
    rows = [overlap((1 + 2) * Fraction(7, 5), (1 + 4) * Fraction(7, 5), i) for i in range(7)]
    columns = [overlap((2 + 4) * Fraction(9, 12), (2 + 6) * Fraction(9, 12), j) for j in range(9)]
    window = sum(rows) * sum(columns)
    for k in range(3):
        area = sum((rows[i] * columns[j] for i in range(7) for j in range(9) if label[i, j] == k), Fraction(0))
        assert Fraction(int(counts[k, 1, 2]), grid.total) == area / window


def test_every_cell_sums_to_the_total(rng):
    label = rng.integers(0, 3, (11, 13), dtype=np.uint8)
    grid = ScaledGrid.resized((11, 13), (17, 6), cell=4, box=(-2, 3, 21, 9), flip=True)
    assert (scaled_counts(label, grid, num_classes=3).sum(axis=0) == grid.total).all()


def test_mass_is_preserved_at_any_scale(rng):
    label = rng.choice([0, 1, 2, 255], (12, 10)).astype(np.uint8)
    pooled = scaled_counts(label, ScaledGrid.resized((12, 10), (16, 8), cell=4), num_classes=3)
    shares = [Fraction(int(channel.sum()), int(pooled.sum())) for channel in pooled]
    assert shares == [Fraction(int((label == k).sum()), 120) for k in (0, 1, 2, 255)]


def test_twice_the_cell_is_the_sum_of_four_cells(rng):
    label = rng.integers(0, 3, (9, 9), dtype=np.uint8)
    fine = scaled_counts(label, ScaledGrid.resized((9, 9), (8, 12), cell=2), num_classes=3).astype(np.int64)
    coarse = scaled_counts(label, ScaledGrid.resized((9, 9), (8, 12), cell=4), num_classes=3)
    np.testing.assert_array_equal(fine.reshape(4, 2, 2, 3, 2).sum(axis=(2, 4)), coarse)


def test_a_halved_image_at_stride_two_is_the_label_pooled_by_four(rng):
    label = rng.integers(0, 3, (16, 24), dtype=np.uint8)
    halved = scaled_pool(label, ScaledGrid.resized((16, 24), (8, 12), cell=2), num_classes=3)
    np.testing.assert_array_equal(halved, cpp_pool(label, 4, num_classes=3))


def test_flip_of_the_scaled_image_is_the_flip_of_the_label(rng):
    label = rng.integers(0, 3, (6, 7), dtype=np.uint8)
    sizes, box = ((6, 7), (4, 10)), (0, 3, 4, 6)
    flipped = scaled_counts(label, ScaledGrid.resized(*sizes, cell=2, box=box, flip=True), num_classes=3)
    plain = scaled_counts(label[:, ::-1], ScaledGrid.resized(*sizes, cell=2, box=box), num_classes=3)
    np.testing.assert_array_equal(flipped, plain)


def test_doubling_the_image_makes_cells_of_two_the_pixels():
    label = np.array([[0, 1], [2, 255]], np.uint8)
    pooled = scaled_pool(label, ScaledGrid.resized((2, 2), (4, 4), cell=2), num_classes=3)
    np.testing.assert_array_equal(pooled, cpp_counts(label, 1, num_classes=3).astype(np.float32))


def test_a_box_wholly_outside_is_ignored():
    label = np.zeros((4, 4), np.uint8)
    pooled = scaled_pool(label, ScaledGrid.resized((4, 4), (6, 6), cell=2, box=(6, -9, 4, 4)), num_classes=1)
    np.testing.assert_array_equal(pooled, [np.zeros((2, 2)), np.ones((2, 2))])


def test_overlaps_of_a_mirrored_axis_read_from_the_far_end():
    pixel, overlap = axis_overlaps(4, Fraction(1), cell=2, start=0, length=4, flip=True)
    np.testing.assert_array_equal(pixel, [[2, 3], [0, 1]])
    np.testing.assert_array_equal(overlap, [[1, 1], [1, 1]])


def test_the_most_mixed_cell_of_a_real_label_resized_by_an_awkward_size(vistas_sample):
    path = sorted(vistas_sample.rglob("labels/*.png"))[0]
    label = remap_labels(read_label(path), LabelMapping.load("vistas-v1.2-to-cityscapes"))[1700:2300, 1900:2700]
    pooled = scaled_counts(label, ScaledGrid.resized((600, 800), (433, 1111), cell=8))
    _, row, column = np.unravel_index((pooled > 0).sum(axis=0, keepdims=True).argmax(), (1, *pooled.shape[1:]))
    top, left = 8 * int(row) * Fraction(600, 433), 8 * int(column) * Fraction(800, 1111)
    bottom, right = top + 8 * Fraction(600, 433), left + 8 * Fraction(800, 1111)
    areas = [Fraction(0)] * 256
    for i in range(int(top), int(bottom) + 1):
        for j in range(int(left), int(right) + 1):
            areas[label[i, j]] += overlap(top, bottom, i) * overlap(left, right, j)
    assert np.count_nonzero(areas) > 2
    assert pooled[:19, row, column].tolist() == [area * 433 * 1111 for area in areas[:19]]


def test_a_label_of_another_size_is_refused():
    grid = ScaledGrid.resized((4, 4), (2, 2), cell=1)
    with pytest.raises(LabelError, match=r"label: 4 x 5 pixels, and the grid is over 4 x 4\."):
        scaled_counts(np.zeros((4, 5), np.uint8), grid)


def test_an_unknown_id_is_refused():
    with pytest.raises(LabelError, match=r"id 7 is neither a class \(0-1\) nor the ignored id 255"):
        scaled_counts(np.full((2, 2), 7, np.uint8), ScaledGrid.resized((2, 2), (2, 2), cell=1), num_classes=2)


def test_a_scale_that_is_no_fraction_is_refused():
    with pytest.raises(SettingsError, match=r"Pass Fraction\(1, 2\), or the resized size"):
        ScaledGrid(source_size=(4, 4), scale=(0.3, 0.3), cell=2, box=(0, 0, 4, 4))


@pytest.mark.parametrize("sizes", [((0, 4), (2, 2)), ((4, 4), (2, 0))])
def test_an_empty_image_is_refused(sizes):
    with pytest.raises(SettingsError, match=r"Sizes are 1 pixel or more"):
        ScaledGrid.resized(*sizes, cell=2)


def test_areas_that_overflow_are_refused():
    scale = Fraction(1, 2**31)
    with pytest.raises(SettingsError, match=r"Choose a scale with a smaller denominator"):
        ScaledGrid(source_size=(4, 4), scale=(scale, scale), cell=2, box=(0, 0, 1, 1))


@pytest.mark.parametrize("wrong", [{"source_size": (0, 4)}, {"box": (0, 0, 0, 3)}])
def test_a_grid_of_no_pixels_is_refused(wrong):
    grid = {"source_size": (1, 4), "scale": (1, 1), "cell": 1, "box": (0, 0, 1, 3)}
    with pytest.raises(SettingsError, match="Sizes are 1 pixel or more"):
        ScaledGrid(**{**grid, **wrong})


def test_a_cell_may_be_larger_in_units_of_a_fine_scale_than_a_label_pools():
    ids = np.zeros((4, 4), np.uint8)
    grid = ScaledGrid(source_size=(4, 4), scale=(Fraction(257, 2), Fraction(257, 2)), cell=70_000, box=(0, 0, 514, 514))
    counts = scaled_counts(ids, grid, num_classes=1)
    assert counts.sum() == grid.total
    assert int(counts[0, 0, 0]) == 514 * 514 * 4
    with pytest.raises(SettingsError, match=r"cell 0\. The side of a cell is a whole number"):
        ScaledGrid(source_size=(4, 4), scale=(Fraction(1), Fraction(1)), cell=0, box=(0, 0, 4, 4))
