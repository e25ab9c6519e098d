"""`segdata evaluate`: mIoU and its companions, of a model or of label images."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from segdata.commands.inference_options import inference_option_names, inference_options
from segdata.commands.options import NumbersCommand, handle_interrupts, local_rank_zero_errors, printable
from segdata.logs import logger
from segdata.text import counted

if TYPE_CHECKING:
    from segdata.inference.choices import Choices
    from segdata.metrics.scores import Scores

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_OF_LABELS = frozenset({"classes", "encoding", "prediction_encoding"})
_OF_MODELS = frozenset({"data", "limit", "nproc"}) | inference_option_names()
_ENCODING = click.Choice(["auto", "trainIds", "labelIds"])


@click.command("evaluate", cls=NumbersCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("checkpoint", metavar="[CHECKPOINT]", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--data", metavar="RECIPE|DIR", help="Validation data of a recipe, or the folder of the model's own.")
@click.option("--split", "splits", multiple=True, metavar="NAME", help="In place of the recipe's; repeat for more.")
@click.option("--boundary", is_flag=True, help="Measure boundary IoU as well.")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many images, evenly spread.")
@click.option("--nproc", type=click.IntRange(min=1), default=1, show_default=True, help="Processes, one for each GPU.")
@inference_options
@click.option("--predictions", type=_FOLDER, metavar="DIR", help="Label images to measure, in place of a model.")
@click.option("--labels", type=_FOLDER, metavar="DIR", help="The labels to measure them against.")
@click.option("--classes", default="cityscapes", show_default=True, help="Class table of these images.")
@click.option("--encoding", type=_ENCODING, default="auto", show_default=True, help="What --labels hold.")
@click.option(
    "--prediction-encoding", type=_ENCODING, default="auto", show_default=True, help="What --predictions hold."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@handle_interrupts
def command(
    *,
    checkpoint: Path | None,
    predictions: Path | None,
    labels: Path | None,
    as_json: bool,
    boundary: bool,
    splits: tuple[str, ...],
    choices: "Choices",
    **others: Any,
) -> None:
    """Measure a model on labeled images, or label images on their labels.

    CHECKPOINT is a file, or the folder of a run. Printed are IoU, precision and recall of each class, mIoU and pixel
    accuracy; with --json the confusion matrix too. On Cityscapes the figures are those of its own evaluation. Under
    `torchrun` or `srun` every process takes its part of the images.

    \b
    Examples:
      segdata evaluate runs/pspnet
      segdata evaluate runs/hmsa --scales 0.5 1 2 --flip --data cityscapes --nproc 4
      segdata evaluate --predictions out/labels --labels cityscapes --split val
    """
    if (checkpoint is None) == (predictions is None) or (predictions is None) != (labels is None):
        raise click.UsageError("Give either CHECKPOINT, or both --predictions and --labels.")
    _refuse_others(_OF_LABELS if predictions is None else _OF_MODELS, "CHECKPOINT" if checkpoint else "--predictions")
    if checkpoint is None:
        assert predictions is not None
        assert labels is not None
        show(*_compare(predictions, labels, splits, boundary, **others), as_json=as_json)
        return
    found = local_rank_zero_errors(_evaluate)(checkpoint, choices, splits, boundary, **others)
    if found is not None:
        show(*found, as_json=as_json)


def _refuse_others(names: frozenset[str], given: str) -> None:
    """Refuse options that would be ignored beside what is measured."""
    context = click.get_current_context()
    for option in context.command.params:
        if option.name in names and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option.opts[0]} has no meaning with {given}. Leave it out.")


def show(scores: "Scores", about: Mapping[str, Any], *, as_json: bool) -> None:
    """Print scores as a table, or with all counts as JSON."""
    from segdata.metrics.scores import format_scores

    if as_json:
        click.echo(json.dumps({**scores.as_dict(), **about}, sort_keys=True))
    else:
        click.echo(printable(format_scores(scores)))


def _evaluate(
    checkpoint: Path,
    choices: "Choices",
    splits: tuple[str, ...],
    boundary: bool,
    *,
    data: str | None,
    limit: int | None,
    nproc: int,
    **_unused: Any,
) -> "tuple[Scores, dict[str, Any]] | None":
    """Measure a model."""
    from segdata.inference.choices import Choices
    from segdata.inference.evaluate_run import evaluate_checkpoint

    evaluation = {**choices.evaluation, "limit": limit, "boundary": boundary or None}
    asked = Choices(evaluation=evaluation, precision=choices.precision, device=choices.device)
    return evaluate_checkpoint(checkpoint, asked, data=data, splits=splits, num_processes=nproc, progress=True)


def _compare(
    predictions: Path,
    labels: Path,
    splits: tuple[str, ...],
    boundary: bool,
    *,
    classes: str,
    encoding: Any,
    prediction_encoding: Any,
    **_unused: Any,
) -> "tuple[Scores, dict[str, Any]]":
    """Measure label images; loads no torch."""
    from tqdm import tqdm

    from segdata.jobs.compare import compare, find_pairs
    from segdata.labels.classes import ClassTable
    from segdata.metrics.scores import Scores

    if len(splits) > 1:
        raise click.UsageError("--predictions takes one --split.")
    table = ClassTable.load(classes)
    pairs = find_pairs(
        predictions,
        labels,
        split=splits[0] if splits else None,
        encoding=encoding,
        prediction_encoding=prediction_encoding,
    )
    told = {"labels": pairs[0].label.encoding, "predictions": pairs[0].prediction.encoding}
    logger.info(f"{counted(len(pairs), 'image')}; labels hold {told['labels']}, predictions {told['predictions']}")
    scores = Scores.empty(table.train_names, boundary=boundary)
    for one in tqdm(
        compare(pairs, table, boundary=boundary), total=len(pairs), unit="image", file=sys.stderr, delay=1.0
    ):
        scores += one
    return scores, {"predictions": str(predictions), "data": str(labels), "encoding": told}
