"""`segdata mappings`: look at class tables and mapping rules, check one's own, compare two."""

import json
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from segdata.labels.browse import ComparedRow
    from segdata.labels.classes import ClassTable, LabelClass
    from segdata.labels.mapping import LabelMapping

_HARD_SPACE = "\N{NO-BREAK SPACE}"  # keeps a name in one line of a wrapped column
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("mappings")
def command() -> None:
    """List, show, check and compare the mapping tables.

    \b
      segdata mappings list
      segdata mappings show vistas-v1.2-to-cityscapes
      segdata mappings check my-mapping.yaml
      segdata mappings compare vistas-v1.2-to-cityscapes my-mapping.yaml
    """


@command.command("list")
@_json_option
def list_(as_json: bool) -> None:
    """List the bundled mappings and class tables.

    \b
      segdata mappings list
    """
    from segdata.labels.browse import load_any
    from segdata.labels.bundled import bundled_classes, bundled_mappings

    mappings = [_facts(load_any(name)) for name in bundled_mappings()]
    tables = [_facts(load_any(name)) for name in bundled_classes()]
    if as_json:
        click.echo(json.dumps({"mappings": mappings, "classes": tables}, indent=2))
        return
    columns = ("name", "source", "target", "mapped", "ignored", "about")
    _print_table(("mapping", "from", "to", "mapped", "ignored", "about"), _pick(mappings, columns), numbers=(3, 4))
    click.echo()
    _print_table(("class table", "classes", "trained"), _pick(tables, ("name", "classes", "trained")), numbers=(1, 2))


@command.command()
@click.argument("name", metavar="M")
@_json_option
def show(name: str, as_json: bool) -> None:
    """Show mapping or class table M (a bundled name or a .yaml file), a mapping in both directions.

    \b
      segdata mappings show vistas-v1.2-to-cityscapes
      segdata mappings show cityscapes
      segdata mappings show my-mapping.yaml --json
    """
    from segdata.labels.browse import load_any
    from segdata.labels.classes import ClassTable

    table = load_any(name)
    if isinstance(table, ClassTable):
        _show_classes(table, as_json)
    else:
        _show_mapping(table, as_json)


@command.command()
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option(
    "--config",
    "configs",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Hold the config.json of a Vistas download against the bundled class table.",
)
@_json_option
def check(files: tuple[str, ...], configs: tuple[Path, ...], as_json: bool) -> None:
    """Check mapping and class table files; exit 1 if one has a fault.

    \b
      segdata mappings check my-mapping.yaml my-classes.yaml
      segdata mappings check --config VISTAS/config.json
    """
    from segdata.errors import SegdataError

    if not files and not configs:
        raise click.UsageError("Give a FILE, or --config FILE.")
    checks = [(file, partial(_check_file, file)) for file in files]
    checks += [(str(path), partial(_check_config, path)) for path in configs]
    good: dict[str, str] = {}
    faults: dict[str, str] = {}
    for file, look in checks:
        try:
            good[file] = look()
        except SegdataError as error:
            faults[file] = str(error)
    for fault in faults.values():
        click.echo(fault, err=True)
    if as_json:
        click.echo(json.dumps({"good": good, "faults": faults}, indent=2))
    else:
        for file, summary in good.items():
            click.echo(f"{file}: {summary}")
    sys.exit(1 if faults else 0)


@command.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--all", "all_rows", is_flag=True, help="Show the classes that both treat alike, too.")
@_json_option
def compare(a: str, b: str, all_rows: bool, as_json: bool) -> None:
    """Compare mappings A and B class by class: the rows that differ, or --all.

    \b
      segdata mappings compare vistas-v1.2-to-cityscapes vistas-v1.2-to-cityscapes-on-rails
    """
    from segdata.labels.browse import compare as put_side_by_side
    from segdata.labels.mapping import LabelMapping

    first, second = LabelMapping.load(a), LabelMapping.load(b)
    rows = put_side_by_side(first, second)
    num_different = sum(row.differs for row in rows)
    shown = [row for row in rows if all_rows or row.differs]
    if as_json:
        told = {"a": _facts(first), "b": _facts(second), "classes": len(rows), "different": num_different}
        click.echo(json.dumps({**told, "rows": [{**asdict(row), "differs": row.differs} for row in shown]}, indent=2))
        return
    if shown:
        _print_table(("class", f"A: {first.name}", f"B: {second.name}", ""), map(_compared_cells, shown))
        click.echo()
    click.echo(f"{num_different} of {len(rows)} classes differ between {first.name} and {second.name}")


def _compared_cells(row: "ComparedRow") -> tuple[str, str, str, str]:
    def cell(id_: int | None, target: str | None) -> str:
        return "(no such class)" if target is None else f"{id_} -> {target}"

    return row.name, cell(row.id_a, row.target_a), cell(row.id_b, row.target_b), "differs" if row.differs else ""


def _check_file(file: str) -> str:
    """Return what a good file holds, in one line."""
    from segdata.labels.browse import load_any, without_source
    from segdata.labels.classes import ClassTable

    table = load_any(file)
    facts = _facts(table)
    if isinstance(table, ClassTable):
        return f"class table of {facts['classes']} classes, {facts['trained']} trained"
    empty = ", ".join(f"{row.name} ({row.train_id})" for row in without_source(table))
    return (
        f"mapping {facts['source']} -> {facts['target']}, {facts['mapped']} classes mapped, {facts['ignored']} ignored"
        + (f"; no source for {empty}" if empty else "")
    )


def _check_config(path: Path) -> str:
    """Return which version's classes a config.json holds, in one line."""
    from segdata.layouts.vistas_version import check_config, nearest_version, read_config

    table = read_config(path)
    version = nearest_version(table)
    check_config(table, version, path)
    return f"the {len(table.classes)} classes of vistas-{version}, names and order"


def _facts(table: "LabelMapping | ClassTable") -> dict[str, Any]:
    from segdata.labels.classes import ClassTable

    if isinstance(table, ClassTable):
        num = {"classes": len(table.classes), "trained": table.num_classes}
        return {"name": table.name, **num, "digest": table.digest}
    num_ignored = sum(target is None for target in table.targets)
    return {
        "name": table.name,
        "source": table.source.name,
        "target": table.target.name,
        "mapped": len(table.targets) - num_ignored,
        "ignored": num_ignored,
        "about": table.about,
        "digest": table.digest,
    }


def _show_classes(table: "ClassTable", as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**_facts(table), "rows": [asdict(row) for row in table.classes]}, indent=2))
        return
    click.echo(f"{table.name}: {len(table.classes)} classes, {table.num_classes} trained\ndigest {table.digest}\n")
    rows = (
        (str(row.id), str(row.train_id), row.readable, row.name, " ".join(f"{part:3}" for part in row.color))
        for row in table.classes
    )
    _print_table(("id", "train", "class", "name in the data set", "color"), rows, numbers=(0, 1))


def _show_mapping(mapping: "LabelMapping", as_json: bool) -> None:
    if as_json:
        rows = [_mapping_row(mapping, *pair) for pair in zip(mapping.source.classes, mapping.targets, strict=True)]
        click.echo(json.dumps({**_facts(mapping), "rows": rows}, indent=2))
        return
    facts = _facts(mapping)
    click.echo(f"{mapping.name}: {mapping.source.name} -> {mapping.target.name}\n{mapping.about}")
    click.echo(f"{facts['mapped']} classes mapped, {facts['ignored']} ignored; digest {mapping.digest}\n")
    _print_by_target(mapping)
    click.echo()
    _print_by_source(mapping)


def _mapping_row(mapping: "LabelMapping", row: "LabelClass", to: "LabelClass | None") -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "readable": row.readable,
        "target": to.name if to else None,
        "trainId": to.train_id if to else mapping.ignored_value("trainIds"),
        "labelId": to.id if to else mapping.target.void_id,
    }


def _print_by_target(mapping: "LabelMapping") -> None:
    """Print the target classes, each with its sources, as Table 4 is printed."""
    from segdata.labels.browse import by_target

    rows = []
    for target, sources in by_target(mapping):
        sent = ", ".join(f"{row.id} {row.readable}".replace(" ", _HARD_SPACE) for row in sources) or "-"
        rows.append((*_target_cells(mapping, target), sent))
    _print_table(("train", "id", mapping.target.name, f"from {mapping.source.name}"), rows, numbers=(0, 1))


def _print_by_source(mapping: "LabelMapping") -> None:
    rows = [
        (str(row.id), row.readable, *_target_cells(mapping, to))
        for row, to in zip(mapping.source.classes, mapping.targets, strict=True)
    ]
    _print_table(("id", mapping.source.name, "train", "id", f"to {mapping.target.name}"), rows, numbers=(0, 2, 3))


def _target_cells(mapping: "LabelMapping", target: "LabelClass | None") -> tuple[str, str, str]:
    if target is not None:
        return str(target.train_id), str(target.id), target.readable
    void = mapping.target.void_id
    return str(mapping.ignored_value()), "-" if void is None else str(void), "(ignored)"


def _pick(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(str(row[column]) for column in columns) for row in rows]


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> None:
    """Print aligned columns, those in `numbers` to the right; the last one is wrapped to the terminal."""
    table = [tuple(header), *map(tuple, rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    indent = sum(widths[:-1]) + 2 * (len(widths) - 1)
    room = max(get_terminal_size((110, 24)).columns - indent, 30)
    for row in table:
        cells = (
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row[:-1], widths[:-1], strict=True))
        )
        last = row[-1].rjust(widths[-1]) if len(row) - 1 in numbers else row[-1]
        first, *more = textwrap.wrap(last, room, break_long_words=False, break_on_hyphens=False) or [""]
        for line in ["  ".join([*cells, first if more else last]), *(" " * indent + line for line in more)]:
            click.echo(line.rstrip().replace(_HARD_SPACE, " "))
