"""Small untrained models, and a checkpoint of one; shared by the tests of all that applies a model."""

from collections.abc import Mapping
from pathlib import Path

import torch
import yaml

from segdata.config.recipe import dump_recipe, load_recipe
from segdata.models import ModelOutput, ModelSettings, build_model
from segdata.models.checkpoint import write_checkpoint

RECIPE = {
    "data": {
        "classes": "cityscapes",
        "sources": {"fine": {"layout": "cityscapes", "splits": ["train"]}},
        "validation": {"layout": "cityscapes", "splits": ["val"], "annotation": "gtFine"},
    },
    "model": {"name": "fcn", "backbone": "resnet_tiny", "output_stride": 8, "head_channels": 16},
    "loss": {},
    "optimizer": {"lr": 0.01},
    "schedule": {"batch_size": 1, "iterations": 1},
    "augmentation": {"crop": [32, 64]},
}


class OneLayer(torch.nn.Module):
    """The smallest model there is: one convolution, the same weights every time."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.settings = ModelSettings(num_classes=num_classes)
        self.layer = torch.nn.Conv2d(3, num_classes, 3, padding=1)

    def forward(self, images: torch.Tensor) -> ModelOutput:
        """Return scores at the images' own size."""
        return ModelOutput(self.layer(images), 1)


def write_toy_checkpoint(
    folder: Path, data_root: Path, *, seed: int = 0, model: Mapping[str, object] | None = None, **sections: object
) -> Path:
    """Write the folder of a run whose validation data lie at `data_root`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = {
        **RECIPE,
        "data": {**RECIPE["data"], "root": str(data_root)},
        "model": dict(model or RECIPE["model"]),
        **sections,
    }
    (folder / "toy.yaml").write_text(yaml.safe_dump(keys))
    recipe = load_recipe(folder / "toy.yaml")
    torch.manual_seed(seed)
    weights = build_model(**recipe.model_arguments()).state_dict()
    for name, weight in weights.items():
        if weight.shape[:1] == (19,):  # of classifiers: so small at first that all classes are about as likely
            weights[name] = 50 * weight
    write_checkpoint(folder / "best.pt", {"recipe": dump_recipe(recipe), "model": weights})
    return folder
