"""Look at tables: load either kind by name or file, turn a mapping round, put two mappings side by side."""

from dataclasses import dataclass
from pathlib import Path

from segdata.errors import MappingError
from segdata.labels.bundled import bundled_classes, bundled_mappings, table_path
from segdata.labels.classes import IGNORE_ID, ClassTable, LabelClass
from segdata.labels.mapping import LabelMapping
from segdata.labels.yaml_file import read_yaml


def load_any(name_or_path: str | Path) -> LabelMapping | ClassTable:
    """Load a mapping or a class table, whichever the name or file is.

    Raises
    ------
    MappingError
        If it is neither, or has a fault.
    """
    path = table_path(name_or_path, {**bundled_classes(), **bundled_mappings()}, "mapping or class table")
    return ClassTable.load(path) if "classes" in read_yaml(path) else LabelMapping.load(path)


def by_target(mapping: LabelMapping) -> list[tuple[LabelClass | None, tuple[LabelClass, ...]]]:
    """Return each target class with its sources: the trained ones in their order, others that have a source, ignored.

    Examples
    --------
    >>> rows = by_target(LabelMapping.load("vistas-v1.2-to-cityscapes"))
    >>> [(target.name, [row.id for row in sources]) for target, sources in rows[11:14]]
    [('person', [19]), ('rider', [20, 21, 22]), ('car', [55, 59])]
    """
    sources: dict[LabelClass | None, list[LabelClass]] = {}
    for row, to in zip(mapping.source.classes, mapping.targets, strict=True):
        sources.setdefault(to, []).append(row)
    wanted = [row for row in mapping.target.classes if row.train_id != IGNORE_ID or row in sources]
    ordered: list[LabelClass | None] = [*sorted(wanted, key=lambda row: (row.train_id, row.id)), None]
    return [(target, tuple(sources.get(target, ()))) for target in ordered]


def without_source(mapping: LabelMapping) -> tuple[LabelClass, ...]:
    """Return the training classes of the target that no source class is sent to."""
    return tuple(
        target
        for target, sources in by_target(mapping)
        if target is not None and target.train_id != IGNORE_ID and not sources
    )


@dataclass(frozen=True)
class ComparedRow:
    """What two mappings make of one source class.

    Attributes
    ----------
    name : str
        Readable name of the source class.
    id_a, id_b : int or None
        Its id on either side, None where the source table lacks it.
    target_a, target_b : str or None
        The target class, ``ignored``, or None where the source table lacks the class.
    """

    name: str
    id_a: int | None
    id_b: int | None
    target_a: str | None
    target_b: str | None

    @property
    def differs(self) -> bool:
        """Whether the two send the class to different targets, or only one knows it."""
        return self.target_a != self.target_b


def compare(a: LabelMapping, b: LabelMapping) -> list[ComparedRow]:
    """Put two mappings side by side: the source classes of `a` in their order, then those that only `b` has.

    Classes of two source tables are the same if their names are, or else their readable names, after folding.
    """
    rows: list[ComparedRow] = []
    matched: set[int] = set()
    for row, to in zip(a.source.classes, a.targets, strict=True):
        other = _same_class(b.source, row)
        matched |= {other.id} if other else set()
        rows.append(_compared(row.readable, (row, to), (other, _target_of(b, other))))
    for row, to in zip(b.source.classes, b.targets, strict=True):
        if row.id not in matched:
            rows.append(_compared(row.readable, (None, None), (row, to)))
    return rows


def _compared(
    name: str, a: tuple[LabelClass | None, LabelClass | None], b: tuple[LabelClass | None, LabelClass | None]
) -> ComparedRow:
    (id_a, target_a), (id_b, target_b) = _cell(*a), _cell(*b)
    return ComparedRow(name, id_a, id_b, target_a, target_b)


def _cell(row: LabelClass | None, to: LabelClass | None) -> tuple[int | None, str | None]:
    if row is None:
        return None, None
    return row.id, to.name if to else "ignored"


def _same_class(table: ClassTable, row: LabelClass) -> LabelClass | None:
    for name in (row.name, row.readable):
        try:
            return table.find(name)
        except MappingError:
            continue
    return None


def _target_of(mapping: LabelMapping, row: LabelClass | None) -> LabelClass | None:
    return None if row is None else mapping.targets[mapping.source.classes.index(row)]
