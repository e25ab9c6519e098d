"""Convert one label image by a mapping: PNG bytes in, PNG bytes out, with what made them written inside.

Inflate; one pass over the rows that looks up, counts and filters (`segdata.codecs.png_filters`); deflate. Nothing else
touches a pixel.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.batch.artifact import KEYWORD, Provenance
from segdata.codecs.png import Compression, decode_bands, decode_pixels, map_bands
from segdata.codecs.png_chunks import MAX_PIXELS, PngParts, join_png, split_png
from segdata.errors import LabelError
from segdata.files import digest_of_bytes
from segdata.labels.mapping import Encoding, LabelMapping
from segdata.labels.reading import told_settings
from segdata.labels.remap import Unmapped, unmapped_error
from segdata.layouts.vistas_version import (
    VERSIONS,
    Version,
    class_table_of,
    refuse_other_version,
    version_of_highest_id,
    version_of_palette,
)

TOOL = "convert"
"""What outputs say made them, by either command."""


@dataclass(frozen=True, kw_only=True)
class ConvertSettings:
    """What decides the bytes of a converted label.

    Attributes
    ----------
    mapping : LabelMapping
        Which source id becomes which target class.
    encoding : {"trainIds", "labelIds"}
        Which of the target's numbers are written.
    unmapped : {"error", "ignore"}
        What to do with ids that the mapping does not name.
    compression : {"fast", "small"}
        Speed or size of the PNG; the pixels are the same.
    max_pixels : int
        Largest label that is read; larger ones are an error.
    """

    mapping: LabelMapping
    encoding: Encoding = "trainIds"
    unmapped: Unmapped = "error"
    compression: Compression = "fast"
    max_pixels: int = MAX_PIXELS

    def recorded(self) -> dict[str, str]:
        """Return what an output and the report say of the settings: all that decides the output's bytes."""
        return {
            "mapping": self.mapping.name,
            "mapping_digest": self.mapping.digest,
            "encoding": self.encoding,
            "unmapped": self.unmapped,
            "compression": self.compression,
        }

    @cached_property
    def named(self) -> NDArray[np.bool_]:
        """Whether the mapping names each id; shape (256,)."""
        return self.mapping.lookup(self.encoding) >= 0

    @cached_property
    def lookup(self) -> NDArray[np.uint8]:
        """The output value of each id, that of ignored pixels where the mapping does not name it; shape (256,)."""
        ignored = self.mapping.ignored_value(self.encoding)
        return np.where(self.named, self.mapping.lookup(self.encoding), ignored).astype(np.uint8)

    @cached_property
    def vistas_version(self) -> Version | None:
        """The version of Vistas whose own class table the mapping reads, None for any other table."""
        digests = {class_table_of(version).digest: version for version in VERSIONS}
        return digests.get(self.mapping.source.digest)


@dataclass(frozen=True)
class ConvertedLabel:
    """The PNG of a converted label, and what it says inside about its source.

    Attributes
    ----------
    data : bytes
        8-bit gray PNG.
    facts : dict
        ``digest`` of the source's bytes, ``height``, ``width``, and ``pixels``: how many each source id has, by id.
    """

    data: bytes
    facts: dict[str, Any]


def convert_label(data: bytes, where: str, settings: ConvertSettings) -> ConvertedLabel:
    """Convert the bytes of one label image.

    Parameters
    ----------
    data : bytes
        A PNG in mode P or L.
    where : str
        The file's name for messages.

    Returns
    -------
    ConvertedLabel
        The same input and settings give the same bytes.

    Raises
    ------
    LabelError
        If the bytes are not a valid label, hold an id that the mapping does not name, or belong to another version of
        Vistas than the mapping.
    """
    parts = split_png(data, where, max_pixels=settings.max_pixels)
    _refuse_converted(parts, where)
    _refuse_other_version(parts.palette, where, settings)
    height, width = parts.header.height, parts.header.width
    idat, counts = map_bands(decode_bands(parts, where), height, width, settings.lookup, settings.compression)
    _refuse_unnamed_ids(parts, counts, where, settings)
    facts = {
        "digest": digest_of_bytes(data),
        "height": height,
        "width": width,
        "pixels": {str(value): int(counts[value]) for value in np.flatnonzero(counts)},
    }
    provenance = Provenance(tool=TOOL, settings=settings.recorded(), facts=facts)
    return ConvertedLabel(join_png(width, height, idat, {KEYWORD: provenance.encode()}), facts)


def _refuse_converted(parts: PngParts, where: str) -> None:
    """Raise for a label that says of itself that it was converted or predicted: its ids are not the data set's own."""
    told = told_settings(parts.text)
    if "mapping" in told or "model_digest" in told:
        made_by = f"converted by mapping '{told['mapping']}'" if "mapping" in told else "predicted by a model"
        raise LabelError(
            f"{where}: was {made_by} already and holds {told.get('encoding')}. Give the folder of the original labels."
        )


def _refuse_other_version(palette: bytes | None, where: str, settings: ConvertSettings) -> None:
    """Raise for a label whose palette shows it to be of the other version of Vistas."""
    version = settings.vistas_version
    if version is not None and _version_of_palette(palette) not in (None, version):
        refuse_other_version(version, where=where, palette=palette, highest_id=0)


def _refuse_unnamed_ids(parts: PngParts, counts: NDArray[np.int64], where: str, settings: ConvertSettings) -> None:
    """Raise for ids that the mapping does not name, unless they are to be ignored."""
    unnamed = np.flatnonzero(~settings.named & (counts > 0))
    if settings.unmapped == "ignore" or not unnamed.size:
        return
    other = version_of_highest_id(int(unnamed[-1]))
    is_other = settings.vistas_version is not None and other not in (None, settings.vistas_version)
    hint = f"Is this a {other} label? Pass --labels {other}, or" if is_other else "Pass"
    raise unmapped_error(decode_pixels(parts, where), settings.mapping, where, f"{hint} --unmapped ignore.")


@lru_cache(maxsize=64)
def _version_of_palette(palette: bytes | None) -> Version | None:
    return version_of_palette(palette)
