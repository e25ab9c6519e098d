"""Every key of a recipe with its default and meaning, as its sections declare them."""

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from segdata.config.messages import section_of
from segdata.config.recipe import Recipe
from segdata.config.section import Section


class RecipeKey(NamedTuple):
    """One key.

    Attributes
    ----------
    key : str
        Dotted; ``NAME`` stands for the name of a source.
    default : str
        As in YAML, empty where a value has to be given.
    choices : tuple of str
        What it may be, empty where that is not a short list.
    about : str
        What it means.
    """

    key: str
    default: str
    choices: tuple[str, ...]
    about: str


def recipe_keys() -> list[RecipeKey]:
    """Return every key of a recipe, section by section; those of the validation source are those of a source.

    Examples
    --------
    >>> keys = {each.key: each for each in recipe_keys()}
    >>> keys["schedule.power"].default, keys["data.sources.NAME.center"].choices
    ('0.9', ('pixel', 'centroid'))
    """
    return list(_keys_of(Recipe, ""))


def _keys_of(section: type[Section], prefix: str) -> Iterator[RecipeKey]:
    for name, info in section.model_fields.items():
        inner, by_name = section_of(info.annotation)
        if inner is None:
            yield RecipeKey(f"{prefix}{name}", _default(info), _choices(info.annotation), _about(info))
        elif by_name:
            yield from (key for key in _keys_of(inner, f"{prefix}{name}.NAME.") if not key.key.endswith(".name"))
        elif name == "validation":
            yield RecipeKey(f"{prefix}{name}", _default(info), (), _about(info))
        else:
            yield from _keys_of(inner, f"{prefix}{name}.")


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return ""
    return _as_yaml(info.get_default(call_default_factory=True))


def _as_yaml(value: Any) -> str:
    """Write a plain value as a person would in YAML."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_yaml, value))}]"
    return json.dumps(value) if value in (None, "") or isinstance(value, bool) else str(value)


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    return next((found for argument in get_args(annotation) if (found := _choices(argument))), ())


def _about(info: FieldInfo) -> str:
    assert info.description is not None, "every setting says what it means"
    return " ".join(info.description.split())
