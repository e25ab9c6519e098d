"""Tiny models overfit eight crops of synthetic scenes, and their CPP losses fall to the entropy of the targets.

The cross entropy with a soft target cannot fall below the target's entropy, the floor. The loss is their difference,
which can reach 0; floor and cross entropy are printed (``pytest -s``).
"""

import numpy as np
import pytest
import torch

from segdata.labels.classes import ClassTable
from segdata.losses.by_name import build_criterion
from segdata.losses.criterion import Targets
from segdata.models import build_model, predict
from segdata.synthetic import render_scene
from segdata.synthetic.label_ids import class_ids

CROP = (slice(464, 560), slice(960, 1088))
"""The middle of a scene, 96 rows and 128 columns."""


@pytest.fixture(scope="module")
def crops():
    """Return eight normalized crops of full-size scenes and their class ids."""
    train_ids = ClassTable.load("cityscapes").id_to_train_id()
    scenes = [render_scene(seed=7, index=index, size=(1024, 2048)) for index in range(8)]
    images = np.stack([scene.image[CROP] for scene in scenes]).transpose(0, 3, 1, 2).astype(np.float32)
    images = (images - images.mean((0, 2, 3), keepdims=True)) / images.std((0, 2, 3), keepdims=True)
    labels = np.stack([train_ids[class_ids(scene, "cityscapes")[CROP]] for scene in scenes])
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


def overfit(model, images, labels, *, steps, rate):
    """Train a model on all images at once, and return the report of the last step."""
    criterion, targets = build_criterion(), Targets(labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        report = criterion(model(images), targets)
        optimizer.zero_grad()
        report.loss.backward()
        optimizer.step()
        schedule.step()
    return report


def assert_learnt(model, crops, report, *, gap):
    """Assert the accuracy of the model in evaluation mode, and the gap of each CPP loss to its floor."""
    images, labels = crops
    for name, floor in report.entropy_floors.items():
        loss = float(report.parts[name])
        print(f"{name}: entropy floor {float(floor):.3f}, cross entropy {float(floor) + loss:.3f} nats")
        assert 0 <= loss < gap, name
    scales = getattr(model.settings, "scales", (1.0,))
    found = predict(model.eval(), images, scales=scales).argmax(1)
    valid = labels != 255
    accuracy = float((found == labels)[valid].float().mean())
    print(f"pixel accuracy {accuracy:.3f}")
    assert accuracy > 0.95


@pytest.mark.slow
def test_a_tiny_seethroughnet_learns_eight_images(crops):
    torch.manual_seed(0)
    model = build_model("seethroughnet", 19, backbone="hrnet_tiny", head_channels=32, coarse_channels=32, dropout=0.0)
    report = overfit(model, *crops, steps=240, rate=0.02)
    assert list(report.entropy_floors) == ["coarse1", "coarse2", "coarse3"]
    assert_learnt(model, crops, report, gap=0.05)


@pytest.mark.slow
def test_a_tiny_pspnet_learns_eight_images(crops):
    torch.manual_seed(0)
    stages = {"aux_stages": (1, 2, 3, 4), "aux_channels": 32, "aux_dropout": 0.0}
    model = build_model("pspnet", 19, backbone="resnet_tiny", head_channels=64, dropout=0.0, **stages)
    report = overfit(model, *crops, steps=280, rate=0.02)
    assert list(report.entropy_floors) == ["stage1", "stage2", "stage3", "stage4"]
    assert_learnt(model, crops, report, gap=0.1)
