"""What can be amiss with the outputs of a command."""

from dataclasses import dataclass
from typing import Literal

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
        One line, with the way out.
    """

    kind: Kind
    path: str
    message: str
