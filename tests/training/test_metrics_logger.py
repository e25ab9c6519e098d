"""The metrics log of a run."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from segdata.errors import SettingsError
from segdata.logs import configure_logging
from segdata.training.reporting import MetricsLogger, keep_until
from segdata.training.sinks import open_sinks


def test_a_run_that_goes_on_drops_the_lines_of_later_steps_and_a_cut_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    keep_until(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_every_record_is_a_line(tmp_path):
    with MetricsLogger(tmp_path, 0, 9, progress=False) as metrics:
        metrics.record("train", 1, {"loss": 0.5, "lr": 0.1})
        metrics.record("fault", 2, {"left_out": ["a.png"]})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [
        {"kind": "train", "step": 1, "loss": 0.5, "lr": 0.1},
        {"kind": "fault", "step": 2, "left_out": ["a.png"]},
    ]


def test_progress_is_on_stderr_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("segdata.logs.SECONDS_BETWEEN_LINES", 0.0)
    configure_logging()
    with MetricsLogger(tmp_path, 4, 9) as metrics:
        metrics.step()
    out, err = capsys.readouterr()
    assert out == ""
    assert "training: 5 of 9 steps" in err


@pytest.mark.optional
def test_curves_and_images_where_tensorboard_is_installed(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    sinks = open_sinks((), tmp_path, 0, {}, tensorboard=True)
    with MetricsLogger(tmp_path, 0, 9, sinks, progress=False) as metrics:
        metrics.record("train", 1, {"loss": 0.5, "lr": 0.1, "parts": {"main": 0.25}})
        metrics.image("crop", 1, np.zeros((4, 6, 3), np.uint8))
    found = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert found.Scalars("train/parts/main")[0].value == 0.25
    assert found.Tags()["images"] == ["crop"]


class Failing:
    """Takes one set of figures, and then its network is gone."""

    def __init__(self):
        self.taken = []

    def figures(self, values, step):
        if self.taken:
            raise ConnectionError("no\nroute")
        self.taken.append((values, step))

    def image(self, name, pixels, step):
        raise AssertionError("it gets nothing more")

    def close(self):
        raise AssertionError("it gets nothing more")


def test_a_sink_that_fails_does_not_end_the_run(tmp_path, caplog):
    sink = Failing()
    with MetricsLogger(tmp_path, 0, 9, [sink], progress=False) as metrics:
        for step in (1, 2, 3):
            metrics.record("train", step, {"loss": 0.5, "lr": 0.1})
        metrics.image("crop", 3, np.zeros((4, 6, 3), np.uint8))
    assert sink.taken == [({"train/loss": 0.5, "train/lr": 0.1}, 1)]
    assert caplog.text.count("Failing fails and gets nothing more (ConnectionError: no route)") == 1
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_logger_that_is_not_installed_or_refuses_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SettingsError, match=r"run.loggers: 'wandb' needs a package: pip install wandb"):
        open_sinks(("wandb",), tmp_path, 0, {}, tensorboard=False)


RUN = """
import sys, numpy
from pathlib import Path
from segdata.training.reporting import MetricsLogger
from segdata.training.sinks import open_sinks
name, out, begin = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
sinks = open_sinks((name,), out, begin, {"optimizer": {"lr": 0.5}, "long": "x" * 9999}, tensorboard=False)
with MetricsLogger(out, begin, 9, sinks, progress=False) as metrics:
    for step in range(begin + 1, begin + 3):
        metrics.record("train", step, {"loss": 1 / step, "lr": 0.5, "parts": {"main (a)": 2.0}})
    metrics.image("image, label", begin + 2, numpy.zeros((4, 6, 3), numpy.uint8))
"""


def logged(name, folder, begin, **environment):
    out = folder / "run"
    out.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, name, str(out), str(begin)],
        env=os.environ | environment,
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.optional
def test_mlflow_gets_figures_settings_and_images_and_a_resumed_run_continues_there(tmp_path):
    pytest.importorskip("mlflow")
    where = {"MLFLOW_TRACKING_URI": f"file:{tmp_path}/store", "MLFLOW_ALLOW_FILE_STORE": "true"}
    for begin in (0, 2):
        logged("mlflow", tmp_path, begin, **where)
    (run,) = (path.parent for path in (tmp_path / "store").glob("*/*/metrics"))
    losses = [line.split()[1:] for line in (run / "metrics/train/loss").read_text().splitlines()]
    assert [(float(value), int(step)) for value, step in losses] == [(1 / step, step) for step in (1, 2, 3, 4)]
    assert (run / "metrics/train/parts/main _a_").exists()
    assert (run / "params/optimizer.lr").read_text() == "0.5"
    assert not (run / "params/long").exists()
    assert len(list((run / "artifacts").glob("*.png"))) == 2


@pytest.mark.slow
@pytest.mark.optional
def test_weights_and_biases_writes_offline_runs_of_one_name(tmp_path):
    pytest.importorskip("wandb")
    where = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_CACHE_DIR": str(tmp_path / "cache")}
    for begin in (0, 2):
        logged("wandb", tmp_path, begin, **where)
    names = {path.stem for path in (tmp_path / "run").glob("wandb/offline-run-*/run-*.wandb")}
    assert len(names) == 1
