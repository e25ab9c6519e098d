"""The losses of a tiny recipe on synthetic scenes, held against a file: a change of numbers is to be meant.

To rewrite the file, run ``python tests/training/test_golden_losses.py``, and say why in the changelog.
"""

import json
import tempfile
from pathlib import Path

import pytest
import torch

from segdata.config.recipe import load_recipe
from segdata.synthetic import write_cityscapes
from segdata.training.loop import train

GOLDEN = Path(__file__).parent / "golden_losses.json"
CHANGES = [
    "data.sources.fine.share=0.6",
    "data.sources.coarse.share=0.4",
    "data.sources.vistas=null",
    "data.epoch_size=6",
    "data.workers=0",
    # as when the file was written: tuning the recipe is no change of the trainer
    "model.head_channels=32",
    "model.coarse_channels=16",
    "optimizer.name=sgd",
    "optimizer.lr=0.005",  # low, so that the rounding of one processor or another grows little from step to step
    "optimizer.weight_decay=0.0005",
    "augmentation.color=photometric",
    "run.channels_last=false",
    "schedule.iterations=5",
    "schedule.warmup_iterations=2",
    "augmentation.crop=[64,128]",
    "run.log_every=1",
    "run.tensorboard=false",
]


def losses(folder: Path) -> list[dict[str, float]]:
    """Train SeeThroughNet on synthetic scenes, and return its loss and parts step by step."""
    torch.set_num_threads(1)
    write_cityscapes(folder / "cityscapes", (96, 192), train=4, val=1, train_extra=2, auto_labels=True)
    recipe = load_recipe("tiny-seethroughnet-scenes", [f"data.root={folder}", *CHANGES])
    train(recipe, folder / "out", progress=False)
    lines = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    return [{"loss": line["loss"], **line["parts"]} for line in lines if line["kind"] == "train"]


def test_losses_are_those_of_the_file(tmp_path):
    golden = json.loads(GOLDEN.read_text())
    for step, (found, expected) in enumerate(zip(losses(tmp_path), golden, strict=True)):
        assert found == pytest.approx(expected, rel=1e-4 * 4**step)  # rounding differs between processors, and grows


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        GOLDEN.write_text(json.dumps(losses(Path(made)), indent=1) + "\n")
