"""`segdata verify` on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from segdata.codecs.png import encode_label
from segdata.commands import group


@pytest.fixture
def pooled(tmp_path: Path) -> Path:
    """Return the targets of two labels."""
    source = tmp_path / "labels"
    source.mkdir()
    for name in ("a", "b"):
        (source / f"{name}.png").write_bytes(encode_label(np.zeros((4, 4), np.uint8)))
    assert CliRunner().invoke(group, ["precompute-cpp", str(source), str(tmp_path / "cpp")]).exit_code == 0
    return tmp_path / "cpp"


def test_no_fault_is_one_line_and_exit_code_0(pooled: Path) -> None:
    result = CliRunner().invoke(group, ["verify", str(pooled), "--deep", "1"])
    assert result.exit_code == 0
    assert result.stdout == "2 outputs read, 2 compared with their labels, 1 made again: no fault\n"


def test_the_current_folder_is_the_default(pooled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pooled)
    result = CliRunner().invoke(group, ["verify", "--deep", "ALL"])
    assert result.stdout == "2 outputs read, 2 compared with their labels, 2 made again: no fault\n"


def test_faults_are_one_line_each_then_counted_and_the_exit_code_is_1(pooled: Path) -> None:
    (pooled / "a.cpp.npz").unlink()
    (pooled / "x.cpp.npz").touch()
    result = CliRunner().invoke(group, ["verify", str(pooled)])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"missing: {pooled}/a.cpp.npz: is missing. Run the command that wrote it again."
    assert lines[1] == f"extra: {pooled}/x.cpp.npz: no report names it. Remove it, if its label is gone."
    assert lines[2] == "2 outputs read, 1 compared with their labels, 0 made again: 2 faults"
    assert [line.split()[:2] for line in lines[3:]] == [["1", "missing"], ["1", "extra"]]


def test_json_holds_the_same(pooled: Path) -> None:
    (pooled / "a.cpp.npz").unlink()
    result = CliRunner().invoke(group, ["verify", str(pooled), "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["counts"]["missing"] == 1
    assert told["num_outputs"] == 2
    assert [fault["path"] for fault in told["faults"]] == [f"{pooled}/a.cpp.npz"]


@pytest.mark.parametrize("sample", ["some", "-1", "1.5"])
def test_a_sample_is_a_number_or_all(pooled: Path, sample: str) -> None:
    result = CliRunner().invoke(group, ["verify", str(pooled), f"--deep={sample}"])
    assert result.exit_code == 2
    assert f"'{sample}' is neither a number of outputs nor 'all'" in result.stderr
