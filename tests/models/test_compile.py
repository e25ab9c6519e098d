"""torch.compile traces every model as one graph, forward and backward, without a break."""

import pytest
import torch

from segdata.models import MODELS, build_model

LIGHT = ["fcn"]
HEAVY = [pytest.param(name, marks=pytest.mark.slow) for name in MODELS if name not in LIGHT]


def tiny(name, **settings):
    backbone = "resnet_tiny" if MODELS[name].reads == "last" else "hrnet_tiny"
    torch.manual_seed(0)
    return build_model(name, 5, backbone=backbone, head_channels=16, dropout=0.0, **settings)


@pytest.mark.parametrize("name", [*LIGHT, *HEAVY])
def test_the_whole_model_is_one_graph_with_the_same_scores_and_gradients(name):
    model, images = tiny(name, aux_stages=(1, 4), aux_dropout=0.0), torch.randn(2, 3, 64, 96)
    plain = model(images)
    (expected,) = torch.autograd.grad(plain.logits.square().mean(), model.backbone.conv1.parameters().__next__())
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)(images)
    (gradient,) = torch.autograd.grad(compiled.logits.square().mean(), model.backbone.conv1.parameters().__next__())
    torch.testing.assert_close(compiled.logits, plain.logits, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-2)
    assert [each.name for each in compiled.auxiliary] == [each.name for each in plain.auxiliary]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # torch's own, in its compiler
def test_the_default_compiler_builds_code_for_the_cpu():
    model, images = tiny("fcn").eval(), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True)(images)
        torch.testing.assert_close(compiled.logits, model(images).logits, atol=1e-4, rtol=1e-3)
