"""What an output of a prediction says of itself, and whether it can be kept."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segdata.batch.report import describe_difference
from segdata.codecs.npz import read_array, split_npz
from segdata.codecs.png import read_bytes
from segdata.codecs.png_chunks import SIGNATURE, read_text
from segdata.errors import LabelError, StoreError
from segdata.jobs.predict_outputs import TEXT_KEYWORD

OUTPUT_FORMAT = 1
_WAY_OUT = "Choose another OUT, or pass --overwrite."
_ZIP_SIGNATURE = b"PK"


def describe_output(tool: str, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is written into every output of an image."""
    return {"tool": tool, "format": OUTPUT_FORMAT, "settings": dict(settings), "facts": dict(facts)}


def kept_facts(output: Path, tool: str, settings: Mapping[str, Any], digest: str) -> dict[str, Any] | None:
    """Return the facts inside an output that is there and valid; None where it is missing or damaged.

    Parameters
    ----------
    output : Path
        Where the output is, if it is.
    tool : str
        The command that shall have written it.
    settings : mapping
        Those of this run, as they are recorded.
    digest : str
        Of the image's bytes as they are now.

    Raises
    ------
    StoreError
        If the output was made with other settings or from other bytes, or by something else.
    """
    about = read_output(output)
    if about is None:
        return None
    if (about.get("tool"), about.get("format")) != (tool, OUTPUT_FORMAT):
        raise StoreError(f"{output}: was not written by this version of segdata {tool}, so it is kept. {_WAY_OUT}")
    difference = describe_difference(about["settings"], json.loads(json.dumps(settings)))
    if difference:
        raise StoreError(f"{output}: was made with other settings: {difference}. {_WAY_OUT}")
    facts: dict[str, Any] = about["facts"]
    if facts["digest"] != digest:
        raise StoreError(f"{output}: was made from other bytes of its image, which has changed since. {_WAY_OUT}")
    return facts


def read_output(path: Path) -> dict[str, Any] | None:
    """Read what an output says of itself, its checksums verified.

    Returns
    -------
    dict or None
        None where there is no file, or the rest of one of ours, which can be written anew.

    Raises
    ------
    StoreError
        If another program wrote the file.
    """
    if not path.exists():
        return None
    data = read_bytes(path)
    about = None
    try:
        about = json.loads(_told_inside(data, str(path)))
    except (LabelError, StoreError, ValueError):
        if _is_rest_of_ours(data):
            return None
    if not isinstance(about, dict):
        raise StoreError(f"{path}: was not written by segdata, so it is kept. {_WAY_OUT}")
    return about


def _told_inside(data: bytes, where: str) -> str:
    """Return the text of provenance of a PNG or `.npz`, "null" where there is none."""
    if not data.startswith(_ZIP_SIGNATURE):
        return read_text(data, where).get(TEXT_KEYWORD, "null")
    meta = split_npz(data, where).get("meta")
    return "null" if meta is None else read_array(meta, "meta", np.dtype(np.uint8), None, where).tobytes().decode()


def _is_rest_of_ours(data: bytes) -> bool:
    """Say whether damaged bytes are what a crash leaves of an output: a beginning, nothing, or zeros."""
    return data.startswith((SIGNATURE, _ZIP_SIGNATURE)) or not any(data[:128])
