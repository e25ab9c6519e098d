"""The benchmark for a GPU takes the same path on a CPU, so that it does not rot between the rare times of a GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_every_part_ends_with_a_table(tmp_path):
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--tiny", "--budget", "280"]
    run = subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + "".join(path.read_text()[-3000:] for path in tmp_path.glob("*.log"))
    parts = json.loads((tmp_path / "results.json").read_text())["parts"]
    measured = {name for name, told in parts.items() if any(len(table["rows"]) > 1 for table in told["tables"])}
    assert measured == {name for name in parts if not name.startswith("camvid")}  # which wants a data set
    assert all(f"## {name} (" in (tmp_path / "RESULTS.md").read_text() for name in parts)


def test_a_part_that_hangs_or_fails_is_told_and_the_next_one_is_begun(tmp_path, monkeypatch):
    from benchmarks.gpu import __main__ as gpu

    (tmp_path / "hanging_part.py").write_text("import time; time.sleep(60)")
    (tmp_path / "failing_part.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    hanging = gpu.run_part(gpu.Part("hanging", "hanging_part", 60), tmp_path, 2, "cpu", tiny=True)
    assert hanging["fault"] == "cut off after 2 s"
    failing = gpu.run_part(gpu.Part("failing", "failing_part", 60), tmp_path, 30, "cpu", tiny=True)
    assert failing["fault"] == "ended with exit code 3: see failing.log"


def test_no_part_is_begun_without_time(tmp_path, monkeypatch):
    from benchmarks.gpu import __main__ as gpu

    monkeypatch.setattr(sys, "argv", ["gpu", "--budget", "1", "--out", str(tmp_path), "--device", "cpu"])
    assert gpu.main() == 1
    parts = json.loads((tmp_path / "results.json").read_text())["parts"]
    assert {told["fault"] for told in parts.values()} == {"not begun: the budget is spent"}
