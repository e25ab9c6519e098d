"""The numbers behind a crop, and the colors they change."""

import colorsys

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from segdata.config.recipe import AugmentationRecipe
from segdata.data.augmentation import ColorStep, align_box, draw_augmentation
from segdata.data.color_tensors import change_colors
from segdata.data.crop_box import CropBox

PHOTOMETRIC = AugmentationRecipe(crop=(8, 8), blur=0.5)
JITTER = AugmentationRecipe(crop=(8, 8), color="jitter")


@pytest.fixture
def image(rng) -> torch.Tensor:
    return torch.from_numpy(rng.integers(0, 256, (3, 6, 5), dtype=np.uint8))


def changed(image: torch.Tensor, operation: str, amount: float) -> np.ndarray:
    return change_colors(image, [ColorStep(operation, amount)]).numpy()


def by_pixel(image: torch.Tensor, change) -> np.ndarray:
    pixels = image.permute(1, 2, 0).reshape(-1, 3).tolist()
    result = [[255 * c for c in change(*colorsys.rgb_to_hsv(*(c / 255 for c in pixel)))] for pixel in pixels]
    return np.array(result).reshape(*image.shape[1:], 3).transpose(2, 0, 1)


def test_a_draw_is_a_function_of_seed_and_position():
    draws = {draw_augmentation(seed, position, PHOTOMETRIC) for seed in (0, 1) for position in range(50)}
    assert len(draws) == 100
    assert draw_augmentation(1, 7, PHOTOMETRIC) in draws


def test_scale_flip_and_blur_have_their_ranges_and_odds():
    draws = [draw_augmentation(0, position, PHOTOMETRIC) for position in range(2000)]
    scales = [draw.scale for draw in draws]
    assert 0.5 <= min(scales) < 0.51
    assert 1.99 < max(scales) <= 2.0
    assert 0.46 < np.mean([draw.flip for draw in draws]) < 0.54
    blurred = [draw.colors[-1].amount for draw in draws if draw.colors and draw.colors[-1].operation == "blur"]
    assert 0.46 < len(blurred) / 2000 < 0.54
    assert 0.15 <= min(blurred) < max(blurred) <= 1.3


def test_photometric_distortion_has_the_published_amounts():
    steps = [step for position in range(2000) for step in draw_augmentation(0, position, PHOTOMETRIC).colors]
    ranges = {"add": (-32, 32), "multiply": (0.5, 1.5), "hsv_saturation": (0.5, 1.5), "hue": (-0.1, 17 / 180)}
    for operation, (low, high) in ranges.items():
        amounts = [step.amount for step in steps if step.operation == operation]
        assert 0.46 < len(amounts) / 2000 < 0.54
        assert low <= min(amounts) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(amounts) <= high


def test_contrast_comes_before_or_after_the_other_colors():
    orders = {tuple(step.operation for step in draw_augmentation(0, p, PHOTOMETRIC).colors) for p in range(500)}
    assert ("add", "multiply", "hsv_saturation", "hue") in orders
    assert ("add", "hsv_saturation", "hue", "multiply") in orders


def test_jitter_has_every_order_and_its_spread():
    draws = [draw_augmentation(0, position, JITTER).colors for position in range(1000)]
    assert len({tuple(step.operation for step in draw) for draw in draws}) == 24
    hues = [step.amount for draw in draws for step in draw if step.operation == "hue"]
    assert -0.25 <= min(hues) < -0.24
    assert 0.24 < max(hues) <= 0.25


@pytest.mark.parametrize("turns", [-0.25, 0.1, 0.5])
def test_hue_is_that_of_colorsys(image, turns):
    expected = by_pixel(image, lambda h, s, v: colorsys.hsv_to_rgb((h + turns) % 1, s, v))
    np.testing.assert_allclose(changed(image, "hue", turns), expected, atol=1e-3)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_saturation_is_that_of_colorsys(image, factor):
    expected = by_pixel(image, lambda h, s, v: colorsys.hsv_to_rgb(h, min(1, s * factor), v))
    np.testing.assert_allclose(changed(image, "hsv_saturation", factor), expected, atol=1e-3)


def test_contrast_moves_away_from_the_mean_gray():
    image = torch.tensor([[[0, 200]]] * 3, dtype=torch.uint8)
    np.testing.assert_allclose(changed(image, "contrast", 0.5)[0], [[50, 150]], rtol=1e-6)


def test_gray_has_no_saturation_to_lose():
    image = torch.full((3, 2, 2), 77, dtype=torch.uint8)
    np.testing.assert_allclose(changed(image, "saturation", 0.3), 77, rtol=1e-6)


def test_results_stay_within_the_range(image):
    assert changed(image, "add", 300).max() == 255
    assert changed(image, "add", -300).min() == 0


def test_blur_is_that_of_scipy(image):
    expected = gaussian_filter(image.numpy().astype(float), (0, 1.1, 1.1), mode="nearest", truncate=4.0)
    np.testing.assert_allclose(changed(image, "blur", 1.1), expected, atol=1e-3)


@pytest.mark.parametrize("center", [None, (17, 12)])
def test_an_aligned_crop_begins_on_a_cell_and_keeps_the_pixel(center):
    box = align_box(CropBox(10.0, 5.0, 1.0, (8, 8), (32, 32)), 8, center)
    assert (box.top % 8, box.left % 8) == (0, 0)
    if center is not None:
        assert (box.top, box.left) == (16, 8)


@pytest.mark.parametrize("center", [None, (1049, 3), (1040, 3)])
def test_aligned_crops_reach_the_last_row_and_keep_the_pixel_there(center):
    """Of 1050 rows, crops of 512 that begin on multiples of 16 end at 1040 or reach beyond the image."""
    starts = range(0, 1050 - 512 + 1) if center is None else range(center[0] - 511, 1050 - 512 + 1)
    tops = [align_box(CropBox(float(top), 0.0, 1.0, (512, 512), (1050, 512)), 16, center).top for top in starts]
    assert all(top % 16 == 0 and abs(top - start) < 16 for top, start in zip(tops, starts, strict=True))
    assert max(tops) == 544
    if center is not None:
        assert all(top <= center[0] < top + 512 for top in tops)
    else:
        assert tops.count(544) == 5  # half of the ten starts beyond 528


def test_a_crop_larger_than_the_image_is_moved_with_the_image_inside():
    assert align_box(CropBox(-3.0, 0.0, 1.0, (8, 8), (5, 8)), 4, None).top == 0.0


def test_several_factors_are_drawn_alike_and_two_are_a_range():
    some = AugmentationRecipe(crop=(4, 4), scale=(0.5, 1.0, 2.0))
    drawn = [draw_augmentation(0, position, some).scale for position in range(3000)]
    assert sorted({*drawn}) == [0.5, 1.0, 2.0]
    assert all(900 < drawn.count(scale) < 1100 for scale in (0.5, 1.0, 2.0))
    assert draw_augmentation(0, 7, AugmentationRecipe(crop=(4, 4), scale=(1.5,))).scale == 1.5
    assert (
        len({draw_augmentation(0, n, AugmentationRecipe(crop=(4, 4), scale=(0.5, 2.0))).scale for n in range(9)}) == 9
    )
