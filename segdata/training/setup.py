"""All that a run consists of, put together from its recipe, and its state as a checkpoint holds it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from segdata.config.recipe import Recipe, dump_recipe
from segdata.data.crops import images_of, refuse_far_crops
from segdata.data.loader import Batch, BatchLoader, PooledTargets, TrainingDataset
from segdata.data.sources import open_sources
from segdata.distributed.process_group import DistributedContext
from segdata.losses.by_name import build_criterion
from segdata.models import Segmenter, build_model
from segdata.sampling.sampler import MixedClassUniformSampler
from segdata.training.batch_norm import synchronized
from segdata.training.determinism import WEIGHTS, seed_from
from segdata.training.optimizer import MovingAverage, build_optimizer
from segdata.training.speed import Probe, probe
from segdata.training.step import Stepper


def index_folder(out: Path) -> Path:
    """Return where runs keep the class indexes that they share: beside their folders, where all ranks see it."""
    return out.absolute().parent / "indexes"


@dataclass
class Progress:
    """How far a run has come.

    Attributes
    ----------
    step : int
        Steps taken, skipped ones among them.
    skipped, skipped_in_row : int
        Steps whose loss or gradient was not finite; how many of the newest.
    left_out : int
        Images that could not be read.
    stored, measured, pooled : int
        Pooled targets of single images, by where they came from.
    best_miou, best_step : float, int
        Of the best evaluation, of the moving average where there is one; -1 before the first.
    """

    step: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    left_out: int = 0
    stored: int = 0
    measured: int = 0
    pooled: int = 0
    best_miou: float = -1.0
    best_step: int = -1


class Run:
    """A model, its data and its optimizer, ready to take steps; the same on every rank.

    Parameters
    ----------
    recipe : Recipe
    out : Path
        Folder of the run.
    world : DistributedContext
        All ranks must build it together.
    state : mapping, optional
        What a checkpoint holds, to continue from there.
    progress : bool
        Show on stderr what takes long.

    Raises
    ------
    SegdataError
        If data or settings are at fault; on every rank.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        world: DistributedContext,
        state: Mapping[str, Any] | None = None,
        *,
        progress: bool = True,
    ) -> None:
        self.recipe, self.out, self.world = recipe, out, world
        self.progress = Progress()
        self.criterion = build_criterion(**recipe.criterion_arguments())
        seed_from(recipe.seed, WEIGHTS)
        arguments = recipe.model_arguments() | ({} if state is None else {"weights": None})
        model = build_model(**arguments)
        self.probe: Probe = probe(model, self.criterion, recipe.augmentation.crop)
        self._load_data(progress=progress)
        self._place(model)
        if state is not None:
            self._restore(state)

    @property
    def epoch_size(self) -> int:
        """Draws in an epoch; at least one step."""
        return self.sampler.epoch_size

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.recipe.schedule.num_steps(self.epoch_size)

    def batches(self) -> Iterator[Batch]:
        """Yield this rank's batches without end, one per step."""
        while True:
            self._taken = 0
            yield from self.loader

    def count_step(self) -> None:
        """Note that the step of the newest batch was taken."""
        self.progress.step += 1
        self._taken += 1

    def state(self) -> dict[str, Any]:
        """Return everything that is needed to continue: rank 0 has it all."""
        return {
            "recipe": dump_recipe(self.recipe),
            "progress": asdict(self.progress),
            "stream": self.sampler.state_dict(consumed=self._taken * self.sampler.batch_size),
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.model.state_dict(),
            "optimizer": self.stepper.optimizer.state_dict(),
            "scaler": self.stepper.scaler.state_dict(),
        }

    def _load_data(self, *, progress: bool) -> None:
        recipe, world = self.recipe, self.world
        stored, shown = recipe.loss.targets == "store", progress and world.is_first
        sources = open_sources(recipe.data, index_folder(self.out), world.on_first, stored=stored, progress=shown)
        refuse_far_crops([source.source for source in sources], recipe.augmentation, warn=world.is_first)
        images, accumulated = recipe.schedule.per_rank(world.num_ranks)
        num_images = images_of([source.source for source in sources])
        self.sampler = MixedClassUniformSampler(
            [source.source for source in sources],
            epoch_size=recipe.epoch_size(num_images),
            seed=recipe.seed,
            rank=world.rank,
            num_ranks=world.num_ranks,
            batch_size=images * accumulated,
        )
        targets = PooledTargets(
            cells=self.probe.cells,
            stored=recipe.loss.targets != "device" and recipe.loss.areas == "crop",
            align=recipe.loss.targets == "store",
            areas=recipe.loss.areas == "image",
        )
        dataset = TrainingDataset(
            sources,
            recipe.augmentation,
            seed=recipe.seed,
            targets=targets,
            row_indexes=index_folder(self.out) / "rows",
        )
        pin = world.device.type == "cuda"
        self.loader = BatchLoader(
            dataset,
            self.sampler,
            workers=recipe.data.workers,
            pin_memory=pin,
            timeout=recipe.run.data_timeout,
        )
        self.sources = sources
        self._taken = 0

    def _place(self, model: Segmenter) -> None:
        """Put the model on its device, and what follows its weights beside it."""
        recipe, world = self.recipe, self.world
        self.synchronized = recipe.run.sync_batch_norm and world.num_ranks > 1
        if self.synchronized:
            synchronized(model, world.device)
        self.model = model.to(world.device)
        decay = recipe.optimizer.ema_decay
        self.average = None if decay is None else MovingAverage(self.model, decay)
        optimizer = build_optimizer(self.model, recipe.optimizer)
        self.stepper = Stepper(self.model, self.criterion.to(world.device), optimizer, recipe, world)

    def _restore(self, state: Mapping[str, Any]) -> None:
        known = {field.name for field in fields(Progress)}  # earlier versions kept more
        self.progress = Progress(**{name: value for name, value in state["progress"].items() if name in known})
        self.sampler.load_state_dict(state["stream"])
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self.stepper.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty where the run before had no use for one
            self.stepper.scaler.load_state_dict(state["scaler"])
