"""A data set of a few small images and a recipe for it that trains in seconds; shared by the tests of the trainer."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from segdata.config.recipe import Recipe, load_recipe

torch.set_num_threads(1)  # the images are small: threads would only wait for one another

RECIPE = """
data:
  root: city
  sources:
    whole: {{layout: cityscapes, annotation: gtFine, splits: [train], share: 0.5}}
    uniform: {{layout: cityscapes, annotation: gtFine, splits: [train], share: 0.5, class_uniform: 1.0}}
  validation: {{layout: cityscapes, annotation: gtFine, splits: [val]}}
  epoch_size: 6
  tile: 64
  workers: 0
model: {{name: fcn, backbone: resnet_tiny, output_stride: 8, head_channels: 8, aux_stages: [1, 2], aux_channels: 8}}
loss: {{main: ce, auxiliary: cpp}}
optimizer: {{lr: 0.05, weight_decay: 0.0005}}
schedule: {{iterations: 6, batch_size: 4, warmup_iterations: 2}}
augmentation: {{crop: [32, 32], scale: [0.5, 2.0], blur: 0.5}}
run: {{log_every: 1, tensorboard: false, {run}}}
"""


def write_city(root: Path, num_train: int = 4, size: tuple[int, int] = (40, 56)) -> None:
    """Write images of two colored halves each, with labels, in the Cityscapes layout."""
    for split, count in (("train", num_train), ("val", 2)):
        for number in range(count):
            rng = np.random.default_rng([9802, len(split), number])
            label = np.repeat(rng.integers(0, 19, (2, 1)), size[1], 1).repeat(size[0] // 2, 0).astype(np.uint8)
            label[:4] = 255
            image = (label[..., None] * np.array([9, 5, 2]) + rng.integers(0, 40, (*size, 3))).astype(np.uint8)
            stem = f"town_{number:06d}_000019"
            for folder, end, array in (
                ("gtFine", "gtFine_labelTrainIds", label),
                ("leftImg8bit", "leftImg8bit", image),
            ):
                path = root / folder / split / "town" / f"{stem}_{end}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)


def write_recipe(folder: Path, run: str = "checkpoint_every: 100") -> Path:
    """Write the data set and the recipe into a folder; return the recipe's path."""
    if not (folder / "city").exists():
        write_city(folder / "city")
    path = folder / "small.yaml"
    path.write_text(RECIPE.format(run=run))
    return path


def small_recipe(folder: Path, *overrides: str, run: str = "checkpoint_every: 100") -> Recipe:
    """Write data and recipe, and load it."""
    return load_recipe(write_recipe(folder, run), overrides)


def differences(one: object, other: object, path: str = "") -> list[str]:
    """Return where two nested states differ in any bit."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [path]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [path]
        return [found for key in one for found in differences(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, list):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for at, (left, right) in pairs for found in differences(left, right, f"{path}/{at}")]
    return [] if one == other else [path]
