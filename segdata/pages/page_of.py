"""Which page a folder gets, by what a command left in it."""

from pathlib import Path

from segdata.batch.report import read_report, refuse_missing_fields
from segdata.errors import SettingsError
from segdata.experiments.grid import GRID
from segdata.experiments.results import METRICS
from segdata.pages.html import page
from segdata.pages.of_conversion import sections_of_conversion
from segdata.pages.of_experiment import sections_of_experiment
from segdata.pages.of_index import CLASS_UNIFORM, sections_of_index
from segdata.pages.of_run import RECIPE, sections_of_run
from segdata.pages.of_store import sections_of_store

CONVERSIONS, STORE = ("convert-mapillary.json", "convert.json"), "precompute-cpp.json"


def page_of(
    path: Path, *, predictions: Path | None = None, class_uniform: float | None = None, progress: bool = False
) -> str:
    """Return the page of a converted data set, a store, a class index, a run or an experiment, as HTML.

    Parameters
    ----------
    path : Path
        The folder, or the file of an index.
    predictions : Path, optional
        Of a run: what `segdata predict` wrote for its validation images.
    class_uniform : float, optional
        Of an index: the part of the draws by class of which the effect is shown; 0.5 if not given.
    progress : bool
        Show how far it is.

    Raises
    ------
    SegdataError
        If it is none of these, or cannot be read.
    """
    is_run = (path / RECIPE).is_file() and (path / METRICS).is_file()
    if predictions is not None and not is_run:
        raise SettingsError(f"{path}: is no run of training, whose validation images predictions could be of.")
    if class_uniform is not None and not path.is_file():
        raise SettingsError(f"{path}: is not the file of a class index, whose draws --class-uniform is about.")
    if path.is_file():
        shown = CLASS_UNIFORM if class_uniform is None else class_uniform
        return page(f"Class index {path.name}", sections_of_index(path, shown))
    if (path / GRID).is_file():
        return page(f"Experiment {path.name}", sections_of_experiment(path))
    if is_run:
        sections, data = sections_of_run(path, predictions, progress=progress)
        return page(f"Run {path.name}", sections, data=data)
    for name in (*CONVERSIONS, STORE):
        report = read_report(path / name)
        if report is not None and report.get("totals"):
            with refuse_missing_fields(path / name):
                sections = (sections_of_store if name == STORE else sections_of_conversion)(path, report)
            return page(f"{'Stored targets' if name == STORE else 'Converted labels'} {path.name}", sections)
    raise SettingsError(
        f"{path}: is neither a run, an experiment, a converted data set nor stored targets: it has no {RECIPE} with "
        f"{METRICS}, {GRID}, {', '.join(CONVERSIONS)} or {STORE}. Give such a folder, or the file of a class index."
    )
