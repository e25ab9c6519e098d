"""`segdata doctor`: what a machine offers."""

import json
import resource
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from click.testing import CliRunner

from segdata.commands.doctor import command


def run(*words: object) -> str:
    result = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_it_names_cores_memory_packages_and_room(tmp_path: Path) -> None:
    printed = run(tmp_path)
    for name in ("segdata", "cores", "memory", "open files", "compiled code", "torch"):
        assert f" {name} " in printed
    assert str(tmp_path) in printed


def test_json_has_the_same(tmp_path: Path) -> None:
    told = json.loads(run(tmp_path, "--json"))
    assert {"cores", "disk", "open files"} <= {each["name"] for each in told}
    assert all(each.keys() == {"name", "value", "advice"} for each in told)


def test_what_is_in_the_way_has_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(64 * 2**20, 0, 64 * 2**20))
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (256, 256))
    printed = run(tmp_path)
    assert "! shared memory  64 MiB" in printed
    assert "--shm-size=8g" in printed
    assert "! open files     256" in printed
    assert "ulimit -n 4096" in printed


def test_a_folder_that_is_not_there_yet_is_measured_where_it_would_be(tmp_path: Path) -> None:
    assert f"free in {tmp_path}" in run(tmp_path / "later")
