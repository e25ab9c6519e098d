"""A mixture written down: in a YAML file, or on the command line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from segdata.config.mixture_presets import preset_sources
from segdata.errors import MappingError, SettingsError
from segdata.labels.names import did_you_mean
from segdata.labels.yaml_file import read_yaml
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.stream import Source

_KEYS = ("sources", "preset", "epoch_size", "seed")
_SOURCE_KEYS = ("index", "root", "share", "class_uniform", "class_weights", "center")


@dataclass(frozen=True)
class Mixture:
    """What a recipe says.

    Attributes
    ----------
    sources : list of Source
    epoch_size : int or None
        None where the recipe does not say.
    seed : int
    """

    sources: list[Source]
    epoch_size: int | None = None
    seed: int = 0


def is_mixture(path: Path) -> bool:
    """Say whether a file is a mixture as `read_mixture` reads it, rather than a recipe of a training run."""
    try:
        recipe = read_yaml(path)
    except MappingError as error:
        raise SettingsError(str(error)) from None
    return "sources" in recipe or "preset" in recipe


def read_mixture(path: Path) -> Mixture:
    """Read a recipe; paths in it start from its folder.

    ::

        sources:
          fine: {index: fine.npz, share: 0.4}
          vistas: {index: vistas.npz, share: 0.4, class_uniform: 1, class_weights: {rider: 2}}
          coarse: {index: coarse.npz, share: 0.2, class_uniform: 1, center: pixel}
        epoch_size: 2975
        seed: 0

    With ``preset: seethroughnet`` a source is just its index file.

    Raises
    ------
    SettingsError
        Naming the file and the key.
    """
    try:
        recipe = read_yaml(path)
    except MappingError as error:
        raise SettingsError(str(error)) from None
    _refuse_unknown(recipe, _KEYS, str(path))
    sources = sources_of(recipe.get("sources"), path.parent, where=str(path), preset=recipe.get("preset"))
    epoch_size = recipe.get("epoch_size")
    return Mixture(
        sources,
        None if epoch_size is None else _whole(epoch_size, 1, f"{path}, epoch_size"),
        _whole(recipe.get("seed", 0), 0, f"{path}, seed"),
    )


def sources_of(described: Any, folder: Path, *, where: str, preset: str | None = None) -> list[Source]:
    """Make the sources that a recipe's ``sources:`` describes.

    Parameters
    ----------
    described : mapping
        By name; see `read_mixture`.
    folder : Path
        Where relative paths start.
    where : str
        The recipe's name for messages.
    preset : str, optional
        Name of a preset; the sources are then index files alone.
    """
    if not isinstance(described, Mapping) or not described:
        raise SettingsError(f"{where}, sources: expected a mapping from names to sources. See docs/pipelines.md.")
    if preset is not None:
        return preset_sources(preset, {name: _load(value, folder, where) for name, value in described.items()})
    return [_source(str(name), value, folder, f"{where}, source '{name}'") for name, value in described.items()]


def parse_source(text: str) -> Source:
    """Make a source of ``NAME=INDEX:SHARE`` or ``NAME=INDEX:SHARE:CLASS_UNIFORM``.

    Raises
    ------
    SettingsError
        If the text is not of this form.
    """
    name, equals, rest = text.partition("=")
    parts = rest.rsplit(":", 2)
    if len(parts) == 3 and not _is_number(parts[1]):
        parts = rest.rsplit(":", 1)
    if not (name and equals and len(parts) > 1 and parts[0] and all(map(_is_number, parts[1:]))):
        raise SettingsError(f"--source {text}: expected NAME=INDEX:SHARE or NAME=INDEX:SHARE:CLASS_UNIFORM.")
    share, class_uniform = Fraction(parts[1]), Fraction(parts[2]) if len(parts) == 3 else Fraction(0)
    return Source(ClassIndex.load(parts[0]), share, class_uniform, name=name)


def _source(name: str, value: Any, folder: Path, where: str) -> Source:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{where}: expected keys such as index and share, not {value!r}.")
    _refuse_unknown(value, _SOURCE_KEYS, where)
    for key in ("index", "share"):
        if key not in value:
            raise SettingsError(f"{where}: has no '{key}'. Give index and share.")
    weights = value.get("class_weights", {})
    if not isinstance(weights, Mapping):
        raise SettingsError(f"{where}, class_weights: expected a mapping from class names to numbers.")
    return Source(
        _load(value, folder, where),
        _number(value["share"], f"{where}, share"),
        _number(value.get("class_uniform", 0), f"{where}, class_uniform"),
        {str(key): float(_number(weight, f"{where}, class_weights, {key}")) for key, weight in weights.items()},
        value.get("center", "pixel"),
        name,
    )


def _load(value: Any, folder: Path, where: str) -> ClassIndex:
    path, root = (value.get("index"), value.get("root")) if isinstance(value, Mapping) else (value, None)
    if not isinstance(path, str) or not (root is None or isinstance(root, str)):
        raise SettingsError(f"{where}: index {path!r} is no path. Give the file that `segdata index` wrote.")
    return ClassIndex.load(folder / path, root=None if root is None else folder / root)


def _number(value: Any, where: str) -> Fraction:
    try:
        if isinstance(value, bool):
            raise ValueError
        return Fraction(value if isinstance(value, str) else str(value))
    except (ValueError, ZeroDivisionError):
        raise SettingsError(f"{where}: {value!r} is no number. Write 0.4 or 2/5.") from None


def _whole(value: Any, least: int, where: str) -> int:
    if type(value) is not int or value < least:
        raise SettingsError(f"{where}: {value!r} is no whole number from {least}.")
    return value


def _is_number(text: str) -> bool:
    parse: Callable[[str], Fraction] = Fraction
    try:
        parse(text)
    except (ValueError, ZeroDivisionError):
        return False
    return True


def _refuse_unknown(found: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    for key in found:
        if key not in known:
            raise SettingsError(
                f"{where}: key {key!r} is not known.{did_you_mean(str(key), known)} Known keys: {', '.join(known)}."
            )
