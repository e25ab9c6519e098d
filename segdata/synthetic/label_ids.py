"""The label images of a synthetic scene, in the ids of any of the three class tables."""

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segdata.labels.classes import ClassTable
from segdata.synthetic.kinds import KINDS, Kind
from segdata.synthetic.render import MadeScene

TableName = Literal["vistas-v1.2", "vistas-v2.0", "cityscapes"]

_LAST_INSTANCE = 255
_CITYSCAPES_COUNTED = ("person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle")


def class_ids(scene: MadeScene, table: TableName) -> NDArray[np.uint8]:
    """Return the scene's label image.

    Parameters
    ----------
    scene : MadeScene
        From `render_scene`.
    table : {"vistas-v1.2", "vistas-v2.0", "cityscapes"}
        Whose ids to write; for Cityscapes these are label ids, not train ids.

    Returns
    -------
    ndarray of uint8, shape (H, W)
    """
    return thing_ids(scene, table)[scene.things]


def thing_ids(scene: MadeScene, table: TableName) -> NDArray[np.uint8]:
    """Return the id of each thing in `scene.kinds`, shape (number of things,)."""
    ids = kind_ids(table)
    return np.array([ids[kind] for kind in scene.kinds], dtype=np.uint8)


@lru_cache
def kind_ids(table: TableName) -> dict[str, int]:
    """Return the id of every kind in a table, found by class name."""
    classes = ClassTable.load(table)
    return {name: classes.find(_name_in(kind, table)).id for name, kind in KINDS.items()}


def vistas_instances(scene: MadeScene, table: Literal["vistas-v1.2", "vistas-v2.0"]) -> NDArray[np.uint16]:
    """Return class * 256 + n per pixel, as Vistas stores instances; n counts the seen things of a class from 0.

    n is 0 throughout for classes that are not counted, and stays 255 for the 256th thing and all after it.
    """
    numbers = _numbers(scene, table)
    ids = thing_ids(scene, table).astype(np.uint16)
    instances: NDArray[np.uint16] = (ids * 256 + np.minimum(numbers, _LAST_INSTANCE).astype(np.uint16))[scene.things]
    return instances


def cityscapes_instances(scene: MadeScene) -> NDArray[np.uint16]:
    """Return the id, or id * 1000 + n for people, riders and vehicles, as Cityscapes stores instances."""
    numbers, ids = _numbers(scene, "cityscapes"), thing_ids(scene, "cityscapes").astype(np.int64)
    table = ClassTable.load("cityscapes")
    counted = np.isin(ids, [table.find(name).id for name in _CITYSCAPES_COUNTED])
    instances: NDArray[np.uint16] = np.where(counted, ids * 1000 + numbers, ids).astype(np.uint16)[scene.things]
    return instances


def _numbers(scene: MadeScene, table: TableName) -> NDArray[np.int64]:
    """Give the visible things of each class numbers from 0."""
    seen = np.bincount(scene.things.ravel(), minlength=len(scene.kinds)) > 0
    ids = thing_ids(scene, table).tolist()
    numbers, taken = np.zeros(len(ids), np.int64), dict.fromkeys(ids, 0)
    for place, (class_id, kind) in enumerate(zip(ids, scene.kinds, strict=True)):
        if seen[place] and KINDS[kind].counted:
            numbers[place] = taken[class_id]
            taken[class_id] += 1
    return numbers


def _name_in(kind: Kind, table: TableName) -> str:
    """Return what a table calls a kind."""
    return {"vistas-v1.2": kind.vistas_v1_2, "vistas-v2.0": kind.vistas_v2_0, "cityscapes": kind.cityscapes}[table]
