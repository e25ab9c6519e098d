"""One image through a model: windows, any size, and what happens where memory is short."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from toy_model import OneLayer

from segdata.config.steps import EvaluationRecipe
from segdata.data.normalization import IMAGENET_MEAN, IMAGENET_STD, normalize
from segdata.errors import SegdataError, SettingsError
from segdata.inference.predictor import Predictor, is_out_of_memory, smaller_window
from segdata.models import build_model, predict

TINY = {"num_classes": 4, "backbone": "hrnet_tiny", "head_channels": 16}


def model_of(name):
    torch.manual_seed(0)
    return build_model(name, **TINY)


def image_of(rng, height, width):
    return rng.integers(0, 256, (3, height, width)).astype(np.uint8)


class ScarceMemory(OneLayer):
    """A small model on a device that holds no more than so many pixels at a time."""

    def __init__(self, most_pixels, error=torch.OutOfMemoryError):
        super().__init__(4)
        self.most_pixels, self.error = most_pixels, error
        self.sizes = []

    def forward(self, images):
        self.sizes.append(tuple(images.shape[-2:]))
        if images[:, 0].numel() > self.most_pixels:
            raise self.error("DefaultCPUAllocator: can't allocate memory" if self.error is RuntimeError else "full")
        return super().forward(images)


@pytest.mark.parametrize("name", ["hrnet", "hmsa", "seethroughnet"])
def test_a_prediction_is_the_best_class_of_the_models_probabilities(rng, name):
    image, scales = image_of(rng, 37, 50), (0.5, 1.0)
    found = Predictor(model_of(name), EvaluationRecipe(scales=scales, flip=True)).predict(
        image, keep_probabilities=True
    )
    with torch.no_grad():
        (expected,) = predict(model_of(name).eval(), normalize(torch.from_numpy(image)[None]), scales=scales, flip=True)
    np.testing.assert_allclose(found.probabilities, expected.half(), atol=1e-3)
    np.testing.assert_array_equal(found.class_ids, expected.argmax(dim=0))
    np.testing.assert_array_equal(found.confidence, expected.amax(dim=0))
    assert not found.tiled


@pytest.mark.parametrize("name", ["hrnet", "pspnet", "deeplabv3plus", "upernet", "ocrnet", "hmsa", "seethroughnet"])
@pytest.mark.parametrize("size", [(1, 1), (3, 70), (33, 17)])
def test_images_of_any_size_are_predicted(rng, name, size):
    backbone = "resnet_tiny" if name in ("pspnet", "deeplabv3plus") else "hrnet_tiny"
    model = build_model(name, 4, backbone=backbone, head_channels=16)
    found = Predictor(model, EvaluationRecipe()).predict(image_of(rng, *size))
    assert found.class_ids.shape == found.confidence.shape == size
    assert found.class_ids.max() < 4


def test_windows_are_averaged_as_probabilities(rng):
    image, model = image_of(rng, 32, 96), model_of("hrnet").eval()
    settings = EvaluationRecipe(window=(32, 64), stride=(32, 32))
    found = Predictor(model, settings).predict(image, keep_probabilities=True)
    pixels = normalize(torch.from_numpy(image)[None])
    left, right = predict(model, pixels[..., :64])[0], predict(model, pixels[..., 32:])[0]
    middle = (left[..., 32:] + right[..., :32]) / 2
    expected = torch.cat([left[..., :32], middle, right[..., 32:]], dim=2)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-3)
    assert not found.tiled


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_an_image_that_does_not_fit_is_tried_in_halves(rng, error):
    image = image_of(rng, 300, 600)
    model = ScarceMemory(300 * 300, error)
    found = Predictor(model, EvaluationRecipe()).predict(image)
    asked = Predictor(ScarceMemory(10**9), EvaluationRecipe(window=(300, 300), stride=(200, 200))).predict(image)
    assert found.tiled
    np.testing.assert_array_equal(found.class_ids, asked.class_ids)
    assert model.sizes[0] == (300, 600)
    assert set(model.sizes[1:]) == {(300, 300)}


def test_later_images_start_with_what_fitted(rng):
    model = ScarceMemory(300 * 300)
    predictor = Predictor(model, EvaluationRecipe())
    predictor.predict(image_of(rng, 300, 600))
    model.sizes.clear()
    assert predictor.predict(image_of(rng, 600, 300)).tiled
    assert (600, 300) not in model.sizes
    assert not predictor.predict(image_of(rng, 300, 299)).tiled


def test_what_does_not_fit_even_in_the_smallest_window_ends_in_one_line(rng):
    predictor = Predictor(ScarceMemory(1000), EvaluationRecipe())
    with pytest.raises(SegdataError, match="a window of 256 x 256 pixels does not fit into memory"):
        predictor.predict(image_of(rng, 300, 400))


def test_another_fault_of_the_model_is_no_lack_of_memory(rng):
    class Faulty(ScarceMemory):
        def forward(self, images):
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        Predictor(Faulty(0), EvaluationRecipe()).predict(image_of(rng, 40, 40))
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_windows_shrink_from_the_longer_side_to_the_smallest():
    window, seen = (1024, 2048), []
    while window != (256, 256):
        window = smaller_window(window, (1024, 2048))
        seen.append(window)
    assert seen == [(1024, 1024), (512, 1024), (512, 512), (256, 512), (256, 256)]


def test_half_precision_is_close_to_full(rng):
    image = image_of(rng, 40, 40)
    full, half = (
        Predictor(model_of("hrnet"), EvaluationRecipe(), precision=precision).predict(image, keep_probabilities=True)
        for precision in ("float32", "bfloat16")
    )
    difference = np.abs(full.probabilities - half.probabilities).max()
    assert 0 < difference < 0.05


@pytest.mark.parametrize(("window", "stride"), [((0, 5), None), ((4, 4), (5, 4)), ((4, 4), (0, 1))])
def test_a_window_that_cannot_be_slid_is_refused(window, stride):
    with pytest.raises(SettingsError, match="window"):
        Predictor(model_of("hrnet"), EvaluationRecipe.model_construct(window=window, stride=stride, scales=(1.0,)))


def test_scales_without_one_cannot_be_fused_by_attention():
    with pytest.raises(SettingsError, match="cannot be fused"):
        Predictor(model_of("hmsa"), EvaluationRecipe(scales=(0.5, 2.0)))


def test_pixels_are_normalized_per_channel():
    pixels = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [(value / 255 - m) / s for value, m, s in zip((0, 128, 255), IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    torch.testing.assert_close(normalize(pixels).flatten(), torch.tensor(expected))
    torch.testing.assert_close(normalize(pixels, (0, 0, 0), (1, 1, 1)).flatten(), torch.tensor([0, 128 / 255, 1]))


def test_an_image_is_resized_first_and_what_is_predicted_is_brought_back(rng):
    image, model = image_of(rng, 30, 50), model_of("hrnet").eval()
    settings = EvaluationRecipe(resize=(100, 60), window=(40, 64), stride=(20, 32))
    found = Predictor(model, settings).predict(image, keep_probabilities=True)
    larger = F.interpolate(torch.from_numpy(image)[None].float(), size=(60, 100), mode="bilinear").round()
    of_larger = Predictor(model, EvaluationRecipe(window=(40, 64), stride=(20, 32))).predict(
        larger[0].byte().numpy(), keep_probabilities=True
    )
    assert found.class_ids.shape == (30, 50)
    back = F.interpolate(torch.from_numpy(of_larger.probabilities)[None].float(), size=(30, 50), mode="bilinear")[0]
    np.testing.assert_allclose(found.probabilities, back, atol=2e-3)


def test_an_image_of_that_size_is_left_as_it_is(rng):
    image, model = image_of(rng, 30, 50), model_of("hrnet").eval()
    kept, plain = (Predictor(model, EvaluationRecipe(resize=sides)).predict(image) for sides in ((50, 50), None))
    np.testing.assert_array_equal(kept.confidence, plain.confidence)
