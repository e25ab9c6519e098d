"""Working off the runs of an experiment: each a process of `segdata train`, several at a time where asked."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from joblib import cpu_count

from segdata.batch.processes import THREAD_LIMITS
from segdata.batch.signals import TRAINING_SIGNALS, StopFlag, stop_on_signals
from segdata.errors import StoreError
from segdata.experiments.grid import LOGS, RUNS, PlannedRun, write_recipe
from segdata.experiments.results import RunResult, read_result, result_of_run, write_result
from segdata.files import explain_os_error
from segdata.logs import logger

POLL_SECONDS = 0.2


@dataclass
class Outcome:
    """How an experiment, or a shard of it, ended.

    Attributes
    ----------
    finished, kept : int
        Runs that ended now, and that had ended before.
    failed : dict of str to str
        Why, by the run's name.
    exit_code : int
        0; 1 if a run failed; 143 or 130 after a signal.
    """

    finished: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    exit_code: int = 0


@dataclass
class _Running:
    run: PlannedRun
    process: "subprocess.Popen[bytes]"
    slot: int
    since: float
    seconds_before: float


def run_experiment(out: Path, runs: Sequence[PlannedRun], *, jobs: int | None = None) -> Outcome:
    """Train what is not finished.

    Parameters
    ----------
    out : Path
        Folder of the experiment, with the plan in it.
    runs : sequence of PlannedRun
        In the order in which they are started.
    jobs : int, optional
        Runs at a time; one for each GPU, or one, if not given. With GPUs each run gets one of them in turn; without,
        each gets its share of the cores.

    Returns
    -------
    Outcome
        A run that fails is told in one line, and the others continue. On a signal, all runs save and end.
    """
    outcome = Outcome()
    waiting = deque(run for run in runs if not _is_finished(out, run))
    outcome.kept = len(runs) - len(waiting)
    devices = _gpus()
    slots = list(range(min(jobs or max(1, len(devices)), max(1, len(waiting)))))
    running: list[_Running] = []
    total = len(runs)
    with ExitStack() as stack:
        request = stack.enter_context(stop_on_signals(TRAINING_SIGNALS, raise_second=False))
        stack.callback(_end_all, running)
        while waiting or running:
            if request.signal is not None:
                return _stop(out, running, request, outcome)
            free = [slot for slot in slots if slot not in [each.slot for each in running]]
            while waiting and free:
                slot = free.pop(0)
                running.append(_start(out, waiting.popleft(), slot, devices, len(slots)))
            time.sleep(POLL_SECONDS)
            for each in [each for each in running if each.process.poll() is not None]:
                running.remove(each)
                _conclude(out, each, outcome)
                done = outcome.finished + outcome.kept
                logger.info(
                    f"{done} of {total} runs finished" + (f", {len(outcome.failed)} failed" if outcome.failed else "")
                )
    outcome.exit_code = int(bool(outcome.failed))
    return outcome


def _is_finished(out: Path, run: PlannedRun) -> bool:
    result = read_result(out, run.name)
    return result is not None and result.finished


def _start(out: Path, run: PlannedRun, slot: int, devices: Sequence[str], slots: int) -> _Running:
    """Start the process of a run, in a session of its own: a signal from the terminal reaches this process alone."""
    environment = dict(os.environ)
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    threads = str(max(1, cpu_count() // slots))
    for name in THREAD_LIMITS:
        environment.setdefault(name, threads)
    recipe = write_recipe(out, run)  # what of `run` was changed since the plan holds for what is trained now
    command = [sys.executable, "-m", "segdata", "train", "--config", str(recipe)]
    command += ["--out", str(out / RUNS / run.name), "--resume", "--json"]
    before = read_result(out, run.name)
    with _log(out, run.name, "ab") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=log, env=environment, start_new_session=True
        )
    logger.info(f"{run.name}: started, log in {out / LOGS / run.name}.log")
    return _Running(run, process, slot, time.monotonic(), 0.0 if before is None else before.seconds)


def _conclude(out: Path, ended: _Running, outcome: Outcome) -> None:
    """Keep what a run came to, or say why it came to nothing."""
    seconds = ended.seconds_before + time.monotonic() - ended.since
    name, code = ended.run.name, ended.process.returncode
    if code:
        outcome.failed[name] = _reason(out, name, code)
        logger.error(f"{name}: {outcome.failed[name]}")
    result = result_of_run(out, ended.run, finished=code == 0, seconds=seconds)
    write_result(out, result)
    if code == 0:
        outcome.finished += 1
        logger.info(_told(result))


def _told(result: RunResult) -> str:
    last = result.last
    figure = "no evaluation" if last is None else f"mIoU {100 * last.miou:.2f}"
    return f"{result.name}: {figure}, {result.seconds / 60:.0f} min"


def _reason(out: Path, name: str, code: int) -> str:
    """Return the last line that a run said, without the time and what else the log puts before it."""
    with _log(out, name, "rb") as log:
        lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    said = lines[-1].partition("segdata: ")[2] or lines[-1] if lines else "it said nothing"
    return f"ended with exit code {code}: {said} The whole log is {out / LOGS / name}.log."


def _stop(out: Path, running: list[_Running], request: StopFlag, outcome: Outcome) -> Outcome:
    """Have all runs save and end."""
    for each in running:
        each.process.send_signal(signal.SIGTERM)
    for each in list(running):
        each.process.wait()
        running.remove(each)
        seconds = each.seconds_before + time.monotonic() - each.since
        write_result(out, result_of_run(out, each.run, finished=each.process.returncode == 0, seconds=seconds))
    outcome.exit_code = request.exit_code
    return outcome


def _end_all(running: list[_Running]) -> None:
    """End what still runs, after an error here."""
    for each in running:
        each.process.terminate()
    for each in running:
        each.process.wait()


def _log(out: Path, name: str, mode: str) -> IO[bytes]:
    path = out / LOGS / f"{name}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open(mode)
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be opened", path)) from error


def _gpus() -> list[str]:
    """Return the names of the GPUs by which a process is given one: what CUDA_VISIBLE_DEVICES lists, or all."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip() and name.strip() != "-1"]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
