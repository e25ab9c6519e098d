import pytest
import torch
from torch.nn import functional as F

from segdata.models import build_model
from segdata.models.heads.seethrough import SeeThroughHead

CHANNELS, STRIDES = (3, 4, 5, 6), (4, 8, 16, 32)


def head(**settings):
    torch.manual_seed(0)
    defaults = {
        "coarse_stages": (1, 2, 3),
        "coarse_logits": 7,
        "coarse_channels": 8,
        "channels": 16,
        "dropout": 0.0,
        "attention_input": "coarser",
        "fine_to_ocr": "regions",
        "supervise_fine": False,
        "align_corners": False,
    }
    return SeeThroughHead(CHANNELS, STRIDES, 7, **(defaults | settings)).eval()


def features():
    torch.manual_seed(1)
    return [torch.randn(1, width, 16 // 2**i, 24 // 2**i) for i, width in enumerate(CHANNELS)]


def up(maps, like):
    return F.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)


@torch.no_grad()
def test_the_fine_map_is_the_coarse_ones_aggregated_in_sequence_by_attention():
    model, inputs = head(supervise_fine=True), features()
    (c4, _), (c8, e8), (c16, e16) = (model.coarse[i](inputs[i]) for i in range(3))
    a16, a8 = model.attention[1](e16), model.attention[0](e8)
    x8 = up(a16 * c16, c8) + (1 - up(a16, c8)) * c8
    x4 = up(a8 * x8, c4) + (1 - up(a8, c4)) * c4
    names = {each.name: each for each in model(inputs).auxiliary}
    torch.testing.assert_close(names["fine"].logits, x4)
    for name, expected in (("coarse1", c4), ("coarse2", c8), ("coarse3", c16)):
        torch.testing.assert_close(names[name].logits, expected)


@torch.no_grad()
def test_the_fine_map_serves_ocr_as_its_regions():
    model, inputs = head(supervise_fine=True), features()
    out = model(inputs)
    pixels = torch.cat([up(each, inputs[0]) for each in inputs], dim=1)
    embedding = model.ocr(pixels, out.auxiliary[-1].logits)
    torch.testing.assert_close(out.embedding, embedding)
    torch.testing.assert_close(out.logits, model.classifier(embedding))
    assert out.regions is None


@torch.no_grad()
def test_the_fine_map_can_instead_be_concatenated_to_the_pixels():
    model, inputs = head(supervise_fine=True, fine_to_ocr="concat"), features()
    out = model(inputs)
    pixels = torch.cat([*(up(each, inputs[0]) for each in inputs), out.auxiliary[-1].logits], dim=1)
    torch.testing.assert_close(out.regions, model.regions(pixels))
    torch.testing.assert_close(out.logits, model.classifier(model.ocr(pixels, out.regions)))


@torch.no_grad()
def test_attention_may_read_both_scales():
    model, inputs = head(attention_input="both"), features()
    _, embeddings = zip(*(model.coarse[i](inputs[i]) for i in range(3)), strict=True)
    expected = model.attention[0](torch.cat([embeddings[1], up(embeddings[0], embeddings[1])], dim=1))
    torch.testing.assert_close(model._attend(0, embeddings), expected)


def test_an_ignored_class_is_one_more_channel_of_the_coarse_maps_only():
    model = build_model("seethroughnet", 5, backbone="hrnet_tiny", head_channels=16, ignore_channel=True)
    output = model(torch.randn(2, 3, 32, 32))
    assert {each.logits.shape[1] for each in output.auxiliary} == {6}
    assert output.logits.shape[1] == 5


@pytest.mark.parametrize(("stages", "strides"), [((1, 2, 3), [4, 8, 16]), ((2, 3, 4), [8, 16, 32]), ((3,), [16])])
def test_any_stages_may_have_coarse_maps(stages, strides):
    model = build_model("seethroughnet", 5, backbone="hrnet_tiny", head_channels=16, coarse_stages=stages)
    output = model(torch.randn(2, 3, 64, 64))
    assert [each.stride for each in output.auxiliary] == strides
    assert output.logits.shape == (2, 5, 64, 64)
