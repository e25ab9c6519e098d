"""Against timm, where it is importable (it needs torchvision)."""

import sys

import pytest
import torch
from published import KEY_DIGESTS

from segdata.errors import SettingsError
from segdata.models import build_backbone, build_model, load_weights

pytestmark = pytest.mark.optional


@pytest.fixture(scope="module")
def timm():
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # torchvision made for another torch raises RuntimeError
        pytest.skip(f"timm cannot be imported: {error}")
    return timm


def with_random_statistics(model):
    """Give every norm of a model weights, biases and statistics of its own; timm has drawn the convolutions."""
    torch.manual_seed(3)
    for key, value in model.state_dict().items():
        if value.ndim == 1:
            value.copy_(torch.rand(value.shape) * 0.2 + (0.5 if key.endswith(("weight", "running_var")) else -0.1))
    return model.eval()


def assert_same_features(actual, expected):
    """Fail where features differ, or are too small or large to tell."""
    for one in expected:
        assert 1e-3 < float(one.abs().mean()) < 1e5
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def features_of(model, images):
    """Return the features of one of timm's classifiers, without the parts that only classification uses."""
    if hasattr(model, "stages"):  # HRNet: the four branches after the stem
        stem = model.act2(model.bn2(model.conv2(model.act1(model.bn1(model.conv1(images))))))
        return model.stages(stem)
    x, features = model.maxpool(model.act1(model.bn1(model.conv1(images)))), []
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = stage(x)
        features.append(x)
    return features


@pytest.mark.parametrize("name", list(KEY_DIGESTS))
@torch.no_grad()
def test_features_equal_timms_with_the_same_weights(timm, name, tmp_path):
    reference = with_random_statistics(timm.create_model(name.replace("_v1c", "c"), pretrained=False))
    torch.save(reference.state_dict(), tmp_path / "w.pth")
    own = build_backbone(name, **({"fuse_upsampling": "nearest"} if "hrnet" in name else {})).eval()
    report = load_weights(own, tmp_path / "w.pth")
    assert not report.kept
    images = torch.randn(1, 3, 64, 96)
    assert_same_features(own(images), features_of(reference, images))


@pytest.mark.parametrize("stride", [8, 16])
@torch.no_grad()
def test_dilated_features_equal_timms(timm, stride, tmp_path):
    reference = with_random_statistics(timm.create_model("resnet50", pretrained=False, output_stride=stride))
    torch.save(reference.state_dict(), tmp_path / "w.pth")
    own = build_backbone("resnet50", output_stride=stride).eval()
    load_weights(own, tmp_path / "w.pth")
    images = torch.randn(1, 3, 65, 97)
    assert_same_features(own(images), features_of(reference, images))


@pytest.mark.parametrize("name", ["convnext_atto", "resnet18", "mobilenetv3_small_050"])
@torch.no_grad()
def test_a_timm_backbone_loads_timms_weights_and_has_its_features(timm, name, tmp_path):
    whole = with_random_statistics(timm.create_model(name, pretrained=False))
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    backbone = build_backbone(f"timm:{name}").eval()
    report = load_weights(backbone, tmp_path / "w.pth")
    assert not report.kept
    features = backbone(torch.randn(1, 3, 64, 96))
    assert [each.shape[1] for each in features] == list(backbone.channels)
    assert [64 // each.shape[2] for each in features] == list(backbone.strides) == [4, 8, 16, 32]
    intermediates = whole.forward_intermediates(torch.ones(1, 3, 64, 96), intermediates_only=True)
    torch.testing.assert_close(backbone(torch.ones(1, 3, 64, 96))[-1], intermediates[-1])


def test_a_model_stands_on_a_timm_backbone(timm):
    model = build_model("upernet", 5, backbone="timm:convnext_atto", head_channels=16, aux_stages=(1, 4))
    output = model(torch.randn(2, 3, 64, 96))
    assert (output.logits.shape, output.stride) == ((2, 5, 16, 24), 4)
    assert [each.stride for each in output.auxiliary] == [4, 32]


def test_features_with_the_channels_last_are_turned(timm):
    backbone = build_backbone("timm:swin_tiny_patch4_window7_224")
    features = backbone(torch.zeros(1, 3, 224, 224))
    assert [tuple(each.shape) for each in features] == [(1, 96 * 2**i, 56 // 2**i, 56 // 2**i) for i in range(4)]


def test_a_name_timm_does_not_know_is_refused(timm):
    with pytest.raises(SettingsError, match=r"^backbone 'timm:convnext_tinyy', .*timm does not build it"):
        build_backbone("timm:convnext_tinyy")


def test_timm_is_named_as_an_extra_where_it_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SettingsError, match=r"timm cannot be imported.*pip install 'segdata\[timm\]'"):
        build_backbone("timm:convnext_tiny")
