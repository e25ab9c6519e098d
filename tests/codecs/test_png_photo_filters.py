"""Rows of photographs, against PNG's filters written out byte by byte."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from png_writer import paeth

from segdata.codecs.png_photo_filters import undo_photo_filters


def undone(filtered, above, step):
    """Undo filters as section 9 of the specification has it."""
    rows = np.zeros_like(filtered)
    for i, (filter_type, *residuals) in enumerate(filtered.tolist()):
        for j, residual in enumerate(residuals):
            left = int(rows[i, 1 + j - step]) if j >= step else 0
            corner = int(above[j - step]) if j >= step else 0
            up = int(above[j])
            predicted = [0, left, up, (left + up) // 2, paeth(left, up, corner)][filter_type]
            rows[i, 1 + j] = (residual + predicted) % 256
        above = rows[i, 1:]
    return rows


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 4, 6]), st.integers(1, 12), st.integers(0, 4), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_filter_is_undone(seed, step, num_pixels, filter_type, near):
    rng = np.random.default_rng(seed)
    filtered = rng.integers(0, 3 if near else 256, (4, 1 + step * num_pixels), np.uint8)  # near: distances tie
    filtered[:, 0] = rng.integers(0, 5, 4) if filter_type == 0 else filter_type
    above = rng.integers(0, 3 if near else 256, step * num_pixels, np.uint8)
    rows = np.zeros_like(filtered)
    assert undo_photo_filters(filtered, above, rows, step)
    assert np.array_equal(rows, undone(filtered, above, step))


@pytest.mark.parametrize("step", [3, 4])
def test_columns_beyond_those_wanted_are_left_as_they_are(step):
    filtered = np.random.default_rng(step).integers(0, 256, (3, 1 + 20 * step), np.uint8)
    filtered[:, 0] = 4
    rows = np.full_like(filtered, 77)
    wanted = 7 * step
    assert undo_photo_filters(filtered, np.zeros(wanted, np.uint8), rows, step)
    assert np.array_equal(
        rows[:, 1 : 1 + wanted], undone(filtered, np.zeros(20 * step, np.uint8), step)[:, 1 : 1 + wanted]
    )
    assert (rows[:, 1 + wanted :] == 77).all()
    assert (rows[:, 0] == 77).all()


def test_an_unknown_filter_is_told():
    filtered = np.array([[5, 1, 2, 3]], np.uint8)
    assert not undo_photo_filters(filtered, np.zeros(3, np.uint8), np.zeros_like(filtered), 3)
