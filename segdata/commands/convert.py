"""`segdata convert`: any folder of label images by a mapping."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segdata.commands.options import batch_options, conclude, printable, source_and_destination
from segdata.logs import logger

if TYPE_CHECKING:
    from segdata.batch.run import RunResult
    from segdata.batch.work import BatchSettings

Callback = TypeVar("Callback", bound=Callable[..., Any])


def sibling(source: Path) -> Path:
    """Return the folder beside SRC that is written to when no DST is given."""
    return source.with_name(f"{source.name}-converted")


def conversion_options(callback: Callback) -> Callback:
    """Add the options that both conversions share; the callback gets them as fields of `ConvertSettings`."""
    for option in (
        click.option(
            "--max-pixels",
            type=click.IntRange(min=1),
            default=2**28,
            show_default=True,
            help="Largest label that is read, in pixels.",
        ),
        click.option(
            "--compression",
            type=click.Choice(["fast", "small"]),
            default="fast",
            show_default=True,
            help="Speed or size of the PNG files.",
        ),
        click.option(
            "--unmapped",
            type=click.Choice(["error", "ignore"]),
            default="error",
            show_default=True,
            help="What to do with ids that the mapping does not name.",
        ),
        click.option(
            "--encoding",
            type=click.Choice(["trainIds", "labelIds"]),
            default="trainIds",
            show_default=True,
            help="Which numbers to write.",
        ),
    ):
        callback = option(callback)
    return callback


@click.command("convert", context_settings={"help_option_names": ["-h", "--help"]})
@source_and_destination(sibling)
@click.option("--mapping", metavar="NAME|FILE", required=True, help="Mapping rules: see `segdata mappings list`.")
@conversion_options
@batch_options
def command(
    *, source: Path, destination: Path, mapping: str, batch: "BatchSettings", as_json: bool, **settings: Any
) -> None:
    """Convert any folder of label images by a mapping.

    SRC is by default the current folder; every PNG below it is a label of ids, gray or palette; where names are
    those of Cityscapes, every *_labelIds.png. Outputs go to the same relative paths below DST, by default a folder
    beside SRC named SRC-converted, and what became of each class and file to DST/convert.json. After an interruption,
    the same command continues.

    \b
    Example:
      segdata convert camvid/labels camvid/city-labels --mapping camvid-to-cityscapes
    """
    from segdata.jobs.convert import plan_folder, run_convert
    from segdata.jobs.convert_label import ConvertSettings
    from segdata.labels.mapping import LabelMapping

    plan = plan_folder(source, destination, ConvertSettings(mapping=LabelMapping.load(mapping), **settings))
    logger.info(f"mapping {mapping}, to {destination}")
    sys.exit(finish(run_convert(plan, batch), as_json=as_json))


def finish(ended: "RunResult", *, as_json: bool) -> int:
    """Print the tables (where something was converted), or all as JSON, and the faults; return the exit code."""
    from segdata.jobs.convert_report import format_totals

    if not as_json and ended.report["totals"]["labels"]:
        click.echo(printable(format_totals(ended.report["totals"])))
    return conclude(ended.outcomes, as_json=as_json, result={"report": ended.report})
