"""A checkpoint measured on labeled data, in one process or in several."""

from pathlib import Path
from typing import Any

from segdata.config.data import SourceRecipe
from segdata.config.recipe import load_recipe
from segdata.data.samples import find_samples
from segdata.distributed.launch import launch
from segdata.distributed.process_group import init_distributed
from segdata.errors import SettingsError
from segdata.inference.choices import Choices
from segdata.inference.evaluate import evaluate
from segdata.inference.loading import TrainedModel, open_model
from segdata.metrics.scores import Scores

Result = tuple[Scores, dict[str, Any]]


def evaluate_checkpoint(
    checkpoint: Path,
    choices: Choices,
    *,
    data: str | None = None,
    splits: tuple[str, ...] = (),
    num_processes: int = 1,
    progress: bool = False,
) -> Result | None:
    """Measure a trained model.

    Parameters
    ----------
    checkpoint : Path
        A file, or the folder of a run.
    choices : Choices
        What to do otherwise than the recipe says.
    data : str, optional
        A recipe whose validation data are taken, or the folder in which the model's own validation data lie; by default
        those are sought where they were in training.
    splits : tuple of str
        In place of the splits that the recipe names.
    num_processes : int
        Started here. In a process that ``torchrun`` or ``srun`` started it is 1.
    progress : bool
        Show progress on stderr.

    Returns
    -------
    scores : Scores
    about : dict
        JSON-able: ``checkpoint``, ``data``, ``splits`` and ``settings``.
    None
        On all ranks of a launcher but the first.

    Raises
    ------
    SegdataError
        If the model, the data or an image cannot be read, in one line.
    """
    if num_processes == 1:
        return _evaluate_here(checkpoint, choices, data, splits, progress)
    results = launch(
        _evaluate_here, checkpoint, choices, data, splits, progress, num_processes=num_processes, max_restarts=0
    )
    return results[0]


def validation_source(trained: TrainedModel, data: str | None, splits: tuple[str, ...]) -> SourceRecipe:
    """Return the data to measure on; see `evaluate_checkpoint`.

    Raises
    ------
    SettingsError
        If the recipe names none, or those of the other recipe have other classes.
    """
    recipe, folder = trained.recipe, None
    if data is not None and Path(data).is_dir():
        folder = Path(data).absolute()
    elif data is not None:
        recipe = load_recipe(data)
    source = recipe.data.located_validation
    if source is None:
        raise SettingsError(f"recipe '{recipe.name}': names no validation data. Pass --data with a recipe that does.")
    if recipe.table.digest != trained.table.digest:
        raise SettingsError(
            f"recipe '{recipe.name}': has the classes '{recipe.table.name}', the model was trained on "
            f"'{trained.table.name}'. Choose data with the same classes."
        )
    changes: dict[str, Any] = {"root": folder} if folder is not None else {}
    return source.model_copy(update=changes | ({"splits": splits} if splits else {}))


def _evaluate_here(
    checkpoint: Path, choices: Choices, data: str | None, splits: tuple[str, ...], progress: bool
) -> Result | None:
    """Measure in this process, with the other ranks if a launcher started any."""
    with init_distributed(choices.device) as world:
        trained = open_model(checkpoint, choices)
        source = validation_source(trained, data, splits)
        scores = evaluate(
            trained.model,
            find_samples(source),
            trained.table,
            trained.evaluation,
            world.device,
            encoding=source.label_encoding,
            confidence=source.confidence,
            precision=trained.precision,
            mean=trained.recipe.augmentation.mean,
            std=trained.recipe.augmentation.std,
            progress=progress,
        )
        return (scores, _about(trained, source)) if world.is_first else None


def _about(trained: TrainedModel, source: SourceRecipe) -> dict[str, Any]:
    return {
        "checkpoint": str(trained.path),
        "recipe": trained.recipe.name,
        "data": str(source.root),
        "splits": list(source.splits),
        "settings": trained.evaluation.model_dump(mode="json") | {"precision": trained.precision},
    }
