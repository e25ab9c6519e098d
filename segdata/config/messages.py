"""What is wrong with a recipe, in one line: the file, the key, the value, what is expected, how to fix it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from segdata.config.section import Section
from segdata.errors import SettingsError
from segdata.labels.names import did_you_mean

_EXPECTED = {
    "missing": "has no value",
    "literal_error": "{value} is not offered. Expected is {expected}",
    "greater_than": "{value} is out of range. Expected is a number above {gt}",
    "greater_than_equal": "{value} is out of range. Expected is {ge} or more",
    "less_than": "{value} is out of range. Expected is a number below {lt}",
    "less_than_equal": "{value} is out of range. Expected is {le} or less",
    "tuple_type": "{value} is not a list. Expected are several values, as [512, 1024]",
    "list_type": "{value} is not a list. Expected are several values, as [1, 2]",
    "too_few": "has too few values",
    "too_short": "{value} has too few values. Expected are {min_length} or more",
    "too_long": "{value} has too many values. Expected are {max_length} at most",
    "int_type": "{value} is not a whole number",
    "int_parsing": "{value} is not a whole number",
    "int_from_float": "{value} is not a whole number",
    "float_type": "{value} is not a number",
    "float_parsing": "{value} is not a number",
    "finite_number": "{value} is not a finite number",
    "bool_type": "{value} is neither true nor false",
    "bool_parsing": "{value} is neither true nor false",
    "string_type": "{value} is not text",
    "path_type": "{value} is not a path",
    "dict_type": "{value} is not a section. Expected are keys with values",
    "model_type": "{value} is not a section. Expected are keys with values",
    "model_attributes_type": "{value} is not a section. Expected are keys with values",
}


class Layer(NamedTuple):
    """The keys that one file, or one --set, gives.

    Attributes
    ----------
    where : str
        What messages call it: the file, or ``--set optimizer.lr=x``.
    keys : mapping
        Nested as in the file.
    """

    where: str
    keys: Mapping[str, Any]


def refuse_unknown_keys(layer: Layer, section: type[Section]) -> None:
    """Raise SettingsError for the first key of a layer that the section does not have, naming the nearest one."""
    _refuse_unknown(layer.keys, section, "", layer.where)


def first_fault(
    error: ValidationError, keys: Mapping[str, Any], layers: Sequence[Layer], *, takes_set: bool = True
) -> SettingsError:
    """Return the first fault that pydantic found in the merged keys, told of the layer that gave the value.

    `takes_set` says whether a key can be given as --set as well.
    """
    details = error.errors()[0]
    place, missing = [str(part) for part in details["loc"]], details["type"] == "missing"
    if missing and place[-1].isdecimal():  # one of the values of a list
        place, missing, details["type"] = place[:-1], False, "too_few"
    given = _given_path(place, keys, missing=missing)
    key = ".".join(given)
    where = next((layer.where for layer in reversed(layers) if _has(layer.keys, given)), layers[-1].where)
    if not key:
        return SettingsError(f"{where}: {_own_words(details)}")
    wrong = _what_is_wrong(details)
    if where.startswith(f"--set {key}="):
        return SettingsError(f"{where}: {wrong}")
    advice = f" Change it there, or pass --set {key}=..." if takes_set else " Change it there."
    if details["type"] == "value_error":
        advice = ""
    return SettingsError(f"{where}, {key}: {wrong}{advice}")


def _what_is_wrong(details: ErrorDetails) -> str:
    """Say what is wrong with one value."""
    if details["type"] == "value_error":
        return _own_words(details)
    form = _EXPECTED.get(details["type"], "{value} does not fit: {message}")
    context = {"value": _short(details["input"]), "message": details["msg"], **details.get("ctx", {})}
    return f"{form.format_map(context)}."


def _own_words(details: ErrorDetails) -> str:
    """Return the text of a fault that a section found itself."""
    return str(details.get("ctx", {}).get("error", details["msg"]))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def _given_path(path: Sequence[str], keys: Any, *, missing: bool) -> list[str]:
    """Return pydantic's place of a fault as keys of a recipe file: sources by name, no marks of type unions."""
    given: list[str] = []
    for number, part in enumerate(path):
        if given == ["data", "sources"] and isinstance(keys, Mapping) and part.isdecimal():
            part = [name for name, source in keys.items() if source is not None][int(part)]  # noqa: PLW2901
        if not isinstance(keys, Mapping) or part not in keys:
            return [*given, *path[number:]] if missing else given
        keys = keys[part]
        given.append(part)
    return given


def _has(keys: Any, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(keys, Mapping) or part not in keys:
            return False
        keys = keys[part]
    return True


def _refuse_unknown(keys: Mapping[str, Any], section: type[Section], prefix: str, where: str) -> None:
    for key, value in keys.items():
        if key not in section.model_fields:
            dotted = [f"{prefix}{name}" for name in section.model_fields]
            raise SettingsError(
                f"{where}: key '{prefix}{key}' is not known.{did_you_mean(f'{prefix}{key}', dotted)} "
                f"Known keys{' of ' + prefix[:-1] if prefix else ''}: {', '.join(section.model_fields)}."
            )
        inner, by_name = section_of(section.model_fields[key].annotation)
        if inner is None or not isinstance(value, Mapping):
            continue
        parts = (
            {f"{prefix}{key}.{name}.": part for name, part in value.items()} if by_name else {f"{prefix}{key}.": value}
        )
        for inner_prefix, part in parts.items():
            if isinstance(part, Mapping):
                _refuse_unknown(part, inner, inner_prefix, where)


def section_of(annotation: Any) -> tuple[type[Section] | None, bool]:
    """Return the section that a field holds, and whether it holds several by name; (None, False) for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, False
    for argument in get_args(annotation):
        inner, _ = section_of(argument)
        if inner is not None:
            return inner, get_origin(annotation) in (tuple, dict)
    return None, False
