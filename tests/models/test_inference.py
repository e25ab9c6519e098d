import pytest
import torch
from torch.nn import functional as F

from segdata.models import build_model, predict


@pytest.fixture(params=["hrnet", "hmsa"])
def model(request):
    torch.manual_seed(0)
    return build_model(request.param, 4, backbone="hrnet_tiny", head_channels=16).eval()


IMAGES = torch.linspace(-1, 1, 2 * 3 * 37 * 50).reshape(2, 3, 37, 50).sin()


def test_probabilities_have_the_size_of_the_images_and_sum_to_one(model):
    probabilities = predict(model, IMAGES)
    assert probabilities.shape == (2, 4, 37, 50)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 37, 50))


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_with_flips_the_mirrored_image_has_the_mirrored_probabilities(model, average):
    settings = {"scales": (0.5, 1.0), "flip": True, "average": average}
    straight, mirrored = predict(model, IMAGES, **settings), predict(model, IMAGES.flip(3), **settings)
    torch.testing.assert_close(mirrored.flip(3), straight)


def test_a_flat_model_averages_its_scales_and_a_hierarchical_one_fuses_them():
    def scores(model, size):
        resized = F.interpolate(IMAGES, size=size, mode="bilinear")
        return F.interpolate(model(resized).logits, size=(37, 50), mode="bilinear")

    flat = build_model("hrnet", 4, backbone="hrnet_tiny", head_channels=16).eval()
    with torch.no_grad():
        low, one = scores(flat, (19, 25)), scores(flat, (37, 50))
    expected = (low.softmax(1) + one.softmax(1)) / 2
    torch.testing.assert_close(predict(flat, IMAGES, scales=(0.5, 1.0)), expected)
    torch.testing.assert_close(predict(flat, IMAGES, scales=(0.5, 1.0), average="logits"), ((low + one) / 2).softmax(1))
    fused = build_model("hmsa", 4, backbone="hrnet_tiny", head_channels=16).eval()
    with torch.no_grad():
        logits = fused(IMAGES, scales=(0.5, 1.0, 2.0)).logits
    torch.testing.assert_close(predict(fused, IMAGES, scales=(0.5, 1.0, 2.0)), logits.softmax(1))


def test_a_model_in_training_mode_is_our_own_fault(model):
    with pytest.raises(AssertionError, match=r"call model\.eval\(\) first"):
        predict(model.train(), IMAGES)
