"""The fused pass: look-up, counts and Up filter at once, against three NumPy steps."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segdata.labels.png_filters import map_and_filter, undo_filters


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 50),
    st.sampled_from([1, 9, 30]),
    st.sampled_from([2, 256]),
)
@settings(max_examples=80, deadline=None)
def test_map_and_filter_is_three_steps_in_one(seed, height, width, run, num_ids):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, num_ids, (height, width), np.uint8).repeat(run, axis=1)[:, :width]
    lookup = rng.integers(0, 256, 256, np.uint8)
    raw = np.concatenate([rng.integers(0, 256, (height, 1), np.uint8), ids], axis=1).reshape(-1)
    filtered, counts = map_and_filter(raw, height, width, lookup)
    assert np.array_equal(counts, np.bincount(ids.reshape(-1), minlength=256))
    assert np.array_equal(undo_filters(filtered, height, width), lookup[ids])
    assert set(filtered[:: 1 + width].tolist()) == {2}


def test_flat_rows_leave_zero_residuals():
    filtered, _ = map_and_filter(np.full(3 * 41, 7, np.uint8), 3, 40, np.arange(256, dtype=np.uint8))
    assert not filtered.reshape(3, 41)[1:, 1:].any()


def test_an_unknown_filter_is_told():
    assert undo_filters(np.array([9, 1, 2], np.uint8), height=1, row_bytes=2) is None
