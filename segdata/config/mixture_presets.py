"""Mixtures by name: those of two papers, in this sampler's words."""

from dataclasses import dataclass
from typing import Literal

from segdata.errors import SettingsError
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.stream import Source


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
