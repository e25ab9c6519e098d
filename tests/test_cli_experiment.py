"""`segdata experiment`: runs that finish, fail, are stopped and continued; what is shown of them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from PIL import Image
from small_runs import write_recipe

from segdata.commands.experiment import command
from segdata.experiments.grid import LOGS, RESULTS, RUNS


def invoke(*arguments):
    return CliRunner().invoke(command, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a finished experiment of two arms, of which a third fails."""
    folder = tmp_path_factory.mktemp("experiment")
    write_recipe(folder)
    (folder / "grid.yaml").write_text(
        """
        config: small.yaml
        set: {schedule.iterations: 2, evaluation.boundary: true}
        arms:
          ce: {set: {model.aux_stages: []}}
          cpp:
          lost: {set: {data.root: nowhere}}
        seeds: [0, 1]
        """
    )
    ended = invoke("run", folder / "grid.yaml", "-o", folder / "out", "-j", 2)
    assert ended.exit_code == 1, ended.output
    assert "4 of 6 runs finished" in ended.stdout
    assert "2 failed: lost-seed0, lost-seed1. Run the same command to try again." in ended.stdout
    return folder


def test_a_failed_run_is_told_in_one_line_and_the_others_continue(folder):
    assert "nowhere" in (folder / "out" / LOGS / "lost-seed0.log").read_text()
    assert sorted(path.stem for path in (folder / "out" / RESULTS).glob("c*.json")) == [
        *("ce-seed0", "ce-seed1"),
        *("cpp-seed0", "cpp-seed1"),
    ]


def test_what_is_finished_is_kept_and_what_failed_is_tried_again(folder):
    before = (folder / "out" / RESULTS / "cpp-seed0.json").stat().st_mtime_ns
    again = invoke("run", folder / "grid.yaml", "-o", folder / "out")
    assert again.exit_code == 1
    assert "4 of 6 runs finished" in again.stdout
    assert (folder / "out" / RESULTS / "cpp-seed0.json").stat().st_mtime_ns == before


def test_runs_share_one_index(folder):
    assert (folder / "out" / RUNS / "indexes").is_dir()


def test_results_are_those_of_the_runs(folder):
    result = json.loads((folder / "out" / RESULTS / "cpp-seed1.json").read_text())
    lines = (folder / "out" / RUNS / "cpp-seed1" / "metrics.jsonl").read_text().splitlines()
    last = [json.loads(line) for line in lines if '"evaluation"' in line][-1]
    assert result["evaluations"][-1]["miou"] == last["miou"]
    assert result["evaluations"][-1]["boundary_miou"] == last["mean_boundary_iou"]
    assert result["seconds"] > 0
    assert result["fixed"]["deterministic"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "cpp against ce"),
        (("--classes",), "traffic sign"),
        (("--boundary",), "points of boundary IoU"),
        (("--latex",), r"\toprule"),
        (("--csv",), "arm,seed,step"),
        (("--json",), '"measure": "mIoU"'),
    ],
)
def test_it_is_shown_in_every_form(folder, arguments, words):
    shown = invoke("show", folder / "out", *arguments)
    assert shown.exit_code == 0, shown.output
    assert words in shown.stdout


def test_the_figure_is_drawn(folder, tmp_path):
    assert invoke("show", folder / "out", "--plot", tmp_path / "runs.png").exit_code == 0
    with Image.open(tmp_path / "runs.png") as figure:
        assert figure.size[0] > 1000


def test_shards_part_the_runs_between_them(folder):
    parts = [
        invoke("run", folder / "grid.yaml", "-o", folder / "out", "--shard", f"{part}/2", "--dry-run").stdout.split()
        for part in (1, 2)
    ]
    assert sorted(parts[0] + parts[1]) == sorted(
        f"{arm}-seed{seed}" for arm in ("ce", "cpp", "lost") for seed in (0, 1)
    )
    assert len(parts[0]) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("seeds",), "needs --config"),
        (("aux-weight", "--config", "a", "--config", "b"), "takes one --config"),
        (("seeds", "--config", "a", "--weights", "1"), "--weights is for aux-weight"),
        (("weights",), "is no experiment"),
        (("grid.yaml", "--runs", "3"), "stand in the grid"),
    ],
)
def test_usage_is_explained(arguments, words, tmp_path):
    ended = invoke("run", *arguments, "-o", tmp_path)
    assert ended.exit_code == 2
    assert words in ended.stderr


def test_sigterm_saves_every_run_and_the_next_call_continues_to_the_same_bits(tmp_path):
    recipe = write_recipe(tmp_path)
    arguments = ["run", "seeds", "--config", recipe, "--runs", 2, "--set", "schedule.iterations=200", "-j", 2]
    program = [sys.executable, "-c", "from segdata.commands.experiment import command; command()"]
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*program, *map(str, arguments), "-o", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        begun = [path for path in (out / RUNS).glob("*/metrics.jsonl") if len(path.read_text().splitlines()) > 3]
        if begun:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "stopped. Everything is saved" in told
    assert not [path for path in (out / RESULTS).glob("*.json") if json.loads(path.read_text())["finished"]]
    again = invoke(*arguments, "-o", out)
    assert again.exit_code == 0, again.output
    assert invoke(*arguments, "-o", tmp_path / "straight").exit_code == 0
    for seed in (0, 1):
        one, other = (
            json.loads((each / RESULTS / f"small-seed{seed}.json").read_text())["evaluations"]
            for each in (out, tmp_path / "straight")
        )
        assert one == other
