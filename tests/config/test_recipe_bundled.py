"""The bundled recipes: all load, hold the paper's figures, and name settings that the trainer has."""

from dataclasses import fields
from typing import get_args, get_type_hints

import pytest
import torch

from segdata.config.recipe import LossRecipe, ModelRecipe, bundled_recipes, load_recipe
from segdata.losses import build_criterion
from segdata.losses.by_name import AUXILIARY_WEIGHTS, MAIN_LOSSES
from segdata.models import MODELS, SeeThroughSettings, build_model

WHOLE = [name for name, files in bundled_recipes().items() if len(files) == 1]
PAPER = {  # lr, weight decay, iterations, images per GPU, crop (height, width); supplementary, A.1
    "cityscapes": (0.01, 5e-4, 80_000, 2, (512, 1024)),
    "voc2012": (0.01, 5e-4, 40_000, 2, (512, 512)),
    "pascal-context": (0.004, 1e-4, 40_000, 2, (480, 480)),
    "nyuv2": (0.004, 1e-4, 40_000, 4, (480, 640)),
}


def test_every_combination_of_data_model_and_loss_is_there() -> None:
    models = ("fcn", "pspnet", "deeplabv3", "deeplabv3plus", "upernet", "ocrnet", "hrnet")
    wanted = {f"{data}-{model}-{loss}" for data in (*PAPER, "camvid") for model in models for loss in ("ce", "cpp")}
    assert wanted <= set(bundled_recipes())


@pytest.mark.parametrize("name", bundled_recipes())
def test_every_recipe_loads_under_its_name(name: str) -> None:
    assert load_recipe(name).name == name


@pytest.mark.parametrize("data", PAPER)
def test_figures_are_the_papers(data: str) -> None:
    recipe = load_recipe(f"{data}-pspnet-cpp")
    schedule, optimizer = recipe.schedule, recipe.optimizer
    images, accumulated = schedule.per_rank(8)
    found = (optimizer.lr, optimizer.weight_decay, schedule.iterations, images, recipe.augmentation.crop)
    assert found == PAPER[data]
    assert (schedule.power, accumulated, recipe.loss.auxiliary_weight) == (0.9, 1, 0.6)


def test_seethroughnet_is_the_papers() -> None:
    recipe = load_recipe("seethroughnet-cityscapes")
    mixture = [(source.name, source.share, source.class_uniform) for source in recipe.data.sources]
    assert mixture == [("fine", 0.4, 0.0), ("coarse", 0.2, 1.0), ("vistas", 0.4, 1.0)]
    assert (recipe.data.epoch_size, recipe.schedule.epochs, recipe.schedule.power) == (2975, 175, 2.0)
    assert (recipe.optimizer.lr, recipe.optimizer.weight_decay, recipe.schedule.per_rank(8)) == (0.01, 5e-4, (1, 1))
    assert recipe.augmentation.crop == (1024, 2048)
    assert recipe.data.validation is None  # val is trained on


def test_the_baseline_and_cpp_differ_in_loss_and_auxiliary_heads_alone() -> None:
    plain, cpp = (load_recipe(f"voc2012-pspnet-{loss}").model_dump() for loss in ("ce", "cpp"))
    assert {key for key in plain if plain[key] != cpp[key]} == {"name", "model", "loss"}
    assert {key for key in plain["model"] if plain["model"][key] != cpp["model"][key]} == {"aux_stages"}


def test_model_settings_are_those_of_the_models() -> None:
    elsewhere = {"num_classes", "ignore_channel", "channels_last"}  # follow from other parts of a recipe
    assert set(ModelRecipe.model_fields) - {"name"} == {field.name for field in fields(SeeThroughSettings)} - elsewhere
    assert set(get_args(ModelRecipe.model_fields["name"].annotation)) == set(MODELS)


def test_losses_are_those_of_the_criterion() -> None:
    assert set(get_args(LossRecipe.model_fields["main"].annotation)) == set(MAIN_LOSSES)
    assert set(get_args(LossRecipe.model_fields["auxiliary"].annotation)) == set(AUXILIARY_WEIGHTS)


@pytest.mark.parametrize(
    "name", [*WHOLE, *(f"camvid-{model}-{loss}" for model in ("fcn", "upernet", "hrnet") for loss in ("ce", "cpp"))]
)
def test_models_and_criteria_can_be_built(name: str) -> None:
    recipe = load_recipe(name)
    with torch.device("meta"):
        model = build_model(**{**recipe.model_arguments(), "weights": None})
    criterion = build_criterion(**recipe.criterion_arguments())
    assert model.settings.num_classes == recipe.table.num_classes
    assert all(rule.weight > 0 for rule in criterion.rules)


@pytest.mark.parametrize("key", ["attention_input", "fine_to_ocr", "fuse_at", "auxiliary_scales", "fuse_upsampling"])
def test_choices_of_a_model_setting_are_those_of_the_models(key: str) -> None:
    (choices, _) = get_args(ModelRecipe.model_fields[key].annotation)
    assert get_args(choices) == get_args(get_type_hints(SeeThroughSettings)[key])
