"""The kernel for GPUs: when it is taken, what becomes of one that does not work, and, where Triton is, its counts."""

import os
import subprocess
import sys
from types import ModuleType

import pytest
import torch

from segdata.cpp import tensors

HERE = torch.device("cpu")
KERNEL = "segdata.cpp.tensors_triton"


@pytest.fixture
def kernel(monkeypatch):
    """Stand in for the kernel; `kernel.asked` are the cells that it counted."""
    stand_in = ModuleType(KERNEL)
    stand_in.asked = []

    def counts(class_ids, cell, num_classes, ignore_id):
        stand_in.asked.append(cell)
        return tensors._counted(class_ids, cell, num_classes, ignore_id)

    stand_in.counts = counts
    stand_in.takes = lambda _class_ids, cell: cell <= 16
    monkeypatch.setitem(sys.modules, KERNEL, stand_in)
    tensors.checked_kernel.cache_clear()
    yield stand_in
    tensors.checked_kernel.cache_clear()


def test_a_kernel_is_checked_once_and_then_counts_what_it_takes(kernel, monkeypatch):
    monkeypatch.setattr(tensors, "_kernel_for", lambda class_ids: tensors.checked_kernel(class_ids.device))
    label = torch.tensor([[[0, 0, 1, 255], [0, 1, 1, 1]]], dtype=torch.uint8)
    for cell in (2, 2, 32):
        assert torch.equal(tensors.cpp_counts(label, cell), tensors._counted(label, cell, 19, 255))
    assert kernel.asked == [8, 4, 5, 8, 16, 2, 2]


def test_a_kernel_that_counts_otherwise_or_cannot_be_compiled_is_not_used(kernel, monkeypatch, caplog):
    monkeypatch.setattr(kernel, "counts", lambda *arguments: tensors._counted(*arguments) + 1)
    caplog.set_level("INFO", logger="segdata")
    assert tensors.checked_kernel(HERE) is None
    assert "other counts than those of torch, of torch.int64 and cell 8. It is slower, and right." in caplog.text

    def fail(*_arguments):
        raise RuntimeError("Failed to find C compiler.\nmore")

    tensors.checked_kernel.cache_clear()
    monkeypatch.setattr(kernel, "counts", fail)
    assert tensors.checked_kernel(HERE) is None
    assert "pooling on cpu is not compiled: RuntimeError: Failed to find C compiler. It is slower" in caplog.text


def test_on_the_cpu_no_kernel_is_looked_for(monkeypatch):
    monkeypatch.setattr(tensors, "checked_kernel", None)
    assert tensors._kernel_for(torch.zeros(1, 2, 2)) is None


COMPARE = """
import contextlib
import numpy as np
import torch
from segdata.cpp import tensors, tensors_triton

torch.cuda.device = contextlib.nullcontext
rng = np.random.default_rng(9802)
for shape in ((2, 37, 61), (1, 37, 96)):  # an odd width; one that 16 and 32 divide
    ids = rng.integers(0, 20, shape)
    labels = torch.from_numpy(np.where(ids == 19, 255, ids))
    for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64):
        for cell in (1, 3, 4, 8, 16, 32):
            label = labels.to(dtype)
            found = tensors_triton.counts(label, cell, 19, 255)
            assert torch.equal(found, tensors.cpp_counts(label, cell)), (dtype, cell)
other = torch.from_numpy(rng.integers(0, 4, (1, 16, 32), dtype=np.uint8))
for cell in (4, 8):
    found = tensors_triton.counts(other, cell, 3, 3)
    assert torch.equal(found, tensors.cpp_counts(other, cell, num_classes=3, ignore_id=3)), cell
shifted = torch.cat([torch.zeros(3, dtype=torch.uint8), other.flatten()])[3:].view(1, 16, 32)
assert torch.equal(tensors_triton.counts(shifted, 8, 4, 255), tensors.cpp_counts(other, 8, num_classes=4))
many = torch.from_numpy(rng.integers(0, 70, (1, 40, 40)))
assert torch.equal(tensors_triton.counts(many, 8, 70, 255), tensors.cpp_counts(many, 8, num_classes=70))
print("equal")
"""


@pytest.mark.optional
@pytest.mark.timeout(600)
def test_counts_of_the_kernel_interpreted_are_those_of_torch():
    """Triton's interpreter runs a kernel on the CPU; the tests marked `gpu` compare it where there is one."""
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", COMPARE], env=environment, capture_output=True, text=True, check=False)
    assert run.stdout == "equal\n", run.stderr
