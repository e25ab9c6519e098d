"""A recipe: everything that determines a training run, checked before it starts. Needs no torch."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from segdata.config.data import DataRecipe, SourceRecipe
from segdata.config.layering import PUBLISHED, bundled_recipes, merge, read_layers
from segdata.config.messages import Layer, first_fault, refuse_unknown_keys
from segdata.config.model import LossRecipe, ModelRecipe
from segdata.config.section import Section
from segdata.config.steps import (
    AugmentationRecipe,
    EvaluationRecipe,
    OptimizerRecipe,
    RunRecipe,
    ScheduleRecipe,
)
from segdata.labels.classes import ClassTable, digest_of

__all__ = [
    "AugmentationRecipe",
    "DataRecipe",
    "EvaluationRecipe",
    "LossRecipe",
    "ModelRecipe",
    "OptimizerRecipe",
    "Recipe",
    "RunRecipe",
    "ScheduleRecipe",
    "SourceRecipe",
    "bundled_recipes",
    "difference",
    "dump_recipe",
    "load_recipe",
    "recipe_digest",
]


class Recipe(Section):
    """What is trained, on what, and how."""

    name: str
    """What the run is called in logs; the name of the recipe where not given."""
    about: str = ""
    """One line for `segdata recipes list`."""
    seed: int = Field(default=0, ge=0, lt=2**64)
    """Names the stream of draws, the augmentation and the initial weights."""
    deterministic: bool = False
    """Only algorithms that give the same bits again on the same machine; see docs/training.md."""
    data: DataRecipe
    """What is trained and evaluated on."""
    model: ModelRecipe
    """What is trained."""
    loss: LossRecipe
    """Towards what."""
    optimizer: OptimizerRecipe
    """How weights follow gradients."""
    schedule: ScheduleRecipe
    """How long, in which batches, at which rate."""
    augmentation: AugmentationRecipe
    """What happens to an image before the model sees it."""
    run: RunRecipe = RunRecipe()
    """The machine and the metrics log."""
    evaluation: EvaluationRecipe = EvaluationRecipe()
    """How the model is applied to whole images."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        hierarchical = self.model.name in ("hmsa", "seethroughnet")
        if hierarchical and 1.0 not in self.evaluation.scales:
            raise ValueError(f"evaluation.scales: {self.evaluation.scales} cannot be fused by attention. Add 1.0.")
        if self.loss.targets == "store" and self.augmentation.resize is not None:
            raise ValueError(
                f"augmentation.resize: {self.augmentation.resize} leaves no scale at which stored targets are exact. "
                "Set it to null, or loss.targets to auto."
            )
        return self

    @property
    def table(self) -> ClassTable:
        """The class table of the data."""
        return self.data.table

    def epoch_size(self, num_images: int) -> int:
        """Return the draws in an epoch over sources of so many images: at least one step."""
        return max(self.data.epoch_size or num_images, self.schedule.batch_size)

    def model_arguments(self) -> dict[str, Any]:
        """Return the keywords of `segdata.models.build_model`, all that follows from other parts included."""
        return {
            "name": self.model.name,
            "num_classes": self.table.num_classes,
            "ignore_channel": self.loss.ignore == "channel",
            "channels_last": self.run.has_channels_last,
            **self.model.settings(),
        }

    def criterion_arguments(self) -> dict[str, Any]:
        """Return the keywords of `segdata.losses.build_criterion`, all that follows from other parts included."""
        return {**self.loss.arguments(), "align_corners": self.model.align_corners}


def load_recipe(name_or_path: str | Path, overrides: Sequence[str | Layer] = ()) -> Recipe:
    """Load a recipe: a bundled name or a YAML file, what it extends, and what is set over it.

    Parameters
    ----------
    name_or_path : str or pathlib.Path
        ``cityscapes-pspnet-cpp`` or ``my-recipe.yaml``.
    overrides : sequence of str or Layer
        ``key=value`` with a dotted key and a YAML value, as ``optimizer.lr=0.005``; later ones win. Paths are relative
        to the current folder; those of another one come read, from `read_override`.

    Returns
    -------
    Recipe

    Raises
    ------
    SettingsError
        In one line: the file or override, the key, its value and what is expected; an unknown key with the nearest.

    Examples
    --------
    >>> recipe = load_recipe("cityscapes-pspnet-cpp", ["optimizer.lr=0.02"])
    >>> recipe.optimizer.lr, recipe.schedule.iterations, recipe.augmentation.crop
    (0.02, 80000, (512, 1024))
    """
    layers = read_layers(name_or_path, overrides)
    for layer in layers:
        refuse_unknown_keys(layer, Recipe)
    keys = merge([_defaults(name_or_path), *layers])
    try:
        return Recipe.model_validate(keys)
    except ValidationError as error:
        raise first_fault(error, keys, layers) from None


def dump_recipe(recipe: Recipe) -> str:
    """Return the resolved recipe as YAML, every setting in it; `load_recipe` of such a file gives an equal recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def recipe_digest(recipe: Recipe) -> str:
    """Return 32 hex digits of what determines the trained weights, the same on every machine.

    Left out is what only says where files lie, how the run is watched and evaluated, or by how many processes it is
    fed: `run`, `evaluation`, `name`, `about`, and of `data` the paths, the validation source and the workers.
    """
    return digest_of(_determining(recipe))


def difference(before: Recipe, now: Recipe) -> str | None:
    """Return the first setting in which two recipes of different digests differ, None if the digests agree.

    Examples
    --------
    >>> first = load_recipe("cityscapes-pspnet-cpp")
    >>> difference(first, load_recipe("cityscapes-pspnet-cpp", ["optimizer.lr=0.02", "run.log_every=1"]))
    'optimizer.lr was 0.01, is now 0.02'
    """
    old, new = dict(_leaves(_determining(before))), dict(_leaves(_determining(now)))
    for key in [*old, *(key for key in new if key not in old)]:
        if old.get(key) != new.get(key):
            return f"{key} was {old.get(key)}, is now {new.get(key)}"
    return None


def _defaults(name_or_path: str | Path) -> Layer:
    """Return what follows from the recipe's own name: its name, and that data lie beside it where it says nothing."""
    text = str(name_or_path)
    beside = Path.cwd() if text in bundled_recipes() else Path(text).resolve().parent
    return Layer(
        text, {"name": Path(text).stem if text.endswith((".yaml", ".yml")) else text, "data": {"root": str(beside)}}
    )


def _determining(recipe: Recipe) -> dict[str, Any]:
    keys = recipe.model_dump(mode="json", exclude={"run", "evaluation", "name", "about"})
    for key in ("root", "workers", "validation"):
        del keys["data"][key]
    for source in keys["data"]["sources"].values():
        for key in ("root", "index", "cpp"):
            del source[key]
    keys["data"]["classes"] = recipe.table.digest
    if recipe.model.weights is not None and not recipe.model.weights.startswith(PUBLISHED):
        keys["model"]["weights"] = Path(recipe.model.weights).name
    return keys


def _leaves(keys: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every plain value with its dotted key."""
    for key, value in keys.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
