"""The examples run with the real libraries, and every position of the stream comes once."""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdata.batch.work import BatchSettings
from segdata.jobs.index import plan_index
from segdata.sampling.index_builder import run_index

EXAMPLES = Path(__file__).parents[1] / "examples"
LIMIT = 120  # seconds of a run of several processes; alone it takes some fifteen


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Return the index of three labels with images."""
    root = tmp_path_factory.mktemp("data")
    for number in range(3):
        ids = np.kron(np.array([[0, number, 13]], np.uint8), np.ones((24, 16), np.uint8))
        for kind, pixels in (("labels", ids), ("images", np.stack([ids] * 3, -1))):
            (root / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(root / kind / f"{number}.png")
    run_index(plan_index(root / "labels", root / "x.npz", images=root / "images"), BatchSettings())
    return root / "x.npz"


def run_main(name, index, *more):
    """Run an example here and return the positions it saw."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the libraries
        return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](str(index), *more)


def run_ranks(words, folder, num_ranks=2):
    """Run an example with processes of its own and return the positions of all ranks, in order.

    A run of the library's that does not end is tried once more: its processes say where they stand, as a warning.
    """
    ended, output = run_to_end(words, folder / "output.txt")
    if not ended:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn(f"{words[0]} did not end within {LIMIT} s:\n{output}", stacklevel=1)
        ended, output = run_to_end(words, folder / "output.txt")
    assert ended, output
    ranks = [list(map(int, path.read_text().split())) for path in sorted(folder.glob("rank-*.txt"))]
    assert len(ranks) == num_ranks
    assert len({len(seen) for seen in ranks}) == 1
    return sorted(position for seen in ranks for position in seen)


def run_to_end(words, log):
    """Run a command; return whether it ended within the limit, and what it wrote. A failure is an error at once."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent), "PYTHONFAULTHANDLER": "1"}
    with log.open("w") as output:  # no pipe, which a process left behind would hold open
        process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        assert process.wait(LIMIT) == 0, log.read_text()
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGABRT)  # each process writes the stacks of its threads
        process.wait(30)
        return False, log.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return True, log.read_text()


@pytest.mark.parametrize("save_after", range(1, 11))
def test_torch_dataloader_with_workers_resumes_after_any_step_the_last_of_the_epoch_included(index, save_after):
    pytest.importorskip("torch")
    assert run_main("torch_dataloader", index, save_after) == list(range(80))


@pytest.mark.parametrize("save_after", [1, 3, 9, 10])
def test_torchdata_stateful_dataloader_resumes_within_an_epoch_and_at_its_end(index, save_after):
    pytest.importorskip("torchdata")
    assert run_main("torchdata_stateful", index, save_after) == list(range(80))


@pytest.mark.optional
def test_mmengine_registry(index):
    pytest.importorskip("mmengine")
    assert run_main("mmengine_sampler", index) == list(range(40))


@pytest.fixture(scope="module")
def lightning_run(index, tmp_path_factory):
    """Return the folder of a run of six epochs on two processes, with its checkpoints, and the positions it saw."""
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("lightning")
    return folder, run_ranks([EXAMPLES / "lightning_ddp.py", index, folder], folder)


@pytest.mark.slow
@pytest.mark.optional
def test_lightning_draws_every_position_where_epochs_differ_by_a_batch(lightning_run):
    assert lightning_run[1] == list(range(124))


@pytest.mark.slow
@pytest.mark.optional
@pytest.mark.parametrize(("step", "num_ranks", "end"), [(3, 2, 124), (15, 2, 124), (18, 2, 124), (6, 1, 126)])
def test_lightning_goes_on_from_a_checkpoint_within_an_epoch_or_at_its_end(
    index, lightning_run, tmp_path, step, num_ranks, end
):
    checkpoint = lightning_run[0] / f"step={step}.ckpt"
    words = [EXAMPLES / "lightning_ddp.py", index, tmp_path, checkpoint, num_ranks]
    assert run_ranks(words, tmp_path, num_ranks) == list(range(4 * step, end))


@pytest.mark.optional
def test_accelerate_with_workers_resumes_what_was_trained_on(index, tmp_path):
    pytest.importorskip("accelerate")
    run_main("accelerate_ddp", index, tmp_path)
    for step in (1, 4, 10, 11):  # the epoch has 10
        run_main("accelerate_ddp", index, tmp_path, str(tmp_path / f"step-{step}"))
        assert list(map(int, (tmp_path / "rank-0.txt").read_text().split())) == list(range(2 * step, 42))


@pytest.mark.slow
@pytest.mark.optional
def test_accelerate_with_two_processes(index, tmp_path):
    pytest.importorskip("accelerate")
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = [EXAMPLES / "accelerate_ddp.py", index, tmp_path]
    assert run_ranks([*words, *script], tmp_path) == list(range(40))
    assert run_ranks([*words, *script, tmp_path / "step-3"], tmp_path) == list(range(12, 40))
