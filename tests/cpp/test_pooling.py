"""Dense pooling: worked by hand, equal to one-hot and average, and its algebra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdata.cpp.pooling import cell_side, coarsen_counts, cpp_counts, cpp_pool
from segdata.errors import LabelError, SettingsError

K = 4


@st.composite
def labels(draw):
    """Return a label of classes 0-3 and 255, in blocks so that some cells are pure."""
    height, width, block, seed = (draw(st.integers(1, 9)) for _ in range(4))
    rng = np.random.default_rng(seed)
    coarse = rng.choice(np.array([0, 1, 2, 3, 255], np.uint8), (height, width))
    label = np.kron(coarse, np.ones((block, block), np.uint8))
    label[rng.random(label.shape) < 0.1] = rng.integers(0, K)
    return label


def one_hot_sum(label, cell):
    """Return the definition: one-hot over K classes and ignored, padded with ignored, summed over cells."""
    channels = np.where(label == 255, K, label)
    padded = np.pad(channels, [(0, -n % cell) for n in label.shape], constant_values=K)
    one_hot = padded == np.arange(K + 1)[:, None, None]
    height, width = (n // cell for n in padded.shape)
    return one_hot.reshape(K + 1, height, cell, width, cell).sum(axis=(2, 4))


def test_counts_of_a_label_worked_by_hand():
    label = np.array([[0, 0, 1, 255], [0, 1, 1, 1]], np.uint8)
    assert cpp_counts(label, 2, num_classes=2).tolist() == [[[3, 0]], [[1, 3]], [[0, 1]]]


def test_probabilities_are_counts_over_the_area():
    label = np.array([[0, 0, 1, 255], [0, 1, 1, 1]], np.uint8)
    assert cpp_pool(label, 2, num_classes=2).tolist() == [[[0.75, 0.0]], [[0.25, 0.75]], [[0.0, 0.25]]]


@settings(max_examples=40, deadline=None)
@given(labels(), st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 14, 16]))
def test_pooling_is_one_hot_and_average(label, cell):
    pixels = one_hot_sum(label, cell)
    assert np.array_equal(cpp_counts(label, cell, num_classes=K), pixels)
    assert np.array_equal(cpp_pool(label, cell, num_classes=K), (pixels / cell**2).astype(np.float32))


@settings(max_examples=20, deadline=None)
@given(labels(), st.integers(1, 20))
def test_every_cell_sums_to_its_area(label, cell):
    assert (cpp_counts(label, cell, num_classes=K).sum(axis=0, dtype=np.int64) == cell**2).all()


@settings(max_examples=20, deadline=None)
@given(labels(), st.integers(1, 8))
def test_frequencies_are_kept(label, cell):
    counts = cpp_counts(label, cell, num_classes=K).sum(axis=(1, 2), dtype=np.int64)
    assert counts[:K].tolist() == [np.count_nonzero(label == class_id) for class_id in range(K)]


@settings(max_examples=20, deadline=None)
@given(labels(), st.integers(1, 5), st.integers(1, 5))
def test_pooling_twice_is_pooling_once(label, first, second):
    once = cpp_counts(label, first * second, num_classes=K)
    twice = coarsen_counts(cpp_counts(label, first, num_classes=K), second)
    assert once.dtype == twice.dtype
    assert np.array_equal(once, twice)


@settings(max_examples=20, deadline=None)
@given(labels(), st.integers(1, 4))
def test_mirroring_commutes_with_pooling(label, cell):
    whole = np.kron(label, np.ones((cell, cell), np.uint8))
    whole[0, 0] = 2
    counts = cpp_counts(whole, cell, num_classes=K)
    assert np.array_equal(cpp_counts(whole[:, ::-1], cell, num_classes=K), counts[:, :, ::-1])
    assert np.array_equal(cpp_counts(whole[::-1], cell, num_classes=K), counts[:, ::-1])


@settings(max_examples=20, deadline=None)
@given(labels(), st.permutations(range(K)), st.integers(1, 5))
def test_renaming_classes_commutes_with_pooling(label, names, cell):
    renamed = np.append(np.array(names, np.uint8), np.zeros(252, np.uint8))
    renamed[255] = 255
    counts = cpp_counts(label, cell, num_classes=K)
    assert np.array_equal(cpp_counts(renamed[label], cell, num_classes=K)[[*names, K]], counts)


@pytest.mark.parametrize(
    ("cell", "dtype"), [(1, "uint8"), (15, "uint8"), (16, "uint16"), (255, "uint16"), (256, "uint32")]
)
def test_counts_have_the_smallest_dtype_that_holds_a_cell(cell, dtype):
    counts = cpp_counts(np.zeros((2, 2), np.uint8), cell, num_classes=1)
    assert counts.dtype == dtype
    assert counts[:, 0, 0].tolist() == ([1, 0] if cell == 1 else [4, cell**2 - 4])


def test_missing_pixels_count_as_ignored():
    label = np.array([[0, 0, 1]], np.uint8)
    assert cpp_counts(label, 2, num_classes=2).tolist() == [[[2, 0]], [[0, 1]], [[2, 3]]]


def test_missing_pixels_are_an_error_on_demand():
    with pytest.raises(LabelError, match=r"2 x 3 pixels are not whole cells of 2 x 2"):
        cpp_counts(np.zeros((2, 3), np.uint8), 2, ragged="error")


def test_an_unknown_id_is_an_error_with_its_first_place():
    label = np.zeros((3, 5), np.uint8)
    label[1, 3] = label[2, 0] = 19
    with pytest.raises(
        LabelError, match=r"id 19 is neither a class \(0-18\) nor .* 255 \(2 pixels, first at row 1, column 3"
    ):
        cpp_counts(label, 2)


@pytest.mark.parametrize("value", [-1, 19, 254, 256, 70000])
def test_an_unknown_id_of_any_integer_dtype_is_an_error(value):
    with pytest.raises(LabelError, match=f"id {value} is neither"):
        cpp_counts(np.full((4, 4), value, np.int64), 2)


def test_another_id_may_mean_ignored():
    label = np.array([[0, 9], [9, 1]], np.int32)
    assert cpp_counts(label, 2, num_classes=2, ignore_id=9).ravel().tolist() == [1, 1, 2]
    with pytest.raises(LabelError, match="id 255 is neither"):
        cpp_counts(np.full((2, 2), 255, np.uint8), 2, num_classes=2, ignore_id=9)


@pytest.mark.parametrize("label", [np.zeros((2, 2, 3), np.uint8), np.zeros((0, 4), np.uint8), np.zeros((2, 2))])
def test_what_is_no_label_is_refused(label):
    with pytest.raises(LabelError, match="A label is an integer array of shape"):
        cpp_counts(label, 2)


@pytest.mark.parametrize("cell", [0, -2, 2.0, 65536])
def test_what_is_no_cell_is_refused(cell):
    with pytest.raises(SettingsError, match=f"scale {cell}: the side of a cell"):
        cpp_counts(np.zeros((2, 2), np.uint8), cell)


def test_cells_that_become_too_wide_are_refused():
    counts = cpp_counts(np.zeros((1, 1), np.uint8), 256, num_classes=1)
    assert coarsen_counts(counts, 255).ravel().tolist() == [1, (256 * 255) ** 2 - 1]
    with pytest.raises(SettingsError, match="scale 65536: the side of a cell"):
        coarsen_counts(counts, 256)


@pytest.mark.parametrize(("num_classes", "ignore_id"), [(0, 255), (255, 255), (19, 18), (19, 256)])
def test_numbers_of_classes_out_of_range_are_refused(num_classes, ignore_id):
    with pytest.raises(SettingsError, match=r"num_classes|ignore_id"):
        cpp_counts(np.zeros((2, 2), np.uint8), 2, num_classes=num_classes, ignore_id=ignore_id)


def test_254_classes_fit():
    label = np.array([[0, 253], [255, 1]], np.uint8)
    counts = cpp_counts(label, 2, num_classes=254)
    assert np.flatnonzero(counts).tolist() == [0, 1, 253, 254]


def test_strided_and_read_only_labels_are_read_as_they_are():
    label = np.arange(16, dtype=np.uint8).reshape(4, 4)
    label.flags.writeable = False
    assert np.array_equal(cpp_counts(label[:, ::2], 2), cpp_counts(label[:, ::2].copy(), 2))


def test_the_side_of_a_cell_is_read_off_its_counts():
    assert cell_side(cpp_counts(np.zeros((30, 30), np.uint8), 7)) == 7
    with pytest.raises(SettingsError, match="the first cell holds 3 pixels"):
        cell_side(np.array([[[3]]], np.uint8))


def test_another_word_for_overhanging_cells_is_refused():
    with pytest.raises(SettingsError, match="ragged 'crop': what to do where cells overhang the label is 'ignore' or"):
        cpp_counts(np.zeros((3, 3), np.uint8), 2, ragged="crop")
