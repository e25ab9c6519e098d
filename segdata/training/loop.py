"""Training: the loop around the steps, with what happens between them."""

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segdata.batch.signals import STOPPED, TRAINING_SIGNALS, StopFlag, stop_on_signals
from segdata.config.recipe import Recipe, difference, dump_recipe
from segdata.data.loader import Batch
from segdata.data.samples import find_samples
from segdata.data.sources import refuse_overlap
from segdata.distributed.process_group import (
    DistributedContext,
    init_distributed,
    raise_rank_timeout,
    was_restarted,
)
from segdata.errors import LabelError, SegdataError, SettingsError, StoreError
from segdata.files import explain_os_error, only_run_in, write_atomic
from segdata.inference.evaluate import evaluate
from segdata.inference.predictor import is_out_of_memory
from segdata.jobs.check_datasets import refuse_faulty_data
from segdata.logs import logger
from segdata.metrics.scores import Scores
from segdata.models.checkpoint import CheckpointFolder, read_checkpoint, recipe_of, refuse_other_recipe
from segdata.text import counted
from segdata.training.compilation import compiled_graphs
from segdata.training.determinism import arithmetic, limited_threads, untuned_convolutions
from segdata.training.optimizer import learning_rate, set_learning_rate
from segdata.training.reporting import Reporter
from segdata.training.setup import Run
from segdata.training.speed import Stopwatch, peak_flops, peak_memory
from segdata.training.start import tell_start
from segdata.training.step import StepReport

RECIPE = "recipe.yaml"
_ENOUGH_TO_JUDGE = 100
"""Images after which a run that leaves out most of them is given up."""


@dataclass(frozen=True)
class TrainResult:
    """How a training ended.

    Attributes
    ----------
    step, num_steps : int
        Steps taken, and those of the whole run.
    exit_code : int
        0 if it is finished; 143 after SIGTERM or SIGUSR1, 130 after Ctrl-C: everything is saved.
    out : Path
        Folder of the run.
    checkpoint : Path or None
        The newest.
    best_miou : float or None
        Of the best evaluation, None if there was none.
    best_step : int or None
        When that was.
    skipped_steps, left_out_images : int
        Steps skipped for numbers that were not finite; images that could not be read.
    """

    step: int
    num_steps: int
    exit_code: int
    out: Path
    checkpoint: Path | None
    best_miou: float | None
    best_step: int | None
    skipped_steps: int
    left_out_images: int


def train(recipe: Recipe, out: str | Path, *, resume: bool = False, progress: bool = True) -> TrainResult:
    """Train a model by a recipe: as the one process, or as one of the ranks that a launcher made.

    Parameters
    ----------
    recipe : Recipe
        From `segdata.config.recipe.load_recipe`.
    out : str or Path
        Folder of the run: recipe, checkpoints, metrics.
    resume : bool
        Continue from the newest checkpoint there that is whole, on any number of ranks; from the beginning if none is.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    TrainResult

    Raises
    ------
    SegdataError
        If data, recipe or disk are at fault, or the numbers are not finite for too long; in one line, on every rank.
        Checkpoints that were written stay.
    """
    out = Path(out)
    with ExitStack() as stack:
        stack.enter_context(arithmetic(deterministic=recipe.deterministic))
        world = stack.enter_context(init_distributed(recipe.run.device, timeout=recipe.run.rank_timeout))
        stack.enter_context(limited_threads(recipe.run.threads))
        request = stack.enter_context(
            stop_on_signals(TRAINING_SIGNALS, raise_second=False, limit=recipe.run.stop_timeout)
        )
        folder = CheckpointFolder(out, recipe.run.keep_last)
        goes_on = resume or was_restarted()
        world.on_first(lambda: _take_folder(out, folder, stack, goes_on=goes_on))
        state = _read_state(recipe, folder, world)
        world.on_first(lambda: refuse_faulty_data(recipe.data))
        run = Run(recipe, out, world, state, progress=progress)
        if run.progress.step == run.progress.best_step:  # the run before may have ended between the file's two names
            world.on_first(lambda: folder.keep_as_best(run.progress.step))
        world.on_first(lambda: write_atomic(out / RECIPE, dump_recipe(recipe).encode()))
        try:
            return _Loop(run, folder, request, progress=progress).go()
        except RuntimeError as error:
            raise_rank_timeout(error)
            raise


class _Loop:
    """The loop of one run."""

    def __init__(self, run: Run, folder: CheckpointFolder, request: StopFlag, *, progress: bool) -> None:
        self.run, self.recipe, self.world, self.progress = run, run.recipe, run.world, run.progress
        self.folder, self.request = folder, request
        self.saved = folder.holding(self.progress.step) if self.progress.step else None
        self.reporter = Reporter(run, progress=progress)
        self.watch = Stopwatch()
        self._targets_told = self._compilation_told = False
        self._targets: Counter[str] = Counter()  # of this rank, since they were added to the progress
        validation = self.recipe.data.located_validation
        self.validation = [] if validation is None else find_samples(validation)
        refuse_overlap(run.sources, self.validation)

    def go(self) -> TrainResult:
        """Take the steps that are left, and say how it ended."""
        run, exit_code = self.run, 0
        if self.progress.step >= run.num_steps:
            return self._result(0)
        if self.world.is_first:
            tell_start(run)
        with closing(run.loader), self.reporter:
            for batch in self.watch.waiting(run.batches()):
                exit_code, shares = self._agree(batch)
                if exit_code:
                    self.request.in_time()
                    self._save()
                    break
                self._step(batch, shares)
                if self.progress.step == run.num_steps:
                    break
        return self._result(exit_code)

    def _agree(self, batch: Batch) -> tuple[int, list[float]]:
        """Learn from all ranks whether to stop, what could not be read, and how much each forward pass weighs."""
        parts = batch.parts(self.run.stepper.images_per_pass)
        asked = float(self.request.exit_code > 0)
        stops, faults, *valid = self.world.total(asked, len(batch.faults), *(part.num_valid for part in parts))
        if stops:
            return self.request.exit_code or STOPPED, []
        if faults:
            self._note_faults(batch)
        return 0, [number / sum(valid) if number else 0.0 for number in valid]

    def _note_faults(self, batch: Batch) -> None:
        found = [fault for of_rank in self.world.gather(batch.faults) for fault in of_rank]
        faults, lasting = [fault for fault, _ in found], [fault for fault, skippable in found if not skippable]
        more = f" ({len(faults) - 1} more in this step)" if len(faults) > 1 else ""
        if lasting:
            raise StoreError(f"{lasting[0]}{more}")
        if self.recipe.data.bad_images == "error":
            raise LabelError(f"{faults[0]}{more} Set data.bad_images to skip to leave such images out.")
        self.progress.left_out += len(faults)
        self.reporter.fault("left_out", self.progress.step + 1, faults, show=True)
        drawn = (self.progress.step + 1) * self.recipe.schedule.batch_size
        if drawn >= _ENOUGH_TO_JUDGE and 2 * self.progress.left_out > drawn:
            raise LabelError(
                f"{self.progress.left_out} of the first {drawn} images were left out, the last: {faults[-1]} Repair "
                "the data; `segdata datasets check` tells of all."
            )

    def _step(self, batch: Batch, shares: list[float]) -> None:
        run, progress = self.run, self.progress
        rate = learning_rate(progress.step, run.num_steps, self.recipe.optimizer.lr, self.recipe.schedule)
        set_learning_rate(run.stepper.optimizer, rate)
        report = self._taken(batch, shares)
        if self.recipe.run.compile and not self._compilation_told:
            self._tell_compilation()
        self._targets.update(report.targets)
        self.reporter.step()
        run.count_step()
        if report.finite:
            progress.skipped_in_row = 0
            if run.average is not None:
                run.average.update(run.model, progress.step - 1)
        else:
            self._note_skipped(batch)
        self._between(batch, report, rate)

    def _taken(self, batch: Batch, shares: list[float]) -> StepReport:
        """Take the step; what will fail again on every attempt is said in one line."""
        stepper, recipe = self.run.stepper, self.recipe
        try:
            return stepper.run(batch, shares)
        except RuntimeError as error:  # torch.OutOfMemoryError is one too; the CPU has none of its own
            if not is_out_of_memory(error):
                raise
            height, width = recipe.augmentation.crop
            raise SegdataError(
                f"step {self.progress.step + 1}: {self.world.device} is out of memory with {stepper.images_per_pass} "
                f"images of {height}x{width} at a time. Lower schedule.images_per_rank (their gradients are added up) "
                "or augmentation.crop, set model.checkpointing=true, or run.precision=bfloat16."
            ) from error
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise SettingsError(
                "schedule.images_per_rank: with 1 image at a time, batch norm behind the pooled image has one value a "
                "channel and cannot be trained. Take 2 or more, or several ranks with run.sync_batch_norm."
            ) from error

    def _tell_compilation(self) -> None:
        """Say once whether run.compile did anything: it can fall back without a word."""
        self._compilation_told = True
        graphs, breaks = compiled_graphs()
        if not graphs:
            logger.warning("run.compile: nothing was compiled; the model runs as written. Is TORCHDYNAMO_DISABLE set?")
        elif self.world.is_first:
            logger.info(f"compiled: {counted(graphs, 'graph')}, {counted(breaks, 'graph break')}")

    def _note_skipped(self, batch: Batch) -> None:
        """Count a step that was skipped, and end the run after too many; float16 first lowers its scale."""
        progress, scaler = self.progress, self.run.stepper.scaler
        progress.skipped += 1
        if scaler.is_enabled() and scaler.get_scale() > 1:
            return
        progress.skipped_in_row += 1
        names = sorted(name for of_rank in self.world.gather(batch.names) for name in of_rank)
        self.reporter.fault("not_finite", progress.step, names)
        if progress.skipped_in_row > self.recipe.optimizer.non_finite_limit:
            last = f"The last checkpoint is {self.saved}." if self.saved else "There is no checkpoint yet."
            raise SegdataError(
                f"step {progress.step}: loss or gradient is not finite, {progress.skipped_in_row} steps in a row, here "
                f"with {', '.join(names)}. Look at these images and labels, or lower optimizer.lr. {last}"
            )

    def _between(self, batch: Batch, report: StepReport, rate: float) -> None:
        """Do what is due after a step: log, image, evaluation, checkpoint."""
        settings, step = self.recipe.run, self.progress.step
        last = step == self.run.num_steps
        if step % settings.log_every == 0 or last:
            self._log(report, rate)
        if settings.images_every is not None and step % settings.images_every == 0:
            self.reporter.image(batch)
        due = last or (settings.evaluate_every is not None and step % settings.evaluate_every == 0)
        evaluated = due and bool(self.validation)
        best = evaluated and self._evaluate()
        if evaluated or last or step % settings.checkpoint_every == 0:
            self._save(best=best)

    def _evaluate(self) -> bool:
        """Evaluate the model, and its moving average if there is one; say whether what `load_model` takes is best."""
        run, progress = self.run, self.progress
        if not run.synchronized:
            self.world.from_first(list(run.model.buffers()))
            if run.average is not None:
                run.average.copy_buffers(run.model)
        weights = {"model": run.model} | ({} if run.average is None else {"average": run.average.model})
        for name, model in weights.items():
            with untuned_convolutions():
                scores = self._scores_of(model)
            self.reporter.evaluation(name, scores)
        self.watch.read()  # what an evaluation takes is not the training's time
        best = scores.miou > progress.best_miou  # of the average, where there is one
        if best:
            progress.best_miou, progress.best_step = scores.miou, progress.step
        return best

    def _scores_of(self, model: Any) -> Scores:
        validation = self.recipe.data.validation
        assert validation is not None
        return evaluate(
            model,
            self.validation,
            self.recipe.table,
            self.recipe.evaluation,
            self.world.device,
            encoding=validation.label_encoding,
            confidence=validation.confidence,
            precision=self.recipe.run.precision,
            mean=self.recipe.augmentation.mean,
            std=self.recipe.augmentation.std,
            progress=self.reporter.shows_progress,
        )

    def _log(self, report: StepReport, rate: float) -> None:
        """Put the figures of a step of all ranks together, and have them written down; all ranks call it."""
        names = list(report.values)
        here = torch.stack([report.values[name].float() for name in names]).tolist()
        totals = self.world.total(*here)
        figures = {name: total / self.world.num_ranks for name, total in zip(names, totals, strict=True)}
        self._add_targets()
        progress = self.progress
        record: dict[str, Any] = {
            "loss": figures["loss"],
            "lr": rate,
            "gradient_norm": report.gradient_norm,
            "parts": _below("parts/", figures),
            "floors": _below("floors/", figures),
            "epoch": progress.step * self.recipe.schedule.batch_size / self.run.epoch_size,
            "skipped_steps": progress.skipped,
            "left_out_images": progress.left_out,
            "targets": {"stored": progress.stored, "measured": progress.measured, "pooled": progress.pooled},
            **self._loss_counters(),
            "speed": self._speed(),
        }
        self.reporter.train(record)
        self._tell_targets(record["targets"])

    def _tell_targets(self, targets: Mapping[str, int]) -> None:
        """Say once, when pooled targets were first counted, where they come from."""
        total = sum(targets.values())
        if total and not self._targets_told and self.world.is_first:
            self._targets_told = True
            told = ", ".join(f"{100 * number / total:.0f}% {name}" for name, number in targets.items() if number)
            logger.info(f"targets: {told}")

    def _loss_counters(self) -> dict[str, int]:
        """Return what the losses of all ranks have counted since the run, or its resumption, began."""
        counters = self.run.criterion.counters()
        totals = self.world.total(*(float(value) for value in counters.values())) if counters else []
        return {name: int(total) for name, total in zip(counters, totals, strict=True)}

    def _speed(self) -> dict[str, float | None]:
        seconds, waiting, steps = self.watch.read()
        images_per_second = steps * self.recipe.schedule.batch_size / seconds
        peak = peak_flops(self.world.device, self.recipe.run.precision)
        per_rank = images_per_second / self.world.num_ranks
        return {
            "images_per_second": images_per_second,
            "waiting_for_data": waiting,
            "memory_gib": peak_memory(self.world.device) / 2**30,
            "mfu": None if peak is None else per_rank * self.run.probe.flops_per_image / peak,
        }

    def _add_targets(self) -> None:
        """Add to the progress where the targets of all ranks came from since the last time."""
        origins = ("stored", "measured", "pooled")
        totals = self.world.total(*(self._targets[origin] for origin in origins))
        for origin, number in zip(origins, totals, strict=True):
            setattr(self.progress, origin, getattr(self.progress, origin) + int(number))
        self._targets.clear()

    def _save(self, *, best: bool = False) -> None:
        self._add_targets()
        self.world.on_first(lambda: self.folder.save(self.run.state(), self.progress.step, best=best))
        self.saved = self.folder.path(self.progress.step)

    def _result(self, exit_code: int) -> TrainResult:
        progress = self.progress
        evaluated = progress.best_step >= 0
        return TrainResult(
            progress.step,
            self.run.num_steps,
            exit_code,
            self.run.out,
            self.saved,
            progress.best_miou if evaluated else None,
            progress.best_step if evaluated else None,
            progress.skipped,
            progress.left_out,
        )


def _below(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}


def _take_folder(out: Path, folder: CheckpointFolder, stack: ExitStack, *, goes_on: bool) -> None:
    """Hold the folder of the run; refuse one that another run has written, unless it is to continue."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be made", out)) from error
    stack.enter_context(only_run_in(out))
    if folder.paths() and not goes_on:
        raise SettingsError(
            f"{out}: holds a training run already. Pass --resume to continue with it, or choose another folder."
        )


def _read_state(recipe: Recipe, folder: CheckpointFolder, world: DistributedContext) -> dict[str, Any] | None:
    """Read the newest checkpoint that is whole, the same on every rank; None where there is none."""
    found = world.on_first(lambda: folder.latest(logger.warning))
    path: Path | None = world.gather(found and found[0])[0]
    if path is None:
        return None
    state = found[1] if found else read_checkpoint(path)
    before = recipe_of(state, path)
    refuse_other_recipe(before, recipe, difference(before, recipe), folder.out)
    return state
