"""Checkpoints: everything a run needs to continue as if nothing had happened, whole on the disk or not there.

A file is read as data only (``weights_only=True``): nothing in it is run.
"""

import contextlib
import errno
import filecmp
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import ValidationError

from segdata.config.recipe import Recipe
from segdata.errors import SettingsError, StoreError
from segdata.files import explain_os_error, link_atomic, place_atomic, sweep_temporaries, sync_folder
from segdata.logs import logger
from segdata.models import Segmenter, build_model

FORMAT, VERSION = "segdata-checkpoint", 1
DAMAGED = ".damaged"
"""Ending of what is set aside because it cannot be read."""
FOLDER, BEST = "checkpoints", "best.pt"
_NAME = re.compile(r"step-(\d{8})\.pt")


class DamagedCheckpointError(StoreError):
    """What is in a file is no longer what was written."""


class CheckpointFolder:
    """The checkpoints of a run.

    Parameters
    ----------
    out : Path
        Folder of the run; they lie in its ``checkpoints/``, the best one also as its ``best.pt``.
    keep_last : int
        How many of the newest are kept.
    """

    def __init__(self, out: Path, keep_last: int = 2) -> None:
        self.out, self.folder, self.keep_last = out, out / FOLDER, keep_last

    def paths(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        if not self.folder.is_dir():
            return []
        try:
            return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
        except OSError as error:
            raise StoreError(explain_os_error(error, "cannot be listed", self.folder)) from error

    def path(self, step: int) -> Path:
        """Return where the checkpoint of a step lies."""
        return self.folder / f"step-{step:08d}.pt"

    def holding(self, step: int) -> Path:
        """Return the file that holds the checkpoint of a step: ``best.pt`` where no other does any more."""
        path = self.path(step)
        return path if path.exists() else self.out / BEST

    def save(self, state: Mapping[str, Any], step: int, *, best: bool = False) -> Path:
        """Write a checkpoint, wait until it is on the disk, then remove those that are no longer kept.

        Parameters
        ----------
        state : mapping
            Tensors, numbers, text, and lists and dicts of these.
        step : int
            Steps taken.
        best : bool
            Make it ``best.pt`` too.

        Returns
        -------
        Path

        Raises
        ------
        StoreError
            If it cannot be written. Those before it are still there.
        """
        path = self.path(step)
        with contextlib.suppress(OSError):  # what a killed run left takes room, and harms nothing
            sweep_temporaries([path, *self.paths(), self.out / BEST])
        write_checkpoint(path, state)
        if best:
            self.keep_as_best(step)
        for old in self.paths()[: -self.keep_last]:
            try:
                old.unlink(missing_ok=True)
            except OSError as error:  # no reason to end a run whose newest checkpoint is on the disk
                logger.warning(explain_os_error(error, "cannot be removed", old))
        return path

    def keep_as_best(self, step: int) -> None:
        """Make the checkpoint of a step ``best.pt``, unless it is so already.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        path, best = self.holding(step), self.out / BEST
        if path == best:
            return
        with contextlib.suppress(OSError):
            if best.samefile(path) or filecmp.cmp(best, path, shallow=False):
                return
        try:
            link_atomic(path, best, "hardlink")
        except StoreError:  # a file system without hard links
            link_atomic(path, best, "copy")

    def latest(self, warn: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
        """Return the newest checkpoint that is whole, or else the best one, and what it holds; None if there is none.

        Damaged ones are set aside, so that they do not count as the newest of those that are kept.

        Parameters
        ----------
        warn : callable
            Told of each that is damaged.

        Raises
        ------
        StoreError
            If one that may be whole cannot be read, or was written by another version.
        """
        damaged = False
        for path in [*reversed(self.paths()), self.out / BEST]:
            if path.is_file():
                try:
                    return path, read_checkpoint(path)
                except DamagedCheckpointError as error:
                    damaged = True
                    warn(f"{error} Set aside as {_set_aside(path).name}; continuing from the one before it.")
        if damaged:
            warn(f"{self.out}: no checkpoint is whole; the run begins anew.")
        return None


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint so that under its name there is the whole of it, and on the disk.

    Raises
    ------
    StoreError
        If it cannot be written; what stood there before still does.
    """
    content = {"format": FORMAT, "version": VERSION, **state}

    def fill(temporary: Path) -> None:
        with temporary.open("xb") as file:
            try:
                torch.save(content, file)
            except RuntimeError as error:  # torch's word for a write that fell short
                raise _cause_of(error) from error
            file.flush()
            os.fsync(file.fileno())

    place_atomic(path, fill)
    with contextlib.suppress(OSError):  # not every file system lets a folder be synchronized
        sync_folder(path.parent)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises
    ------
    StoreError
        If it cannot be read, or another version wrote it; `DamagedCheckpointError` if it is damaged, or none.
    """
    again = "Is it a checkpoint of segdata? Take another, or train again."
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not look at the checksums that it writes
        if damaged is not None:
            raise DamagedCheckpointError(
                f"{path}: is damaged (its member {damaged!r} does not match its checksum). {again}"
            )
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except StoreError:
        raise
    except Exception as error:  # a flipped bit can raise anything in zlib, zipfile, pickle and torch
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:  # EINVAL: of a place before the file
            raise StoreError(explain_os_error(error, "cannot be read", path)) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedCheckpointError(f"{path}: cannot be read as a checkpoint ({reason}). {again}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DamagedCheckpointError(f"{path}: does not say {FORMAT}. {again}")
    if state.get("version") != VERSION:
        raise StoreError(f"{path}: has version {state.get('version')!r}, expected {VERSION}. {again}")
    return state


def _set_aside(path: Path) -> Path:
    """Give a damaged file a name by which no run takes it, and return it."""
    aside = path.with_name(path.name + DAMAGED)
    try:
        path.replace(aside)
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be renamed", path)) from error
    return aside


def recipe_of(state: Mapping[str, Any], where: Path) -> Recipe:
    """Return the recipe of a checkpoint.

    Raises
    ------
    StoreError
        If this segdata does not know it.
    """
    try:
        return Recipe.model_validate(yaml.safe_load(state["recipe"]))
    except (ValidationError, yaml.YAMLError, KeyError) as error:
        fault = error.errors()[0] if isinstance(error, ValidationError) else None
        reason = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" if fault else str(error).splitlines()[0]
        raise StoreError(
            f"{where}: its recipe is not known here ({reason}). Read it with the segdata that wrote it."
        ) from None


def load_model(path: str | Path, *, average: bool = True) -> tuple[Segmenter, Recipe]:
    """Return a trained model.

    Parameters
    ----------
    path : str or Path
        A checkpoint, or the folder of a run: then its best one, or where nothing was evaluated its newest.
    average : bool
        Take the moving average of the weights where there is one.

    Returns
    -------
    model : Segmenter
        On the CPU, in evaluation mode.
    recipe : Recipe
        What it was trained by.

    Raises
    ------
    StoreError
        If there is no checkpoint, or it is damaged.
    """
    path = find_checkpoint(Path(path))
    state = read_checkpoint(path)
    recipe = recipe_of(state, path)
    arguments = {name: value for name, value in recipe.model_arguments().items() if name != "weights"}
    model = build_model(**arguments)
    weights = state["average"] if average and state.get("average") is not None else state["model"]
    model.load_state_dict(weights)
    return model.eval(), recipe


def find_checkpoint(path: Path) -> Path:
    """Return the checkpoint meant by a path: itself, or the best or else the newest of a run's folder.

    Raises
    ------
    StoreError
        If there is none.
    """
    if path.is_file():
        return path
    candidates: Iterator[Path] = iter([path / BEST, *reversed(CheckpointFolder(path).paths())])
    found = next((each for each in candidates if each.is_file()), None)
    if found is None:
        raise StoreError(f"{path}: holds no checkpoint. Expected a .pt file, or the folder of a training run.")
    return found


def refuse_other_recipe(before: Recipe, now: Recipe, difference: str | None, out: Path) -> None:
    """Raise where a run would continue by another recipe than it began with.

    Raises
    ------
    SettingsError
        Naming the first difference.
    """
    if difference is not None:
        raise SettingsError(
            f"{out}: was trained by another recipe ('{before.name}'; now '{now.name}'): {difference}. Resume with the "
            "recipe it began with (recipe.yaml in the folder), or choose another folder."
        )


def _cause_of(error: RuntimeError) -> OSError:
    """Return the system's own words for a write that failed, as far as torch passes them on."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError):
            return link
        link = link.__cause__ or link.__context__
    return OSError(errno.ENOSPC, f"the write fell short ({str(error).splitlines()[0]})")
