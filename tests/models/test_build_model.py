import pytest
import torch
from torch import nn

from segdata.errors import SettingsError
from segdata.models import MODELS, HierarchicalSegmenter, ModelOutput, build_model

SMALL = {"head_channels": 16, "aux_channels": 8}


def tiny(name, **settings):
    backbone = "resnet_tiny" if MODELS[name].reads == "last" else "hrnet_tiny"
    return build_model(name, 5, **({"backbone": backbone} | SMALL | settings))


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        ("fcn", 8),
        ("pspnet", 8),
        ("deeplabv3", 8),
        ("deeplabv3+", 4),
        ("upernet", 4),
        ("ocrnet", 4),
        ("hrnet", 4),
        ("hmsa", 1),
        ("seethroughnet", 1),
    ],
)
def test_scores_have_the_stride_of_the_model_at_odd_sizes(name, stride):
    output = tiny(name.replace("+", "plus"))(torch.randn(2, 3, 65, 71))
    assert isinstance(output, ModelOutput)
    assert output.stride == stride
    assert output.logits.shape == (2, 5, -(-65 // stride), -(-71 // stride))


@pytest.mark.parametrize("name", list(MODELS))
def test_every_weight_is_trained_and_evaluation_gives_the_final_map_alone(name):
    model = tiny(name, aux_stages=(1, 3))
    output = model(torch.randn(2, 3, 33, 40))
    maps = [output.logits, *(each.logits for each in (*output.auxiliary, *output.scales))]
    sum(each.square().mean() for each in maps).backward()
    assert [key for key, weight in model.named_parameters() if weight.grad is None] == []
    evaluated = model.eval()(torch.randn(1, 3, 33, 40))
    assert (evaluated.auxiliary, evaluated.scales) == ((), ())


def test_four_auxiliary_heads_on_hrnet_stand_at_strides_4_to_32():
    output = tiny("hrnet", aux_stages=(1, 2, 3, 4))(torch.randn(1, 3, 64, 96))
    assert [(each.name, each.stride, tuple(each.logits.shape)) for each in output.auxiliary] == [
        ("stage1", 4, (1, 5, 16, 24)),
        ("stage2", 8, (1, 5, 8, 12)),
        ("stage3", 16, (1, 5, 4, 6)),
        ("stage4", 32, (1, 5, 2, 3)),
    ]


def test_auxiliary_heads_on_a_dilated_resnet_stand_at_strides_4_8_8_8():
    model = tiny("pspnet", aux_stages=[1, 2, 3, 4], ignore_channel=True)
    output = model(torch.randn(2, 3, 32, 48))
    assert model.auxiliary_strides == (4, 8, 8, 8)
    assert [tuple(each.logits.shape[1:]) for each in output.auxiliary] == [(6, 8, 12), *[(6, 4, 6)] * 3]


def test_published_channels_reach_the_heads():
    with torch.device("meta"):
        model = build_model("hmsa", 19, aux_stages=(1, 2, 3, 4))
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert shapes["head.regions.0.0.weight"] == (720, 720, 1, 1)
    assert shapes["head.ocr.pixels.0.weight"] == (512, 720, 3, 3)
    assert shapes["attention.0.0.weight"] == (256, 512, 3, 3)
    assert [shapes[f"auxiliary.heads.{i}.0.0.weight"] for i in range(4)] == [
        (256, width, 3, 3) for width in (48, 96, 192, 384)
    ]


def rates(model):
    return [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout2d)]


def test_dropout_is_the_published_one_or_the_one_named():
    with torch.device("meta"):
        assert rates(build_model("pspnet", 19, aux_stages=(3,))) == [0.1, 0.1]
        assert rates(build_model("ocrnet", 19)) == [0.05]
        assert rates(build_model("hrnet", 19)) == [0.0]
        assert rates(build_model("seethroughnet", 19, dropout=0.2)) == [0.2]


@pytest.mark.parametrize("name", list(MODELS))
def test_batch_norm_becomes_synchronized(name):
    model = tiny(name, aux_stages=(2,))
    norms = sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert sum(isinstance(layer, nn.SyncBatchNorm) for layer in converted.modules()) == norms > 0
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in converted.modules())


def test_channels_last_gives_the_same_scores():
    plain, last = tiny("seethroughnet").eval(), tiny("seethroughnet", channels_last=True).eval()
    last.load_state_dict(plain.state_dict())
    assert last.backbone.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    images = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        torch.testing.assert_close(last(images).logits, plain(images).logits, atol=1e-5, rtol=1e-4)


def test_align_corners_reaches_the_backbone_and_the_head():
    model = tiny("seethroughnet", align_corners=True, fuse_upsampling="nearest")
    assert model.head.align_corners
    assert model.backbone.stage4[0].align_corners
    assert model.backbone.stage4[0].upsampling == "nearest"


def test_the_hierarchical_models_say_so_by_their_class():
    assert [name for name in MODELS if isinstance(tiny(name), HierarchicalSegmenter)] == ["hmsa", "seethroughnet"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("pspnett", {}, r"^model: 'pspnett' is not known\..*Did you mean 'pspnet'\?$"),
        ("fcn", {"dropuot": 0.1}, r"^model fcn, setting: 'dropuot' is not known\..*Did you mean 'dropout'\?$"),
        ("fcn", {"scales": (1.0,)}, r"^model fcn, setting: 'scales' is not known"),
        ("fcn", {"backbone": "hrnet_tiny"}, r"^model fcn: it reads the last stage alone, on hrnet_tiny .* stride 32"),
        ("hrnet", {"backbone": "resnet_tiny"}, r"^model hrnet: it is made for the branches of an HRNet"),
        ("fcn", {"backbone": "resnet_tiny", "aux_stages": (5,)}, r"^aux_stages: stage 5 is not a stage of ResNet, wh"),
        ("fcn", {"aux_stages": (0,)}, r"^aux_stages: \(0,\) is out of range\. Expected is stages counted from 1"),
        ("fcn", {"aux_stages": (2, 1)}, r"^aux_stages: \(2, 1\) is out of range"),
        ("fcn", {"dropout": 1.0}, r"^dropout: 1\.0 is out of range\. Expected is at least 0 and below 1\.$"),
        ("hmsa", {"fuse_at": "end"}, r"^fuse_at: 'end' is not offered\. Choose one of image, stride\.$"),
        (
            "hmsa",
            {"scales": (0.75, 1.0), "auxiliary_scales": "all"},
            r"^scales: \(0\.75, 1\.0\) is out of range\. .*whole",
        ),
        ("seethroughnet", {"coarse_stages": ()}, r"^coarse_stages: \(\) is out of range"),
        (
            "seethroughnet",
            {"backbone": "hrnet_tiny", "coarse_stages": (4, 5)},
            r"^coarse_stages: stage 5 is not a stag",
        ),
        (
            "seethroughnet",
            {"fine_to_ocr": "sum"},
            r"^fine_to_ocr: 'sum' is not offered\. Choose one of regions, concat",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_one_line(name, settings, message):
    with pytest.raises(SettingsError, match=message):
        build_model(name, 5, **settings)


def test_a_single_class_is_no_segmentation():
    with pytest.raises(SettingsError, match=r"^num_classes: 1 is out of range\. Expected is 2 or more\.$"):
        build_model("fcn", 1)
