"""The parts of a page, as text of HTML: what is not made here is escaped."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, NamedTuple

from segdata import __version__


class Part(NamedTuple):
    """A part of a page with its heading.

    Attributes
    ----------
    title : str
        Plain text.
    body : str
        HTML.
    """

    title: str
    body: str


def page(title: str, sections: Sequence[Part], *, data: Mapping[str, Any] | None = None) -> str:
    """Return a whole page: style, program and data stand in it.

    Parameters
    ----------
    title : str
        Plain text.
    sections : sequence of Part
    data : mapping, optional
        What the page's program shows; see ``page.js``.
    """
    parts = files("segdata.pages")
    style, program = ((parts / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    anchors = [f"part-{number}" for number in range(1, len(sections) + 1)]
    contents = "".join(
        f'<li><a href="#{anchor}">{escape(section.title)}</a></li>'
        for anchor, section in zip(anchors, sections, strict=True)
    )
    body = "".join(
        f'<section id="{anchor}"><h2>{escape(section.title)}</h2>{section.body}</section>'
        for anchor, section in zip(anchors, sections, strict=True)
    )
    # "<" as an escape of JSON, so that no text ends the element.
    told = json.dumps(data or {}, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="segdata {__version__}"><title>{escape(title)}</title>'
        f"<style>{style}</style></head><body><header><h1>{escape(title)}</h1>"
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav></header><main>{body}</main>'
        f'<script type="application/json" id="data">{told}</script><script>{program}</script></body></html>\n'
    )


def facts(rows: Iterable[tuple[str, Any]]) -> str:
    """Return names with values as a list; a value of None is left out."""
    told = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in rows if value is not None
    )
    return f'<dl class="facts">{told}</dl>'


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str) -> str:
    """Return a table: the first column names the row, the others are numbers, or HTML in a `Cell`."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{_inner(row[0])}</th>{"".join(f"<td>{_inner(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


class Cell(NamedTuple):
    """HTML for a cell of a table."""

    html: str


def bar(part: float, text: str, *, second: float | None = None) -> Cell:
    """Return a bar of a part of 1 with its text, and below it a second one to compare with."""
    kind = "number" if second is None else "number two"
    bars = f'<i style="width:{100 * min(1.0, part):.2f}%"></i>'
    if second is not None:
        bars += f'<i class="second" style="width:{100 * min(1.0, second):.2f}%"></i>'
    return Cell(f'<span class="bar" aria-hidden="true">{bars}</span><span class="{kind}">{escape(text)}</span>')


def swatch(color: Sequence[int], name: str) -> Cell:
    """Return a name with its color before it."""
    red, green, blue = (int(value) for value in color)
    return Cell(f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>{escape(name)}')


def folded(title: str, body: str) -> str:
    """Return a body that is shown on demand."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def paragraph(text: str) -> str:
    """Return plain text as a paragraph."""
    return f"<p>{escape(text)}</p>"


def _inner(cell: Any) -> str:
    return cell.html if isinstance(cell, Cell) else escape(str(cell))
