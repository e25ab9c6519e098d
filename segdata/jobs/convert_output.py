"""What a converted label says of itself, and whether it can be kept; nothing is inflated for it."""

import json
from pathlib import Path
from typing import Any

from segdata.batch.report import describe_difference
from segdata.codecs.png import read_bytes
from segdata.codecs.png_chunks import SIGNATURE, read_text
from segdata.errors import LabelError, StoreError
from segdata.files import digest_of_bytes
from segdata.jobs.convert_label import OUTPUT_FORMAT, TEXT_KEYWORD, ConvertSettings

_WAY_OUT = "Choose another DST, or pass --overwrite."
_REDO_ONE = "To make only this one anew, remove it first."


def kept_facts(output: Path, source: bytes, settings: ConvertSettings) -> dict[str, Any] | None:
    """Return the facts inside an output that is there and valid; None where it is missing or damaged.

    Parameters
    ----------
    output : Path
        Where the output is, if it is.
    source : bytes
        The source label's bytes as they are now.
    settings : ConvertSettings
        The settings of this run.

    Raises
    ------
    StoreError
        If the output was made with other settings or from other bytes, or is no output of this tool.
    """
    text = read_output(output)
    if text is None:
        return None
    difference = describe_difference(_deciding(text["settings"]), _deciding(settings.recorded()))
    if difference:
        raise StoreError(f"{output}: was made with other settings: {difference}. {_WAY_OUT}")
    facts: dict[str, Any] = text["facts"]
    if facts["digest"] != digest_of_bytes(source):
        raise StoreError(
            f"{output}: was made from other bytes of its source, which has changed since. {_WAY_OUT} {_REDO_ONE}"
        )
    return facts


def read_output(path: Path) -> dict[str, Any] | None:
    """Read what an output says of itself: ``settings`` and ``facts``, as `convert_label` wrote them.

    Returns
    -------
    dict or None
        None where there is no file, or a damaged one that can be written anew.

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
    text = None
    try:
        text = json.loads(read_text(data, str(path)).get(TEXT_KEYWORD, "null"))
    except (LabelError, ValueError):
        if _is_rest_of_ours(data):
            return None
    if not isinstance(text, dict) or (text.get("tool"), text.get("format")) != ("convert", OUTPUT_FORMAT):
        raise StoreError(f"{path}: was not written by this version of segdata convert, so it is kept. {_WAY_OUT}")
    return text


def _deciding(recorded: dict[str, str]) -> dict[str, str]:
    """Leave out the mapping's name: the same rule under another name makes the same output."""
    return {name: value for name, value in recorded.items() if name != "mapping"}


def _is_rest_of_ours(data: bytes) -> bool:
    """Say whether damaged bytes are what is left of a PNG, or what a crash leaves: nothing, or zeros."""
    return data.startswith(SIGNATURE) or TEXT_KEYWORD.encode() in data[:128] or not any(data[:128])
