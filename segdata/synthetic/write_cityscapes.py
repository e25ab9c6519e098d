"""Synthetic scenes as a Cityscapes data set: fine and coarse labels, and auto-labels with their confidence."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from segdata.errors import SettingsError
from segdata.files import write_atomic
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.synthetic.coarse import auto_ids, coarse_ids
from segdata.synthetic.label_ids import cityscapes_instances, class_ids
from segdata.synthetic.render import render_scene
from segdata.synthetic.writing import png_bytes

AUTO_FOLDER = "autolabeled"
_CITIES = {"train": ("lindau", "marbach"), "val": ("nordheim",), "train_extra": ("ostfeld", "pfullen")}
_FIRST_INDEX = {"train": 1_000_000, "val": 2_000_000, "train_extra": 3_000_000}  # scenes no other split shows


def write_cityscapes(
    root: str | Path,
    size: tuple[int, int],
    *,
    train: int = 8,
    val: int = 2,
    train_extra: int = 0,
    auto_labels: bool = False,
    seed: int = 0,
    people_factor: float = 1.0,
    jobs: int = 1,
) -> dict[str, list[str]]:
    """Write synthetic scenes in the Cityscapes layout.

    ``train`` and ``val`` get fine labels (labelIds, labelTrainIds, color, instanceIds), ``train_extra`` coarse ones.
    The same arguments write the same bytes; the scenes are others than those of `write_vistas`.

    Parameters
    ----------
    root : str or pathlib.Path
        Folder of the data set; files of the same names are overwritten.
    size : tuple of int
        (height, width) in pixels; Cityscapes itself has (1024, 2048).
    train, val, train_extra : int
        Number of scenes in each split.
    auto_labels : bool
        Also write ``autolabeled/train_extra``: label ids as a network might give them, with their confidence.
    seed : int
        Names the series of scenes.
    people_factor : float
        How many times as many people walk about as usually.
    jobs : int
        Processes; -1 for one per core.

    Returns
    -------
    dict of str to list of str
        The keys of each split.

    Raises
    ------
    SettingsError
        If a number is negative or all are 0.
    """
    counts = {"train": train, "val": val, "train_extra": train_extra}
    if min(counts.values()) < 0 or not any(counts.values()):
        raise SettingsError(f"synthetic scenes: {train} + {val} + {train_extra} scenes. At least one is expected.")
    write = partial(
        _write_scene, Path(root), size=size, seed=seed, people_factor=people_factor, auto_labels=auto_labels
    )
    places = [(split, number) for split, count in counts.items() for number in range(count)]
    Parallel(n_jobs=jobs)(delayed(write)(split, number) for split, number in places)
    return {split: [_place(split, number)[1] for number in range(count)] for split, count in counts.items()}


def _place(split: str, number: int) -> tuple[str, str]:
    """Return the city and the key of a scene."""
    cities = _CITIES[split]
    city = cities[number % len(cities)]
    return city, f"{city}_{number // len(cities):06d}_000019"


def _write_scene(
    root: Path, split: str, number: int, *, size: tuple[int, int], seed: int, people_factor: float, auto_labels: bool
) -> None:
    """Draw one scene and write its files."""
    index = _FIRST_INDEX[split] + number
    scene = render_scene(seed, index, size, people_factor=people_factor)
    city, key = _place(split, number)
    write_atomic(root / "leftImg8bit" / split / city / f"{key}_leftImg8bit.png", png_bytes(scene.image))
    ids, instances = class_ids(scene, "cityscapes"), cityscapes_instances(scene)
    kind = "gtFine"
    if split == "train_extra":
        kind, exact = "gtCoarse", ids
        ids = coarse_ids(exact, ClassTable.load("cityscapes").find("unlabeled").id)
        instances = np.where(ids == exact, instances, ids).astype(np.uint16)
        if auto_labels:
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, index, 9])))
            _write_auto_labels(root / AUTO_FOLDER / split / city, key, exact, rng)
    _write_labels(root / kind / split / city / f"{key}_{kind}", ids, instances)


def _write_labels(stem: Path, ids: NDArray[np.uint8], instances: NDArray[np.uint16]) -> None:
    """Write the four label images of one scene."""
    pixels: dict[str, Callable[[], NDArray[np.uint8 | np.uint16]]] = {
        "labelIds": lambda: ids,
        "labelTrainIds": lambda: train_ids(ids),
        "color": lambda: colors(ids),
        "instanceIds": lambda: instances,
    }
    for ending, make in pixels.items():
        write_atomic(stem.with_name(f"{stem.name}_{ending}.png"), png_bytes(make()))


def _write_auto_labels(folder: Path, key: str, ids: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Write what a network might have labeled, and its confidence."""
    labels, confidence = auto_ids(ids, rng)
    write_atomic(folder / f"{key}_leftImg8bit.png", png_bytes(labels))
    write_atomic(folder / f"{key}_leftImg8bit_prob.png", png_bytes(confidence))


def train_ids(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return Cityscapes train ids for label ids."""
    lookup = ClassTable.load("cityscapes").id_to_train_id()
    return np.where(lookup < 0, IGNORE_ID, lookup).astype(np.uint8)[ids]


def colors(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return Cityscapes' class colors for label ids, shape (H, W, 3)."""
    palette = np.zeros((256, 3), np.uint8)
    for row in ClassTable.load("cityscapes").classes:
        if row.id >= 0:
            palette[row.id] = row.color
    return palette[ids]
