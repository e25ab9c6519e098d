"""The fused pass: look-up, counts and Up filter at once, against three NumPy steps."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segdata.codecs.png_filters import RowMapper, undo_filters

IDENTITY = np.arange(256, dtype=np.uint8)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 50),
    st.sampled_from([1, 9, 30]),
    st.sampled_from([2, 256]),
    st.integers(1, 5),
)
@settings(max_examples=80, deadline=None)
def test_mapping_a_band_is_three_steps_in_one(seed, height, width, run, num_ids, band):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, num_ids, (height, width), np.uint8).repeat(run, axis=1)[:, :width]
    lookup = rng.integers(0, 256, 256, np.uint8)
    rows = np.concatenate([rng.integers(0, 256, (height, 1), np.uint8), ids], axis=1)
    mapper = RowMapper(height, width, lookup)
    filtered = np.concatenate([mapper.map_rows(rows[first : first + band]).copy() for first in range(0, height, band)])
    assert np.array_equal(mapper.counts, np.bincount(ids.reshape(-1), minlength=256))
    assert np.array_equal(undo_filters(filtered, height, width), lookup[ids])
    assert set(filtered[:: 1 + width].tolist()) == {2}


def test_flat_rows_leave_zero_residuals():
    filtered = RowMapper(3, 40, IDENTITY).map_rows(np.full((3, 41), 7, np.uint8))
    assert not filtered.reshape(3, 41)[1:, 1:].any()


def test_an_unknown_filter_is_told():
    assert undo_filters(np.array([9, 1, 2], np.uint8), height=1, row_bytes=2) is None
