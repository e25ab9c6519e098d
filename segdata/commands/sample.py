"""`segdata sample`: what an epoch will draw."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segdata.commands.options import ends_in_one_line, printable, say

if TYPE_CHECKING:
    from segdata.sampling.recipe import Mixture
    from segdata.sampling.sampler import MixedClassUniformSampler


@click.command("sample", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="RECIPE",
    help="YAML file with `sources:`; see docs/pipelines.md.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME=INDEX:SHARE[:CLASS_UNIFORM]",
    help="A source, in place of a recipe; repeat for more.",
)
@click.option("--epoch-size", type=click.IntRange(min=1), help="Draws per epoch.  [default: the recipe's, or 2975]")
@click.option("--epoch", type=click.IntRange(min=0), default=0, show_default=True, help="Which epoch to show.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the stream.  [default: the recipe's, or 0]")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the table as a picture.")
@click.option(
    "--crops", type=click.Path(path_type=Path), metavar="FILE", help="Draw the first crops, drawn class outlined."
)
@click.option("--crop-size", type=(int, int), default=(512, 512), show_default=True, help="Height and width of a crop.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@ends_in_one_line
def command(
    config: Path | None,
    sources: tuple[str, ...],
    epoch_size: int | None,
    epoch: int,
    seed: int | None,
    plot: Path | None,
    crops: Path | None,
    crop_size: tuple[int, int],
    as_json: bool,
) -> None:
    """Show what an epoch will draw.

    For each source its share, for each class its part of the pixels before and after, and how often it is drawn.
    "Before" is an epoch of the same sources drawn image by image; "after" counts the tiles that are drawn.

    \b
    Examples:
      segdata sample --config mixture.yaml --plot epoch.png --crops crops.jpg
      segdata sample --source fine=fine.npz:0.4 --source vistas=vistas.npz:0.6:1
    """
    if bool(config) == bool(sources):
        raise click.UsageError("Give either --config or one or more --source.")
    from segdata.sampling.sampler import MixedClassUniformSampler
    from segdata.sampling.summary import epoch_as_json, summarise_epoch

    mixture = _mixture(config, sources)
    sampler = MixedClassUniformSampler(
        mixture.sources,
        epoch_size=epoch_size or mixture.epoch_size or 2975,
        seed=mixture.seed if seed is None else seed,
    )
    sampler.set_epoch(epoch)
    summary = summarise_epoch(sampler.stream, sampler.position, sampler.position + len(sampler))
    told = epoch_as_json(sampler.stream, summary)
    if plot is not None:
        from segdata.pictures.sampling import epoch_figure
        from segdata.pictures.saving import save_picture

        say(f"plot in {save_picture(epoch_figure(told), plot)}")
    if crops is not None:
        _save_crops(sampler, crops, crop_size)
    click.echo(json.dumps(told, sort_keys=True) if as_json else printable(format_epoch(told)))


def format_epoch(told: dict[str, Any]) -> str:
    """Return shares and classes as two tables."""
    lines = [f"{'source':<20} {'images':>8} {'share':>10} {'draws':>8}"]
    for row in told["sources"]:
        lines.append(f"{row['name'][:20]:<20} {row['images']:>8} {row['share']:>10} {row['draws']:>8}")
    lines += ["", f"{'class':<20} {'pixels before':>14} {'draws':>8} {'pixels after':>14} {'times':>8}"]
    for row in told["classes"]:
        before, after = row["pixels_before"], row["pixels_after"]
        times = f"{after / before:8.2f}" if before else f"{'-':>8}"
        lines.append(f"{row['class'][:20]:<20} {before:14.3%} {row['draws']:>8} {after:14.3%} {times}")
    return "\n".join(lines)


def _mixture(config: Path | None, sources: tuple[str, ...]) -> "Mixture":
    from segdata.sampling.recipe import Mixture, parse_source, read_mixture

    if config is not None:
        return read_mixture(config)
    return Mixture([parse_source(text) for text in sources])


def _save_crops(sampler: "MixedClassUniformSampler", path: Path, crop_size: tuple[int, int]) -> None:
    from segdata.pictures.crops import contact_sheet
    from segdata.pictures.saving import save_picture
    from segdata.sampling.dataset import CropDataset

    dataset = CropDataset(sampler.stream.sources, crop_size, seed=sampler.stream.seed)
    draws = sampler.stream.draws(sampler.position, sampler.position + 20).to_draws()
    say(f"crops in {save_picture(contact_sheet(dataset, draws), path)}")
