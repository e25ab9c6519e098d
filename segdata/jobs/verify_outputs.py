"""How each kind of output is re-read: what it says of itself, whether it is sound, whether it can be made again.

The formats are known to the tools that write them; here stands only which of their functions is asked what.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from segdata.batch.artifact import KEYWORD, Provenance, foreign_output, read_provenance
from segdata.codecs.png import decode_label, read_bytes
from segdata.cpp.sparse import SparseCounts
from segdata.cpp.store import ENDING, decode_cpp, read_cpp_bytes
from segdata.errors import MappingError, SettingsError, StoreError
from segdata.files import read_regular
from segdata.jobs.convert import ENDINGS
from segdata.jobs.convert_label import TOOL as CONVERT
from segdata.jobs.convert_label import ConvertSettings, convert_label
from segdata.jobs.precompute import PrecomputeSettings, pool_file, read_target_provenance
from segdata.labels.classes import ClassTable
from segdata.labels.mapping import LabelMapping
from segdata.layouts.vistas import VistasRoot

NO_LIMIT = 2**62  # what was written is read, however large
FIRST_BYTES = 4096  # the text of a converted label stands before its pixels


@dataclass(frozen=True)
class Checker(ABC):
    """Re-reads the outputs of one tool; picklable.

    Attributes
    ----------
    settings : dict
        What the report says made the outputs.
    rules : str or None
        File of the mapping or class table, where it is not a bundled one.
    source : Path
        The folder that the labels came from.
    """

    settings: dict[str, Any]
    rules: str | None
    source: Path

    suffix = ""
    """What the names of all files of this format end with."""

    @property
    def ending(self) -> str:
        """What the names of these outputs end with."""
        return self.suffix

    def image_places(self, target: str) -> tuple[str, ...]:  # noqa: ARG002 - only some have images
        """Return where the image beside an output may stand, as paths below DST."""
        return ()

    @abstractmethod
    def read(self, path: Path) -> Provenance:
        """Read an output whole, with all its checksums.

        Raises
        ------
        StoreError, LabelError
            If it is damaged or no such output.
        """

    @abstractmethod
    def is_made_again(self, path: Path, source: Path) -> bool:
        """Make the output again from its source, in memory, and tell whether it holds the same."""

    @abstractmethod
    def prepare(self) -> None:
        """Find what `is_made_again` needs.

        Raises
        ------
        SettingsError
            If the mapping or class table is not the one that the report names.
        """

    @abstractmethod
    def is_ours(self, path: Path) -> bool:
        """Tell from its beginning whether a file with our suffix is an output of ours."""


@dataclass(frozen=True)
class LabelChecker(Checker):
    """Label images of convert and convert-mapillary."""

    suffix = ".png"

    def read(self, path: Path) -> Provenance:
        """Read the text of a label image, and its pixels."""
        found = read_provenance(path, CONVERT)
        if found is None:
            raise _damaged(path)
        if found.tool != CONVERT:
            raise foreign_output(path, CONVERT)
        decode_label(read_bytes(path), str(path), max_pixels=NO_LIMIT)
        return found

    def is_made_again(self, path: Path, source: Path) -> bool:
        """Compare the pixels, not the bytes: another version of the compressor may pack them otherwise."""
        converted = convert_label(read_bytes(source), str(source), self._convert_settings)
        about = read_provenance(path, CONVERT)
        assert about is not None, "read before"
        made = decode_label(converted.data, str(source), max_pixels=NO_LIMIT)
        found = decode_label(read_bytes(path), str(path), max_pixels=NO_LIMIT)
        return np.array_equal(made, found) and about.facts == converted.facts

    def prepare(self) -> None:
        """Load the mapping."""
        assert self._convert_settings

    def is_ours(self, path: Path) -> bool:
        """Look for our text."""
        return b"tEXt" + KEYWORD.encode() + b"\0" in read_regular(path, FIRST_BYTES)

    @cached_property
    def _convert_settings(self) -> ConvertSettings:
        name = self.rules or self.settings["mapping"]
        try:
            mapping = LabelMapping.load(name, source=self._class_list())
        except MappingError as error:
            raise self._other_mapping(name) from error
        if mapping.digest != self.settings["mapping_digest"]:
            raise self._other_mapping(name)
        decided = {key: self.settings[key] for key in ("encoding", "unmapped", "compression")}
        return ConvertSettings(mapping=mapping, max_pixels=NO_LIMIT, **decided)

    def _class_list(self) -> ClassTable | None:
        """Return the table that the names in the mapping mean, None for the one that the mapping names."""
        return None

    def _other_mapping(self, name: str) -> SettingsError:
        return _other_rules("mapping", name)


@dataclass(frozen=True)
class MapillaryChecker(LabelChecker):
    """Label images in the Cityscapes layout, as convert-mapillary writes them."""

    @property
    def ending(self) -> str:
        """As the layout has it for these ids."""
        return ENDINGS[self.settings["encoding"]]

    def image_places(self, target: str) -> tuple[str, ...]:
        """Follow the layout: the same key below leftImg8bit."""
        image = target.replace("gtFine/", "leftImg8bit/", 1).removesuffix(self.ending)
        return tuple(f"{image}_leftImg8bit{suffix}" for suffix in (".jpg", ".png"))

    def _class_list(self) -> ClassTable | None:
        """Take the download's own class list, if the run did so by --trust-config."""
        if "class_list" not in self.settings:
            return None
        return VistasRoot.open(self.source, self.settings["labels"], trust_config=True).class_table

    def _other_mapping(self, name: str) -> SettingsError:
        if "class_list" not in self.settings:
            return super()._other_mapping(name)
        return SettingsError(
            f"--deep: mapping '{name}' with the classes of {self.source / self.settings['class_list']} is not what "
            "made the outputs. Put that file back as it was, pass your own mapping as --rules, or leave out --deep."
        )


@dataclass(frozen=True)
class TargetChecker(Checker):
    """Pooled targets of precompute-cpp."""

    suffix = ENDING

    def read(self, path: Path) -> Provenance:
        """Read all members."""
        found = read_target_provenance(path)
        if found is None:
            raise _damaged(path)
        return found

    def is_made_again(self, path: Path, source: Path) -> bool:
        """Compare the arrays and what the file says of itself."""
        made = decode_cpp(pool_file(read_bytes(source), str(source), self._pool_settings), str(source))
        found = decode_cpp(read_cpp_bytes(path), str(path))
        return made.meta == found.meta and all(_same(grid, found.grids[cell]) for cell, grid in made.grids.items())

    def prepare(self) -> None:
        """Load the class table."""
        assert self._pool_settings

    def is_ours(self, path: Path) -> bool:
        """Go by the name: nobody else ends files so."""
        return path.name.endswith(self.suffix)

    @cached_property
    def _pool_settings(self) -> PrecomputeSettings:
        name = self.rules or self.settings["classes"]
        try:
            table = ClassTable.load(name)
        except MappingError as error:
            raise _other_rules("class table", name) from error
        if table.digest != self.settings["classes_digest"]:
            raise _other_rules("class table", name)
        decided = {key: self.settings[key] for key in ("encoding", "ragged")}
        return PrecomputeSettings(scales=tuple(self.settings["scales"]), classes=table, **decided)


CHECKERS: dict[str, type[Checker]] = {
    "convert": LabelChecker,
    "convert-mapillary": MapillaryChecker,
    "precompute-cpp": TargetChecker,
}


def _same(one: SparseCounts, other: SparseCounts) -> bool:
    """Tell whether two grids hold the same."""
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(SparseCounts))


def _damaged(path: Path) -> StoreError:
    return StoreError(f"{path}: is damaged. Run the command that wrote it again.")


def _other_rules(what: str, name: str | Path) -> SettingsError:
    return SettingsError(
        f"--deep: {what} '{name}' is not the one that made the outputs. "
        "Pass the file that did as --rules, or leave out --deep."
    )


Kind = Literal["missing", "damaged", "stale", "wrong", "not done", "unfinished", "extra"]
KINDS: dict[Kind, str] = {
    "missing": "the report names it, but it is not there",
    "damaged": "it cannot be read, or its checksums are wrong",
    "stale": "its label or settings are not those it was made from",
    "wrong": "made again, it is not the same (--deep)",
    "not done": "the command could not make it",
    "unfinished": "the command has not come to its end",
    "extra": "the report does not name it",
}


@dataclass(frozen=True)
class Fault:
    """One thing that is not as it should be.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    path : str
        The file, or what the report calls it.
    message : str
        One line, with how to fix it.
    """

    kind: Kind
    path: str
    message: str
