"""The metrics log of a run."""

import json

import numpy as np
import pytest

from segdata.logs import configure_logging
from segdata.training.reporting import MetricsLogger, keep_until


def test_a_run_that_goes_on_drops_the_lines_of_later_steps_and_a_cut_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    keep_until(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_every_record_is_a_line(tmp_path):
    with MetricsLogger(tmp_path, 0, 9, tensorboard=False, progress=False) as metrics:
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
    with MetricsLogger(tmp_path, 4, 9, tensorboard=False) as metrics:
        metrics.step()
    out, err = capsys.readouterr()
    assert out == ""
    assert "training: 5 of 9 steps" in err


@pytest.mark.optional
def test_curves_and_images_where_tensorboard_is_installed(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with MetricsLogger(tmp_path, 0, 9, progress=False) as metrics:
        metrics.record("train", 1, {"loss": 0.5, "lr": 0.1, "parts": {"main": 0.25}})
        metrics.image("crop", 1, np.zeros((4, 6, 3), np.uint8))
    found = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert found.Scalars("train/parts/main")[0].value == 0.25
    assert found.Tags()["images"] == ["crop"]
