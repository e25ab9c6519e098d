"""`segdata predict`: label images, colors, overlays and probabilities that a model makes of images."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segdata.commands.inference_options import checkpoint_argument, inference_options, one_process_options
from segdata.commands.options import NumbersCommand, conclude
from segdata.logs import logger
from segdata.text import counted

if TYPE_CHECKING:
    from segdata.batch.work import BatchSettings
    from segdata.inference.choices import Choices

KINDS = ("labels", "color", "overlay", "probabilities")
LEGEND_WIDTH = 640


@click.command("predict", cls=NumbersCommand, context_settings={"help_option_names": ["-h", "--help"]})
@checkpoint_argument
@click.argument("images", metavar="IMAGES", type=click.Path(exists=True, path_type=Path))
@click.argument("out", metavar="[OUT]", required=False, type=click.Path(path_type=Path))
@click.option("--split", "splits", multiple=True, metavar="NAME", help="Only this split of IMAGES; repeat for more.")
@click.option(
    "--write",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    default=("labels",),
    show_default=True,
    help="What to make; repeat for more.",
)
@click.option(
    "--encoding",
    type=click.Choice(["trainIds", "labelIds"]),
    default="trainIds",
    show_default=True,
    help="Which numbers label images hold.",
)
@click.option("--threshold", type=float, default=0.0, show_default=True, help="Ignore pixels that are less sure.")
@inference_options
@one_process_options
def command(
    *,
    checkpoint: Path,
    images: Path,
    out: Path | None,
    splits: tuple[str, ...],
    kinds: tuple[Any, ...],
    encoding: Any,
    threshold: float,
    choices: "Choices",
    batch: "BatchSettings",
    as_json: bool,
) -> None:
    """Predict images.

    IMAGES is a Cityscapes root, any folder of images, or one image. What is made of IMAGES/a/b.jpg goes to
    OUT/labels/a/b.png, OUT/color/a/b.png, OUT/overlay/a/b.png and OUT/probabilities/a/b.npz; the colors of the classes
    to OUT/legend.png; what became of each image to OUT/predict.json. OUT is by default a folder beside IMAGES named
    IMAGES-predicted. After an interruption, the same command continues.

    \b
    Examples:
      segdata predict runs/pspnet cityscapes out --split val --encoding labelIds
      segdata predict runs/pspnet holiday.jpg out --write overlay
    """
    from segdata.distributed.process_group import init_distributed
    from segdata.figures.legend import class_legend
    from segdata.figures.saving import save_figure
    from segdata.inference.loading import open_model
    from segdata.jobs.predict import PredictionPlan, run_predictions
    from segdata.jobs.predict_sources import find_images, plan_predictions
    from segdata.labels.classes import IGNORE_ID

    source = Path(os.path.abspath(images))  # noqa: PTH100 - links stay, "." and ".." go
    name = source.name if source.is_dir() else source.stem
    chosen = source.with_name(f"{name}-predicted") if out is None else out
    target = Path(os.path.abspath(chosen))  # noqa: PTH100
    trained = open_model(checkpoint, choices)
    settings = trained.prediction_settings(encoding=encoding, threshold=threshold)
    with init_distributed(choices.device) as world:
        plan = PredictionPlan(
            tool="predict",
            source=source,
            destination=target,
            items=plan_predictions(find_images(source, target, splits=splits), target, kinds),
            settings=settings,
            predictor=trained.predictor(world.device),
        )
        logger.info(f"{counted(len(plan.items), 'image')}, to {target}")
        result = run_predictions(plan, batch)
    if {"color", "overlay"} & set(kinds) and not batch.dry_run and target.is_dir():
        table = trained.table
        save_figure(class_legend(table, [*range(table.num_classes), IGNORE_ID], LEGEND_WIDTH), target / "legend.png")
    sys.exit(conclude(result.outcomes, as_json=as_json, result={"report": result.report}))
