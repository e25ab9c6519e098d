"""Which parts of a model are compiled as blocks, and what their twin shares with the model."""

import pytest
import torch
from torch import nn

from segdata.models import build_model
from segdata.training.compilation import LAYERS_OF_A_BLOCK, blocks_of, compiled_model


def layers_below(module):
    return [each for each in module.modules() if isinstance(each, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize(("name", "backbone"), [("pspnet", "resnet_tiny"), ("seethroughnet", "hrnet_tiny")])
def test_blocks_hold_most_layers_each_once(name, backbone):
    model = build_model(name, 5, backbone=backbone, head_channels=8)
    blocks = list(blocks_of(model))
    held = [layer for block in blocks for layer in layers_below(block)]
    assert len({id(layer) for layer in held}) == len(held)
    assert len(held) > 0.8 * len(layers_below(model))  # stems and classifiers stand alone
    assert max(len(layers_below(block)) for block in blocks) <= LAYERS_OF_A_BLOCK


def test_a_transformer_block_is_one():
    block = nn.TransformerEncoderLayer(8, 2)
    assert list(blocks_of(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ModuleList([block]), nn.BatchNorm2d(8)))) == [block]


def test_the_twin_has_the_parameters_and_buffers_of_the_model(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda call, **_: compiled.append(call) or call)
    model = build_model("fcn", 5, backbone="resnet_tiny", head_channels=8)
    twin = compiled_model(model, "blocks")
    assert twin is not model
    assert len(compiled) == len(list(blocks_of(model)))
    for (name, own), (key, other) in zip(model.state_dict().items(), twin.state_dict().items(), strict=True):
        assert name == key
        assert own.data_ptr() == other.data_ptr()
    assert compiled_model(model, None) is model
