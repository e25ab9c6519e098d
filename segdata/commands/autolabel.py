"""`segdata autolabel`: labels and confidences that a model gives to unlabeled images, as a source to train on."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segdata.commands.inference_options import checkpoint_argument, inference_options, one_process_options
from segdata.commands.options import NumbersCommand, conclude, printable
from segdata.logs import logger
from segdata.text import counted

if TYPE_CHECKING:
    from segdata.batch.work import BatchSettings
    from segdata.inference.choices import Choices

FOLDER = "autolabeled"
UNLABELED = "train_extra"


@click.command("autolabel", cls=NumbersCommand, context_settings={"help_option_names": ["-h", "--help"]})
@checkpoint_argument
@click.argument("images", metavar="IMAGES", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", metavar="[OUT]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME",
    help=f"Only this split; repeat for more.  [default: {UNLABELED} where there is one, else all]",
)
@click.option(
    "--encoding",
    type=click.Choice(["trainIds", "labelIds"]),
    default="labelIds",
    show_default=True,
    help="Which numbers label images hold.",
)
@click.option(
    "--threshold",
    type=float,
    default=0.0,
    show_default=True,
    help="Ignore pixels that are less sure, for good; a recipe can also do so when it reads.",
)
@inference_options
@one_process_options
def command(
    *,
    checkpoint: Path,
    images: Path,
    out: Path | None,
    splits: tuple[str, ...],
    encoding: Any,
    threshold: float,
    choices: "Choices",
    batch: "BatchSettings",
    as_json: bool,
) -> None:
    """Label images by a model, to train on.

    For IMAGES, a Cityscapes root, the image leftImg8bit/train_extra/a/b_leftImg8bit.png gets the label
    OUT/train_extra/a/b_leftImg8bit.png and its confidence 0-255 in OUT/train_extra/a/b_leftImg8bit_prob.png; any other
    folder of images alike. OUT is by default IMAGES/autolabeled, where a recipe finds label and image together.

    \b
    Example:
      segdata autolabel runs/teacher cityscapes --scales 0.5 1 2 --flip
    """
    from segdata.distributed.process_group import init_distributed
    from segdata.inference.loading import open_model
    from segdata.jobs.predict import PredictionPlan, run_predictions
    from segdata.jobs.predict_sources import find_images, plan_auto_labels

    source = Path(os.path.abspath(images))  # noqa: PTH100 - links stay, "." and ".." go
    target = Path(os.path.abspath(source / FOLDER if out is None else out))  # noqa: PTH100
    found = find_images(source, target, splits=splits)
    if not splits and any(image.relative.parts[0] == UNLABELED for image in found):
        found = [image for image in found if image.relative.parts[0] == UNLABELED]
    trained = open_model(checkpoint, choices)
    settings = trained.prediction_settings(encoding=encoding, threshold=threshold)
    with init_distributed(choices.device) as world:
        plan = PredictionPlan(
            tool="autolabel",
            source=source,
            destination=target,
            items=plan_auto_labels(found, target),
            settings=settings,
            predictor=trained.predictor(world.device),
        )
        logger.info(f"{counted(len(plan.items), 'image')}, to {target}")
        result = run_predictions(plan, batch)
    if not as_json and not batch.dry_run and found[0].relative.parts[0] == UNLABELED:
        click.echo(printable(as_source(target)))
    sys.exit(conclude(result.outcomes, as_json=as_json, result={"report": result.report}))


def as_source(out: Path) -> str:
    """Return the lines of a recipe that take the auto-labels as a source.

    >>> print(as_source(Path("city/auto")))
    As a source of a recipe, under data.sources:
      auto-coarse: {layout: cityscapes, root: city/auto, annotation: auto, splits: [train_extra], confidence: 0.9}
    """
    keys = f"layout: cityscapes, root: {out}, annotation: auto, splits: [{UNLABELED}], confidence: 0.9"
    return f"As a source of a recipe, under data.sources:\n  auto-coarse: {{{keys}}}"
