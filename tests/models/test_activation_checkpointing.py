import copy

import pytest
import torch

from segdata.models import build_backbone, build_model
from segdata.models.activation_checkpointing import frozen_statistics


def trained(backbone, images):
    """Return the gradients and buffers of a backbone after one forward and backward pass."""
    sum(feature.square().mean() for feature in backbone(images)).backward()
    gradients = {key: weight.grad for key, weight in backbone.named_parameters()}
    return gradients, dict(backbone.named_buffers())


@pytest.mark.slow
def test_a_compiled_model_recomputes_too_and_moves_the_statistics_once():
    plain = build_backbone("resnet_tiny")
    saving = build_backbone("resnet_tiny", checkpointing=True)
    saving.load_state_dict(copy.deepcopy(plain.state_dict()))
    images = torch.randn(2, 3, 64, 64)
    gradients, buffers = trained(plain, images)
    compiled = torch.compile(saving, backend="aot_eager", fullgraph=True)
    sum(feature.square().mean() for feature in compiled(images)).backward()
    torch.testing.assert_close({key: weight.grad for key, weight in saving.named_parameters()}, gradients)
    torch.testing.assert_close(dict(saving.named_buffers()), buffers)


@pytest.mark.parametrize("name", ["hrnet_tiny", "resnet_tiny"])
def test_recomputing_changes_neither_gradients_nor_running_statistics(name):
    plain = build_backbone(name)
    saving = build_backbone(name, checkpointing=True)
    saving.load_state_dict(copy.deepcopy(plain.state_dict()))
    images = torch.randn(2, 3, 64, 64)
    gradients, buffers = trained(plain, images)
    saved_gradients, saved_buffers = trained(saving, images)
    torch.testing.assert_close(saved_gradients, gradients)
    torch.testing.assert_close(saved_buffers, buffers)


def test_recomputing_keeps_fewer_activations():
    def kept(checkpointing):
        sizes = []
        backbone = build_backbone("hrnet_tiny", checkpointing=checkpointing)
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: sizes.append(tensor.numel()) or tensor, lambda t: t
        ):
            backbone(torch.randn(1, 3, 64, 64))
        return sum(sizes)

    assert kept(True) < kept(False) / 2


def test_frozen_statistics_are_thawed_again():
    norm = torch.nn.BatchNorm2d(1)
    with frozen_statistics(norm):
        norm(torch.full((1, 1, 2, 2), 5.0))
    assert norm.running_mean.item() == 0
    norm(torch.full((1, 1, 2, 2), 5.0))
    assert norm.running_mean.item() == 0.5


def test_a_model_hands_the_setting_to_its_backbone():
    assert build_model("hrnet", 3, backbone="hrnet_tiny", checkpointing=True).backbone.checkpointing
