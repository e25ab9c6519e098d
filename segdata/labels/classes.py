"""Class tables: which id stands for which class, what it is called, which classes are trained."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.errors import MappingError
from segdata.labels.bundled import bundled_classes, table_path
from segdata.labels.names import did_you_mean, fold
from segdata.labels.yaml_file import read_yaml, refuse_unknown_keys

IGNORE_ID = 255
"""The training id of a pixel that counts for no class."""

_TABLE_KEYS = ("about", "void", "classes")
_ROW_KEYS = ("id", "name", "readable", "train", "color")


@dataclass(frozen=True)
class LabelClass:
    """One row of a class table.

    Attributes
    ----------
    id : int
        What a label image stores, 0-255; negative for a class that no 8-bit image holds.
    name : str
        The data set's own name.
    readable : str
        The name for people; the same as `name` where there is no other.
    train_id : int
        Place among the training classes, or `IGNORE_ID` for a class that is not trained.
    color : tuple of int
        Red, green, blue, 0-255.
    """

    id: int
    name: str
    readable: str
    train_id: int
    color: tuple[int, int, int]


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set, in the order of their ids.

    Attributes
    ----------
    name : str
        What messages call the table, ``cityscapes``.
    classes : tuple of LabelClass
        All rows.
    void_id : int or None
        The id an ignored pixel gets in a file of ids (0 in Cityscapes), None if the data set has none.
    """

    name: str
    classes: tuple[LabelClass, ...]
    void_id: int | None = None

    def __post_init__(self) -> None:
        _check_once("id", ((row.id, row.name) for row in self.classes), self.name)
        _check_once("name", ((row.name, row.name) for row in self.classes), self.name)
        trained = [(row.train_id, row.name) for row in self.classes if row.train_id != IGNORE_ID]
        _check_once("train", trained, self.name)
        _check_counted([train_id for train_id, _ in trained], self.name)

    @classmethod
    def load(cls, name_or_path: str | Path, *, beside: Path | None = None) -> "ClassTable":
        """Load a bundled table by name, or a YAML file by path.

        Parameters
        ----------
        name_or_path : str or pathlib.Path
            ``cityscapes``, ``vistas-v1.2``, ``my-classes.yaml``; a text with a slash or a .yaml ending is a path.
        beside : pathlib.Path, optional
            Folder that a relative path starts from.

        Raises
        ------
        MappingError
            If there is no such table or its file does not hold one; names the file and the row.

        Examples
        --------
        >>> ClassTable.load("cityscapes").find("Traffic Light").train_id
        6
        """
        bundled = bundled_classes()
        path = table_path(name_or_path, bundled, "class table", beside)
        return _load_bundled(path) if path in bundled.values() else _load(path)

    def find(self, name: str) -> LabelClass:
        """Return the class of this name, `name` or `readable`, after folding case, spaces and punctuation.

        Raises
        ------
        MappingError
            If no class or more than one has the name.
        """
        exact = [row for row in self.classes if row.name == name]
        found = exact or self._by_fold.get(fold(name), [])
        if len(found) == 1:
            return found[0]
        if found:
            choices = " and ".join(f"'{row.name}' (id {row.id})" for row in found)
            raise MappingError(f"'{name}' is the name of {choices} in '{self.name}'. Write one of these in full.")
        known = [text for row in self.classes for text in (row.name, row.readable)]
        raise MappingError(f"'{name}' is not a class of '{self.name}'.{did_you_mean(name, known)}")

    @property
    def num_classes(self) -> int:
        """Number of training classes: 19 for Cityscapes."""
        return len(self._trained)

    @property
    def train_names(self) -> tuple[str, ...]:
        """Readable names of the training classes, in the order of their training ids."""
        return tuple(row.readable for row in self._trained)

    @property
    def train_colors(self) -> NDArray[np.uint8]:
        """Colors of the training classes, uint8 of shape (num_classes, 3)."""
        return np.array([row.color for row in self._trained], np.uint8).reshape(-1, 3)

    @cached_property
    def digest(self) -> str:
        """Hex digest of what ids mean: ids, names, training ids, void id; not of readable names and colors."""
        rows = [(row.id, row.name, row.train_id) for row in self.classes]
        return digest_of([rows, self.void_id])

    def id_to_train_id(self) -> NDArray[np.int16]:
        """Return the look-up from an id in a file to a training id: int16 of shape (256,), -1 for other ids."""
        table = np.full(256, -1, np.int16)
        for row in self.classes:
            if row.id >= 0:
                table[row.id] = row.train_id
        return table

    def value_lookup(self, encoding: str) -> NDArray[np.int16]:
        """Return the training id of each value that a label file may hold.

        255 in a file of label ids means ignored: so write the tools that mark pixels to be left out, and so comes out
        the one negative label id of Cityscapes (-1, license plate, which is not trained) when it is stored in a byte.
        Cityscapes' own files hold neither; a license plate is labeled as the car under it.

        Parameters
        ----------
        encoding : {"trainIds", "labelIds"}
            Whether files hold training ids or the ids of this table.

        Returns
        -------
        ndarray of int16, shape (256,)
            255 for ignored values, -1 for those that may not occur.
        """
        if encoding == "trainIds":
            return train_id_lookup(self.num_classes)
        assert encoding == "labelIds", encoding
        lookup = self.id_to_train_id()
        if lookup[IGNORE_ID] < 0:
            lookup[IGNORE_ID] = IGNORE_ID
        return lookup

    @cached_property
    def _trained(self) -> tuple[LabelClass, ...]:
        trained = (row for row in self.classes if row.train_id != IGNORE_ID)
        return tuple(sorted(trained, key=lambda row: row.train_id))

    @cached_property
    def _by_fold(self) -> dict[str, list[LabelClass]]:
        by_fold: dict[str, list[LabelClass]] = {}
        for row in self.classes:
            for key in {fold(row.name), fold(row.readable)}:
                by_fold.setdefault(key, []).append(row)
        return by_fold


def train_id_lookup(num_classes: int) -> NDArray[np.int16]:
    """Return the class of each value in a file of training ids: int16 of shape (256,), 255 ignored, -1 for others."""
    lookup = np.full(256, -1, np.int16)
    lookup[:num_classes] = np.arange(num_classes)
    lookup[IGNORE_ID] = IGNORE_ID
    return lookup


def digest_of(value: Any) -> str:
    """Return 32 hex digits of a value that JSON can hold, the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=16)
def _load_bundled(path: Path) -> ClassTable:
    return _load(path)


def _load(path: Path) -> ClassTable:
    data = read_yaml(path)
    refuse_unknown_keys(data, _TABLE_KEYS, str(path))
    rows = data.get("classes")
    if not isinstance(rows, list) or not rows:
        raise MappingError(f"{path}: has no list 'classes'. See docs/mappings.md for the form.")
    classes = tuple(_label_class(row, f"{path}, row {number}") for number, row in enumerate(rows, start=1))
    try:
        table = ClassTable(path.stem, classes)
        return table if "void" not in data else ClassTable(path.stem, classes, _void_id(table, data["void"]))
    except MappingError as error:
        raise MappingError(f"{path}: {error}") from None


def _void_id(table: ClassTable, name: Any) -> int:
    row = table.find(str(name))
    if row.train_id != IGNORE_ID or row.id < 0:
        raise MappingError(f"void '{name}' is a training class or has no id. Name a class that is not trained.")
    return row.id


def _label_class(row: Any, where: str) -> LabelClass:
    if not isinstance(row, dict):
        raise MappingError(f"{where}: is not a class. Write {{id: 7, name: road, train: 0, color: [128, 64, 128]}}.")
    refuse_unknown_keys(row, _ROW_KEYS, where)
    name = _text(row, "name", None, where)
    return LabelClass(
        id=_whole_number(row.get("id"), -128, 255, f"{where}, id"),
        name=name,
        readable=_text(row, "readable", name, where),
        train_id=_whole_number(row.get("train", IGNORE_ID), 0, 255, f"{where}, train"),
        color=_color(row.get("color"), f"{where}, color"),
    )


def _text(row: dict[str, Any], key: str, default: str | None, where: str) -> str:
    value = row.get(key, default)
    if not isinstance(value, str) or not fold(value) or not value.isprintable():
        raise MappingError(
            f"{where}, {key}: {value!r} is not a name. Give a text; put words such as on or 1 in quotes."
        )
    return value


def _whole_number(value: Any, low: int, high: int, where: str) -> int:
    if type(value) is not int or not low <= value <= high:
        raise MappingError(f"{where}: {value!r} is not a whole number from {low} to {high}. Give one.")
    return value


def _color(value: Any, where: str) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise MappingError(f"{where}: {value!r} is not a color. Give [red, green, blue], each 0 to 255.")
    red, green, blue = (_whole_number(part, 0, 255, where) for part in value)
    return red, green, blue


def _check_once(what: str, pairs: Iterable[tuple[int | str, str]], table: str) -> None:
    first: dict[int | str, str] = {}
    for value, name in pairs:
        if value in first:
            raise MappingError(f"'{table}': {what} {value!r} is given to '{first[value]}' and to '{name}'. Keep one.")
        first[value] = name


def _check_counted(train_ids: list[int], table: str) -> None:
    missing = sorted(set(range(len(train_ids))) - set(train_ids))
    if missing:
        raise MappingError(
            f"'{table}': no class has train {missing[0]}, yet the highest is {max(train_ids)}. "
            "Count them from 0 without gaps."
        )
