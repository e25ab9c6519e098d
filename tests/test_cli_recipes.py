"""`segdata recipes`: listing and resolving."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from segdata.commands.recipes import command
from segdata.config.recipe import load_recipe, recipe_digest
from segdata.errors import SettingsError


def run(*words: str) -> str:
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_names_whole_recipes_and_the_parts_of_the_others() -> None:
    printed = run("list")
    assert "seethroughnet-cityscapes " in printed
    assert (
        "models  deeplabv3, deeplabv3plus, deeplabv3plus-lite0, fcn, hrnet, ocrnet, pspnet, pspnet-lite0, upernet"
        in printed
    )
    assert "cityscapes-fcn-ce" not in printed
    assert "cityscapes-fcn-ce\n" in run("list", "--all")


def test_list_as_json_names_all() -> None:
    told = json.loads(run("list", "--json"))
    assert {"hmsa-cityscapes", "nyuv2-upernet-cpp"} <= set(told["recipes"])
    assert told["parts"]["losses"] == ["ce", "cpp", "cpp-stored"]


def test_show_prints_the_resolved_recipe_as_yaml(tmp_path: Path) -> None:
    printed = run("show", "camvid-fcn-ce", "--set", "optimizer.lr=0.5")
    assert yaml.safe_load(printed)["optimizer"]["lr"] == 0.5
    path = tmp_path / "resolved.yaml"
    path.write_text(printed)
    assert load_recipe(path) == load_recipe("camvid-fcn-ce", ["optimizer.lr=0.5"])


def test_show_as_json_has_the_digest() -> None:
    told = json.loads(run("show", "camvid-fcn-ce", "--json"))
    assert told["digest"] == recipe_digest(load_recipe("camvid-fcn-ce"))
    assert told["recipe"]["model"]["name"] == "fcn"


def test_unknown_recipe_is_told_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'camvid-fcn-ce'"):
        run("show", "camvid-fcn-c")


def test_keys_say_default_choices_and_meaning() -> None:
    printed = run("keys", "data.bad_images")
    assert printed == (
        "data.bad_images: error\n"
        "    What an unreadable image does: end the run, or be left out and counted. One of error, skip.\n"
    )


def test_every_key_of_a_resolved_recipe_is_explained() -> None:
    told = {each["key"] for each in json.loads(run("keys", "--json"))}
    keys = yaml.safe_load(run("show", "camvid-fcn-ce"))
    assert {f"schedule.{key}" for key in keys["schedule"]} <= told
    assert {f"data.sources.NAME.{key}" for key in keys["data"]["sources"]["train"]} <= told


def test_keys_of_an_unknown_section_are_refused() -> None:
    result = CliRunner().invoke(command, ["keys", "optimiser"])
    assert result.exit_code == 2
    assert "no key begins with 'optimiser'" in result.stderr


def test_init_writes_a_recipe_that_begins_as_another(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    assert run("init", "camvid-fcn-ce", "-o", str(path)).strip() == str(path)
    whole = load_recipe("camvid-fcn-ce")
    assert recipe_digest(load_recipe(path)) == recipe_digest(whole)
    text = path.read_text().replace("# optimizer:", "optimizer:").replace("#   lr:", "  lr: 0.5  #")
    path.write_text(text)
    assert load_recipe(path).optimizer.lr == 0.5
    with pytest.raises(SettingsError, match="is there already"):
        run("init", "camvid-fcn-ce", "-o", str(path))
    with pytest.raises(SettingsError, match=r"ends with \.yaml"):
        run("init", "camvid-fcn-ce", "-o", str(tmp_path / "mine.txt"))
