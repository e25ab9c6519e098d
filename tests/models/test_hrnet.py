import pytest
import torch
from published import HRNET_PARAMETERS, KEY_DIGESTS, key_digest

from segdata.errors import SettingsError
from segdata.models import build_backbone
from segdata.models.hrnet import ExchangeModule

NAMES = list(HRNET_PARAMETERS)


@pytest.mark.parametrize("name", NAMES)
def test_keys_and_shapes_are_the_published_ones(name):
    with torch.device("meta"):
        assert key_digest(build_backbone(name).state_dict()) == KEY_DIGESTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_the_published_ones_less_the_classifier(name):
    with torch.device("meta"):
        assert sum(weight.numel() for weight in build_backbone(name).parameters()) == HRNET_PARAMETERS[name]


def test_some_keys_by_name():
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in build_backbone("hrnet_w48").state_dict().items()}
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["transition1.0.0.weight"] == (48, 256, 3, 3)
    assert shapes["transition1.1.0.0.weight"] == (96, 256, 3, 3)
    assert shapes["transition3.3.0.0.weight"] == (384, 192, 3, 3)
    assert shapes["stage4.2.branches.3.3.bn2.running_var"] == (384,)
    assert shapes["stage4.2.fuse_layers.3.0.1.0.weight"] == (48, 48, 3, 3)
    assert shapes["stage4.2.fuse_layers.0.3.0.weight"] == (48, 384, 1, 1)


def test_branches_have_the_announced_strides_and_channels_at_odd_sizes():
    backbone = build_backbone("hrnet_tiny")
    features = backbone(torch.zeros(1, 3, 65, 99))
    assert backbone.strides == (4, 8, 16, 32)
    assert [tuple(feature.shape) for feature in features] == [
        (1, 8, 17, 25),
        (1, 16, 9, 13),
        (1, 32, 5, 7),
        (1, 64, 3, 4),
    ]


def exchange_of_ones(upsampling, align_corners=False):
    """Return an exchange of two one-channel branches whose convolutions are one and whose norms do nothing."""
    module = ExchangeModule((1, 1), 0, upsampling=upsampling, align_corners=align_corners).eval()
    for key, weight in module.named_parameters():
        weight.data.fill_(0.0 if key.endswith("bias") else 1.0)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eps = 0.0
    return module


@pytest.mark.parametrize(
    ("upsampling", "align_corners", "expected"),
    [
        ("nearest", False, [1.0, 1.0, 5.0, 5.0]),
        ("bilinear", False, [1.0, 2.0, 4.0, 5.0]),
        ("bilinear", True, [1.0, 1 + 4 / 3, 1 + 8 / 3, 5.0]),
    ],
)
def test_the_finer_branch_becomes_the_sum_of_itself_and_the_coarser_one_upsampled(upsampling, align_corners, expected):
    fine, coarse = torch.zeros(1, 1, 2, 4), torch.tensor([[[[1.0, 5.0]]]])
    finer, _ = exchange_of_ones(upsampling, align_corners)(fine, coarse)
    torch.testing.assert_close(finer[0, 0, 0], torch.tensor(expected))


def test_the_coarser_branch_becomes_the_sum_of_itself_and_the_finer_one_convolved_with_stride_2():
    fine, coarse = torch.ones(1, 1, 2, 4), torch.tensor([[[[10.0, 20.0]]]])
    _, coarser = exchange_of_ones("nearest")(fine, coarse)
    assert coarser[0, 0].tolist() == [[10.0 + 4.0, 20.0 + 6.0]]  # 3x3 sums of ones, at the padded corner and beside it


def test_another_output_stride_is_refused():
    with pytest.raises(SettingsError, match=r"output_stride: 8 is not offered by hrnet_tiny"):
        build_backbone("hrnet_tiny", output_stride=8)
