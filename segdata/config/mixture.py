"""A mixture of indexes written down: in a YAML file, by the name of a paper, or on the command line."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from segdata.config.messages import Layer, first_fault, refuse_unknown_keys
from segdata.config.section import Section
from segdata.errors import MappingError, SettingsError
from segdata.labels.yaml_file import read_yaml
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.stream import Source


def _fraction(value: Any) -> Fraction:
    try:
        return Fraction(value if isinstance(value, str) else str(value))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is not a number. Write 0.4 or 2/5.") from None


Share = Annotated[Fraction, BeforeValidator(_fraction)]


class MixtureSource(Section):
    """One source of a mixture."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Path
    """What `segdata index` wrote, relative to the mixture's file."""
    root: Path | None = None
    """Where its labels lie now, relative to the mixture's file; as when it was indexed if not given."""
    share: Share | None = None
    """Part of all draws; the preset's if not given."""
    class_uniform: Share | None = None
    """Part of its draws that pick a class first; the preset's, or 0, if not given."""
    class_weights: dict[str, float] = Field(default_factory=dict)
    """How often a class is picked relative to the others, by name."""
    center: Literal["pixel", "centroid"] | None = None
    """What a crop is placed to show: a pixel of the class, or its center of mass in a tile."""

    def told(self) -> dict[str, Any]:
        """Return what the file says of it beside where it lies."""
        names = self.model_fields_set - {"index", "root"}
        return {name: value for name in sorted(names) if (value := getattr(self, name)) is not None}

    @model_validator(mode="before")
    @classmethod
    def _index_alone(cls, value: Any) -> Any:
        """Take the name of an index file for the whole source."""
        return {"index": value} if isinstance(value, str) else value


class MixtureRecipe(Section):
    """The file: see docs/pipelines.md."""

    preset: Literal["hmsa", "seethroughnet"] | None = None
    """Shares of a paper, for sources of the names it has; see `PRESETS`."""
    sources: dict[str, MixtureSource] = Field(min_length=1)
    """The sources by name."""
    epoch_size: int | None = Field(default=None, ge=1)
    """Draws in an epoch."""
    seed: int = Field(default=0, ge=0)
    """Names the stream of draws."""


@dataclass(frozen=True)
class Mixture:
    """What a mixture says, its indexes loaded.

    Attributes
    ----------
    sources : list of Source
    epoch_size : int or None
        None where the file does not say.
    seed : int
    """

    sources: list[Source]
    epoch_size: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class PresetSource:
    """What a preset says of one of its sources: the fields of `Source` but the index."""

    share: float
    class_uniform: float
    center: Literal["pixel", "centroid"] = "pixel"


PRESETS: dict[str, dict[str, PresetSource]] = {
    # Tao, Sapra, Catanzaro, Hierarchical multi-scale attention, 2020, and its public code: half of an epoch by class,
    # on the center of mass in tiles of 1024; here exactly half in every prefix, and no class can be left out unsaid.
    "hmsa": {"images": PresetSource(1.0, 0.5, "centroid")},
    # Han, Yoo, Oh, SeeThroughNet, CVPR 2022, supplementary: 1190, 1190 and 595 of 2975 draws; class-uniform where the
    # paper says so.
    "seethroughnet": {
        "fine": PresetSource(0.4, 0.0),
        "vistas": PresetSource(0.4, 1.0),
        "coarse": PresetSource(0.2, 1.0),
    },
}


def is_mixture(path: Path) -> bool:
    """Say whether a file is a mixture as `read_mixture` reads it, rather than a recipe of a training run."""
    keys = _read(path)
    return "sources" in keys or "preset" in keys


def read_mixture(path: Path) -> Mixture:
    """Read a mixture; paths in it start from its folder.

    ::

        sources:
          fine: {index: fine.npz, share: 0.4}
          vistas: {index: vistas.npz, share: 0.4, class_uniform: 1, class_weights: {rider: 2}}
          coarse: {index: coarse.npz, share: 0.2, class_uniform: 1, center: pixel}
        epoch_size: 2975
        seed: 0

    With ``preset: seethroughnet`` a source can be just its index file; what else it says goes before the preset.

    Raises
    ------
    SettingsError
        Naming the file and the key.
    """
    keys = _read(path)
    layer = Layer(str(path), keys)
    refuse_unknown_keys(layer, MixtureRecipe)
    try:
        recipe = MixtureRecipe.model_validate(keys)
    except ValidationError as error:
        raise first_fault(error, keys, [layer], takes_set=False) from None
    given = {
        name: ClassIndex.load(path.parent / source.index, root=source.root and path.parent / source.root)
        for name, source in recipe.sources.items()
    }
    if recipe.preset is not None:
        preset = preset_sources(recipe.preset, given)
        sources = [replace(source, **recipe.sources[source.name].told()) for source in preset]
    else:
        sources = [_source(name, source, given[name], path) for name, source in recipe.sources.items()]
    return Mixture(sources, recipe.epoch_size, recipe.seed)


def preset_sources(name: str, indexes: dict[str, ClassIndex]) -> list[Source]:
    """Return the sources of a preset.

    Parameters
    ----------
    name : str
        ``hmsa`` takes the index ``images``; ``seethroughnet`` takes ``fine`` (with the validation images, if wanted),
        ``vistas`` and ``coarse``.
    indexes : dict of str to ClassIndex
        By source.

    Raises
    ------
    SettingsError
        If there is no such preset, or the indexes are not those it takes.
    """
    if name not in PRESETS:
        raise SettingsError(f"preset '{name}': not known. Use one of: {', '.join(PRESETS)}.")
    wanted = PRESETS[name]
    if set(indexes) != set(wanted):
        raise SettingsError(
            f"preset '{name}': takes the sources {', '.join(wanted)}; given are {', '.join(indexes) or 'none'}."
        )
    return [
        Source(indexes[source], setting.share, setting.class_uniform, center=setting.center, name=source)
        for source, setting in wanted.items()
    ]


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


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_yaml(path)
    except MappingError as error:
        raise SettingsError(str(error)) from None


def _source(name: str, source: MixtureSource, index: ClassIndex, path: Path) -> Source:
    if source.share is None:
        raise SettingsError(f"{path}, sources.{name}: has no share. Give it, or a preset.")
    return Source(
        index,
        source.share,
        source.class_uniform or Fraction(0),
        dict(source.class_weights),
        source.center or "pixel",
        name,
    )


def _is_number(text: str) -> bool:
    try:
        _fraction(text)
    except ValueError:
        return False
    return True
