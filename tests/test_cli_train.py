"""`segdata train`: a run, its summary, its refusals, and how it ends on a signal."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from segdata.commands.train import command

sys.path.insert(0, str(Path(__file__).parent / "training"))
from small_runs import differences, write_recipe

from segdata.models.checkpoint import read_checkpoint

RUN = [sys.executable, "-c", "from segdata.commands.train import command; command()"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with a recipe and a finished run of it."""
    folder = tmp_path_factory.mktemp("cli")
    run = CliRunner().invoke(command, ["--config", str(write_recipe(folder)), "-o", str(folder / "out"), "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["step"] == 6
    return folder


def test_a_finished_run_is_left_as_it_is(folder):
    arguments = ["--config", str(folder / "small.yaml"), "-o", str(folder / "out"), "--resume"]
    run = CliRunner().invoke(command, arguments)
    assert run.exit_code == 0
    assert run.stdout.startswith(f"6 of 6 steps in {folder / 'out'}\nbest mIoU ")


def test_the_recipe_is_kept_with_every_setting(folder):
    again = CliRunner().invoke(
        command, ["--config", str(folder / "out/recipe.yaml"), "-o", str(folder / "out"), "--resume"]
    )
    assert again.exit_code == 0


def test_an_unknown_setting_is_named(folder):
    run = CliRunner().invoke(command, ["--config", str(folder / "small.yaml"), "--set", "optimizer.rate=1"])
    assert run.exit_code == 1
    assert "optimizer.rate" in str(run.exception)


def test_sigterm_saves_and_the_run_goes_on_to_the_same_bits(folder, tmp_path):
    out, longer = tmp_path / "out", ["--config", str(folder / "small.yaml"), "--set", "schedule.iterations=40"]
    assert CliRunner().invoke(command, [*longer, "-o", str(tmp_path / "straight")]).exit_code == 0
    arguments = [*RUN, *longer, "-o", str(out)]
    with (tmp_path / "words").open("w") as words:
        run = subprocess.Popen(arguments, stderr=words, env=ENVIRONMENT)
        wait_for_line(out / "metrics.jsonl")
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 143
    assert "Everything is saved" in (tmp_path / "words").read_text()
    assert len(list((out / "checkpoints").iterdir())) > 0
    subprocess.run([*arguments, "--resume"], check=True, capture_output=True, env=ENVIRONMENT)
    last = "checkpoints/step-00000040.pt"
    assert differences(read_checkpoint(out / last), read_checkpoint(tmp_path / "straight" / last)) == []


def wait_for_line(path: Path) -> None:
    """Wait until the first step was logged."""
    for _ in range(3000):
        if path.exists() and path.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path}: no line within a minute")
