import copy

import pytest
import torch
from torch.nn import functional as F

from segdata.errors import SettingsError
from segdata.models import build_model
from segdata.models.hierarchical import scaled_size

TINY = {"backbone": "hrnet_tiny", "head_channels": 16}


def tiny(name="hmsa", **settings):
    torch.manual_seed(0)
    coarse = {"coarse_channels": 8} if name == "seethroughnet" else {}
    return build_model(name, 4, **TINY, **coarse, **settings)


def up(maps, size):
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def one_scale(model, images, size):
    """Return the scores, attention and regions of images at a size, all upsampled to that size."""
    out = model.encode(up(images, size))
    return up(out.logits, size), up(model.attention(out.embedding), size), out.regions


def test_evaluation_at_four_scales_equals_the_formula_written_out():
    model, images = tiny().eval(), torch.randn(1, 3, 37, 50)
    with torch.no_grad():
        low, low_trust, _ = one_scale(model, images, (19, 25))
        one, one_trust, _ = one_scale(model, images, (37, 50))
        larger, larger_trust, _ = one_scale(model, images, (56, 75))
        largest, _, _ = one_scale(model, images, (74, 100))
        expected = larger_trust * larger + (1 - larger_trust) * up(largest, (56, 75))
        expected = one_trust * one + (1 - one_trust) * up(expected, (37, 50))
        expected = up(low_trust * low, (37, 50)) + (1 - up(low_trust, (37, 50))) * expected
        output = model(images, scales=(1.0, 0.5, 2.0, 1.5))
    torch.testing.assert_close(output.logits, expected)
    assert (output.stride, output.auxiliary, output.scales) == (1, (), ())


def test_training_at_two_scales_fuses_scores_and_regions_by_the_low_scales_attention():
    model, images = tiny(dropout=0.0), torch.randn(2, 3, 32, 64)
    with torch.no_grad():
        output = model(images)
        low, trust, low_regions = one_scale(model, images, (16, 32))
        one, _, regions = one_scale(model, images, (32, 64))
    size = (32, 64)
    torch.testing.assert_close(output.logits, up(trust * low, size) + (1 - up(trust, size)) * one)
    fused = up(trust * up(low_regions, (16, 32)), size) + (1 - up(trust, size)) * up(regions, size)
    assert [(each.name, each.stride) for each in output.auxiliary] == [("regions", 1)]
    torch.testing.assert_close(output.auxiliary[0].logits, fused)
    assert [each.scale for each in output.scales] == [0.5, 1.0]
    torch.testing.assert_close(up(output.scales[0].logits, (16, 32)), low)
    torch.testing.assert_close(up(output.scales[1].logits, size), one)


def test_scale_one_alone_is_the_single_scale_model():
    model, images = tiny("seethroughnet").eval(), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected, _, _ = one_scale(model, images, (32, 32))
        torch.testing.assert_close(model(images, scales=[1.0]).logits, expected)


def test_evaluation_uses_the_training_scales_unless_told_otherwise():
    model, images = tiny().eval(), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(images).logits, model(images, scales=(0.5, 1.0)).logits)
        assert not torch.equal(model(images).logits, model(images, scales=(1.0, 2.0)).logits)


def test_fusing_at_the_stride_keeps_the_scores_small():
    output = tiny(fuse_at="stride")(torch.randn(2, 3, 32, 64))
    assert (output.logits.shape, output.stride) == ((2, 4, 8, 16), 4)
    assert (output.auxiliary[0].logits.shape, output.auxiliary[0].stride) == ((2, 4, 8, 16), 4)


@pytest.mark.parametrize("size", [(33, 47), (64, 96), (101, 67)])
@pytest.mark.parametrize("name", ["hmsa", "seethroughnet"])
def test_any_size_goes_in_and_comes_out(name, size):
    output = tiny(name, aux_stages=(1, 2, 3, 4), auxiliary_scales="all")(torch.randn(2, 3, *size))
    assert output.logits.shape == (2, 4, *size)
    for each in output.auxiliary:
        cells = (-(-size[0] // each.stride), -(-size[1] // each.stride))
        assert each.logits.shape[2:] == cells, each.name


def test_auxiliary_maps_of_all_scales_carry_their_stride_in_pixels_of_the_whole_image():
    output = tiny("seethroughnet", auxiliary_scales="all")(torch.randn(2, 3, 64, 64))
    assert [(each.name, each.stride) for each in output.auxiliary] == [
        ("coarse1", 4),
        ("coarse2", 8),
        ("coarse3", 16),
        ("coarse1@0.5", 8),
        ("coarse2@0.5", 16),
        ("coarse3@0.5", 32),
    ]


def test_sizes_at_a_scale_are_rounded_up():
    assert scaled_size((37, 50), 0.5) == (19, 25)
    assert scaled_size((30, 10), 0.1) == (3, 1)


@pytest.mark.parametrize("scales", [(0.5, 2.0), (1.0, 1.0), (1.0, 0.0), (1.0, -1.0), ()])
def test_scales_that_cannot_be_fused_are_refused(scales):
    with pytest.raises(SettingsError, match=r"^scales: \(.*\) cannot be fused\. .*1\.0 among them"):
        tiny().eval()(torch.zeros(1, 3, 32, 32), scales=scales)
    with pytest.raises(SettingsError, match=r"^scales: \(.*\) cannot be fused"):
        tiny(scales=scales)


@pytest.mark.parametrize("name", ["hmsa", "seethroughnet"])
def test_every_weight_is_trained(name):
    model = tiny(name, aux_stages=(4,))
    output = model(torch.randn(2, 3, 32, 32))
    maps = [output.logits, *(each.logits for each in (*output.auxiliary, *output.scales))]
    sum(each.square().mean() for each in maps).backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []


def test_batch_norm_of_the_attention_sees_the_low_scale_and_then_the_high_one():
    model, images = tiny(dropout=0.0), torch.randn(2, 3, 32, 64)
    by_hand = copy.deepcopy(model)
    with torch.no_grad():
        model(images)
        for size in ((16, 32), (32, 64)):
            one_scale(by_hand, images, size)
    for (name, found), expected in zip(model.named_buffers(), by_hand.buffers(), strict=True):
        torch.testing.assert_close(found, expected, msg=name)


def test_heads_are_drawn_as_torch_does_and_the_backbone_by_fan_out():
    torch.manual_seed(0)
    model = build_model("hmsa", 19, backbone="hrnet_tiny", head_channels=256)
    convolutions = {name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Conv2d)}
    for name, layer in convolutions.items():
        fan_in = layer.weight[0].numel()
        fan_out = layer.weight[:, 0].numel()
        expected = (2 / fan_out) ** 0.5 if name.startswith("backbone.") else (3 * fan_in) ** -0.5
        if layer.weight.numel() > 4000:
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.05), name
