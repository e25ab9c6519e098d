"""Grad-CAM finds what was planted, in any layer, and says what it cannot look at."""

import numpy as np
import pytest
import torch

from segdata.errors import SettingsError
from segdata.inference.grad_cam import grad_cam
from segdata.models import ModelOutput, build_model

SQUARE = (slice(20, 36), slice(40, 60))


class RedFinder(torch.nn.Module):
    """Class 1 is what is red: two layers whose weights are written down."""

    class _Backbone(torch.nn.Module):
        strides = (2, 4)

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 2, 2, stride=2, bias=False)
            weight = torch.zeros(2, 3, 2, 2)
            weight[0, 0], weight[0, 1:] = 0.25, -0.25  # red less green and blue
            weight[1, 2] = 0.25  # blue
            self.layer.weight.data = weight

        def forward(self, images):
            first = self.layer(images).relu()
            return [first, torch.nn.functional.avg_pool2d(first, 2)]

    def __init__(self):
        super().__init__()
        self.backbone = self._Backbone()

    def forward(self, images):
        last = self.backbone(images)[-1]
        return ModelOutput(torch.stack([last[:, 1], last[:, 0]], 1), 4)


def planted():
    image = np.full((3, 64, 96), 120, np.uint8)
    image[0][SQUARE], image[1][SQUARE], image[2][SQUARE] = 250, 10, 10
    image[2, :10, :10] = 255
    return image


@pytest.mark.parametrize("layer", [None, "stage1", "stage2", "backbone.layer"])
def test_a_planted_object_is_found(layer):
    heat = grad_cam(RedFinder(), planted(), 1, layer=layer, mean=(0, 0, 0), std=(1, 1, 1))
    assert heat.shape == (64, 96)
    assert heat.max() == pytest.approx(1)
    inside = heat[SQUARE].mean()
    outside = heat.copy()
    outside[16:40, 36:64] = 0
    assert inside > 0.8
    assert outside.max() < 0.05


def test_another_class_looks_elsewhere():
    heat = grad_cam(RedFinder(), planted(), 0, mean=(0, 0, 0), std=(1, 1, 1))
    assert heat[:8, :8].mean() > heat[SQUARE].mean() + 0.3


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    settings = {"head_channels": 8, "aux_stages": (1, 3), "aux_channels": 8}
    return build_model("fcn", 5, backbone="resnet_tiny", output_stride=8, **settings)


@pytest.mark.parametrize(("layer", "head"), [(None, "main"), ("stage2", "stage3"), ("auxiliary.heads.0.0", "stage1")])
def test_every_map_and_layer_of_a_model_can_be_asked(model, layer, head):
    image = np.random.default_rng(0).integers(0, 256, (3, 40, 56), np.uint8)
    heat = grad_cam(model, image, 2, layer=layer, head=head)
    assert heat.shape == (40, 56)
    assert np.isfinite(heat).all()


def test_models_of_several_scales_are_looked_at_in_their_largest():
    model = build_model("hmsa", 5, backbone="hrnet_tiny", head_channels=8)
    image = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)
    assert grad_cam(model, image, 2, layer="stage1").shape == (64, 64)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"layer": "stage9"}, "the backbone has 4 stages"),
        ({"layer": "head.clasifier"}, "Did you mean"),
        ({"head": "stage2"}, "the model has the maps main, stage1, stage3"),
        ({"head": "stage1", "layer": "stage4"}, "does not depend on it"),
        ({"layer": "head"}, "does not return features"),
        ({"class_id": 7}, "has 5 classes"),
    ],
)
def test_what_cannot_be_looked_at_is_named(model, settings, words):
    with pytest.raises(SettingsError, match=words):
        grad_cam(model, np.zeros((3, 40, 56), np.uint8), **{"class_id": 2} | settings)
