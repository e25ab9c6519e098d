"""`segdata experiment`: grids of runs, and their tables."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segdata.commands.options import NumbersCommand, ShardType, handle_interrupts, printable

if TYPE_CHECKING:
    from segdata.experiments.grid import Grid

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group("experiment", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Train grids of settings and seeds, and compare what they come to.

    \b
    Examples:
      segdata experiment run aux-weight --config camvid-pspnet-lite0-cpp -o weights
      segdata experiment show weights
    """


@command.command("run", cls=NumbersCommand)
@click.argument("what", metavar="aux-weight|seeds|GRID.yaml")
@click.option("--config", "configs", multiple=True, metavar="RECIPE", help="Recipe; repeat for more with `seeds`.")
@click.option("--weights", type=float, multiple=True, help="Of aux-weight.  [default: 0.1 0.2 ... 1.0]")
@click.option("--runs", type=click.IntRange(min=1), help="Runs of each arm.  [default: 1; 10 with seeds]")
@click.option(
    "--same-seed", type=click.IntRange(min=0), metavar="SEED", help="One seed for all, not 0, 1, 2 and so on."
)
@click.option("--reproducible", is_flag=True, help="Deterministic algorithms, on one thread.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of all; repeat for more."
)
@click.option("-o", "--out", type=_FOLDER, required=True, metavar="DIR", help="Folder of the experiment.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Runs at a time.  [default: one for each GPU, or one]")
@click.option("--shard", type=ShardType(), default=(1, 1), metavar="I/N", help="Only the I-th of N parts of the runs.")
@click.option("--dry-run", is_flag=True, help="Only list the runs.")
@handle_interrupts
def run(
    *,
    what: str,
    configs: tuple[str, ...],
    weights: tuple[float, ...],
    runs: int | None,
    same_seed: int | None,
    reproducible: bool,
    overrides: tuple[str, ...],
    out: Path,
    jobs: int | None,
    shard: tuple[int, int],
    dry_run: bool,
) -> None:
    """Train every arm of an experiment with every seed.

    aux-weight trains one recipe at several factors of the auxiliary losses (Table 1 of the paper). seeds trains one or
    more recipes several times (Tables 2 and 3). GRID.yaml names arms, settings and seeds of its own. What is finished
    is kept: run the same command again to continue, with more --runs for more seeds. A run that fails is told in one
    line, and the others continue.

    \b
    Examples:
      segdata experiment run aux-weight --config cityscapes-pspnet-cpp -o weights
      segdata experiment run seeds --config voc2012-pspnet-ce --config voc2012-pspnet-cpp --runs 10 -o seeds
      segdata experiment run grid.yaml -o grid --shard 1/4
    """
    from segdata.experiments.grid import plan, read_grid, write_plan

    out = out.absolute()
    folder = Path.cwd()
    if what in ("aux-weight", "seeds"):
        grid = _bundled_grid(what, configs, weights, runs, same_seed, reproducible)
    else:
        if not what.endswith((".yaml", ".yml")):
            raise click.UsageError(f"'{what}' is no experiment. Give aux-weight, seeds, or a .yaml file.")
        if configs or weights or runs or same_seed is not None or reproducible:
            raise click.UsageError("--config, --weights, --runs, --same-seed and --reproducible stand in the grid.")
        grid, folder = read_grid(Path(what)), Path(what).absolute().parent
    planned = plan(grid, folder, overrides)
    part = planned[shard[0] - 1 :: shard[1]]
    if dry_run:
        click.echo(printable("\n".join(one.name for one in part)))
        return
    from segdata.experiments.running import run_experiment

    write_plan(out, grid, planned)
    outcome = run_experiment(out, part, jobs=jobs)
    told = [f"{outcome.finished + outcome.kept} of {len(part)} runs finished in {out}"]
    if outcome.failed:
        told.append(f"{len(outcome.failed)} failed: {', '.join(outcome.failed)}. Run the same command to try again.")
    if outcome.exit_code > 1:
        told.append("stopped. Everything is saved: run the same command again.")
    click.echo(printable("\n".join(told)))
    sys.exit(outcome.exit_code)


def _bundled_grid(
    what: str,
    configs: tuple[str, ...],
    weights: tuple[float, ...],
    runs: int | None,
    same_seed: int | None,
    reproducible: bool,
) -> "Grid":
    from segdata.experiments.grid import AUXILIARY_WEIGHTS, auxiliary_weight_grid, seeds_grid

    number = runs or (10 if what == "seeds" else 1)
    seeds = range(number) if same_seed is None else [same_seed] * number
    if not configs:
        raise click.UsageError(f"{what} needs --config.")
    if what == "seeds":
        if weights:
            raise click.UsageError("--weights is for aux-weight.")
        return seeds_grid(configs, list(seeds), reproducible)
    if len(configs) > 1:
        raise click.UsageError("aux-weight takes one --config.")
    return auxiliary_weight_grid(configs[0], weights or AUXILIARY_WEIGHTS, list(seeds), reproducible)


@command.command("show")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--classes", is_flag=True, help="Print the IoU of each class as well.")
@click.option("--boundary", is_flag=True, help="Compare boundary IoU in place of IoU.")
@click.option("--best", is_flag=True, help="Take each run's best evaluation in place of its last.")
@click.option("--csv", "form", flag_value="csv", help="Print a line for each run.")
@click.option("--latex", "form", flag_value="latex", help="Print the table for a paper.")
@click.option("--json", "form", flag_value="json", help="Print all figures.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw the runs of each arm."
)
def show(*, folder: Path, classes: bool, boundary: bool, best: bool, form: str | None, plot: Path | None) -> None:
    """Print what the runs came to: the paper's table, and the difference between arms with its interval.

    Variance and standard deviation have n - 1 in the denominator. Arms that share their seeds are compared in pairs.

    \b
    Examples:
      segdata experiment show seeds
      segdata experiment show weights --latex
    """
    from segdata.experiments import tables
    from segdata.experiments.statistics import summarize

    found = summarize(folder, best=best, boundary=boundary)
    if plot is not None:
        from segdata.figures.experiment import experiment_figure
        from segdata.figures.saving import save_figure

        save_figure(experiment_figure(found), plot)
    if form == "json":
        click.echo(json.dumps(found.as_dict(), indent=1))
    else:
        told = {"csv": tables.as_csv, "latex": tables.as_latex, None: tables.as_text}[form](found, classes)
        click.echo(printable(told))
