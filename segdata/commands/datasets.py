"""`segdata datasets`: whether the data of a recipe is there, readable and matched."""

import json
import sys
from collections.abc import Mapping

import click

from segdata.commands.options import handle_interrupts, printable
from segdata.logs import logger
from segdata.text import aligned

NUM_SHOWN = 20


@click.group("datasets")
def command() -> None:
    """Check the data of a recipe before training.

    \b
      segdata datasets check cityscapes-pspnet-cpp --set data.root=/data/cityscapes
    """


@command.command()
@click.argument("recipe")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Set a key of the recipe, as data.root=X.")
@click.option("-j", "--jobs", type=int, default=1, show_default=True, help="Processes; -1: one per core.")
@click.option("--deep", is_flag=True, help="Decode every image; without it only its header is read.")
@click.option(
    "--all", "show_all", is_flag=True, help=f"Name every file with a fault, not the first {NUM_SHOWN} of each kind."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every fault.")
@handle_interrupts
def check(recipe: str, overrides: tuple[str, ...], jobs: int, deep: bool, show_all: bool, as_json: bool) -> None:
    """Say what of the data of RECIPE is missing, unreadable or mismatched; exit 1 if anything is.

    RECIPE is a bundled name or a .yaml file. Every label is decoded; the table gives the pixels of each class in each
    source and in the validation images.

    \b
    Examples:
      segdata datasets check my-recipe.yaml
      segdata datasets check camvid-pspnet-cpp --set data.root=/data/camvid -j -1
    """
    from segdata.batch.work import BatchSettings
    from segdata.config.recipe import load_recipe
    from segdata.jobs.check_datasets import check_datasets

    loaded = load_recipe(recipe, overrides)
    stored = loaded.loss.targets == "store"
    report = check_datasets(loaded.data, BatchSettings(jobs=jobs, progress=True), deep=deep, stored=stored)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
        sys.exit(0 if report.passed else 1)
    for answer in report.checks:
        click.echo(printable(answer.line()))
        shown = answer.faults if show_all else answer.faults[:NUM_SHOWN]
        for fault in shown:
            logger.error(fault)
        if len(shown) < len(answer.faults):
            logger.error(f"... and {len(answer.faults) - len(shown)} more of this kind; --all names them.")
    if any(sum(pixels.values()) for pixels in report.pixels.values()):
        click.echo("\n" + printable("\n".join(pixel_table(report.pixels))))
    failed = sum(not answer.passed for answer in report.checks)
    click.echo(f"\n{len(report.checks) - failed} of {len(report.checks)} checks passed")
    sys.exit(1 if failed else 0)


def pixel_table(pixels: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return the pixels of each class in each source as aligned lines, with their share of the labeled ones."""
    rows = [["class", *(text for name in pixels for text in (name, "share"))]]
    for kind in next(iter(pixels.values())):
        row = [kind]
        for numbers in pixels.values():
            # Of the labeled pixels; of all, where it is said how many are not labeled.
            whole = sum(numbers.values()) - (0 if kind == "ignored" else numbers["ignored"])
            row += [f"{numbers[kind]:,}", f"{numbers[kind] / whole:.2%}" if whole else "-"]
        rows.append(row)
    return aligned(rows)
