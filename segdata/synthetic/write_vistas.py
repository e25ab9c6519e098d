"""Synthetic scenes as a Mapillary Vistas data set, in the layout of v1.2 or of v2.0."""

import base64
import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any, Literal

from joblib import Parallel, delayed

from segdata.errors import SettingsError
from segdata.files import write_atomic
from segdata.labels.classes import ClassTable
from segdata.synthetic.kinds import KINDS
from segdata.synthetic.label_ids import TableName, class_ids, kind_ids, vistas_instances
from segdata.synthetic.render import render_scene
from segdata.synthetic.writing import jpeg_bytes, palette_png_bytes, png_bytes

Version = Literal["v1.2", "v2.0"]
VistasTable = Literal["vistas-v1.2", "vistas-v2.0"]

_TABLES: dict[Version, VistasTable] = {"v1.2": "vistas-v1.2", "v2.0": "vistas-v2.0"}
_CONFIG_FACTS: dict[Version, dict[str, Any]] = {
    "v1.2": {"version": 1.1, "mapping": "public"},
    "v2.0": {"version": "2.0", "mapping": "mvd20"},
}


def write_vistas(
    root: str | Path,
    count: int,
    size: tuple[int, int],
    *,
    seed: int = 0,
    people_factor: float = 1.0,
    version: Version = "v1.2",
    validation: int | None = None,
    testing: int = 0,
    jobs: int = 1,
) -> dict[str, list[str]]:
    """Write synthetic scenes in the Mapillary Vistas layout: images, labels, instances, class lists.

    The same arguments write the same bytes; a larger `count` adds scenes and changes none but which is in which split.

    Parameters
    ----------
    root : str or pathlib.Path
        Folder of the data set; files of the same names are overwritten.
    count : int
        Labeled scenes, at least 1.
    size : tuple of int
        (height, width) in pixels.
    seed : int
        Names the series of scenes.
    people_factor : float
        How many times as many people walk about as usually.
    version : {"v1.2", "v2.0"}
        ``v1.2`` is the flat layout with one config.json; ``v2.0`` holds both annotation versions.
    validation : int, optional
        How many of the scenes, the last ones, are for validation; a fifth by default.
    testing : int
        Further images, without labels.
    jobs : int
        Processes; -1 for one per core.

    Returns
    -------
    dict of str to list of str
        The keys of each split.

    Raises
    ------
    SettingsError
        If the numbers are impossible or the version unknown.
    """
    if version not in _TABLES:
        raise SettingsError(
            f"synthetic scenes: Vistas version {version!r} is unknown. Pass one of {', '.join(_TABLES)}."
        )
    held = count // 5 if validation is None else validation
    if count < 1 or not 0 <= held <= count or testing < 0:
        raise SettingsError(
            f"synthetic scenes: {count} scenes, {held} for validation, {testing} for testing do not fit."
        )
    root = Path(root)
    _write_configs(root, version)
    splits = ["training"] * (count - held) + ["validation"] * held + ["testing"] * testing
    write = partial(_write_scene, root, seed=seed, people_factor=people_factor, size=size, version=version)
    Parallel(n_jobs=jobs)(delayed(write)(index, split) for index, split in enumerate(splits))
    keys: dict[str, list[str]] = {"training": [], "validation": [], "testing": []}
    for index, split in enumerate(splits):
        keys[split].append(scene_key(seed, index))
    return keys


def scene_key(seed: int, index: int) -> str:
    """Return a key of 22 characters as Vistas has them; some begin with ``-`` or ``_``, as some of theirs do.

    >>> len(scene_key(0, 0)), scene_key(0, 2)[0], scene_key(0, 5)[0]
    (22, '-', '_')
    """
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=16).digest()
    key = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return {2: "-", 5: "_"}.get(index % 8, key[0]) + key[1:]


def _write_scene(
    root: Path, index: int, split: str, *, seed: int, people_factor: float, size: tuple[int, int], version: Version
) -> None:
    """Draw one scene and write its files."""
    scene, key = render_scene(seed, index, size, people_factor=people_factor), scene_key(seed, index)
    write_atomic(root / split / "images" / f"{key}.jpg", jpeg_bytes(scene.image))
    if split == "testing":
        return
    for name, table in _TABLES.items():
        if version == "v1.2" and name != "v1.2":
            continue
        folder = root / split if version == "v1.2" else root / split / name
        labels = palette_png_bytes(class_ids(scene, table), ClassTable.load(table))
        write_atomic(folder / "labels" / f"{key}.png", labels)
        write_atomic(folder / "instances" / f"{key}.png", png_bytes(vistas_instances(scene, table)))


def _write_configs(root: Path, version: Version) -> None:
    """Write the data set's class lists."""
    if version == "v1.2":
        write_atomic(root / "config.json", _config("v1.2"))
        return
    for name in _TABLES:
        write_atomic(root / f"config_{name}.json", _config(name))


def _config(version: Version) -> bytes:
    """Return a class list in the form of Vistas' own config.json; ``instances`` tells what is counted here."""
    table: TableName = _TABLES[version]
    ids = kind_ids(table)
    counted = {ids[name] for name, kind in KINDS.items() if kind.counted}
    labels: list[dict[str, Any]] = [
        {
            "color": list(row.color),
            "evaluate": row.train_id != 255,
            "instances": row.id in counted,
            "name": row.name,
            "readable": row.readable,
        }
        for row in ClassTable.load(table).classes
    ]
    facts = _CONFIG_FACTS[version]
    config = {**facts, "folder_structure": "{split}/{content}/{key:.{22}}.{ext}", "labels": labels}
    return json.dumps(config, indent=1).encode()
