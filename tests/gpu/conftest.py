"""The device that these tests are about; SEGDATA_GPU_TESTS_ON=cpu takes them the same way on a CPU."""

import os

import pytest
import torch


@pytest.fixture
def device() -> torch.device:
    """Return the CUDA device, or skip where there is none."""
    name = os.environ.get("SEGDATA_GPU_TESTS_ON", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device(name)
