"""Targets at any scale, cropped and mirrored: always those of the label treated likewise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdata.cpp.pooling import cpp_counts, cpp_pool
from segdata.cpp.targets import check_scales, held_scales, pool_targets
from segdata.errors import SettingsError


def made_label(seed, height=48, width=60):
    rng = np.random.default_rng(seed)
    label = np.kron(rng.integers(0, 19, (height // 6, width // 6)), np.ones((6, 6), int)).astype(np.uint8)
    label[rng.random(label.shape) < 0.05] = 255
    return label


@pytest.mark.parametrize("scale", [2, 4, 6, 8, 10, 14, 16, 48])
def test_every_multiple_of_a_held_scale_is_served(scale):
    label = made_label(1)
    targets = pool_targets(label, [2, 4, 8])
    assert np.array_equal(targets.counts(scale), cpp_counts(label, scale))
    assert np.array_equal(targets.probabilities(scale), cpp_pool(label, scale))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.sampled_from([(2, 4, 8), (3,), (2, 3), (4, 8)]), st.data())
def test_a_crop_has_the_targets_of_the_cut_label(seed, scales, data):
    label = made_label(seed)
    targets = pool_targets(label, scales)
    box = []
    for size in label.shape:
        start = data.draw(st.integers(0, size // targets.step - 1)) * targets.step
        length = data.draw(st.integers(1, (size - start) // targets.step)) * targets.step
        box.append((start, length))
    (top, height), (left, width) = box
    cut = targets.crop(top, left, height, width)
    for scale in scales:
        assert np.array_equal(cut.counts(scale), cpp_counts(label[top : top + height, left : left + width], scale))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.sampled_from([(2, 4, 8), (3,), (2, 3)]))
def test_a_flip_has_the_targets_of_the_mirrored_label(seed, scales):
    label = made_label(seed)
    mirrored = pool_targets(label, scales).flip()
    for scale in scales:
        assert np.array_equal(mirrored.counts(scale), cpp_counts(label[:, ::-1], scale))


def test_a_flip_is_exact_at_derived_scales_that_do_not_divide_the_width():
    label = made_label(2)[:, :58]
    assert np.array_equal(pool_targets(label, [2, 4, 8]).flip().counts(8), cpp_counts(label[:, ::-1], 8))


def test_a_flip_between_cells_is_refused():
    with pytest.raises(SettingsError, match=r"59 columns are not multiples of 2 pixels.*Crop to 58 columns first"):
        pool_targets(made_label(3)[:, :59], [2, 4]).flip()


def test_a_crop_may_reach_a_ragged_edge():
    label = made_label(4)[:47, :59]
    cut = pool_targets(label, [4]).crop(8, 40, 39, 19)
    assert cut.size == (39, 19)
    assert np.array_equal(cut.counts(4), cpp_counts(label[8:, 40:], 4))


@pytest.mark.parametrize("box", [(1, 0, 8, 8), (0, 2, 8, 8), (0, 0, 6, 8), (0, 0, 8, 9)])
def test_a_crop_between_cells_is_refused(box):
    with pytest.raises(SettingsError, match=r"lie between cells. Begin and end on multiples of 4 pixels"):
        pool_targets(made_label(5), [4, 8]).crop(*box)


@pytest.mark.parametrize("box", [(-4, 0, 8, 8), (0, 0, 52, 8), (0, 56, 8, 8), (0, 0, 0, 8)])
def test_a_crop_that_leaves_the_label_is_refused(box):
    with pytest.raises(SettingsError, match=r"leave the label's (48|60)"):
        pool_targets(made_label(5), [4, 8]).crop(*box)


def test_a_scale_that_cannot_be_made_is_refused():
    with pytest.raises(SettingsError, match="scale 6: these targets are of scales 4"):
        pool_targets(made_label(6), [4]).counts(6)


def test_pixels_are_those_of_the_label_not_of_the_overhang():
    label = made_label(7)[:45, :55]
    expected = np.bincount(np.minimum(label, 19).ravel(), minlength=20)
    assert pool_targets(label, [4, 16]).pixels().tolist() == expected.tolist()


def test_only_scales_that_are_no_sums_of_others_are_held():
    assert held_scales([8, 4, 2]) == (2,)
    assert held_scales([14, 16]) == (14, 16)
    assert sorted(pool_targets(made_label(8), [2, 3, 6]).grids) == [2, 3]


def test_scales_are_put_in_order_and_none_is_refused():
    assert check_scales([8, 2, 8]) == (2, 8)
    with pytest.raises(SettingsError, match="scales: none given"):
        check_scales([])


def test_targets_are_shown_in_a_line():
    assert repr(pool_targets(made_label(1), [2, 4, 8])) == "<CPPTargets: 48x60 pixels, 19 classes, scales 2, 4, 8>"
