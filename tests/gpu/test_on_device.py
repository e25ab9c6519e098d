"""What must hold on a GPU: values of the CPU, the trainer's promises, one wait for the device in a step."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import differences, small_recipe, write_recipe

from segdata.cpp import tensors
from segdata.cpp.scaling import ScaledGrid
from segdata.cpp.tensors_scaling import grid_tables, scaled_counts
from segdata.data.augmentation import ColorStep
from segdata.data.color_tensors import change_colors
from segdata.losses.by_name import build_criterion
from segdata.losses.criterion import Targets
from segdata.models import build_model
from segdata.models.checkpoint import CheckpointFolder, read_checkpoint
from segdata.training.batch_norm import synchronized
from segdata.training.loop import train
from segdata.training.step import Stepper

pytestmark = pytest.mark.gpu
CLASSES = 19


def labels(*shape: int) -> torch.Tensor:
    rng = np.random.default_rng(9802)
    ids = rng.integers(0, CLASSES + 1, shape)
    return torch.from_numpy(np.where(ids == CLASSES, 255, ids).astype(np.uint8))


@pytest.mark.parametrize("cell", [2, 3, 4, 8, 16, 32])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_pooled_targets_are_those_of_the_cpu_to_the_bit(device, cell, dtype):
    ids = labels(3, 70, 95).to(dtype)
    assert torch.equal(tensors.cpp_counts(ids.to(device), cell).cpu(), tensors.cpp_counts(ids, cell))
    assert torch.equal(tensors.cpp_pool(ids.to(device), cell).cpu(), tensors.cpp_pool(ids, cell))


def test_targets_under_scaling_are_those_of_the_cpu_to_the_bit(device):
    ids = labels(2, 64, 96)
    grid = ScaledGrid.resized((64, 96), (90, 134), cell=8, box=(5, 9, 64, 96), flip=True)
    here = scaled_counts(ids, grid_tables([grid] * 2, ids.device))
    there = scaled_counts(ids.to(device), grid_tables([grid] * 2, device))
    assert torch.equal(there.cpu(), here)


@pytest.mark.parametrize("main", ["ce", "ohem", "rmi", "bce", "cpp"])
@pytest.mark.parametrize("ignore", ["mask", "channel"])
def test_losses_and_gradients_are_those_of_the_cpu(device, main, ignore, monkeypatch):
    """Compared in single precision, without TF32: sums over many pixels are added in another order."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    model = build_model(
        "fcn", CLASSES, backbone="resnet_tiny", output_stride=8, head_channels=8, aux_stages=(1, 2), aux_channels=8,
        ignore_channel=ignore == "channel",
    )  # fmt: skip
    criterion = build_criterion(main=main, auxiliary="cpp", ignore=ignore)
    images, ids = torch.randn(2, 3, 64, 64), labels(2, 64, 64)
    found = []
    for place in (torch.device("cpu"), device):
        copy = build_model(
            "fcn", CLASSES, backbone="resnet_tiny", output_stride=8, head_channels=8, aux_stages=(1, 2), aux_channels=8,
            ignore_channel=ignore == "channel",
        )  # fmt: skip
        copy.load_state_dict(model.state_dict())
        copy.to(place).train()
        for layer in copy.modules():
            if isinstance(layer, torch.nn.Dropout2d):
                layer.p = 0.0
        targets = Targets(ids.to(place), {}, num_classes=CLASSES, ignore_id=255)
        loss = criterion.to(place)(copy(images.to(place)), targets).loss
        loss.backward()
        gradients = {name: each.grad.cpu() for name, each in copy.named_parameters() if each.grad is not None}
        found.append((loss.detach().cpu(), gradients))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-5)
    for name, gradient in found[0][1].items():
        scale = float(gradient.abs().max()) or 1.0
        torch.testing.assert_close(found[1][1][name] / scale, gradient / scale, rtol=1e-2, atol=2e-3, msg=name)


def test_under_autocast_losses_are_of_single_precision(device):
    model = build_model("fcn", CLASSES, backbone="resnet_tiny", output_stride=8, head_channels=8, aux_stages=(1,))
    criterion = build_criterion(main="ce", auxiliary="cpp").to(device)
    targets = Targets(labels(2, 64, 64).to(device), {}, num_classes=CLASSES, ignore_id=255)
    with torch.autocast(device.type, torch.bfloat16):
        output = model.to(device).train()(torch.randn(2, 3, 64, 64, device=device))
        report = criterion(output, targets)
    assert output.logits.dtype == torch.bfloat16
    assert report.loss.dtype == torch.float32
    report.loss.backward()
    assert all(each.grad.isfinite().all() for each in model.parameters() if each.grad is not None)


def test_batch_norm_over_all_ranks_keeps_keys_and_values(device):
    model = build_model("fcn", CLASSES, backbone="resnet_tiny", output_stride=8, head_channels=8).to(device).eval()
    images = torch.randn(2, 3, 64, 64, device=device)
    with torch.no_grad():
        before, keys = model(images).logits, list(model.state_dict())
        synchronized(model, device)
        assert list(model.state_dict()) == keys
        torch.testing.assert_close(model(images).logits, before)
    kinds = {type(layer).__name__ for layer in model.modules() if "BatchNorm" in type(layer).__name__}
    assert kinds == {"SyncBatchNorm" if device.type == "cuda" else "GatheredBatchNorm2d"}


@pytest.mark.parametrize(
    ("operation", "amount"),
    [("add", 20.0), ("multiply", 0.7), ("contrast", 1.3), ("saturation", 0.6), ("hsv_saturation", 1.4), ("hue", 0.1)],
)
def test_colors_are_those_of_the_cpu(device, operation, amount):
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 40, 50), np.uint8))
    step = [ColorStep(operation, amount)]
    torch.testing.assert_close(
        change_colors(image.to(device), step).cpu(), change_colors(image, step), atol=2e-3, rtol=0
    )


def on_device(folder: Path, device: torch.device, *more: str):
    return small_recipe(folder, f"run.device={device.type}", *more)


def lines(out: Path) -> list[dict]:
    every = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in every if line["kind"] == "train"]


def last_state(out: Path):
    return read_checkpoint(CheckpointFolder(out, 2).paths()[-1])


def test_deterministic_runs_and_a_resumed_one_have_the_same_bits(device, tmp_path):
    recipe = on_device(tmp_path, device, "deterministic=true")
    for name in ("one", "two"):
        train(recipe, tmp_path / name, progress=False)
    assert not differences(last_state(tmp_path / "one"), last_state(tmp_path / "two"))
    half = on_device(tmp_path, device, "deterministic=true", "run.checkpoint_every=3", "run.keep_last=9")
    train(half, tmp_path / "half", progress=False)
    checkpoints = CheckpointFolder(tmp_path / "half", 9).paths()
    assert len(checkpoints) == 2
    checkpoints[-1].unlink()
    train(half, tmp_path / "half", resume=True, progress=False)
    one, half = last_state(tmp_path / "one"), last_state(tmp_path / "half")
    assert not differences(one["model"], half["model"])
    assert not differences(one["optimizer"], half["optimizer"])


def test_one_rank_of_a_process_group_trains(device, tmp_path):
    """Started as a launcher starts ranks."""
    recipe = write_recipe(tmp_path)
    program = "from segdata.commands import main; main()"
    arguments = ["train", "--config", str(recipe), "-o", str(tmp_path / "out"), "--set", f"run.device={device.type}"]
    ranks = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    environment = {**os.environ, **ranks, "MASTER_PORT": "29517", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "6 of 6 steps" in run.stdout


GROUP_OF_ONE = """
import sys
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

device = torch.device(sys.argv[1])
backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
distributed.init_process_group(backend, rank=0, world_size=1, store=distributed.HashStore())
number = torch.ones(3, device=device)
for collective in (distributed.all_reduce, lambda held: distributed.broadcast(held, 0)):
    collective(number)
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).to(device)
wrapped = DistributedDataParallel(
    nn.SyncBatchNorm.convert_sync_batchnorm(model) if device.type == "cuda" else model,
    device_ids=[0] if device.type == "cuda" else None,
    gradient_as_bucket_view=True,
)
wrapped(torch.ones(2, 3, 8, 8, device=device)).sum().backward()
assert number.tolist() == [1, 1, 1]
assert all(torch.isfinite(each.grad).all() for each in wrapped.parameters())
distributed.destroy_process_group()
print("done")
"""


def test_a_group_of_one_rank_reduces_and_wraps(device):
    """NCCL on a GPU, gloo on a CPU."""
    words = [sys.executable, "-c", GROUP_OF_ONE, device.type]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "done"


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains(device, tmp_path, precision):
    if device.type == "cpu" and precision == "float16":
        precision = "bfloat16"
    result = train(on_device(tmp_path, device, f"run.precision={precision}"), tmp_path / "out", progress=False)
    assert result.step == 6


def test_a_step_waits_for_the_device_once(device, tmp_path, monkeypatch):
    """Beside the copy of loss and norm that every step needs, nothing makes the host wait."""
    if device.type == "cpu":
        pytest.skip("counted on the CPU by tests/training/test_host_waits.py")
    waits = []
    original = Stepper.run

    def counted(self, batch, shares):
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            report = original(self, batch, shares)
        torch.cuda.set_sync_debug_mode("default")
        waits.append([str(each.message) for each in told if "synchroniz" in str(each.message).lower()])
        return report

    monkeypatch.setattr(Stepper, "run", counted)
    train(on_device(tmp_path, device), tmp_path / "out", progress=False)
    assert [len(each) for each in waits[1:]] == [1] * 5, waits


@pytest.mark.parametrize(
    "settings", [(), ("run.compile=blocks", "run.precision=bfloat16"), ("schedule.images_per_rank=2",)]
)
def test_replayed_passes_train_alike(device, tmp_path, settings):
    if device.type == "cpu":
        pytest.skip("tests/training/test_recorded_pass.py replays without a GPU")
    for name in ("false", "true"):
        recipe = on_device(tmp_path, device, f"run.cuda_graphs={name}", "schedule.iterations=12", *settings)
        train(recipe, tmp_path / name, progress=False)
    plain, replayed = (lines(tmp_path / name) for name in ("false", "true"))
    assert [line["loss"] for line in replayed] == pytest.approx([line["loss"] for line in plain], rel=2e-2)
    assert [line["targets"] for line in replayed] == [line["targets"] for line in plain]


def test_an_unknown_id_is_not_counted_in_silence(device):
    """In a process of its own: after an assertion on a GPU nothing more can be done with it."""
    lines = (
        "import torch",
        "from segdata.cpp.tensors import cpp_counts",
        f"print(cpp_counts(torch.full((1, 8, 8), 77, dtype=torch.uint8, device='{device}'), 4).cpu())",
    )
    run = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert run.returncode
    assert ("id 77 is neither a class" if device.type == "cpu" else "device-side assert") in run.stderr
