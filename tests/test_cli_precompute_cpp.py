"""`segdata precompute-cpp`: options in, targets and one summary out."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from segdata.codecs.png import encode_label
from segdata.commands import group
from segdata.cpp.pooling import cpp_counts
from segdata.cpp.store import load_cpp

LABEL = np.kron(np.array([[0, 1, 255], [2, 2, 13]], np.uint8), np.ones((4, 6), np.uint8))


@pytest.fixture
def city(tmp_path):
    """Return a Cityscapes root with one label of train ids."""
    path = tmp_path / "city" / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_labelTrainIds.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(encode_label(LABEL))
    return tmp_path / "city"


def invoke(*words):
    return CliRunner().invoke(group, ["precompute-cpp", *map(str, words)])


def test_scales_take_several_values_before_the_folders(city, tmp_path):
    result = invoke("--scales", 2, 3, city, tmp_path / "out")
    assert result.exit_code == 0, result.output
    targets = load_cpp(
        tmp_path / "out" / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_labelTrainIds.cpp.npz"
    )
    assert targets.scales == (2, 3)
    assert np.array_equal(targets.counts(3), cpp_counts(LABEL, 3))


def test_it_works_inside_a_data_set_and_says_where_it_wrote(city, monkeypatch):
    monkeypatch.chdir(city)
    result = invoke("--scales", 2, 4, 8)
    assert result.exit_code == 0, result.output
    out = city.with_name(f"{city.name}-cpp")
    assert f"1 label of trainIds of 'cityscapes' to {out}" in result.stderr
    assert len(list(out.rglob("*.cpp.npz"))) == 1
    assert "1 file: 1 already there" in invoke("--scales", 2, 4, 8).stdout


def test_the_folder_in_src_is_no_source_of_the_next_run(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.png").write_bytes(encode_label(LABEL))
    assert "1 file: 1 done" in invoke(tmp_path, tmp_path / "cpp").stdout
    assert "1 file: 1 already there" in invoke(tmp_path, tmp_path / "cpp").stdout


def test_the_summary_is_a_table_of_classes(city, tmp_path):
    lines = invoke(city, tmp_path / "out").stdout.splitlines()
    assert lines[1].split() == ["road", "24", "20.00%"]
    assert lines[-2].split()[:3] == ["ignored", "24", "16.67%"]
    assert lines[-1] == "1 file: 1 done"


def test_json_holds_the_report(city, tmp_path):
    result = json.loads(invoke(city, tmp_path / "out", "--json").stdout)
    assert result["counts"]["done"] == 1
    assert result["report"]["settings"]["encoding"] == "trainIds"
    assert result["report"]["totals"]["pixels"]["car"] == 24


def test_a_bad_label_is_one_line_and_exit_code_1(city, tmp_path):
    bad = city / "gtFine" / "train" / "aachen" / "x_gtFine_labelTrainIds.png"
    bad.write_bytes(encode_label(np.full((4, 4), 40, np.uint8)))
    result = invoke(city, tmp_path / "out")
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert "x_gtFine_labelTrainIds.png: id 40 is neither a train id of 'cityscapes'" in line


@pytest.mark.parametrize(
    "words", [["--scales", "0"], ["--scales", "70000"], ["-j", "0"], ["--encoding", "colors"], ["--ragged", "pad"]]
)
def test_wrong_usage_is_exit_code_2(city, words):
    assert invoke(*words, city).exit_code == 2
