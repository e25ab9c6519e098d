"""Indexing pooled targets gives what indexing the labels gives, as far as cells can tell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdata.cpp.targets import pool_targets
from segdata.errors import SettingsError
from segdata.sampling.from_targets import scan_targets
from segdata.sampling.scan import scan_label

IDENTITY = np.arange(256, dtype=np.int16)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 2, 4]), st.integers(0, 2**32))
def test_counts_are_those_of_the_label_and_points_lie_on_or_near_the_class(height, width, cell, seed):
    rng = np.random.default_rng(seed)
    pieces = rng.choice(np.array([0, 1, 2, 255], np.uint8), (height // 5 + 1, width // 7 + 1))
    ids = np.kron(pieces, np.ones((5, 7), np.uint8))[:height, :width]
    found = scan_targets(pool_targets(ids, [cell], num_classes=3), tile=32)
    label = scan_label(ids, IDENTITY, 3, tile=32)
    assert found.size == label.size
    assert found.ignored == label.ignored
    for name in ("classes", "tiles", "pixels"):
        assert getattr(found, name).tolist() == getattr(label, name).tolist()
    assert (abs(found.centroids.astype(int) - label.centroids) <= cell).all()
    for class_id, points in zip(found.classes, found.points, strict=True):
        for row, column in points:
            near = ids[
                row // cell * cell : row // cell * cell + cell, column // cell * cell : column // cell * cell + cell
            ]
            assert (near == class_id).any()


def test_a_pure_cell_gives_a_pixel_of_the_class():
    ids = np.zeros((32, 32), np.uint8)
    ids[8:12, 8:12] = 1
    entries = scan_targets(pool_targets(ids, [4], num_classes=2), tile=32)
    assert entries.points[1, 0].tolist() == [10, 10]


def test_a_tile_that_cells_do_not_divide_is_refused():
    targets = pool_targets(np.zeros((32, 32), np.uint8), [14], num_classes=1)
    with pytest.raises(SettingsError, match=r"x\.npz: 112 does not divide tile 1024, which cells of 14 need"):
        scan_targets(targets, where="x.npz")
