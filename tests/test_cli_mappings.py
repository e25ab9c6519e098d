"""`segdata mappings`: what is printed, what the exit code says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from segdata.commands.mappings import command
from segdata.errors import MappingError

TABLE_4 = "vistas-v1.2-to-cityscapes"
RULE = "source: camvid\ntarget: cityscapes\nmap: {road: [road]}\nrest: ignore\n"


def run(*words: str) -> Result:
    return CliRunner().invoke(command, words, catch_exceptions=False, env={"COLUMNS": "100"})


def lines_of(result: Result) -> list[str]:
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    (tmp_path / "rule.yaml").write_text(RULE, encoding="utf-8")
    return tmp_path / "rule.yaml"


def test_list() -> None:
    lines = lines_of(run("list"))
    assert "vistas-v1.2-to-cityscapes vistas-v1.2 cityscapes 33 33 Table 4 of the SeeThroughNet" in lines
    assert "cityscapes 35 19" in lines


def test_list_as_json() -> None:
    told = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in told["mappings"]] == [
        "camvid-to-cityscapes",
        "vistas-v1.2-to-cityscapes",
        "vistas-v1.2-to-cityscapes-on-rails",
        "vistas-v2.0-to-cityscapes",
        "vistas-v2.0-to-cityscapes-extended",
        "vistas-v2.0-to-cityscapes-on-rails",
    ]
    assert [row["name"] for row in told["classes"]] == [
        "camvid",
        "cityscapes",
        "nyuv2-40",
        "pascal-context-59",
        "pascal-context-60",
        "vistas-v1.2",
        "vistas-v2.0",
        "voc2012",
    ]


def test_show_a_mapping_in_both_directions() -> None:
    lines = lines_of(run("show", TABLE_4))
    assert "12 25 rider 20 Bicyclist, 21 Motorcyclist, 22 Other Rider" in lines
    assert "16 31 train -" in lines
    assert "22 Other Rider 12 25 rider" in lines
    assert "58 On Rails 255 0 (ignored)" in lines


def test_show_never_breaks_a_name() -> None:
    assert all(len(line) <= 100 for line in run("show", TABLE_4).stdout.splitlines())
    assert "49 Traffic Sign (Back), 51 Trash Can" in " ".join(lines_of(run("show", TABLE_4)))
    assert not any(line.endswith(" 49") for line in run("show", TABLE_4).stdout.splitlines())


def test_show_a_mapping_as_json() -> None:
    told = json.loads(run("show", TABLE_4, "--json").stdout)
    assert (told["source"], told["target"], len(told["rows"])) == ("vistas-v1.2", "cityscapes", 66)
    assert told["rows"][59] == {
        "id": 59,
        "name": "object--vehicle--other-vehicle",
        "readable": "Other Vehicle",
        "target": "car",
        "trainId": 13,
        "labelId": 26,
    }
    assert (told["rows"][58]["target"], told["rows"][58]["trainId"], told["rows"][58]["labelId"]) == (None, 255, 0)


def test_show_a_class_table() -> None:
    assert "7 0 road road 128 64 128" in lines_of(run("show", "cityscapes"))
    assert json.loads(run("show", "cityscapes", "--json").stdout)["rows"][7]["train_id"] == 0


def test_show_an_unknown_name() -> None:
    with pytest.raises(MappingError, match=r"'vistas': is neither a bundled mapping or class table nor a \.yaml file"):
        run("show", "vistas")


def test_check_good_files(rule: Path) -> None:
    result = run("check", str(rule), "camvid")
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert first.startswith(
        f"{rule}: mapping camvid -> cityscapes, 1 classes mapped, 11 ignored; no source for sidewalk (1)"
    )
    assert second == "camvid: class table of 12 classes, 11 trained"


def test_check_names_each_fault_in_a_line_and_goes_on(rule: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(RULE.replace("[road]", "[raod]"), encoding="utf-8")
    (tmp_path / "worse.yaml").write_text("map", encoding="utf-8")
    result = run("check", str(tmp_path / "bad.yaml"), str(tmp_path / "worse.yaml"), str(rule))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0] == (
        f"{tmp_path}/bad.yaml, map, 'road': 'raod' is not a class of 'camvid'. Did you mean 'road'?"
    )
    assert len(result.stderr.splitlines()) == 2
    assert len(result.stdout.splitlines()) == 1


def test_check_as_json(tmp_path: Path) -> None:
    result = run("check", str(tmp_path / "none.yaml"), "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["good"] == {}
    assert "cannot be read" in told["faults"][str(tmp_path / "none.yaml")]


def test_check_without_a_file_is_a_usage_fault() -> None:
    result = run("check")
    assert (result.exit_code, "Give a FILE, or --config FILE." in result.stderr) == (2, True)


def test_check_real_class_lists(real_data: Path) -> None:
    vistas = real_data / "vistas"
    result = run("check", "--config", f"{vistas}/config_v1.2.json", "--config", f"{vistas}/config_v2.0.json")
    assert result.exit_code == 0
    assert [line.split(": ")[1] for line in result.stdout.splitlines()] == [
        "the 66 classes of vistas-v1.2, names and order",
        "the 124 classes of vistas-v2.0, names and order",
    ]


def test_check_a_foreign_class_list(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"labels": [{"name": "road", "color": [0, 0, 0]}]}', encoding="utf-8")
    result = run("check", "--config", str(tmp_path / "config.json"))
    assert result.exit_code == 1
    assert "config.json: class 0 is 'road', but 'animal--bird' in the bundled table 'vistas-v1.2'" in result.stderr


def test_compare_shows_what_differs() -> None:
    lines = lines_of(run("compare", TABLE_4, f"{TABLE_4}-on-rails"))
    assert lines[1:] == [
        "On Rails 58 -> ignored 58 -> train differs",
        "",
        f"1 of 66 classes differ between {TABLE_4} and {TABLE_4}-on-rails",
    ]


def test_compare_all() -> None:
    lines = lines_of(run("compare", TABLE_4, f"{TABLE_4}-on-rails", "--all"))
    assert "Road 13 -> road 13 -> road" in lines
    assert len(lines) == 1 + 66 + 2


def test_compare_with_itself() -> None:
    assert lines_of(run("compare", TABLE_4, TABLE_4)) == [f"0 of 66 classes differ between {TABLE_4} and {TABLE_4}"]


def test_compare_as_json() -> None:
    told = json.loads(run("compare", TABLE_4, f"{TABLE_4}-on-rails", "--json").stdout)
    assert (told["classes"], told["different"], told["a"]["name"]) == (66, 1, TABLE_4)
    assert told["rows"] == [
        {"name": "On Rails", "id_a": 58, "id_b": 58, "target_a": "ignored", "target_b": "train", "differs": True}
    ]


def test_numba_and_torch_stay_unloaded() -> None:
    code = (
        "import sys; from segdata.commands.mappings import command\n"
        f"command.main(['show', '{TABLE_4}'], standalone_mode=False)\n"
        "assert not {'numba', 'torch', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
