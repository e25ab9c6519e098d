"""How numbers and tables are written in messages and results: one way for all."""

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, thousands separated.

    Examples
    --------
    >>> counted(1, "file"), counted(25_000, "file"), counted(2, "class", "classes")
    ('1 file', '25,000 files', '2 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column to the left, the others, which are numbers, to the right.

    Examples
    --------
    >>> aligned([["class", "IoU"], ["road", "98.10"]])
    ['class    IoU', 'road   98.10']
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
