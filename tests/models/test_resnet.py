import pytest
import torch
from published import KEY_DIGESTS, PARAMETERS_WITH_CLASSIFIER, key_digest

from segdata.errors import SettingsError
from segdata.models import build_backbone
from segdata.models.resnet import Bottleneck

NAMES = list(PARAMETERS_WITH_CLASSIFIER)


@pytest.mark.parametrize("name", NAMES)
def test_keys_and_shapes_are_the_published_ones(name):
    with torch.device("meta"):
        assert key_digest(build_backbone(name).state_dict()) == KEY_DIGESTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_the_published_ones_less_the_classifier(name):
    with torch.device("meta"):
        count = sum(weight.numel() for weight in build_backbone(name).parameters())
    assert count == PARAMETERS_WITH_CLASSIFIER[name] - (2048 * 1000 + 1000)


@pytest.mark.parametrize(("stride", "strides"), [(8, (4, 8, 8, 8)), (16, (4, 8, 16, 16)), (32, (4, 8, 16, 32))])
def test_features_have_the_announced_strides_and_channels_at_odd_sizes(stride, strides):
    backbone = build_backbone("resnet_tiny", output_stride=stride)
    features = backbone(torch.zeros(1, 3, 65, 99))
    assert backbone.strides == strides
    assert backbone.channels == (32, 64, 128, 256)
    for feature, channels, each in zip(features, backbone.channels, strides, strict=True):
        assert feature.shape == (1, channels, -(-65 // each), -(-99 // each))


def dilations(backbone):
    """Return the dilation of each stage's first two 3x3 convolutions."""
    stages = (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4)
    return [tuple(block.conv2.dilation[0] for block in stage[:2]) for stage in stages]


def test_dilation_replaces_the_strides_given_up():
    with torch.device("meta"):
        assert dilations(build_backbone("resnet50", output_stride=32)) == [(1, 1), (1, 1), (1, 1), (1, 1)]
        assert dilations(build_backbone("resnet50", output_stride=16)) == [(1, 1), (1, 1), (1, 1), (1, 2)]
        assert dilations(build_backbone("resnet50", output_stride=8)) == [(1, 1), (1, 1), (1, 2), (2, 4)]


def test_the_stride_stands_in_the_3x3_convolution():
    block = Bottleneck(8, 4, stride=2)
    assert [block.conv1.stride, block.conv2.stride, block.conv3.stride] == [(1, 1), (2, 2), (1, 1)]


def test_v1c_has_three_small_convolutions_for_the_large_one():
    with torch.device("meta"):
        stem = build_backbone("resnet50_v1c").conv1
    kernels = [tuple(layer.weight.shape) for layer in stem if isinstance(layer, torch.nn.Conv2d)]
    assert kernels == [(32, 3, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3)]


def test_an_output_stride_resnet_has_not_is_refused():
    with pytest.raises(SettingsError, match=r"output_stride: 4 is not offered by ResNet\. Choose 8, 16 or 32\."):
        build_backbone("resnet_tiny", output_stride=4)


def test_an_unknown_backbone_is_refused_with_the_nearest_name():
    with pytest.raises(SettingsError, match=r"backbone: 'resnet110' is not known\. .*Did you mean 'resnet101'\?"):
        build_backbone("resnet110")
