"""`segdata train`: train a model by a recipe."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdata.commands.options import handle_interrupts, local_rank_zero_errors, printable
from segdata.text import counted

if TYPE_CHECKING:
    from segdata.training.loop import TrainResult


@click.command("train", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", metavar="RECIPE", required=True, help="Bundled name or .yaml file: see `segdata recipes list`."
)
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the run.  [default: runs/ and the recipe's name]",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeat for more.")
@click.option("--resume", is_flag=True, help="Continue from the newest checkpoint in DIR, if there is one.")
@click.option("--nproc", type=click.IntRange(min=1), help="Start so many processes on this machine, one per GPU.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@handle_interrupts
@local_rank_zero_errors
def command(
    config: str, out: Path | None, overrides: tuple[str, ...], resume: bool, nproc: int | None, as_json: bool
) -> None:
    """Train a model by a recipe.

    DIR gets the recipe with every setting, checkpoints, metrics.jsonl, and curves for TensorBoard. On SIGTERM or
    SIGUSR1 all ranks save and end with exit code 143; run the same command with --resume to continue. Under torchrun or
    srun it is one of their processes.

    \b
    Examples:
      segdata train --config cityscapes-pspnet-cpp --nproc 8
      segdata train --config tiny-seethroughnet-scenes --set schedule.iterations=50 --out my-run --resume
    """
    from segdata.config.recipe import load_recipe

    recipe = load_recipe(config, overrides)
    folder = out if out is not None else Path("runs") / recipe.name
    if nproc is not None and nproc > 1:
        from segdata.training.multi_process import train_in_processes

        result = train_in_processes(recipe, folder, num_processes=nproc, resume=resume)
    else:
        from segdata.training.loop import train

        result = train(recipe, folder, resume=resume)
    sys.exit(_tell(result, folder, as_json=as_json))


def _tell(result: "TrainResult | int", folder: Path, *, as_json: bool) -> int:
    """Print how it ended, once for all ranks, and return the exit code."""
    from segdata.distributed.process_group import is_first_process

    exit_code = result if isinstance(result, int) else result.exit_code
    if not is_first_process():
        return exit_code
    if exit_code:
        click.echo(
            printable(f"segdata: stopped. Everything is saved in {folder}: run the same command with --resume."),
            err=True,
        )
    if isinstance(result, int):
        return exit_code
    if as_json:
        told = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(result).items()}
        click.echo(json.dumps(told, sort_keys=True))
    else:
        click.echo(printable(_summary(result)))
    return exit_code


def _summary(result: "TrainResult") -> str:
    lines = [f"{result.step:,} of {counted(result.num_steps, 'step')} in {result.out}"]
    if result.best_miou is not None:
        lines.append(f"best mIoU {100 * result.best_miou:.2f} after step {result.best_step}")
    if result.skipped_steps:
        lines.append(f"{counted(result.skipped_steps, 'step')} skipped: loss or gradient not finite")
    if result.left_out_images:
        lines.append(f"{counted(result.left_out_images, 'image')} left out: see metrics.jsonl")
    return "\n".join(lines)
