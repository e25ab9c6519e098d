"""Mapping rules: which class of one table becomes which class of another, written by name."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segdata.errors import MappingError
from segdata.labels.bundled import bundled_mappings, table_path
from segdata.labels.classes import IGNORE_ID, ClassTable, LabelClass, digest_of
from segdata.labels.rules import Rule

Encoding = Literal["trainIds", "labelIds"]


@dataclass(frozen=True)
class LabelMapping:
    """A rule that takes each class of `source` to a class of `target`, or to "ignored".

    Attributes
    ----------
    name : str
        What messages call the mapping: the stem of its file.
    source, target : ClassTable
        The two class tables.
    targets : tuple of (LabelClass or None)
        One for each class of `source`, in its order; None is ignored.
    about : str
        Where the rule comes from, in a line or two.
    """

    name: str
    source: ClassTable
    target: ClassTable
    targets: tuple[LabelClass | None, ...]
    about: str = ""

    def __post_init__(self) -> None:
        assert len(self.targets) == len(self.source.classes)

    @classmethod
    def load(cls, name_or_path: str | Path, *, source: ClassTable | None = None) -> "LabelMapping":
        """Load a bundled mapping by name, or a YAML file by path.

        Parameters
        ----------
        name_or_path : str or pathlib.Path
            ``vistas-v1.2-to-cityscapes``, ``my-mapping.yaml``; a text with a slash or a .yaml ending is a path.
        source : ClassTable, optional
            Resolve the rule's source names in this table instead of the one it names: for a data set whose own class
            list differs and is to be trusted.

        Raises
        ------
        MappingError
            If there is no such mapping, or its file names a class that does not exist, gives one class two targets or
            leaves a class out; names the file, the place and the nearest known name.

        Examples
        --------
        >>> mapping = LabelMapping.load("vistas-v1.2-to-cityscapes")
        >>> mapping.lookup()[[13, 58, 66]].tolist()
        [0, 255, -1]
        >>> mapping.lookup("labelIds")[[13, 58, 66]].tolist()
        [7, 0, -1]
        """
        path = table_path(name_or_path, bundled_mappings(), "mapping")
        rule = Rule.load(path, source)
        return cls(path.stem, rule.source, rule.target, rule.targets(), rule.about)

    @cached_property
    def digest(self) -> str:
        """Hex digest of what decides an output: ids and names on both sides, not the mapping's own name or prose."""
        rows = [
            (row.id, row.name, None if to is None else (to.id, to.name, to.train_id))
            for row, to in zip(self.source.classes, self.targets, strict=True)
        ]
        return digest_of([rows, self.target.void_id])

    def ignored_value(self, encoding: Encoding = "trainIds") -> int:
        """Return what an ignored pixel becomes: training id 255, or as a label id the target's void id (Cityscapes: 0).

        Raises
        ------
        MappingError
            If label ids are asked for and the target table names no void class.
        """
        if encoding == "trainIds":
            return IGNORE_ID
        if self.target.void_id is None:
            raise MappingError(
                f"mapping '{self.name}': target '{self.target.name}' names no void class for ignored pixels. "
                "Write trainIds, or add 'void: NAME' to the class table."
            )
        return self.target.void_id

    def lookup(self, encoding: Encoding = "trainIds") -> NDArray[np.int16]:
        """Return the look-up from a source id to what an output file holds.

        Parameters
        ----------
        encoding : {"trainIds", "labelIds"}
            Which numbers the output holds.

        Returns
        -------
        ndarray of int16, shape (256,)
            The output value; `ignored_value` for ignored classes; -1 for ids the mapping does not name.

        Raises
        ------
        MappingError
            If a target class has no id that an 8-bit file can hold, or `ignored_value` has none.
        """
        if encoding not in ("trainIds", "labelIds"):
            raise MappingError(f"mapping '{self.name}': encoding '{encoding}' is not known. Use trainIds or labelIds.")
        ignored = self.ignored_value(encoding)
        table = np.full(256, -1, np.int16)
        for row, to in zip(self.source.classes, self.targets, strict=True):
            if row.id >= 0:
                table[row.id] = ignored if to is None else self._value(to, encoding)
        return table

    def _value(self, to: LabelClass, encoding: Encoding) -> int:
        if encoding == "trainIds":
            return to.train_id
        if to.id < 0:
            raise MappingError(
                f"mapping '{self.name}': target '{to.name}' has id {to.id}, which no 8-bit file holds. "
                "Write trainIds, or choose another target class."
            )
        return to.id
