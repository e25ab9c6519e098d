"""Parts of synthetic scenes that small arrays can check."""

import numpy as np

from segdata.synthetic.camera import Camera, Frame, clip_near
from segdata.synthetic.coarse import coarse_ids, is_pure
from segdata.synthetic.light import smooth_noise
from segdata.synthetic.solids import outward_normal


def test_a_point_at_eye_height_lies_on_the_horizon():
    camera = Camera(width=100, height=60, focal=80.0, horizon=25.0, eye=1.5)
    assert camera.project(np.array([[0.0, 1.5, 7.0]])).tolist() == [[50.0, 25.0]]


def test_twice_as_far_is_half_as_large():
    camera = Camera(width=100, height=60, focal=80.0, horizon=25.0, eye=1.5)
    assert camera.pixels(2.0, 8.0) == 2 * camera.pixels(2.0, 16.0) == 20.0


def test_polygon_behind_the_camera_is_gone():
    assert clip_near(np.array([[0.0, 0, -1], [1, 0, -2], [1, 1, 0]])).shape == (0, 3)


def test_polygon_through_the_near_plane_is_cut_at_it():
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 0, 4], [0, 0, 4]])
    assert clip_near(square, near=2.0).tolist() == [[1, 0, 2], [1, 0, 4], [0, 0, 4], [0, 0, 2]]


def test_a_thing_that_comes_towards_the_camera_has_its_front_nearer():
    front = Frame((2.0, 0.0, 20.0), heading=np.pi).world(np.array([0.0, 0.0, 3.0]))
    assert np.allclose(front, [2, 0, 17])


def test_normal_points_away_from_the_middle_whichever_way_corners_run():
    face = np.array([[0.0, 0, 2], [1, 0, 2], [1, 1, 2], [0, 1, 2]])
    for corners in (face, face[::-1]):
        assert outward_normal(corners, np.zeros(3)).tolist() == [0, 0, 1]


def test_pure_pixels_have_only_their_own_id_around():
    ids = np.zeros((5, 5), np.uint8)
    ids[2, 2] = 1
    expected = np.ones((5, 5), bool)
    expected[1:4, 1:4] = False
    assert np.array_equal(is_pure(ids, 1), expected)


def test_purity_reaches_as_far_as_the_radius(rng):
    ids = rng.integers(0, 2, (9, 11)).astype(np.uint8)
    ids[rng.random((9, 11)) < 0.9] = 0
    padded = np.pad(ids, 3, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7))
    assert np.array_equal(is_pure(ids, 3), windows.min((2, 3)) == windows.max((2, 3)))


def test_coarse_labels_leave_thin_things_out():
    ids = np.full((96, 96), 7, np.uint8)
    ids[:, 48] = 17
    coarse = coarse_ids(ids, 0)
    assert set(np.unique(coarse)) == {0, 7}


def test_noise_tile_has_no_seam(rng):
    tile = smooth_noise(rng, 64)
    inside, across = np.abs(np.diff(tile, axis=0)).mean(), np.abs(tile[0] - tile[-1]).mean()
    assert across < 2 * inside
