"""`segdata precompute-cpp`: CPP-pooled soft targets of every label, on disk."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segdata.commands.options import (
    NumbersCommand,
    batch_options,
    conclude,
    printable,
    read_as,
    source_and_destination,
)
from segdata.errors import LabelError, SettingsError
from segdata.logs import logger
from segdata.text import counted

if TYPE_CHECKING:
    from segdata.batch.work import BatchSettings


def sibling(source: Path) -> Path:
    """Return the folder beside SRC that is written to when no DST is given."""
    return source.with_name(f"{source.name}-cpp")


def usable_scales(scales: tuple[int, ...]) -> tuple[int, ...]:
    """Return the scales as they are if all can be pooled to; a usage error names the one that cannot."""
    from segdata.cpp.targets import check_scales

    try:
        check_scales(scales)
    except SettingsError as error:
        raise click.BadParameter(str(error)) from None
    return scales


@click.command("precompute-cpp", cls=NumbersCommand, context_settings={"help_option_names": ["-h", "--help"]})
@source_and_destination(sibling)
@click.option(
    "--scales",
    type=click.IntRange(min=1),
    multiple=True,
    callback=lambda _context, _option, scales: usable_scales(scales),
    default=(2, 4, 8),
    show_default=True,
    metavar="N...",
    help="Pooling strides in pixels.",
)
@click.option(
    "--classes", metavar="NAME|FILE", default="cityscapes", show_default=True, help="Class table of the labels."
)
@click.option(
    "--encoding",
    type=click.Choice(["auto", "trainIds", "labelIds"]),
    default="auto",
    show_default=True,
    help="What the ids in the labels are; auto goes by the file names.",
)
@click.option(
    "--ragged",
    type=click.Choice(["ignore", "error"]),
    default="ignore",
    show_default=True,
    help="Where a scale does not divide a label's size: count the missing pixels as ignored, or refuse the label.",
)
@batch_options
def command(source: Path, destination: Path, batch: "BatchSettings", as_json: bool, **settings: Any) -> None:
    """Write CPP-pooled soft targets of every label.

    SRC, by default the current folder, is a Cityscapes root or any folder of PNG label images. The targets of each
    label go to the same relative path below DST, by default a folder beside SRC named SRC-cpp, with the ending
    .cpp.npz: all scales in one file, which numpy.load opens. What became of each file goes to
    DST/precompute-cpp.json. Run it again to continue after an interruption.

    \b
    Example:
      segdata precompute-cpp --scales 2 4 8 cityscapes cityscapes-cpp
    """
    from segdata.batch.run import run_plan
    from segdata.jobs.precompute import plan_precompute

    plan = plan_precompute(source, destination, **settings)
    read = read_as(plan.items[0].label, settings["classes"], settings["encoding"], plan.settings.encoding)
    logger.info(f"{counted(len(plan.items), 'label')} of {read} to {destination}")
    warn_of_large_scales(plan.items[0].label, plan.settings.scales)
    result = run_plan(plan, batch)
    if not as_json and result.report["totals"]["labels"]:
        click.echo(printable(format_totals(result.report["totals"])))
    told = {"destination": str(destination), "report": result.report}
    sys.exit(conclude(result.outcomes, as_json=as_json, result=told))


def warn_of_large_scales(label: Path, scales: Sequence[int]) -> None:
    """Warn of scales of which one cell holds more than a label; the first one stands for all."""
    from segdata.codecs.png import read_bytes
    from segdata.codecs.png_chunks import split_png

    try:
        header = split_png(read_bytes(label), str(label)).header
    except LabelError:
        return  # told when its turn comes
    large = [scale for scale in scales if scale > min(header.height, header.width)]
    if large:
        logger.warning(
            f"{label}: has {header.height}x{header.width} pixels, so that a cell of scale {large[0]} reaches beyond it."
        )


def format_totals(totals: Mapping[str, Any]) -> str:
    """Return the pixels of each class, and their share of the classified ones, as a table."""
    pixels: dict[str, int] = totals["pixels"]
    classified = sum(pixels.values())
    everything = classified + totals["ignored"]
    wide = max(len("ignored"), *map(len, pixels))
    rows = [f"{name:<{wide}}  {number:>15,}  {_share(number, classified)}" for name, number in pixels.items()]
    return "\n".join(
        [
            f"{'class':<{wide}}  {'pixels':>15}  {'share':>7}",
            *rows,
            f"{'ignored':<{wide}}  {totals['ignored']:>15,}  {_share(totals['ignored'], everything)} of all pixels",
        ]
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:>7.2%}" if whole else f"{'-':>7}"
