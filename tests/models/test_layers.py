import torch
from torch import nn

from segdata.models.layers import Classifier, initialize, resize, resize_features


def test_resize_leaves_a_map_of_the_right_size_alone():
    maps = torch.zeros(1, 1, 2, 3)
    assert resize(maps, (2, 3)) is maps


def test_resize_places_the_corners_as_it_is_told():
    maps = torch.tensor([[[[0.0, 6.0]]]])
    assert resize(maps, (1, 4)).flatten().tolist() == [0.0, 1.5, 4.5, 6.0]
    assert resize(maps, (1, 4), align_corners=True).flatten().tolist() == [0.0, 2.0, 4.0, 6.0]


def test_initialize_draws_convolutions_by_fan_out_and_classifiers_narrowly():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(64, 128, 3), Classifier(512, 100))
    initialize(net)
    assert abs(net[0].weight.std().item() - (2 / (128 * 9)) ** 0.5) < 1e-3
    assert abs(net[1].weight.std().item() - 0.01) < 1e-3
    assert net[0].bias.eq(0).all()
    assert net[1].bias.eq(0).all()


def test_features_keep_their_dtype_under_autocast():
    maps = torch.rand(1, 2, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        resized = resize_features(maps, (8, 8))
    assert resized.dtype == torch.bfloat16
    assert torch.equal(resized, resize(maps, (8, 8)).bfloat16())
