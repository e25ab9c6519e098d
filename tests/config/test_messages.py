"""What is wrong with a recipe is said in one line: where, which key, which value, what is expected."""

from pathlib import Path

import pytest

from segdata.config.recipe import load_recipe
from segdata.errors import SettingsError


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "optimizer.lrr=1",
            r"--set optimizer\.lrr=1: key 'optimizer\.lrr' is not known\. Did you mean 'optimizer\.lr'\?",
        ),
        ("optimiser.lr=1", r"key 'optimiser' is not known\. Did you mean 'optimizer'\?"),
        (
            "data.sources.train.spltis=x",
            r"'data\.sources\.train\.spltis' .* Did you mean 'data\.sources\.train\.splits'",
        ),
        ("data.validation.rot=x", r"key 'data\.validation\.rot' is not known\. Did you mean 'data\.validation\.root'"),
        ("optimizer.lr=fast", r"--set optimizer\.lr=fast: 'fast' is not a number\."),
        ("optimizer.lr=-1", r"--set optimizer\.lr=-1: -1 is out of range\. Expected is a number above 0\.0"),
        (
            "loss.main=cee",
            r"--set loss\.main=cee: 'cee' is not offered\. Expected is 'ce', 'ohem', 'rmi', 'bce' or 'cpp'",
        ),
        ("data.sources.train.layout=voc", r"--set data\.sources\.train\.layout=voc: 'voc' is not offered"),
        ("data.sources.more.share=0.5", r"data\.sources\.more\.layout: has no value"),
        ("data.sources.train.share=0.5", r"the shares 0\.5 \(train\) sum to 0\.5\. Expected is 1"),
        ("data.classes=cityscape", r"--set data\.classes=cityscape: 'cityscape': .* Did you mean 'cityscapes'\?"),
        ("schedule.epochs=3", r"schedule: iterations 20000, epochs 3: expected is one of the two"),
        ("model.scales=[0.5, 1.0]", r"model: scales: the model 'fcn' has no such setting"),
        ("loss.auxiliary_weight=[1]", r"--set loss\.auxiliary_weight=\[1\]: \[1\] is not a number"),
        ("augmentation.scale=[2.0, 0.5]", r"scale: \(2\.0, 0\.5\) is not a range"),
        ("evaluation.stride=[9, 9]", r"stride: \(9, 9\) does not fit the window None"),
        ("run", r"--set run: is not a setting\. Write a key, '=' and a value"),
        ("augmentation.crop=[1", r"the value is not valid YAML"),
        (
            "run.compile=true",
            r"truth value, as YAML reads on, off, yes and no\. Expected is one of: blocks, model, null\.",
        ),
        ("optimizer.clip_norm=true", r"Expected is another kind of value\. Put a word in quotes\."),
        ("optimizer.lr=yes", r"--set optimizer\.lr=yes: true is a truth value, as YAML reads on, off, yes and no"),
        ("optimizer.lr=.inf", r"--set optimizer\.lr=\.inf: inf is not a finite number"),
        ("loss.main_settings={a: {b: 1}}", r"loss\.main_settings\.a: \{'b': 1\} is not a number\. Change it there"),
    ],
)
def test_an_override_that_does_not_fit(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load_recipe("camvid-fcn-ce", [override])
    assert "\n" not in str(caught.value)


def test_the_file_that_gave_the_value_is_named(tmp_path: Path) -> None:
    (tmp_path / "low.yaml").write_text("extends: camvid-fcn-ce\nschedule: {power: -1}")
    (tmp_path / "top.yaml").write_text("extends: low.yaml\nseed: 3")
    with pytest.raises(SettingsError, match=r"low\.yaml, schedule\.power: -1 is out of range"):
        load_recipe(tmp_path / "top.yaml")


def test_an_unknown_key_is_told_of_the_file_that_has_it(tmp_path: Path) -> None:
    (tmp_path / "low.yaml").write_text("extends: camvid-fcn-ce\nmodle: {}")
    (tmp_path / "top.yaml").write_text("extends: low.yaml")
    with pytest.raises(SettingsError, match=r"low\.yaml: key 'modle' is not known\. Did you mean 'model'"):
        load_recipe(tmp_path / "top.yaml")


def test_files_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml")
    (tmp_path / "b.yaml").write_text("extends: a.yaml")
    with pytest.raises(SettingsError, match=r"b\.yaml, extends: 'a\.yaml' extends this file in turn"):
        load_recipe(tmp_path / "a.yaml")


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(
        SettingsError, match=r"'cityscape-pspnet-cpp': is neither.* Did you mean 'cityscapes-pspnet-cpp'"
    ):
        load_recipe("cityscape-pspnet-cpp")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read \(No such file"):
        load_recipe(tmp_path / "none.yaml")


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: camvid-fcn-ce\nseed: 1\nseed: 2")
    with pytest.raises(SettingsError, match="key 'seed' is given twice"):
        load_recipe(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    "value", ["2024-13-45", "!!int ''", "!!bool x", "!!timestamp x", "[1", "{a: 1, a: ", "!!python/none"]
)
def test_a_value_that_yaml_stumbles_over_is_one_line(value):
    with pytest.raises(SettingsError) as caught:
        load_recipe("camvid-fcn-ce", [f"name={value}"])
    assert "\n" not in str(caught.value)
