"""Read a YAML file that a person wrote: plain data only, small, no key twice, no surprises."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from segdata.errors import MappingError
from segdata.files import read_regular
from segdata.labels.names import did_you_mean

MAX_BYTES = 1 << 20  # the largest bundled table has 15 kB
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Only plain data is made (YAML's safe subset). A key given twice, an alias (``*name``), a file over 1 MiB and text
    that is not UTF-8 are refused.

    Raises
    ------
    MappingError
        Naming the file and, where there is one, the line.
    """
    try:
        root = yaml.compose(_read_text(path), Loader=_Loader)
        if not isinstance(root, yaml.MappingNode):
            raise MappingError(f"{path}: holds no 'key: value' lines at the top. See docs/mappings.md for the form.")
        _refuse_surprises(root, path, seen=set())
        data: dict[str, Any] = _Loader("").construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise MappingError(f"{path}, line {line}: is not valid YAML ({error.problem}). Fix the line.") from None
    except MappingError:
        raise
    except Exception as error:  # a scalar such as !!int '' or !!bool x raises what its constructor stumbles over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MappingError(f"{path}: is not plain YAML ({reason}). Fix the file.") from None
    return data


def refuse_unknown_keys(row: dict[Any, Any], known: Iterable[str], where: str) -> None:
    """Raise MappingError for the first key of `row` that is not `known`, with the nearest that is."""
    known = tuple(known)
    for key in row:
        if key not in known:
            raise MappingError(
                f"{where}: key {key!r} is not known.{did_you_mean(str(key), known)} Known keys: {', '.join(known)}."
            )


def _read_text(path: Path) -> str:
    try:
        data = read_regular(path, MAX_BYTES + 1)
    except OSError as error:
        raise MappingError(f"{path}: cannot be read ({error.strerror}). Give a readable .yaml file.") from None
    if len(data) > MAX_BYTES:
        raise MappingError(f"{path}: is larger than {MAX_BYTES} bytes. Give a class table or mapping, not a data file.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MappingError(f"{path}: is not UTF-8 text. Save it as UTF-8.") from None


def _refuse_surprises(node: yaml.Node, path: Path, seen: set[int]) -> None:
    """Walk the nodes: an alias reaches a node twice, and YAML itself lets the last of two equal keys win."""
    line = node.start_mark.line + 1
    if id(node) in seen:
        raise MappingError(f"{path}, line {line}: is used again by an alias (*name). Write the text out.")
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        _refuse_key_twice(node, path)
        for key, value in node.value:
            _refuse_surprises(key, path, seen)
            _refuse_surprises(value, path, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_surprises(item, path, seen)


def _refuse_key_twice(node: yaml.MappingNode, path: Path) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        text = str(key.value)
        if text in lines:
            raise MappingError(
                f"{path}, line {line}: key {text!r} is given twice, first in line {lines[text]}. Keep one of them."
            )
        lines[text] = line
