"""Several ranks train as one, and survive what happens to processes. Two processes over gloo."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small_runs import differences, write_recipe
from torch import distributed, multiprocessing, nn

from segdata.distributed.process_group import DistributedContext, Place, first_host, init_distributed, launched_as
from segdata.errors import SettingsError
from segdata.models.checkpoint import read_checkpoint
from segdata.training.batch_norm import GatheredBatchNorm2d, synchronized

RUN = [sys.executable, "-c", "from segdata.commands.train import command\nif __name__ == '__main__': command()"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PLAIN = (
    "model.dropout=0",
    "model.aux_dropout=0",
    "schedule.iterations=20",
    "run.checkpoint_every=1",
    "run.keep_last=100",
)
SLURM = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "8(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_JOB_ID": "1234567",
}


def test_srun_says_who_a_process_is():
    assert launched_as(SLURM) == Place(9, 16, 1, 8, "gpu07", 24567)


def test_a_batch_script_is_no_rank():
    assert launched_as({"SLURM_PROCID": "0", "SLURM_NTASKS": "16", "SLURM_JOB_ID": "7"}) is None


def test_a_list_without_a_name_is_refused():
    with pytest.raises(SettingsError, match=r"'' names no node\. Set MASTER_ADDR"):
        first_host("")


def test_one_process_needs_no_group():
    with init_distributed("cpu", {}) as world:
        assert (world.is_first, world.total(2.0, 3.0), world.gather("a")) == (True, [2.0, 3.0], ["a"])
        assert not distributed.is_initialized()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told():
    with pytest.raises(SettingsError, match="device 'cuda': torch finds no GPU"), init_distributed("cuda", {}):
        pass


def batch_norm_case() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(3).double()
    nn.init.normal_(layer.weight)
    images = torch.randn(4, 3, 5, 5, dtype=torch.float64) * 3 + 100
    return layer, images, torch.randn_like(images)


def normalize_on_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    layer, images, weights = batch_norm_case()
    layer = synchronized(nn.Sequential(layer), torch.device("cpu"))
    mine = images[2 * rank : 2 * rank + 2].requires_grad_()
    out = layer(mine)
    (out * weights[2 * rank : 2 * rank + 2]).sum().backward()
    found = [out.detach(), mine.grad, *(p.grad for p in layer.parameters())]
    torch.save({"found": found, "buffers": dict(layer[0].named_buffers())}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_batch_norm_over_two_ranks_is_that_of_the_whole_batch(tmp_path):
    multiprocessing.spawn(normalize_on_rank, (str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    layer, images, weights = batch_norm_case()
    out = layer(images.requires_grad_())
    (out * weights).sum().backward()
    pairs = list(zip(ranks[0]["found"], ranks[1]["found"], strict=True))
    torch.testing.assert_close([torch.cat(pair) for pair in pairs[:2]], [out.detach(), images.grad])
    torch.testing.assert_close([sum(pair) for pair in pairs[2:]], [layer.weight.grad, layer.bias.grad])
    torch.testing.assert_close(ranks[1]["buffers"], dict(layer.named_buffers()))


def test_a_batch_norm_that_does_more_is_refused():
    class BatchNormAct2d(nn.BatchNorm2d):
        pass

    with pytest.raises(SettingsError, match="layer '0' is a BatchNormAct2d"):
        synchronized(nn.Sequential(BatchNormAct2d(2)), torch.device("cpu"))


def test_without_other_ranks_it_is_plain_batch_norm():
    layer, images, _ = batch_norm_case()
    gathered = GatheredBatchNorm2d(3).double()
    gathered.load_state_dict(layer.state_dict())
    assert torch.equal(layer(images), gathered(images))


def arguments(folder: Path, out: str, *more: str, ranks: int = 2) -> list[str]:
    settings = [word for setting in PLAIN for word in ("--set", setting)]
    return [
        *RUN,
        "--config",
        str(write_recipe(folder)),
        "-o",
        str(folder / out),
        "--nproc",
        str(ranks),
        *settings,
        *more,
    ]


def run(folder: Path, out: str, *more: str, ranks: int = 2) -> subprocess.CompletedProcess:
    words = arguments(folder, out, *more, ranks=ranks)
    return subprocess.run(words, check=False, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


def last(folder: Path) -> dict:
    state = read_checkpoint(folder / "checkpoints" / "step-00000020.pt")
    del state["recipe"]  # the number of loaders may differ
    return state


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """Return a folder with the same run by one process, ``one``, and by two, ``two``."""
    folder = tmp_path_factory.mktemp("ranks")
    for ranks, out in ((1, "one"), (2, "two")):
        done = run(folder, out, ranks=ranks)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_two_ranks_train_as_one(straight):
    assert losses(straight / "two")[:6] == pytest.approx(losses(straight / "one")[:6], rel=1e-3)
    assert last(straight / "two")["stream"] == last(straight / "one")["stream"]
    assert last(straight / "two")["progress"]["pooled"] == last(straight / "one")["progress"]["pooled"]


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_ranks(straight):
    kept = straight / "fewer" / "checkpoints" / "step-00000003.pt"
    kept.parent.mkdir(parents=True)
    kept.write_bytes((straight / "two" / "checkpoints" / kept.name).read_bytes())
    assert run(straight, "fewer", "--resume", ranks=1).returncode == 0
    assert losses(straight / "fewer")[:4] == pytest.approx(losses(straight / "two")[3:7], rel=1e-3)


@pytest.mark.slow
def test_a_run_goes_on_with_more_ranks(straight):
    kept = straight / "more" / "checkpoints" / "step-00000003.pt"
    kept.parent.mkdir(parents=True)
    kept.write_bytes((straight / "two" / "checkpoints" / kept.name).read_bytes())
    done = run(straight, "more", "--resume", ranks=4)
    assert done.returncode == 0, done.stderr
    assert losses(straight / "more")[:4] == pytest.approx(losses(straight / "two")[3:7], rel=1e-3)
    assert last(straight / "more")["stream"]["position"] == last(straight / "two")["stream"]["position"]


@pytest.mark.slow
def test_torchrun_starts_the_same_run(straight):
    words = [word for word in arguments(straight, "torchrun") if word not in RUN]
    del words[words.index("--nproc") : words.index("--nproc") + 2]
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
        "--max-restarts",
        "1",
    ]
    environment = {**ENVIRONMENT, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    done = subprocess.run(
        [*launcher, "-m", "segdata", "train", *words],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("20 of 20 steps") == 1  # told by the first rank alone
    assert differences(last(straight / "torchrun"), last(straight / "two")) == []


@pytest.mark.slow
def test_under_a_launcher_a_fault_is_told_once_per_machine(tmp_path):
    for rank, times in ((0, 1), (1, 0)):
        environment = {**ENVIRONMENT, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
        recipe = str(write_recipe(tmp_path))
        words = [sys.executable, "-m", "segdata", "train", "--config", recipe, "--set", "optimizer.lrr=2"]
        ended = subprocess.run(words, check=False, capture_output=True, text=True, env=environment, timeout=60)
        assert ended.returncode == 1
        assert len(ended.stderr.splitlines()) == times


@pytest.mark.slow
def test_a_signal_to_one_rank_alone_stops_all(straight):
    stopped = start(straight, "one-told")
    os.kill(workers(stopped.pid)[-1], signal.SIGTERM)
    assert stopped.wait(60) == 143
    assert not (straight / "one-told" / "checkpoints" / "step-00000020.pt").exists()
    assert run(straight, "one-told", "--resume").returncode == 0
    assert differences(last(straight / "one-told"), last(straight / "two")) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_agreed_on_and_the_run_goes_on_to_the_same_bits(straight, number):
    out = f"stopped-{number.name}"
    stopped = start(straight, out)
    os.kill(stopped.pid, number)
    assert stopped.wait(60) == 143
    assert not (straight / out / "checkpoints" / "step-00000020.pt").exists()
    assert run(straight, out, "--resume").returncode == 0
    assert differences(last(straight / out), last(straight / "two")) == []


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_run_ends_in_the_same_bits(straight):
    running = start(straight, "killed")
    os.kill(workers(running.pid)[-1], signal.SIGKILL)
    assert running.wait(90) == 0
    assert differences(last(straight / "killed"), last(straight / "two")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kept", "advice"), [(-200, "Set data.bad_images to skip"), (5, "`segdata datasets check` with the same recipe")]
)
def test_a_fault_on_one_rank_ends_all_with_one_line(tmp_path, kept, advice):
    write_recipe(tmp_path)
    bad = sorted((tmp_path / "city/leftImg8bit/train/town").iterdir())[0]
    bad.write_bytes(bad.read_bytes()[:kept])  # with its header whole, it is found out by the rank that draws it
    ended = run(tmp_path, "out")
    told = [line for line in ended.stderr.splitlines() if bad.name in line]
    assert ended.returncode == 1
    assert len(told) == 1
    assert advice in told[0]


@pytest.mark.slow
def test_ranks_agree_that_a_step_is_not_finite(tmp_path):
    settings = ("optimizer.lr=1.0e+30", "schedule.warmup_iterations=0", "optimizer.non_finite_limit=2")
    ended = run(tmp_path, "out", *(word for setting in settings for word in ("--set", setting)))
    told = [line for line in ended.stderr.splitlines() if "not finite, 3 steps in a row" in line]
    assert ended.returncode == 1
    assert len(told) == 1
    assert "leftImg8bit.png" in told[0]
    faults = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [fault["step"] for fault in faults if fault["kind"] == "fault"] == [2, 3, 4]


@pytest.mark.slow
def test_images_left_out_on_any_rank_are_counted_together(tmp_path):
    write_recipe(tmp_path)
    sorted((tmp_path / "city/leftImg8bit/train/town").iterdir())[0].write_bytes(b"no image")
    counts = {}
    for ranks in (1, 2):
        words = ("--set", "data.bad_images=skip", "--set", "schedule.iterations=4", "--json")
        ended = run(tmp_path, str(ranks), *words, ranks=ranks)
        assert ended.returncode == 0, ended.stderr
        counts[ranks] = json.loads(ended.stdout)["left_out_images"]
    assert counts[1] == counts[2] > 0


def start(folder: Path, out: str) -> subprocess.Popen:
    """Start a slow run by two ranks, and return when its first step was saved."""
    running = subprocess.Popen(
        arguments(folder, out, "--set", "data.workers=1"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    for _ in range(6000):
        if list((folder / out / "checkpoints").glob("step-*.pt")):
            return running
        time.sleep(0.01)
    raise AssertionError("no checkpoint within a minute")


def workers(launcher: int) -> list[int]:
    """Return the processes of the ranks."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_one_rank_runs_alone_on_first():
    found: list[int] = []
    DistributedContext().on_first(lambda: found.append(1))
    assert found == [1]
