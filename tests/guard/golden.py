"""Golden values in a JSON file beside the tests: compared, or written where SEGDATA_WRITE_GOLDEN is set."""

import hashlib
import json
import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def check(file: Path, key: str, value: Any) -> None:
    """Compare a value that JSON can hold with the golden one of this key."""
    value = json.loads(json.dumps(value))
    golden = golden_value(file, key, value)
    if value != golden:  # said here: pytest explains the assertions of test files alone
        raise AssertionError(f"{file.name}, {key!r}: - golden, + found\n{difference(golden, value)}")


def difference(golden: Any, found: Any) -> str:
    """Return the lines that two JSON values differ in, each with its path of keys."""
    old, new = lines_of(golden), lines_of(found)
    lines = [
        f"{sign} {path}: {side[path]}"
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
        for sign, side in (("-", old), ("+", new))
        if path in side
    ]
    return "\n".join([*lines[:80], *([f"... and {len(lines) - 80} more lines"] if len(lines) > 80 else [])])


def lines_of(value: Any, path: str = "") -> dict[str, str]:
    """Return each leaf of a JSON value by its path of keys; an empty dictionary or list is a leaf."""
    if value and isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {place: leaf for key, one in items for place, leaf in lines_of(one, f"{path} > {key}").items()}
    return {path.removeprefix(" > "): json.dumps(value)}


def golden_value(file: Path, key: str, found: Any) -> Any:
    """Return the golden value of a key; where SEGDATA_WRITE_GOLDEN is set, what was found becomes it."""
    golden = json.loads(file.read_text()) if file.exists() else {}
    if os.environ.get("SEGDATA_WRITE_GOLDEN"):
        golden[key] = found
        file.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")
    assert key in golden, f"{file.name} holds no {key!r}: SEGDATA_WRITE_GOLDEN=1 writes it"
    return golden[key]


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def describe_tree(folder: Path, hide: dict[str, str]) -> dict[str, Any]:
    """Return what a folder holds, by relative path: everything a reader of its files can see."""
    return {
        path.relative_to(folder).as_posix(): describe_file(path, folder, hide)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    }


def describe_file(path: Path, folder: Path, hide: dict[str, str]) -> Any:
    """Return the pixels, the texts and the arrays of a file, independent of how they are compressed."""
    if path.is_symlink():
        return f"link to {hide_in(str(path.readlink()), hide)}"
    data = path.read_bytes()
    if path.suffix == ".png":
        with Image.open(BytesIO(data)) as image:
            image.load()
            texts = {key: hide_in(text, hide) for key, text in image.text.items()}
            return {"mode": image.mode, "size": image.size, "texts": texts, "pixels": sha(image.tobytes())}
    if path.suffix == ".npz":
        with np.load(BytesIO(data)) as arrays:
            described = {name: describe_array(arrays[name], hide) for name in sorted(arrays.files)}
        for name in described:
            if name.endswith("_times"):  # of the files' last change
                described[name] = described[name][:2]
        return described
    if path.suffix == ".json":
        return json.loads(hide_in(data.decode(), hide))
    return sha(data)


def describe_array(array: np.ndarray, hide: dict[str, str]) -> Any:
    raw = array.tobytes()
    if array.dtype.kind == "U" or (array.dtype == np.uint8 and array.ndim == 1 and raw[:1] == b"{"):  # JSON
        return json.loads(hide_in(str(array) if array.dtype.kind == "U" else raw.decode(), hide))
    return [str(array.dtype), list(array.shape), sha(raw)]


def hide_in(text: str, hide: dict[str, str]) -> str:
    for found, shown in hide.items():
        text = text.replace(found, shown)
    return text


def keys_of(value: Any) -> Any:
    """Return the structure of a JSON value: keys, and the types of what they hold."""
    if isinstance(value, dict):
        return {key: keys_of(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [keys_of(value[0])] if value else []
    return type(value).__name__
