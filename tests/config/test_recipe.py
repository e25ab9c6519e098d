"""Recipes: put together from files and overrides, checked, resolved, and told apart."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from segdata.config.recipe import difference, dump_recipe, load_recipe, recipe_digest
from segdata.errors import SettingsError


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_later_files_and_overrides_win_and_the_rest_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.yaml", "extends: cityscapes-pspnet-cpp\noptimizer: {lr: 0.02}\n")
    recipe = load_recipe(path, ["optimizer.momentum=0.8", "optimizer.momentum=0.7"])
    assert (recipe.name, recipe.optimizer.lr, recipe.optimizer.momentum) == ("mine", 0.02, 0.7)
    assert recipe.optimizer.weight_decay == 5e-4


def test_several_files_are_extended_in_order(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "seed: 1\nabout: first")
    write(tmp_path / "b.yaml", "seed: 2")
    path = write(tmp_path / "c.yaml", "extends: [camvid-fcn-ce, a.yaml, b.yaml]")
    recipe = load_recipe(path)
    assert (recipe.seed, recipe.about) == (2, "first")


def test_lists_are_replaced_not_merged() -> None:
    assert load_recipe("camvid-fcn-cpp", ["model.aux_stages=[4]"]).model.aux_stages == (4,)


def test_null_takes_a_source_out(tmp_path: Path) -> None:
    text = "extends: seethroughnet-cityscapes\ndata: {sources: {coarse: null, vistas: {share: 0.6}}}"
    recipe = load_recipe(write(tmp_path / "mine.yaml", text))
    assert [(source.name, source.share) for source in recipe.data.sources] == [("fine", 0.4), ("vistas", 0.6)]


def test_data_lie_beside_the_recipe_file_that_says_where(tmp_path: Path) -> None:
    write(tmp_path / "base" / "base.yaml", "extends: camvid-fcn-ce\ndata: {root: here}")
    path = write(tmp_path / "mine.yaml", "extends: base/base.yaml")
    recipe = load_recipe(path)
    assert recipe.data.located_sources[0].root == tmp_path / "base" / "here"


def test_paths_of_bundled_recipes_and_overrides_start_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe("camvid-fcn-ce").data.root == tmp_path / "data" / "camvid"
    recipe = load_recipe("camvid-fcn-ce", ["data.root=x", "model.weights=w.pth", "data.sources.train.index=i.npz"])
    assert recipe.model.weights == str(tmp_path / "w.pth")
    assert recipe.data.located_sources[0].index == tmp_path / "x" / "i.npz"


def test_a_resolved_recipe_loads_as_the_same_from_anywhere(tmp_path: Path) -> None:
    recipe = load_recipe("seethroughnet-cityscapes-repro")
    path = write(tmp_path / "resolved.yaml", dump_recipe(recipe))
    assert load_recipe(path) == recipe


def test_the_digest_is_of_what_determines_the_weights() -> None:
    plain = load_recipe("camvid-pspnet-cpp")
    elsewhere = load_recipe("camvid-pspnet-cpp", ["data.root=/elsewhere", "run.log_every=7", "data.workers=0"])
    other = load_recipe("camvid-pspnet-cpp", ["loss.auxiliary_weight=0.5"])
    assert recipe_digest(plain) == recipe_digest(elsewhere)
    assert recipe_digest(plain) != recipe_digest(other)


def test_the_first_difference_is_told() -> None:
    before = load_recipe("camvid-pspnet-cpp")
    now = load_recipe("camvid-pspnet-cpp", ["schedule.power=2.0"])
    assert difference(before, now) == "schedule.power was 0.9, is now 2.0"
    assert difference(before, load_recipe("camvid-pspnet-cpp", ["evaluation.flip=true"])) is None


def test_the_batch_is_dealt_out_to_any_number_of_ranks() -> None:
    schedule = load_recipe("cityscapes-pspnet-cpp").schedule
    assert [schedule.per_rank(ranks) for ranks in (1, 4, 8)] == [(2, 8), (2, 2), (2, 1)]
    with pytest.raises(SettingsError, match=r"schedule\.batch_size: 16 images cannot be distributed across 3 ranks"):
        schedule.per_rank(3)


def test_steps_follow_from_epochs() -> None:
    schedule = load_recipe("seethroughnet-cityscapes").schedule
    assert schedule.num_steps(images_per_epoch=2975) == 175 * 2975 // 8


def test_model_and_criterion_agree_on_the_ignored_class() -> None:
    recipe = load_recipe("camvid-pspnet-cpp", ["loss.ignore=channel"])
    assert recipe.model_arguments()["ignore_channel"] is True
    assert recipe.criterion_arguments()["ignore"] == "channel"


def test_only_cityscapes_has_annotations() -> None:
    with pytest.raises(
        SettingsError, match=r"annotation 'gtFine' is not one of the layout 'camvid'\. Expected is none"
    ):
        load_recipe("camvid-fcn-ce", ["data.sources.train.annotation=gtFine"])


def test_the_dump_is_plain_yaml_with_every_setting() -> None:
    keys = yaml.safe_load(dump_recipe(load_recipe("camvid-fcn-ce")))
    assert keys["data"]["sources"]["train"]["layout"] == "camvid"
    assert keys["run"]["keep_last"] == 2


def test_loading_needs_no_torch() -> None:
    program = (
        "import sys; from segdata.config.recipe import load_recipe; load_recipe('hmsa-cityscapes')\n"
        "print(sorted({'torch', 'numba'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path: Path) -> None:
    text = "extends: camvid-fcn-ce\noptimizer: {lr: 5e-3}\nloss: {main: rmi, main_settings: {ridge: 5e-4, radius: 3}}"
    recipe = load_recipe(write(tmp_path / "mine.yaml", text))
    assert recipe.optimizer.lr == 0.005
    assert recipe.loss.main_settings == {"ridge": 5e-4, "radius": 3}


def test_channels_are_last_in_half_precision_unless_said_otherwise():
    def asked(*settings: str) -> bool:
        return load_recipe("camvid-fcn-ce", settings).model_arguments()["channels_last"]

    assert not asked()
    assert asked("run.precision=bfloat16")
    assert asked("run.channels_last=true")
    assert not asked("run.precision=bfloat16", "run.channels_last=false")
