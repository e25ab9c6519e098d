"""Whichever file operation fails: the output is whole, or there is one line and a second run gives the same tree."""

import contextlib
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from fault_injection import ERRORS, injected
from PIL import Image
from small_runs import differences, write_recipe
from toy_model import write_toy_checkpoint

from segdata.commands import group
from segdata.errors import SegdataError
from segdata.models.checkpoint import CheckpointFolder, read_checkpoint


def write_data(folder: Path) -> None:
    """Write a folder of labels with images."""
    for name in ("labels", "images"):
        (folder / name).mkdir(parents=True)
    for number in range(2):
        ids = np.repeat(np.arange(16, dtype=np.uint8) % 10, 8).reshape(8, 16) + number
        Image.fromarray(ids).save(folder / "labels" / f"{number}.png")
        Image.fromarray(np.stack([ids] * 3, -1)).save(folder / "images" / f"{number}.png")


def with_model(data: Path) -> Path:
    """Return the folder of a run that has a model, written where it is first asked for."""
    run_folder = data / "run"
    if not run_folder.exists():
        write_toy_checkpoint(run_folder, data)
    return run_folder


COMMANDS = {
    "precompute-cpp": lambda data, out: ["precompute-cpp", "--scales", "2", "4", data / "labels", out],
    "convert": lambda data, out: ["convert", "--mapping", "camvid-to-cityscapes", data / "labels", out],
    "index": lambda data, out: ["index", data / "labels", "--images", data / "images", "-o", out / "x.index.npz"],
    "predict": lambda data, out: ["predict", with_model(data), data / "images", out, "--write", "probabilities"],
    "autolabel": lambda data, out: ["autolabel", with_model(data), data / "images", out],
}


def run(words: list[object]) -> Result:
    return CliRunner().invoke(group, [str(word) for word in words])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def without_middle_writes(seen: list[str]) -> list[int]:
    """Return the places of all operations, of a row of writes the first, the middle and the last."""
    rows = [list(row) for _, row in groupby(range(len(seen)), key=lambda at: (seen[at] == "write ") or -at)]
    return sorted({row[at] for row in rows for at in (0, len(row) // 2, -1)})


def assert_one_line(result: Result) -> None:
    assert result.exception is None or isinstance(result.exception, (SystemExit, SegdataError)), repr(result.exception)
    assert "Traceback" not in result.output
    assert "\n" not in str(result.exception)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_data(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("error", [*ERRORS[:1], *(pytest.param(each, marks=pytest.mark.slow) for each in ERRORS[1:])])
def test_commands(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, error: int) -> None:
    words = COMMANDS[command]
    assert run(words(data, tmp_path / "whole" / "out")).exit_code == 0
    whole = tree(tmp_path / "whole")
    places = failures = 0
    while True:
        root = tmp_path / str(places)
        with injected(tmp_path, places, error, monkeypatch) as injection:
            result = run(words(data, root / "out"))
        if not injection.failed:
            break
        assert_one_line(result)
        if result.exit_code == 0:
            assert tree(root) == whole, injection.seen[-1]
        else:
            failures += 1
            again = run(words(data, root / "out"))
            assert again.exit_code == 0, (injection.seen[injection.place], again.output, again.exception)
            assert tree(root) == whole, injection.seen[injection.place]
        places += 1
    assert places > 20
    assert failures > places // 3
    print(f"{command}: {places} operations, {failures} ended with one line")


@pytest.mark.slow
def test_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write_recipe(tmp_path, run="checkpoint_every: 2, evaluate_every: 3")

    def train(folder: Path) -> Result:
        return run(["train", "--config", recipe, "--set", "schedule.iterations=3", "--resume", "-o", folder / "out"])

    def trained(folder: Path) -> list[dict[str, object]]:
        latest = CheckpointFolder(folder / "out", keep_last=2).latest(pytest.fail)
        assert latest is not None
        best = read_checkpoint(folder / "out/best.pt")
        return [{key: one[key] for key in ("model", "progress")} for one in (latest[1], best)]

    assert train(tmp_path / "straight").exit_code == 0
    straight = trained(tmp_path / "straight")
    with injected(tmp_path / "counted", -1, 0, monkeypatch) as counted:
        train(tmp_path / "counted")
    chosen = without_middle_writes(counted.seen)
    failures = 0
    for place in chosen:
        folder = tmp_path / str(place)
        with injected(folder, place, ERRORS[place % len(ERRORS)], monkeypatch) as injection:
            result = train(folder)
        assert injection.failed
        assert_one_line(result)
        failures += result.exit_code != 0
        again = train(folder)
        assert again.exit_code == 0, (injection.seen[place], again.output, again.exception)
        assert differences(trained(folder), straight) == [], injection.seen[place]
        assert not list(folder.rglob("*tmp*")), injection.seen[place]
    assert failures > len(chosen) // 3 > 10
    print(f"train: {len(chosen)} of {len(counted.seen)} operations, {failures} ended with one line")


@pytest.mark.parametrize("error", ERRORS)
def test_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def state(step: int) -> dict[str, object]:
        return {"progress": {"step": step}, "model": {"weight": torch.full((9,), float(step))}}

    place = 0
    while True:
        folder = CheckpointFolder(tmp_path / str(place), keep_last=2)
        for step in (1, 2, 3):
            folder.save(state(step), step, best=step == 1)
        with injected(tmp_path, place, error, monkeypatch) as injection, contextlib.suppress(SegdataError):
            folder.save(state(4), 4, best=False)
        if not injection.failed:
            break
        told: list[str] = []
        _, found = folder.latest(told.append)
        assert found["progress"]["step"] in (3, 4), injection.seen[place]
        assert not told, "a half-written checkpoint bears the name of a whole one"
        folder.save(state(4), 4, best=False)
        assert folder.latest(told.append)[1]["progress"]["step"] == 4
        assert not list(folder.out.rglob(".*.tmp*"))
        place += 1
    assert place > 4
