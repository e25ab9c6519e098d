"""A step makes the host wait for the device in one place; counted by operations, so it holds without a GPU."""

import pytest
import torch
from host_waits import HostWaits
from small_runs import small_recipe

from segdata.training.loop import train
from segdata.training.step import Stepper


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("loss.auxiliary=ce-nearest",),
        ("loss.main=ohem", "loss.main_settings={min_kept: 100}"),
        ("loss.main=rmi",),
        ("loss.areas=image",),
        ("loss.ignore=channel",),
        ("augmentation.color_on=device",),
        ("optimizer.clip_norm=0.1",),
        ("optimizer.name=adamw", "optimizer.ema_decay=0.9"),
        ("schedule.images_per_rank=2",),
        ("run.precision=bfloat16",),
    ],
    ids=lambda settings: " ".join(settings) or "plain",
)
def test_only_loss_and_norm_are_waited_for(tmp_path, monkeypatch, settings):
    waits: list[list[str]] = []
    original = Stepper.run

    def counted(self, batch, shares):
        with HostWaits() as found:
            report = original(self, batch, shares)
        waits.append(found.places)
        return report

    monkeypatch.setattr(Stepper, "run", counted)
    train(small_recipe(tmp_path, *settings), tmp_path / "out", progress=False)
    # `check_labels` looks at the ids at once on the CPU alone; on a GPU the device asserts them.
    assert [[place for place in each if not place.startswith("check_labels:")] for each in waits] == [
        ["_finish: tolist"]
    ] * 6


def test_the_counter_sees_what_it_is_to_see():
    values = torch.arange(5.0)
    with HostWaits() as found:
        _ = bool(values.sum() > 3)
        _ = values[values > 2]
        _ = values.nonzero()
    assert len(found.places) >= 3
