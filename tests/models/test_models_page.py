"""The table of docs/models.md is what its script makes."""

import runpy
from pathlib import Path

import pytest
import torch

from segdata.models import build_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "benchmarks" / "models.py"))


@pytest.mark.slow
def test_the_table_is_fresh(script):
    assert script["table"]() in (ROOT / "docs" / "models.md").read_text()


def test_operations_are_those_of_one_convolution_worked_by_hand(script):
    layer = torch.nn.Conv2d(3, 8, 3, padding=1, device="meta")
    assert script["gflops"](layer, (10, 20)) == 2 * (10 * 20) * (3 * 9) * 8 / 1e9


def test_strides_leave_out_the_object_regions(script):
    with torch.device("meta"):
        model = build_model("ocrnet", 5, backbone="hrnet_tiny", head_channels=8, aux_stages=(2, 4))
    assert script["auxiliary_strides"](model, (64, 64)) == "8, 32"
