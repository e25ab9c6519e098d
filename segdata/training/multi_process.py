"""Training in several processes of this machine, started by one."""

import os
import signal
import threading
from pathlib import Path

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from segdata.batch.signals import INTERRUPTED, STOPPED
from segdata.config.recipe import Recipe
from segdata.distributed.launch import launch
from segdata.distributed.process_group import RankTimeoutError
from segdata.errors import SegdataError
from segdata.logs import logger
from segdata.training.loop import TrainResult, train

_SECONDS_TO_ASK = 3.0


def train_in_processes(recipe: Recipe, out: Path, *, num_processes: int, resume: bool = False) -> TrainResult | int:
    """Train by a recipe in several processes; one that dies is replaced, and all continue from the newest checkpoint.

    Parameters
    ----------
    recipe, out, resume
        As for `segdata.training.loop.train`.
    num_processes : int
        The ranks, one GPU each where there are GPUs.

    Returns
    -------
    TrainResult or int
        The exit code alone where a signal ended the processes.

    Raises
    ------
    SegdataError
        If data, recipe or disk are at fault, or processes died more often than `run.max_restarts`.
    """
    try:
        results = launch(_train, recipe, out, resume, num_processes=num_processes, max_restarts=recipe.run.max_restarts)
    except SignalException as stop:
        return INTERRUPTED if stop.sigval == signal.SIGINT else STOPPED
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise SegdataError(
            f"{out}: rank {rank} ended with exit code {failure.exitcode}, after {recipe.run.max_restarts} restarts. "
            "Its own words are above. Fix the cause, then continue with --resume."
        ) from error
    return results[0]


def _train(recipe: Recipe, out: Path, resume: bool) -> TrainResult:
    """Train as one rank."""
    try:
        result = train(recipe, out, resume=resume)
    except RankTimeoutError as error:  # the others are to be ended and all started again
        logger.error(str(error))
        os._exit(1)
    if result.exit_code:
        # A launcher that got the signal itself no longer asks for results, for which this process would wait.
        end = threading.Timer(_SECONDS_TO_ASK, os._exit, [result.exit_code])
        end.daemon = True
        end.start()
    return result
