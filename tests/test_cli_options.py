"""What the batch commands share on the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from segdata.batch.work import Outcome
from segdata.commands.options import (
    NumbersCommand,
    batch_options,
    conclude,
    printable,
    source_and_destination,
    spread_numbers,
)


@click.command(cls=NumbersCommand)
@click.option("--scales", "-s", type=int, multiple=True)
@click.option("--ratios", type=click.FloatRange(0, 1), multiple=True)
@click.option("--names", multiple=True)
@source_and_destination(default=lambda source: source.with_name(f"{source.name}-cpp"))
@batch_options
def command(**values: Any) -> None:
    """Print what was understood."""
    click.echo(repr(values))


def understood(*args: str) -> dict[str, Any]:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    names = {"PosixPath": Path, "BatchSettings": dict}
    return eval(result.stdout, names)  # type: ignore[no-any-return]


def invoke(*args: str) -> Result:
    return CliRunner().invoke(command, args)


@pytest.mark.parametrize(
    "words",
    [
        ["--scales", "2", "4", "8", ".", "out"],
        [".", "out", "--scales", "2", "4", "8"],
        [".", "--scales", "2", "4", "8", "out"],
        ["--scales", "2", "--scales", "4", "--scales", "8", ".", "out"],
        ["--scales=2", "-s", "4", "8", ".", "out"],
        ["-s", "2", "4", "8", "--json", ".", "out"],
        ["--scales", "2", "4", "8", "--", ".", "out"],
    ],
)
def test_several_numbers_follow_one_flag_up_to_the_first_other_word(words: list[str]) -> None:
    values = understood(*words)
    assert values["scales"] == (2, 4, 8)
    assert values["destination"] == Path.cwd() / "out"


def test_only_numbers_are_spread_and_only_behind_options_of_numbers() -> None:
    assert understood("--names", "x", ".", "4")["destination"].name == "4"
    assert understood("--ratios", "0.5", "1", ".")["ratios"] == (0.5, 1.0)
    assert spread_numbers(["--", "--scales", "2", "4"], {"--scales"}) == ["--", "--scales", "2", "4"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scales", "two", "."], "'two' is not a valid integer"),
        (["--scales"], "Option '--scales' requires an argument"),
        (["--scales", "--json"], "'--json' is not a valid integer"),
        (["--scales", "2", "4.5", "."], "'4.5' is not a valid integer"),
    ],
)
def test_what_is_no_number_is_a_usage_error(words: list[str], message: str) -> None:
    result = invoke(*words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_folders_are_given_as_absolute_paths_with_their_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "city").mkdir()
    monkeypatch.chdir(tmp_path / "city")
    values = understood()
    assert (values["source"], values["destination"]) == (tmp_path / "city", tmp_path / "city-cpp")


def test_folders_whose_names_begin_with_a_dash_stand_behind_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-in").mkdir()
    values = understood("--", "-in", "-out")
    assert (values["source"], values["destination"]) == (tmp_path / "-in", tmp_path / "-out")


def test_a_source_that_is_not_there_is_a_usage_error() -> None:
    result = invoke("nowhere")
    assert result.exit_code == 2
    assert "'nowhere' does not exist" in result.stderr


def test_the_shared_options_make_one_settings_object() -> None:
    values = understood("-j", "4", "--shard", "2/8", "--dry-run", "--overwrite", "--update", "--fail-fast", "--json")
    assert values["as_json"] is True
    assert values["batch"] == {
        "jobs": 4,
        "shard": (2, 8),
        "dask": None,
        "dry_run": True,
        "overwrite": True,
        "update": True,
        "fail_fast": True,
        "progress": True,
    }


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/", "-1/4"])
def test_a_shard_that_is_none_is_a_usage_error(shard: str) -> None:
    result = invoke(f"--shard={shard}")
    assert result.exit_code == 2
    assert f"'{shard}' is not a shard. Expected I/N with I from 1 to N" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-j", "0"], "--jobs 0: expected a number of processes from 1, or -1 for all cores."),
        (["-j", "2", "--dask", "tcp://host:1"], "--dask and --jobs 2: the cluster has its own workers."),
    ],
)
def test_processes_that_cannot_be_are_a_usage_error(words: list[str], message: str) -> None:
    result = invoke(*words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_the_root_of_the_file_system_has_no_sibling_to_write_to() -> None:
    result = invoke("/")
    assert result.exit_code == 2
    assert "DST: none is given, and / has no folder beside it. Give one." in result.stderr
    assert understood("/", "/nowhere/out")["destination"] == Path("/nowhere/out")


def test_errors_go_to_stderr_one_line_each_and_the_count_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [
        Outcome(key="a", status="done"),
        Outcome(key="b", status="kept"),
        Outcome(key="c", status="error", message="c.png: is damaged."),
    ]
    assert conclude(outcomes, as_json=False) == 1
    captured = capsys.readouterr()
    assert captured.out == "3 files: 1 done, 1 already there, 1 with an error\n"
    assert captured.err == "error: c.png: is damaged.\n"


def test_json_holds_counts_errors_and_what_the_command_adds(capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude([Outcome(key="a", status="todo")], as_json=True, result={"report": "x"}) == 0
    assert json.loads(capsys.readouterr().out) == {
        "counts": {"done": 0, "kept": 0, "todo": 1, "error": 0},
        "errors": {},
        "report": "x",
    }


def test_a_name_that_is_no_text_is_printed_as_escapes() -> None:
    assert printable(os.fsdecode(b"caf\xe9")) == "caf\\udce9"
    assert printable("Straße") == "Straße"


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_of_torch_sleep_while_they_wait_unless_the_user_says_otherwise(given, expected):
    script = (
        "import atexit, os, sys; from segdata.commands import main; sys.argv = ['segdata', '--version'];"
        "atexit.register(lambda: print(os.environ['OMP_WAIT_POLICY'])); main()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == expected
