"""The examples run with the real libraries, and every position of the stream comes once."""

import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdata.tools.batch import BatchSettings
from segdata.tools.index import plan_index, run_index

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Return the index of three labels with pictures."""
    root = tmp_path_factory.mktemp("data")
    for number in range(3):
        ids = np.kron(np.array([[0, number, 13]], np.uint8), np.ones((24, 16), np.uint8))
        for kind, pixels in (("labels", ids), ("pictures", np.stack([ids] * 3, -1))):
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(root / kind / f"{number}.png")
    run_index(plan_index(root / "labels", root / "x.npz", pictures=root / "pictures"), BatchSettings())
    return root / "x.npz"


def run_main(name, index):
    """Run an example here and return the positions it saw."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the libraries
        return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](str(index))


def run_ranks(words, folder):
    """Run an example with processes of its own and return the positions of all ranks, in order."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(
        [sys.executable, *map(str, words)], check=False, capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    ranks = [list(map(int, path.read_text().split())) for path in sorted(folder.glob("rank-*.txt"))]
    assert len(ranks) == 2
    assert len(ranks[0]) == len(ranks[1])
    return sorted(ranks[0] + ranks[1])


def test_torch_dataloader_with_workers_resumes_by_what_was_consumed(index):
    pytest.importorskip("torch")
    assert run_main("torch_dataloader", index) == list(range(80))


def test_torchdata_stateful_dataloader_resumes_within_an_epoch(index):
    pytest.importorskip("torchdata")
    assert run_main("torchdata_stateful", index) == list(range(80))


@pytest.mark.optional
def test_mmengine_registry(index):
    pytest.importorskip("mmengine")
    assert run_main("mmengine_sampler", index) == list(range(40))


@pytest.mark.slow
@pytest.mark.optional
def test_lightning_with_two_processes(index, tmp_path):
    pytest.importorskip("lightning")
    assert run_ranks([EXAMPLES / "lightning_ddp.py", index, tmp_path], tmp_path) == list(range(40))


@pytest.mark.slow
@pytest.mark.optional
def test_accelerate_with_two_processes(index, tmp_path):
    pytest.importorskip("accelerate")
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [EXAMPLES / "accelerate_ddp.py", index, tmp_path]
    assert run_ranks([*words, *script], tmp_path) == list(range(40))
