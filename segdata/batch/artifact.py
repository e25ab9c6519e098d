"""What an output file says of itself, and whether a run keeps it, refuses it or makes it again.

Every output carries its provenance: the tool that made it, the settings that determine its content, and facts, among
them the digest of its source. It is written as JSON: in a PNG as the text chunk `KEYWORD`, in an ``.npz`` as the member
``meta``. So "done and valid" is read from the output alone, however often a run was interrupted.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segdata.codecs.npz import read_array, split_npz
from segdata.codecs.png import read_bytes
from segdata.codecs.png_chunks import SIGNATURE, read_text
from segdata.errors import LabelError, StoreError

KEYWORD = "segdata"
"""Of the text chunk of a PNG."""
FORMAT = 1
"""Of the provenance."""
HOW_TO_FIX = "Choose another DST, or pass --overwrite."

MOST_DIFFERENCES = 3
LONGEST_VALUE = 40

_ZIP_SIGNATURE = b"PK"
_OWN_MEMBERS = (b"meta.npy", b"probabilities.npy")
_NAMES_OF_RULES = ("mapping", "classes")  # the same rules under another name make the same output


class StaleError(StoreError):
    """An output was made from other bytes of its source than are there now."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What an output says of itself.

    Attributes
    ----------
    tool : str
        The command that made it.
    settings : dict
        JSON-able; all that determines the output, its source apart.
    facts : dict
        JSON-able; ``digest`` of the source's bytes, and what the report tells of the file.
    """

    tool: str
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]

    def encode(self) -> str:
        """Return it as the JSON that outputs hold."""
        about = {"tool": self.tool, "format": FORMAT, "settings": dict(self.settings), "facts": dict(self.facts)}
        return json.dumps(about, sort_keys=True, separators=(",", ":"))


def facts_to_keep(
    output: Path, found: Provenance | None, *, tool: str, settings: Mapping[str, Any], digest: str
) -> dict[str, Any] | None:
    """Return the facts of an output that is there and valid; None where it is missing or damaged.

    Parameters
    ----------
    output : Path
    found : Provenance or None
        What it says of itself; None if it is missing or damaged.
    tool, settings
        Those of this run.
    digest : str
        Of the source's bytes as they are now.

    Raises
    ------
    StoreError
        If the output was made by another tool or with other settings.
    StaleError
        If it was made from other bytes of its source.
    """
    if found is None:
        return None
    if found.tool != tool:
        raise foreign_output(output, tool)
    difference = describe_difference(_without_names(found.settings), _without_names(as_json(settings)))
    if difference:
        raise StoreError(f"{output}: was made with other settings: {difference}. {HOW_TO_FIX}")
    facts = dict(found.facts)
    if facts["digest"] != digest:
        raise StaleError(
            f"{output}: was made from other bytes of its source, which has changed since. Pass --update to recompute "
            "it, or choose another DST."
        )
    return facts


def read_provenance(path: Path, tool: str) -> Provenance | None:
    """Read what a PNG or ``.npz`` says of itself.

    Returns
    -------
    Provenance or None
        None where there is no file, or a damaged one of ours, which can be written again.

    Raises
    ------
    StoreError
        If another program wrote the file, or another version of this one.
    LabelError
        If it cannot be read.
    """
    if not path.exists():
        return None
    data = read_bytes(path)
    about: Any = None
    try:
        about = json.loads(_provenance_text(data, str(path)))
    except (LabelError, StoreError, ValueError, RecursionError):
        if is_damaged_output(data):
            return None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise foreign_output(path, tool)
    settings, facts = about.get("settings"), about.get("facts")
    if not (isinstance(settings, dict) and isinstance(facts, dict) and isinstance(facts.get("digest"), str)):
        raise foreign_output(path, tool)
    return Provenance(tool=str(about.get("tool")), settings=settings, facts=facts)


def is_damaged_output(data: bytes) -> bool:
    """Tell whether damaged bytes are what is left of an output: its beginning, or nothing, or the zeros of a crash."""
    head = data[:128]
    if data.startswith(SIGNATURE) or KEYWORD.encode() in head or not any(head):
        return True
    return any(name in head for name in _OWN_MEMBERS) or b"num_parts_" in data


def foreign_output(path: Path, tool: str) -> StoreError:
    """Return the error of a file in the place of an output that is not one."""
    return StoreError(f"{path}: was not written by this version of segdata {tool}, so it is kept. {HOW_TO_FIX}")


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they read back from JSON: tuples are lists."""
    read: dict[str, Any] = json.loads(json.dumps(settings))
    return read


def describe_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Name the settings in which two runs differ, as "encoding was 'trainIds', is now 'labelIds'"; None if in none.

    Examples
    --------
    >>> describe_difference({"scales": [2, 4], "table": {"name": "a"}}, {"scales": [2], "table": {"name": "a"}})
    'scales was [2, 4], is now [2]'
    """
    old, new = _flatten(before), _flatten(now)
    different = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if not different:
        return None
    told = [f"{name} was {_short(old.get(name))}, is now {_short(new.get(name))}" for name in different]
    rest = len(told) - MOST_DIFFERENCES
    return "; ".join(told[:MOST_DIFFERENCES]) + (f"; and {rest} more" if rest > 0 else "")


def _provenance_text(data: bytes, where: str) -> str:
    """Return the provenance in a PNG or ``.npz``, "null" where there is none."""
    if not data.startswith(_ZIP_SIGNATURE):
        return read_text(data, where).get(KEYWORD, "null")
    meta = split_npz(data, where).get("meta")
    return "null" if meta is None else read_array(meta, "meta", np.dtype(np.uint8), None, where).tobytes().decode()


def _without_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out names of rules of which there is a digest as well."""
    return {
        name: value
        for name, value in settings.items()
        if not (name in _NAMES_OF_RULES and f"{name}_digest" in settings)
    }


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one mapping with dotted names."""
    flat = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def _short(value: Any) -> str:
    """Return a value as a message can hold it."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
