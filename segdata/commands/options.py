"""What the batch commands share on the command line: their options, how several values are read, how a run ends."""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segdata.errors import SegdataError, SettingsError
from segdata.logs import logger
from segdata.text import counted

if TYPE_CHECKING:
    from segdata.batch.work import Outcome

Callback = TypeVar("Callback", bound=Callable[..., Any])

STATUSES = {"done": "done", "kept": "already there", "todo": "to do", "error": "with an error"}


class ShardType(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """``I/N``, as two numbers."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return (I, N)."""
        if isinstance(value, tuple):
            return value
        part, slash, parts = str(value).partition("/")
        if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
            self.fail(f"{value!r} is not a shard. Expected I/N with I from 1 to N, as 1/8 ... 8/8.", param, ctx)
        return int(part), int(parts)


def read_as(label: Path, classes: str | Path, encoding: str, found: str) -> str:
    """Say what the ids of labels are taken for, and whether that was only assumed, for the line at the start of a run.

    Parameters
    ----------
    label : Path
        One of the labels, whose name may tell.
    classes, encoding : str
        As given on the command line; ``cityscapes`` and ``auto`` where nothing was.
    found : {"trainIds", "labelIds"}
        What they are taken for.
    """
    from segdata.labels.reading import label_name

    assumed = str(classes) == "cityscapes" and encoding == "auto" and label_name(label) is None
    return f"{found} of '{classes}'" + (" (assumed; see --classes and --encoding)" if assumed else "")


class NumbersCommand(click.Command):
    """A command whose options with several numbers take them after one flag, up to the first word that is not a number.

    So ``--scales 2 4 8 SRC DST`` means ``--scales 2 --scales 4 --scales 8 SRC DST``. It holds for every option with
    ``multiple=True`` and a number as its type; ``--scales=2`` takes that one value.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give each number its flag, then parse as click does."""
        flags = {
            flag
            for param in self.params
            if isinstance(param, click.Option) and param.multiple and _is_number_type(param.type)
            for flag in param.opts
        }
        return super().parse_args(ctx, spread_numbers(args, flags))


def spread_numbers(args: Iterable[str], flags: set[str]) -> list[str]:
    """Repeat a flag before each number that follows it.

    Examples
    --------
    >>> spread_numbers(["--scales", "2", "4", "SRC", "8"], {"--scales"})
    ['--scales', '2', '--scales', '4', 'SRC', '8']
    >>> spread_numbers(["--scales", "2,4", "SRC"], {"--scales"})
    ['--scales', '2', '--scales', '4', 'SRC']
    """
    spread: list[str] = []
    flag: str | None = None
    first = False
    words = iter(args)
    for word in words:
        if word == "--":
            return [*spread, word, *words]
        numbers = [part for part in word.split(",") if part]
        if word in flags:
            flag, first = word, True
        elif flag is not None and numbers and "," in word and all(map(_is_number, numbers)):
            spread += [part for number in numbers for part in (flag, number)]
            first = False
        elif flag is None or not (first or _is_number(word)):
            flag = None
            spread.append(word)
        else:
            if not first and Path(word).is_dir():
                raise click.UsageError(f"{word}: is a number and a folder. Write ./{word}, or {flag}={word}.")
            spread += [flag, word]
            first = False
    return spread + ([flag] if flag is not None and first else [])


_BATCH_OPTIONS = {
    "jobs": click.option("-j", "--jobs", type=int, default=1, show_default=True, help="Processes; -1: one per core."),
    "shard": click.option(
        "--shard",
        type=ShardType(),
        default=(1, 1),
        metavar="I/N",
        help="Only the I-th of N parts of the files; the last of them to end writes the report of all.",
    ),
    "dask": click.option("--dask", metavar="ADDRESS", help="Send the work to the Dask scheduler at this address."),
    "dry_run": click.option("--dry-run", is_flag=True, help="Only say what would be done."),
    "overwrite": click.option(
        "--overwrite", is_flag=True, help="Overwrite existing outputs, whatever settings made them."
    ),
    "update": click.option("--update", is_flag=True, help="Recompute outputs whose source has changed since."),
    "fail_fast": click.option("--fail-fast", is_flag=True, help="Stop at the first error."),
}
_FOR_MANY_PROCESSES = ("jobs", "dask")


def batch_options(callback: Callback, *, one_process: bool = False) -> Callback:
    """Add the options that all batch commands share.

    The callback gets them as two keywords: ``batch``, a `segdata.batch.work.BatchSettings`, and ``as_json``, a bool.
    An interrupted batch ends as `handle_interrupts` says.

    Parameters
    ----------
    callback : callable
        Of a command.
    one_process : bool
        Leave out what only batches of several processes have; for commands that hold a model.
    """
    chosen = {
        name: option for name, option in _BATCH_OPTIONS.items() if not (one_process and name in _FOR_MANY_PROCESSES)
    }

    @wraps(callback)
    def run(**given: Any) -> Any:
        from segdata.batch.work import BatchSettings

        settings = {name: given.pop(name) for name in chosen}
        try:
            batch = BatchSettings(progress=True, **settings)
        except SettingsError as error:  # a fault in the options, not in the data
            raise click.UsageError(str(error)) from None
        return handle_interrupts(callback)(batch=batch, **given)

    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        *reversed(chosen.values()),
    ):
        run = option(run)
    return run  # type: ignore[return-value]


def handle_interrupts(callback: Callback) -> Callback:
    """Let an interrupted command end with one line and the exit code 130 (Ctrl-C) or 143 (SIGTERM)."""

    @wraps(callback)
    def run(*args: Any, **options: Any) -> Any:
        from segdata.batch.signals import Interrupted

        try:
            return callback(*args, **options)
        except Interrupted as stop:
            click.echo(f"segdata: {stop}", err=True)
            sys.exit(stop.exit_code)
        except KeyboardInterrupt:  # before the first file or after the last
            click.echo("segdata: stopped. Run the same command again.", err=True)
            sys.exit(130)

    return run  # type: ignore[return-value]


def local_rank_zero_errors(callback: Callback) -> Callback:
    """Let only the first of a launcher's processes on a machine tell a fault; they see the same files."""

    @wraps(callback)
    def run(*args: Any, **options: Any) -> Any:
        try:
            return callback(*args, **options)
        except SegdataError:
            if not os.environ.keys() & {"LOCAL_RANK", "SLURM_LOCALID"}:  # no launcher: torch need not be there
                raise
            from segdata.distributed.process_group import is_first_on_machine

            if is_first_on_machine():
                raise
            sys.exit(1)

    return run  # type: ignore[return-value]


def source_and_destination(default: Callable[[Path], Path]) -> Callable[[Callback], Callback]:
    """Add the arguments [SRC] [DST], given to the callback as absolute paths ``source`` and ``destination``.

    Parameters
    ----------
    default : callable
        From SRC to the DST used when none is given.
    """

    def decorate(callback: Callback) -> Callback:
        @wraps(callback)
        def run(*, source: Path, destination: Path | None, **others: Any) -> Any:
            source = Path(os.path.abspath(source))  # noqa: PTH100 - links stay, "." and ".." go
            chosen = destination if destination is not None else _default_destination(default, source)
            return callback(source=source, destination=Path(os.path.abspath(chosen)), **others)  # noqa: PTH100

        folder = click.Path(exists=True, file_okay=False, path_type=Path)
        with_destination = click.argument(
            "destination", metavar="[DST]", required=False, type=click.Path(path_type=Path)
        )(run)
        return click.argument("source", metavar="[SRC]", default=".", type=folder)(with_destination)  # type: ignore[return-value]

    return decorate


def _default_destination(default: Callable[[Path], Path], source: Path) -> Path:
    """Return the DST used when none is given; the root of the file system has no sibling to write to."""
    try:
        return default(source)
    except ValueError:
        raise click.UsageError(f"DST: none is given, and {source} has no folder beside it. Give one.") from None


def conclude(
    outcomes: "Iterable[Outcome]",
    *,
    as_json: bool,
    result: Mapping[str, Any] | None = None,
    most_errors: int = 20,
) -> int:
    """Print how a batch ended, and return the exit code.

    Errors go to stderr, one line each. stdout gets the count of files by status, or with `as_json` one object:
    ``counts``, ``errors`` (key to message) and the fields of `result`.

    Parameters
    ----------
    outcomes : iterable of Outcome
        What the runner returned.
    as_json : bool
        Print JSON.
    result : mapping, optional
        What else the JSON holds: the report, where it was written.
    most_errors : int
        Print so many of a kind at most, and how many more there are; JSON has them all.

    Returns
    -------
    int
        1 if there is an error, else 0.
    """
    outcomes = list(outcomes)
    counts = Counter(outcome.status for outcome in outcomes)
    errors = {outcome.key: outcome.message or "" for outcome in outcomes if outcome.status == "error"}
    kinds: dict[str, list[str]] = {}
    for message in errors.values():
        kinds.setdefault(_kind_of(message), []).append(message)
    for messages in kinds.values():
        for message in messages[:most_errors]:
            logger.error(message)
        if len(messages) > most_errors:
            logger.error(f"{len(messages) - most_errors:,} more like these; --json lists all")
    if as_json:
        by_status = {status: counts[status] for status in STATUSES}  # type: ignore[index]
        click.echo(json.dumps({"counts": by_status, "errors": errors, **(result or {})}, sort_keys=True))
    else:
        told = [f"{counts[status]:,} {words}" for status, words in STATUSES.items() if counts[status]]  # type: ignore[index]
        click.echo(f"{counted(len(outcomes), 'file')}: {', '.join(told) or 'nothing to do'}")
    return 1 if errors else 0


def _kind_of(message: str) -> str:
    """Return what an error says without the file that it names, and without numbers."""
    return re.sub(r"[0-9]+", "#", message.partition(": ")[2] or message)


def printable(text: str) -> str:
    """Return text that any terminal takes: bytes of a file name that are not UTF-8 are shown as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_number(word: str) -> bool:
    """Tell whether a word is a number, as 4, 0.5 or -1."""
    try:
        float(word)
    except ValueError:
        return False
    return word not in ("nan", "inf", "infinity")


def _is_number_type(kind: object) -> bool:
    return isinstance(kind, (click.types.IntParamType, click.types.FloatParamType))
