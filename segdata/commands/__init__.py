"""The command line: one module per command, loaded when the command is called."""

import errno
import os
import sys
from importlib import import_module
from typing import Any

import click

from segdata import __version__
from segdata.batch.signals import Interrupted, raise_on_sigterm
from segdata.errors import SegdataError, StoreError
from segdata.files import explain_os_error
from segdata.logs import configure_logging

configure_logging()

# In the order of the workflow, which is the order of `segdata --help`: name -> one line of help. Each lives in the
# module of its name; the line stands here so that `--help` loads none of them.
COMMANDS = {
    "demo": "Make street scenes and run the whole chain on them.",
    "convert-mapillary": "Convert Mapillary Vistas labels to Cityscapes ids.",
    "convert": "Convert any folder of label images by a mapping.",
    "mappings": "List, show, check and compare the mapping tables.",
    "precompute-cpp": "Write CPP-pooled soft targets of every label.",
    "verify": "Re-read what a command wrote; name what is damaged, missing or stale.",
    "index": "Write the class index: where each class occurs.",
    "sample": "Show what an epoch will draw.",
    "datasets": "Check what a recipe will train on.",
    "recipes": "List and show the bundled recipes.",
    "train": "Train a model by a recipe.",
    "experiment": "Train grids of settings and seeds, and compare them.",
    "evaluate": "Measure mIoU of a model, or of label images.",
    "predict": "Write label images, overlays and probabilities of images.",
    "autolabel": "Label images by a model, with confidence.",
    "explain": "Show what of an image speaks for a class (Grad-CAM).",
    "export": "Write a model as ONNX.",
    "doctor": "Say what this machine offers, and what will be in the way.",
    "plot": "Draw the figures: pooling, targets, panels of two models, scenes.",
    "report": "Write a page that shows a data set, a run or an experiment.",
}


class WorkflowGroup(click.Group):
    """A group that lists its commands in workflow order and imports one only when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of the workflow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command in it."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"segdata.commands.{cmd_name.replace('-', '_')}")
        return _with_verbosity(module.command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one may have been meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from segdata.labels.names import did_you_mean

            ctx.fail(f"unknown command '{args[0]}'.{did_you_mean(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a fault of the system that no place nearer knew more about is one line too."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.filename is None and error.errno not in (errno.ENOSPC, errno.EMFILE, errno.ENFILE):
                raise  # of the network, or nobody reads what is printed: no file is at fault
            raise StoreError(explain_os_error(error, "cannot be used")) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands, in the order of the work"):
            formatter.write_dl(list(COMMANDS.items()))


def _with_verbosity(command: click.Command) -> click.Command:
    """Give a command, and all below a group, the options -q and -v."""
    if isinstance(command, click.Group):
        for part in command.commands.values():
            _with_verbosity(part)
    elif not any(param.name == "verbosity" for param in command.params):
        for flags, value, told in (
            (("-q", "--quiet"), -1, "Log warnings and errors alone, and show no progress."),
            (("-v", "--verbose"), 1, "Log details too."),
        ):
            kind: dict[str, Any] = {"type": int, "flag_value": value, "expose_value": False}
            command.params.append(click.Option([*flags, "verbosity"], callback=_set_verbosity, help=told, **kind))
    return command


def _set_verbosity(_ctx: click.Context, _param: click.Parameter, value: int | None) -> None:
    configure_logging(value or 0)


@click.group(cls=WorkflowGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", prog_name="segdata")
def group() -> None:
    """Semantic-segmentation data with class probabilities preserved: convert, pool, sample, train.

    \b
    A Vistas download to soft targets on disk, in two lines:
      segdata convert-mapillary VISTAS CITY
      segdata precompute-cpp CITY --scales 2 4 8
    """


def main() -> None:
    """Run the command line: exit 0 all done, 1 a fault in the data or the run, 2 usage, 130 or 143 after a signal."""
    raise_on_sigterm()
    # Before torch is loaded: its threads sleep while they wait, and do not take a core that other work could use.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _run()
    finally:
        # Known only where a command trained or evaluated; whoever did neither was no rank.
        group_module = sys.modules.get("segdata.distributed.process_group")
        error = sys.exc_info()[1]
        if group_module is not None and group_module.was_rank() and isinstance(error, SystemExit):
            from segdata.distributed.launch import end_process

            end_process(error.code if isinstance(error.code, int) else int(error.code is not None))


def _run() -> None:
    try:
        group.main(standalone_mode=True)
    except SegdataError as error:
        click.echo(f"segdata: {error}", err=True)
        sys.exit(1)
    except Interrupted as stop:
        click.echo(f"segdata: {stop}", err=True)
        sys.exit(stop.exit_code)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        click.echo("segdata: this command needs torch. Install it with: pip install 'segdata[train]'.", err=True)
        sys.exit(1)
