"""`segdata sample`: what an epoch will draw."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segdata.commands.options import handle_interrupts, printable
from segdata.logs import logger

if TYPE_CHECKING:
    from segdata.config.mixture import Mixture
    from segdata.config.recipe import AugmentationRecipe
    from segdata.data.crops import CropReader
    from segdata.sampling.stream import Source

EPOCH_SIZE, CROP_SIZE, NUM_CROPS = 2975, (512, 512), 20


@click.command("sample", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    metavar="RECIPE",
    help="Recipe of a training run, by bundled name or .yaml file; or a mixture, see docs/pipelines.md.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting of the recipe; repeat.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="NAME=INDEX:SHARE[:CLASS_UNIFORM]",
    help="A source, in place of a recipe; repeat for more.",
)
@click.option(
    "--indexes",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where indexes are kept that the recipe does not name.  [default: runs/indexes, as in training]",
)
@click.option(
    "--epoch-size", type=click.IntRange(min=1), help=f"Draws per epoch.  [default: the recipe's, or {EPOCH_SIZE}]"
)
@click.option("--epoch", type=click.IntRange(min=0), default=0, show_default=True, help="Which epoch to show.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the stream.  [default: the recipe's, or 0]")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the table as a figure.")
@click.option(
    "--crops", type=click.Path(path_type=Path), metavar="FILE", help="Draw the first crops, drawn class outlined."
)
@click.option(
    "--crop-size",
    type=click.Tuple([click.IntRange(min=1)] * 2),
    help="Height and width of a crop.  [default: the recipe's, or {} {}]".format(*CROP_SIZE),
)
@click.option(
    "--measure",
    type=click.IntRange(min=0),
    help="Draws whose crops are measured; 0 counts tiles.  [default: 500, or more where labels are small]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@handle_interrupts
def command(
    config: str | None,
    overrides: tuple[str, ...],
    sources: tuple[str, ...],
    indexes: Path | None,
    epoch_size: int | None,
    epoch: int,
    seed: int | None,
    plot: Path | None,
    crops: Path | None,
    crop_size: tuple[int, int] | None,
    measure: int | None,
    as_json: bool,
) -> None:
    """Show what an epoch will draw.

    For each source its share, for each class its part of the pixels before and after, and how often it is drawn.
    "Before" is an epoch of the same sources drawn image by image, "after" the epoch as it is drawn. With a training
    recipe or --crop-size both are measured on label crops of that size, else counted by whole tiles of the indexes. The
    crops of a training recipe are those of the run, scaled and mirrored as it says.

    \b
    Examples:
      segdata sample --config seethroughnet-cityscapes --set data.root=/data --plot epoch.png
      segdata sample --config mixture.yaml --crops crops.jpg
      segdata sample --source fine=fine.npz:0.4 --source vistas=vistas.npz:0.6:1
    """
    if bool(config) == bool(sources):
        raise click.UsageError("Give either --config or one or more --source.")
    from segdata.data.crops import refuse_without_images
    from segdata.data.draw_summary import epoch_as_json, summarize_epoch
    from segdata.figures.saving import refuse_unusable, save_figure
    from segdata.sampling.sampler import MixedClassUniformSampler

    for path in (plot, crops):
        if path is not None:
            refuse_unusable(path)
    asked = _asked(config, overrides, sources, indexes)
    if crops is not None:
        refuse_without_images(asked.sources)
    seed = asked.seed if seed is None else seed
    sampler = MixedClassUniformSampler(asked.sources, epoch_size=epoch_size or asked.epoch_size, seed=seed)
    sampler.set_epoch(epoch)
    known = asked.augmentation is not None or crop_size is not None
    measured = asked.reader(crop_size, seed) if known else None
    start, stop = sampler.position, sampler.position + len(sampler)
    summary = summarize_epoch(sampler.stream, start, stop, measured, num_crops=measure)
    told = epoch_as_json(sampler.stream, summary)
    if plot is not None:
        from segdata.figures.class_shares import epoch_figure

        logger.info(f"plot in {save_figure(epoch_figure(told), plot)}")
    if crops is not None:
        from segdata.figures.drawn_crops import contact_sheet

        draws = sampler.stream.draws(sampler.position, sampler.position + NUM_CROPS).to_draws()
        cut = asked.reader(crop_size, seed).read
        logger.info(
            f"crops in {save_figure(contact_sheet([cut(draw) for draw in draws], draws, asked.sources), crops)}"
        )
    click.echo(json.dumps(told, sort_keys=True) if as_json else printable(format_epoch(told)))


def format_epoch(told: dict[str, Any]) -> str:
    """Return shares and classes as two tables."""
    lines = [f"{'source':<20} {'images':>8} {'share':>10} {'draws':>8}"]
    for row in told["sources"]:
        lines.append(f"{row['name'][:20]:<20} {row['images']:>8,} {row['share']:>10} {row['draws']:>8,}")
    lines += [*told["changed_shares"], "", told["measured"]["text"]]
    if told["measured"]["why"]:
        lines.append(f"not by crops: {told['measured']['why']}")
    lines.append(f"{'class':<20} {'pixels before':>14} {'draws':>8} {'pixels after':>14} {'times':>8}")
    for row in told["classes"]:
        before, after = row["pixels_before"], row["pixels_after"]
        times = f"{after / before:8.2f}" if before else f"{'-':>8}"
        lines.append(f"{row['class'][:20]:<20} {before:14.3%} {row['draws']:>8,} {after:14.3%} {times}")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Asked:
    """What is to be shown: the sources, and how their draws become crops.

    Attributes
    ----------
    augmentation : AugmentationRecipe or None
        That of a training run; None where only a mixture is given.
    """

    sources: "Sequence[Source]"
    epoch_size: int
    seed: int
    augmentation: "AugmentationRecipe | None" = None

    def reader(self, crop_size: tuple[int, int] | None, seed: int) -> "CropReader":
        """Return what cuts crops of a size; by default of that of the run."""
        from segdata.config.recipe import AugmentationRecipe
        from segdata.data.crops import CropReader, refuse_far_crops

        plain = AugmentationRecipe(crop=crop_size or CROP_SIZE, scale=(1.0, 1.0), flip=0.0, color="none")
        augmentation = plain
        if self.augmentation is not None:
            augmentation = self.augmentation.model_copy(update={"crop": crop_size or self.augmentation.crop})
        refuse_far_crops(self.sources, augmentation)
        return CropReader(sources=tuple(self.sources), augmentation=augmentation, seed=seed)


def _asked(config: str | None, overrides: tuple[str, ...], sources: tuple[str, ...], indexes: Path | None) -> _Asked:
    from segdata.config.mixture import Mixture, is_mixture, parse_source, read_mixture

    if config is not None and not (Path(config).is_file() and is_mixture(Path(config))):
        return _of_training(config, overrides, indexes)
    if overrides or indexes is not None:
        raise click.UsageError("--set and --indexes are for the recipe of a training run.")
    if config is not None:
        return _of_mixture(read_mixture(Path(config)))
    return _of_mixture(Mixture([parse_source(text) for text in sources]))


def _of_mixture(mixture: "Mixture") -> _Asked:
    return _Asked(mixture.sources, mixture.epoch_size or EPOCH_SIZE, mixture.seed)


def _of_training(config: str, overrides: tuple[str, ...], indexes: Path | None) -> _Asked:
    from segdata.config.recipe import load_recipe
    from segdata.data.crops import images_of
    from segdata.data.sources import open_sources

    recipe = load_recipe(config, overrides)
    opened = open_sources(recipe.data, indexes or Path("runs") / "indexes", scan_all=True, progress=True)
    sources = [source.source for source in opened]
    return _Asked(sources, recipe.epoch_size(images_of(sources)), recipe.seed, recipe.augmentation)
