"""Resizing parts of images."""

import numpy as np
import pytest
from PIL import Image

from segdata.data.resampling import bicubic_taps, bilinear_taps, resample, scale_to_fit


def resized(pixels: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int], cut: bool) -> np.ndarray:
    """Resize the part (top, bottom, left, right) to a size, reading its rows alone or all."""
    height, width, _ = pixels.shape
    down = bicubic_taps(box[0], box[1], size[0], height)
    across = bicubic_taps(box[2], box[3], size[1], width)
    first, last = down.extent if cut else (0, height)
    out = np.empty((*size, 3), np.uint8)
    resample(np.ascontiguousarray(pixels[first:last]), first, down, across, out)
    return out


BOXES = [
    ((0.0, 40.0, 0.0, 60.0), (20, 30)),
    ((3.25, 33.5, 10.1, 59.9), (61, 100)),
    ((0.0, 40.0, 20.0, 60.0), (7, 9)),
    ((12.0, 13.0, 5.0, 6.0), (4, 4)),
]


@pytest.mark.parametrize(("box", "size"), BOXES)
def test_values_are_those_of_pillow_but_for_rounding(rng, box, size):
    pixels = rng.integers(85, 170, (40, 60, 3), np.uint8)  # Pillow clamps between its passes; here nothing is clamped
    region = (box[2], box[0], box[3], box[1])
    pillow = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC, box=region))
    difference = np.abs(resized(pixels, box, size, True).astype(int) - pillow)
    assert difference.max() <= 2
    assert (difference > 1).mean() < 0.001


@pytest.mark.parametrize(("box", "size"), BOXES)
def test_rows_that_are_not_looked_at_change_nothing(rng, box, size):
    pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
    assert (resized(pixels, box, size, True) == resized(pixels, box, size, False)).all()


def test_the_exact_sum_is_rounded_once(rng):
    pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
    box, size = (3.25, 33.5, 10.1, 59.9), (13, 70)
    matrices = []
    for (begin, end), number, length in ((box[:2], size[0], 40), (box[2:], size[1], 60)):
        taps, matrix = bicubic_taps(begin, end, number, length), np.zeros((number, length))
        for row, (start, weights) in enumerate(zip(taps.starts, taps.weights, strict=True)):
            matrix[row, start : start + len(weights)] = weights
        matrices.append(matrix)
    exact = np.clip(np.einsum("ai,ijc,bj->abc", matrices[0], pixels.astype(float), matrices[1]), 0, 255)
    assert np.abs(resized(pixels, box, size, True) - exact).max() < 0.5001


def test_a_flat_image_stays_flat_and_weights_sum_to_one():
    pixels = np.full((30, 30, 3), 201, np.uint8)
    assert (resized(pixels, (0.0, 29.3, 1.7, 30.0), (17, 44), True) == 201).all()
    taps = bicubic_taps(2.3, 17.9, 5, 20)
    np.testing.assert_allclose(taps.weights.sum(1), 1, rtol=1e-6)
    assert taps.extent[0] >= 0
    assert taps.extent[1] <= 20


def test_a_part_that_is_not_scaled_is_itself(rng):
    pixels = rng.integers(0, 256, (20, 20, 3), np.uint8)
    assert bicubic_taps(3.0, 11.0, 8, 20).weights.shape == (8, 1)
    assert (resized(pixels, (3.0, 11.0, 4.0, 20.0), (8, 16), True) == pixels[3:11, 4:20]).all()


@pytest.mark.parametrize("size", [(20, 30), (40, 60), (61, 100), (13, 17), (1, 1), (80, 240)])
def test_bilinear_values_are_those_of_torch(rng, size):
    torch = pytest.importorskip("torch")
    pixels = rng.integers(0, 256, (40, 60, 3), np.uint8)
    down, across = bilinear_taps(0.0, 40.0, size[0], 40), bilinear_taps(0.0, 60.0, size[1], 60)
    out = np.empty((*size, 3), np.uint8)
    resample(pixels, 0, down, across, out)
    maps = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    expected = torch.nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)[0]
    assert np.abs(out - expected.permute(1, 2, 0).numpy()).max() < 0.5001


def test_bilinear_takes_an_axis_of_one_pixel():
    taps = bilinear_taps(0.0, 1.0, 3, 1)
    assert taps.starts.tolist() == [0, 0, 0]
    assert taps.weights.tolist() == [[1.0]] * 3


@pytest.mark.parametrize(
    ("size", "sides", "factor"),
    [((1024, 2048), (2048, 1024), 1.0), ((500, 375), (2048, 512), 512 / 375), ((100, 900), (600, 500), 600 / 900)],
)
def test_an_image_just_fits_the_sides(size, sides, factor):
    assert scale_to_fit(size, sides) == scale_to_fit(size[::-1], sides) == factor
    assert scale_to_fit(size, None) == 1
