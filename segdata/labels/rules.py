"""A mapping file as it is written: groups of class names by target class, on top of the file it extends."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segdata.errors import MappingError
from segdata.labels.bundled import bundled_mappings, table_path
from segdata.labels.classes import ClassTable, LabelClass
from segdata.labels.yaml_file import read_yaml, refuse_unknown_keys

_KEYS = ("about", "extends", "source", "target", "map", "ignore", "rest")


@dataclass(frozen=True)
class Rule:
    """A mapping file with its names resolved and its base taken in."""

    where: str
    source: ClassTable
    target: ClassTable
    assigned: Mapping[int, LabelClass | None]  # position in source.classes -> target
    rest_ignored: bool
    about: str

    @classmethod
    def load(cls, path: Path, source: ClassTable | None = None, seen: tuple[Path, ...] = ()) -> "Rule":
        """Read a mapping file, and first the ones it extends; `source` replaces the class table it names."""
        if path.resolve() in seen:
            raise MappingError(f"{path}: extends itself, through {len(seen)} file(s). Take one 'extends' out.")
        data = read_yaml(path)
        where = str(path)
        refuse_unknown_keys(data, _KEYS, where)
        if "extends" in data:
            base = cls._base(data, path, source, seen)
            source, target, assigned, rest = base.source, base.target, base.assigned, base.rest_ignored
        else:
            source = source or _table(data, "source", path)
            target, assigned, rest = _table(data, "target", path), {}, False
        own = _assignments(data, source, target, where)
        rest = _rest_ignored(data, where) if "rest" in data else rest
        return cls(where, source, target, {**assigned, **own}, rest, " ".join(str(data.get("about", "")).split()))

    @classmethod
    def _base(cls, data: dict[str, Any], path: Path, source: ClassTable | None, seen: tuple[Path, ...]) -> "Rule":
        for key in ("source", "target"):
            if key in data:
                raise MappingError(f"{path}: '{key}' comes from the mapping it extends. Take the line out.")
        name = _name(data["extends"], f"{path}, extends")
        return cls.load(table_path(name, bundled_mappings(), "mapping", path.parent), source, (*seen, path.resolve()))

    def targets(self) -> tuple[LabelClass | None, ...]:
        """Return the target of every source class, or raise MappingError listing those that have none."""
        rows = self.source.classes
        missing = [row.readable for position, row in enumerate(rows) if position not in self.assigned]
        if missing and not self.rest_ignored:
            raise MappingError(
                f"{self.where}: {len(missing)} of the {len(rows)} classes of '{self.source.name}' are neither mapped "
                f"nor ignored: {', '.join(missing)}. Add them to 'map' or 'ignore', or write 'rest: ignore'."
            )
        return tuple(self.assigned.get(position) for position in range(len(rows)))


def _assignments(
    data: dict[str, Any], source: ClassTable, target: ClassTable, where: str
) -> dict[int, LabelClass | None]:
    """Resolve the file's own 'map' and 'ignore': position in `source` -> target class, None where ignored."""
    positions = {row.id: position for position, row in enumerate(source.classes)}
    assigned: dict[int, LabelClass | None] = {}
    for to, names, place in _groups(data, target, where):
        for name in names:
            row = _find(source, name, place)
            position = positions[row.id]
            if position in assigned and assigned[position] != to:
                raise MappingError(
                    f"{place}: '{name}' is {_fate(assigned[position])} elsewhere and {_fate(to)} here. Keep one."
                )
            assigned[position] = to
    return assigned


def _groups(data: dict[str, Any], target: ClassTable, where: str) -> list[tuple[LabelClass | None, list[str], str]]:
    """Return (target class, source names, place) for each line of 'map', then for 'ignore'."""
    lines = data.get("map") or {}
    if not isinstance(lines, dict):
        raise MappingError(f"{where}, map: is not a list of 'target: [source, ...]' lines. See docs/mappings.md.")
    groups: list[tuple[LabelClass | None, list[str], str]] = []
    for key, names in lines.items():
        place = f"{where}, map, '{key}'"
        groups.append((_find(target, _name(key, place), place, "target "), _names(names, place), place))
    place = f"{where}, ignore"
    return [*groups, (None, _names(data.get("ignore"), place), place)]


def _find(table: ClassTable, name: str, place: str, what: str = "") -> LabelClass:
    try:
        return table.find(name)
    except MappingError as error:
        raise MappingError(f"{place}: {what}{error}") from None


def _names(value: Any, place: str) -> list[str]:
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    return [_name(item, place) for item in items]


def _name(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise MappingError(f"{place}: {value!r} is not a name. Give a text; put words such as on or 1 in quotes.")
    return value


def _table(data: dict[str, Any], key: str, path: Path) -> ClassTable:
    if key not in data:
        raise MappingError(f"{path}: has no '{key}'. Add '{key}: NAME' with a class table (segdata mappings list).")
    place = f"{path}, {key}"
    try:
        return ClassTable.load(_name(data[key], place), beside=path.parent)
    except MappingError as error:
        raise MappingError(f"{place}: {error}") from None


def _rest_ignored(data: dict[str, Any], where: str) -> bool:
    if data["rest"] != "ignore":
        raise MappingError(f"{where}, rest: {data['rest']!r} is not known. Write 'rest: ignore', or leave it out.")
    return True


def _fate(to: LabelClass | None) -> str:
    return "ignored" if to is None else f"sent to '{to.name}'"
