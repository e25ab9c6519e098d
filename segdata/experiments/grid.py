"""What an experiment consists of: arms, which are recipes with settings of their own, and the seeds of their runs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from segdata.config.layering import anchored_path, bundled_recipes, read_override
from segdata.config.messages import Layer, first_fault, refuse_unknown_keys
from segdata.config.recipe import Recipe, dump_recipe, load_recipe
from segdata.config.section import Section
from segdata.errors import MappingError, SettingsError, StoreError
from segdata.files import explain_os_error, read_regular, write_atomic
from segdata.labels.yaml_file import read_yaml

GRID = "experiment.yaml"
RECIPES, RUNS, RESULTS, LOGS = "recipes", "runs", "results", "logs"
AUXILIARY_WEIGHTS = tuple(tenth / 10 for tenth in range(1, 11))
"""Of Table 1 in the paper."""
REPRODUCIBLE = ("deterministic=true", "run.threads=1")
"""What the switch for reproducible runs sets: algorithms that give the same bits again, and one order of summation."""
_NOT_COMPARED = {"run", "name", "about"}  # what does not change what a run comes to, but for this of `run`:
_COMPARED_OF_RUN = {"precision", "sync_batch_norm"}


class Arm(Section):
    """One way of training: settings over those that all arms share."""

    config: str | None = None
    """Recipe of this arm; that of the grid if not given."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Settings by dotted key, over those of the grid."""


class Grid(Section):
    """An experiment: every arm is trained once with each seed."""

    about: str = ""
    """One line that `segdata experiment show` prints on top."""
    config: str | None = None
    """Recipe of all arms: a bundled name, or a file relative to this one."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Settings of all arms by dotted key, as for ``segdata train --set``; paths are relative to this file."""
    arms: dict[str, Arm] = Field(min_length=1)
    """Arms by name; the first is what the others are compared with, where there are more than three."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """Seed of each run of an arm. A seed that is given several times is run several times."""
    reproducible: bool = False
    """Deterministic algorithms on one thread: the same bits again on the same machine."""

    @field_validator("arms", mode="before")
    @classmethod
    def _arms_without_settings(cls, value: Any) -> Any:
        return {str(name): arm or {} for name, arm in value.items()} if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if "seed" in self.set:
            raise ValueError("set: names a seed. List the seeds under seeds.")
        for name, arm in self.arms.items():
            if not name or not all(char.isalnum() or char in "._+-" for char in name) or name[0] in ".-":
                raise ValueError(
                    f"arms: {name!r} cannot name a folder. Use letters, digits, '.', '_', '+' and '-', a letter or "
                    "digit first."
                )
            if arm.config is None and self.config is None:
                raise ValueError(f"arms, {name}: names no recipe. Give the arm or the grid a config.")
            if "seed" in arm.set:
                raise ValueError(f"arms, {name}, set: names a seed. List the seeds under seeds.")
        return self


@dataclass(frozen=True)
class PlannedRun:
    """One run of an experiment.

    Attributes
    ----------
    name : str
        Of its files: the arm, the seed, and a count where a seed recurs.
    arm : str
    seed : int
    recipe : Recipe
        With all settings.
    """

    name: str
    arm: str
    seed: int
    recipe: Recipe


def read_grid(path: Path) -> Grid:
    """Read an experiment from YAML.

    Raises
    ------
    SettingsError
        In one line: the key, its value and what is expected.
    """
    try:
        keys = read_yaml(path)
    except MappingError as error:
        raise SettingsError(str(error)) from None
    layer = Layer(str(path), keys)
    refuse_unknown_keys(layer, Grid)
    try:
        return Grid.model_validate(keys)
    except ValidationError as error:
        raise first_fault(error, keys, [layer]) from None


def auxiliary_weight_grid(config: str, weights: Sequence[float], seeds: Sequence[int], reproducible: bool) -> Grid:
    """Return Table 1 of the paper: one arm for each factor of the auxiliary losses."""
    if len(set(weights)) < len(weights):
        raise SettingsError(f"--weights: {', '.join(f'{weight:g}' for weight in weights)} names a weight twice.")
    return Grid(
        about=f"auxiliary weight on {config}",
        config=config,
        arms={f"{weight:g}": Arm(set={"loss.auxiliary_weight": weight}) for weight in weights},
        seeds=tuple(seeds),
        reproducible=reproducible,
    )


def seeds_grid(configs: Sequence[str], seeds: Sequence[int], reproducible: bool) -> Grid:
    """Return Tables 2 and 3 of the paper: the same runs by one or more recipes."""
    names = [Path(config).stem if config.endswith((".yaml", ".yml")) else config for config in configs]
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise SettingsError(f"--config: two recipes are called '{twice[0]}'. Rename one file, or write a grid.")
    arms = {name: Arm(config=config) for name, config in zip(names, configs, strict=True)}
    return Grid(about=f"seeds of {', '.join(names)}", arms=arms, seeds=tuple(seeds), reproducible=reproducible)


def plan(grid: Grid, folder: Path, overrides: Sequence[str] = ()) -> list[PlannedRun]:
    """Return the runs of an experiment, seed by seed, so that an early stop leaves arms that can be compared.

    Parameters
    ----------
    grid : Grid
    folder : Path
        What paths in the grid are relative to.
    overrides : sequence of str
        ``key=value`` over all settings of the grid; paths in them are relative to the current folder.

    Raises
    ------
    SettingsError
        If a recipe cannot be loaded.
    """
    fixed = REPRODUCIBLE if grid.reproducible else ()
    before: Counter[int] = Counter()
    runs = []
    for seed in grid.seeds:
        before[seed] += 1
        for name, arm in grid.arms.items():
            settings = {**grid.set, **arm.set}.items()
            recipe = load_recipe(
                _located(arm.config or grid.config or "", folder),
                [
                    *(read_override(f"{key}={_as_yaml(value)}", folder) for key, value in settings),
                    *fixed,
                    f"seed={seed}",
                    *overrides,
                ],
            )
            if recipe.seed != seed:
                raise SettingsError(
                    f"--set seed={recipe.seed}: every run of an experiment has a seed of its own. Give --runs or "
                    "--same-seed, or list the seeds in the grid."
                )
            again = f"-{before[seed]}" if grid.seeds.count(seed) > 1 else ""
            runs.append(PlannedRun(f"{name}-seed{seed}{again}", name, seed, recipe))
    return runs


def write_plan(out: Path, grid: Grid, runs: Sequence[PlannedRun]) -> None:
    """Write the grid and each run's recipe into the folder of an experiment; more arms and seeds may join it.

    Raises
    ------
    SettingsError
        If the folder holds other runs, or one of these with other settings.
    """
    planned = {run.name: run for run in runs}
    for path in sorted((out / RECIPES).glob("*.yaml")):
        run = planned.get(path.stem)
        if run is None:
            raise SettingsError(
                f"{out}: holds the run {path.stem}, which is not among these. Add its arm and seed, or choose another "
                "folder."
            )
        changed = _difference(load_recipe(path), run.recipe)
        if changed:
            raise SettingsError(f"{out}: {path.stem} is another run there: {changed}. Choose another folder.")
    for run in runs:
        if not (out / RECIPES / f"{run.name}.yaml").exists():
            write_recipe(out, run)
    # As it was resolved: the seeds and arms are what `show` needs; the settings are in the recipes.
    text = yaml.safe_dump(grid.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
    write_atomic(out / GRID, text.encode())


def write_recipe(out: Path, run: PlannedRun) -> Path:
    """Write the recipe of a run into the folder of its experiment, and return the file."""
    path = out / RECIPES / f"{run.name}.yaml"
    write_atomic(path, dump_recipe(run.recipe).encode())
    return path


def planned_grid(out: Path) -> Grid:
    """Return the grid of an experiment's folder, or refuse a folder that is none."""
    path = out / GRID
    try:
        read_regular(path)
    except OSError as error:
        if not path.exists():
            raise SettingsError(
                f"{out}: is no experiment: it has no {GRID}. Name a folder of `experiment run`."
            ) from None
        raise StoreError(explain_os_error(error, "cannot be read", path)) from error
    return read_grid(path)


def _difference(before: Recipe, now: Recipe) -> str | None:
    old, new = (
        one.model_dump(mode="json", exclude=_NOT_COMPARED)
        | {"run": one.run.model_dump(mode="json", include=_COMPARED_OF_RUN)}
        for one in (before, now)
    )
    for section, keys in new.items():
        if not isinstance(keys, Mapping) and old.get(section) != keys:
            return f"{section} was {old.get(section)}, is now {keys}"
        for key in keys if isinstance(keys, Mapping) else ():
            if old[section].get(key) != keys[key]:
                return f"{section}.{key} was {old[section].get(key)}, is now {keys[key]}"
    return None


def _located(config: str, folder: Path) -> str:
    """Return a recipe's name, or the path of its file."""
    if config in bundled_recipes() or not config.endswith((".yaml", ".yml")):
        return config
    return anchored_path(folder, config)


def _as_yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()
