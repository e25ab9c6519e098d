import pytest
import torch

from segdata.models.attention import ScaleAttention, ScalePrediction, blend_coarser, fuse_scales


def test_attention_lies_between_0_and_1_and_has_one_channel():
    attention = ScaleAttention(4, 8)(torch.randn(2, 4, 5, 7))
    assert attention.shape == (2, 1, 5, 7)
    assert 0 <= float(attention.detach().min()) <= float(attention.detach().max()) <= 1


def test_full_trust_gives_the_coarser_map_and_none_the_finer():
    coarser, finer = torch.full((1, 2, 1, 1), 3.0), torch.full((1, 2, 2, 2), 7.0)
    assert blend_coarser(coarser, torch.ones(1, 1, 1, 1), finer).eq(3).all()
    assert blend_coarser(coarser, torch.zeros(1, 1, 1, 1), finer).eq(7).all()


def test_the_product_is_upsampled_not_the_factors():
    """up(a * c) + (1 - up(a)) * f with c = (0, 8), a = (0, 1), f = 0: up((0, 8)), and not up((0, 1)) * up((0, 8))."""
    coarser, attention = torch.tensor([[[[0.0, 8.0]]]]), torch.tensor([[[[0.0, 1.0]]]])
    blended = blend_coarser(coarser, attention, torch.zeros(1, 1, 1, 4))
    assert blended.flatten().tolist() == [0.0, 2.0, 6.0, 8.0]


def prediction(scale, value, attention=None):
    trust = None if attention is None else torch.full((1, 1, 1, 1), attention)
    return ScalePrediction(scale, (1, 1), torch.full((1, 1, 1, 1), float(value)), trust)


def test_two_scales_are_blended_by_the_smaller_ones_attention():
    fused = fuse_scales([prediction(1.0, 10), prediction(0.5, 2, attention=0.25)])
    assert fused.item() == 0.25 * 2 + 0.75 * 10


def test_scales_above_and_below_one_are_chained_from_the_largest_down():
    predictions = [prediction(0.5, 2, 0.25), prediction(2.0, 16), prediction(1.0, 8, 0.5), prediction(0.25, 4, 0.5)]
    at_one = 0.5 * 8 + 0.5 * 16
    with_half = 0.25 * 2 + 0.75 * at_one
    assert fuse_scales(predictions).item() == 0.5 * 4 + 0.5 * with_half


def test_one_scale_alone_is_itself():
    assert fuse_scales([prediction(1.0, 8)]).item() == 8


def test_maps_are_resized_to_the_size_of_their_scale():
    half = ScalePrediction(0.5, (2, 2), torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 0.5))
    whole = ScalePrediction(1.0, (4, 4), torch.full((1, 1, 1, 1), 6.0), None)
    assert torch.equal(fuse_scales([half, whole]), torch.full((1, 1, 4, 4), 4.0))


def test_training_starts_from_even_trust():
    torch.manual_seed(0)
    attention = ScaleAttention(64, 256)
    assert attention[2].bias is None
    trust = attention(torch.randn(2, 64, 8, 8))
    assert trust.mean().item() == pytest.approx(0.5, abs=0.15)
    assert (trust - 0.5).abs().max() < 0.3
