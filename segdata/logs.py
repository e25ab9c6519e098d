"""What a command says while it works: one handler that knows tqdm, and progress as a bar or as plain lines.

Results go to stdout and do not pass through here. On a terminal, a message is one line above the progress bar. Anywhere
else (a file, a pipe, a job array), every line begins with the time and the rank, and progress is a line now and then.
"""

import io
import logging
import os
import sys
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from tqdm import tqdm

logger = logging.getLogger("segdata")
"""The only logger; its level is set by `configure_logging`."""

SECONDS_BETWEEN_LINES = 30.0
"""Between two lines of progress where there is no terminal."""

_bars: "WeakSet[tqdm[Any]]" = WeakSet()
_PREFIXES = {logging.WARNING: "warning: ", logging.ERROR: "error: ", logging.CRITICAL: "error: "}
_PLAIN_FORMAT = "{desc}{n_fmt} of {total_fmt}{unit}, {rate_fmt}, {remaining} left{postfix}"


def configure_logging(verbosity: int = 0, *, environment: Mapping[str, str] | None = None) -> None:
    """Send the messages of this process to stderr; may be called again.

    Parameters
    ----------
    verbosity : int
        Below 0 warnings and errors alone, 0 also what the command does, above 0 also details. Ranks other than the
        first log warnings and errors alone, unless details are asked for.
    environment : mapping of str to str, optional
        Where the launcher's variables are read; `os.environ` if not given.
    """
    rank = rank_name(os.environ if environment is None else environment)
    level = logging.WARNING if verbosity < 0 else logging.DEBUG if verbosity > 0 else logging.INFO
    if level == logging.INFO and rank.startswith("rank ") and rank != "rank 0":
        level = logging.WARNING
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
    handler = _StderrHandler()
    handler.setFormatter(_Formatter(rank))
    logger.addHandler(handler)
    logger.setLevel(level)


def progress_bar(
    *, total: int | None, unit: str, desc: str = "", initial: int = 0, enabled: bool = True
) -> "tqdm[Any]":
    """Return a progress bar on a terminal; elsewhere lines of the log, `SECONDS_BETWEEN_LINES` apart.

    Parameters
    ----------
    total : int or None
        How many there are to do; None where it is not known.
    unit : str
        Plural noun of what is counted, as ``files``.
    desc : str
        What is done, as ``index of train``; may be empty.
    initial : int
        How many are done already.
    enabled : bool
        False shows nothing. Nothing is shown either where the log is quieter than `logging.INFO`.

    Returns
    -------
    tqdm
        A context manager; ``update(n)`` moves it on.
    """
    shown: dict[str, Any] = {
        **{"total": total, "unit": f" {unit}", "initial": initial, "desc": desc and f"{desc}: "},
        "disable": not enabled or not logger.isEnabledFor(logging.INFO),
    }
    from tqdm import tqdm

    if sys.stderr.isatty():
        bar: tqdm[Any] = tqdm(file=sys.stderr, dynamic_ncols=True, **shown)
        _bars.add(bar)
        return bar
    plain: tqdm[Any] = _plain_progress()(
        file=io.StringIO(),
        delay=SECONDS_BETWEEN_LINES,
        mininterval=SECONDS_BETWEEN_LINES,
        maxinterval=SECONDS_BETWEEN_LINES,
        **shown,
    )
    _bars.add(plain)
    return plain


def leave_out_of_rates(seconds: float) -> None:
    """Count a time that something else has taken to no file or step: rates and what is left are those without it."""
    for bar in _bars:
        if not bar.disable:
            bar.start_t += seconds
            bar.last_print_t += seconds


def rank_name(environment: Mapping[str, str]) -> str:
    """Return what tells this process from the others of its job: ``rank 2``, ``task 7``, or nothing.

    Examples
    --------
    >>> rank_name({"RANK": "2", "WORLD_SIZE": "8"}), rank_name({"SLURM_ARRAY_TASK_ID": "7"}), rank_name({})
    ('rank 2', 'task 7', '')
    """
    for rank, size in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if environment.get(rank) and environment.get(size, "1") != "1":
            return f"rank {environment[rank]}"
    task = environment.get("SLURM_ARRAY_TASK_ID")
    return f"task {task}" if task else ""


class _StderrHandler(logging.Handler):
    """Writes to the stderr of the moment, above any progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # Bytes of a file name that are not UTF-8 are shown as escapes.
            line = self.format(record).encode("utf-8", "backslashreplace").decode("utf-8")
            if "tqdm" in sys.modules:  # else no bar is there
                sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
            else:
                sys.stderr.write(f"{line}\n")
        except Exception:
            self.handleError(record)


class _Formatter(logging.Formatter):
    """The message with its level; where stderr is not a terminal, what is no fault of a single process has the time."""

    def __init__(self, rank: str) -> None:
        super().__init__(datefmt="%Y-%m-%d %H:%M:%S")
        self._rank = f" [{rank}]" if rank else ""

    def format(self, record: logging.LogRecord) -> str:
        told = _PREFIXES.get(record.levelno, "") + record.getMessage()
        if sys.stderr.isatty() or (record.levelno >= logging.WARNING and not self._rank):
            return told  # scripts look for lines that begin with "error: "
        return f"{self.formatTime(record, self.datefmt)}{self._rank} {told}"


@cache
def _plain_progress() -> "type[tqdm[Any]]":
    """Return a progress bar that writes lines of the log; made when it is first shown, so that commands start fast."""
    from tqdm import tqdm

    class PlainProgress(tqdm):  # type: ignore[type-arg]  # tqdm is generic in its stubs alone
        _told: float = -1

        def display(self, msg: str | None = None, pos: int | None = None) -> None:  # noqa: ARG002 - tqdm's signature
            if msg != "" and self.n not in (self.initial, self._told):
                self._told = self.n
                logger.info(self.format_meter(**{**self.format_dict, "bar_format": _PLAIN_FORMAT, "ncols": None}))

    return PlainProgress
