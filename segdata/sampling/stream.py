"""The stream: a pure function from (seed, position) to a draw. docs/sampling.md explains what it promises and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segdata.errors import SettingsError
from segdata.sampling import keys
from segdata.sampling.index import ClassIndex
from segdata.sampling.kernels import turns_all
from segdata.sampling.shares import ShareSchedule

Numbers = NDArray[np.int64]


class Draw(NamedTuple):
    """One sample to read.

    Attributes
    ----------
    position : int
        Place in the stream, from 0; with the seed it determines all the rest.
    source : int
        Place of the source in the list of sources.
    image : int
        Place of the image in the source's index.
    class_id : int or None
        The class that is to be in the crop, None for a whole-image draw.
    centre : (int, int) or None
        (row, column) of a pixel of that class, None for a whole-image draw.
    """

    position: int
    source: int
    image: int
    class_id: int | None
    centre: tuple[int, int] | None


@dataclass(frozen=True)
class Source:
    """One data set of the mixture.

    Attributes
    ----------
    index : ClassIndex
        Which classes stand where in it.
    share : float
        Part of all draws that come from it, above 0; the shares of all sources sum to 1.
    class_uniform : float
        Part of its own draws that pick a class first, then a tile, then a pixel of the class there; the other draws
        go over its images. From 0 to 1.
    class_weights : mapping of str to float
        How often a class is picked relative to the others, by name; 1 where not named, 0 for never.
    centre : {"pixel", "centroid"}
        A real pixel of the class, or the centre of mass of the class in the tile, which may lie on another class.
    name : str
        What messages and tables call it.
    """

    index: ClassIndex
    share: float | Fraction = 1.0
    class_uniform: float | Fraction = 0.0
    class_weights: Mapping[str, float] = field(default_factory=dict)
    centre: Literal["pixel", "centroid"] = "pixel"
    name: str = ""


@dataclass(frozen=True)
class DrawArrays:
    """Many draws, one array per field of `Draw`, each of shape (N,); -1 stands for None.

    Attributes
    ----------
    positions, sources, images, classes, rows, columns, entries : ndarray of int64
        As in `Draw`; `entries` is the place in the index's entry arrays.
    """

    positions: Numbers
    sources: Numbers
    images: Numbers
    classes: Numbers
    rows: Numbers
    columns: Numbers
    entries: Numbers

    def to_draws(self) -> list[Draw]:
        """Return the draws one by one."""
        fields = (self.positions, self.sources, self.images, self.classes, self.rows, self.columns)
        return [
            Draw(position, source, image, None, None)
            if class_id < 0
            else Draw(position, source, image, class_id, (row, column))
            for position, source, image, class_id, row, column in zip(*(f.tolist() for f in fields), strict=True)
        ]


class Stream:
    """All draws of a mixture of sources, each computed from its position alone.

    Parameters
    ----------
    sources : sequence of Source
        At least one; of one class table.
    seed : int
        Not negative.

    Raises
    ------
    SettingsError
        If the shares do not sum to 1, a source has no images or no pixel of any class, a weight names no class, or
        the indexes are of different class tables.
    """

    def __init__(self, sources: Sequence[Source], seed: int = 0) -> None:
        self.sources = tuple(sources)
        self.seed = seed
        _refuse_bad_mixture(self.sources, seed)
        shares = [source.share for source in self.sources]
        self._schedule = ShareSchedule.make(shares, seed, keys.SOURCES)
        self._parts = [_SourceStream(source, at, seed) for at, source in enumerate(self.sources)]

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """The promised share of each source; see `segdata.sampling.shares.exact_shares`."""
        return self._schedule.shares

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by training id."""
        return self.sources[0].index.head.class_names

    @property
    def absent_classes(self) -> tuple[int, ...]:
        """Classes that no source with class-uniform draws has a pixel of; their share goes to the other classes."""
        uniform = [part.index.tiles_per_class for part in self._parts if part.class_uniform > 0]
        return tuple(np.flatnonzero(np.sum(uniform, axis=0) == 0).tolist()) if uniform else ()

    def at(self, positions: Numbers | Sequence[int]) -> DrawArrays:
        """Return the draws at any positions, in any order.

        Parameters
        ----------
        positions : array_like of int64, shape (N,)
            From 0 up to 2**62.
        """
        positions = np.ascontiguousarray(positions, np.int64)
        sources, numbers = self._schedule.locate(positions)
        images, classes, rows, columns, entries = np.full((5, positions.size), -1, np.int64)
        for source, part in enumerate(self._parts):
            mine = np.flatnonzero(sources == source)
            if mine.size:
                images[mine], classes[mine], rows[mine], columns[mine], entries[mine] = part.draws(numbers[mine])
        return DrawArrays(positions, sources, images, classes, rows, columns, entries)

    def draws(self, start: int, stop: int) -> DrawArrays:
        """Return the draws at ``start .. stop - 1``."""
        return self.at(np.arange(start, stop))

    def identity(self) -> dict[str, Any]:
        """Return what determines the stream as text and integers: the seed, and each source's index and settings."""
        described = [
            {
                "index": source.index.digest,
                "share": str(share),
                "class_uniform": str(part.class_uniform),
                "class_weights": dict(sorted((name, float(weight)) for name, weight in source.class_weights.items())),
                "centre": source.centre,
            }
            for source, share, part in zip(self.sources, self.shares, self._parts, strict=True)
        ]
        return {"seed": self.seed, "sources": described}


class _SourceStream:
    """The draws of one source, by their number within the source."""

    def __init__(self, source: Source, place: int, seed: int) -> None:
        self.index = source.index
        self.centre = source.centre
        self.weights = _weights_of(source)
        self.class_ids = np.flatnonzero(self.weights)
        self.modes: ShareSchedule | None = None
        self.classes: ShareSchedule | None = None
        self.class_uniform = Fraction(source.class_uniform)
        if self.class_uniform > 0:
            weights = self.weights[self.class_ids]
            shares = [Fraction(weight) / sum(Fraction(w) for w in weights.tolist()) for weight in weights.tolist()]
            self.classes = ShareSchedule.make(shares, seed, keys.CLASSES, place)
        if 0 < self.class_uniform < 1:
            self.modes = ShareSchedule.make([self.class_uniform, 1 - self.class_uniform], seed, keys.MODES, place)
            self.class_uniform = self.modes.shares[0]
        self.tile_key = keys.named_key(seed, keys.TILES, place)
        self.image_key = keys.named_key(seed, keys.IMAGES, place)

    def draws(self, numbers: Numbers) -> Numbers:
        """Return (image, class, row, column, entry) of each draw number, shape (5, N)."""
        found = np.full((5, numbers.size), -1, np.int64)
        if self.modes is not None:
            mode, numbers = self.modes.locate(numbers)
            uniform = mode == 0
        else:
            uniform = np.full(numbers.size, self.class_uniform == 1)
        found[:, uniform] = self._class_draws(numbers[uniform])
        found[0, ~uniform] = self._image_draws(numbers[~uniform])
        return found

    def _image_draws(self, numbers: Numbers) -> Numbers:
        """Return the image of each whole-image draw: none twice before all were drawn."""
        sizes = np.array([self.index.num_images])
        images, _ = turns_all(numbers, np.zeros(numbers.size, np.int64), sizes, self.image_key)
        return images

    def _class_draws(self, numbers: Numbers) -> Numbers:
        """Return (image, class, row, column, entry) of each class-uniform draw.

        The class goes by its share; its tiles come without repeat until all were drawn; each turn over the tiles
        centres on another of the points stored for the tile.
        """
        if self.classes is None or not numbers.size:
            return np.empty((5, numbers.size), np.int64)
        chosen, numbers = self.classes.locate(numbers)
        class_ids = self.class_ids[chosen]
        tiles, turns = turns_all(numbers, class_ids, self.index.tiles_per_class, self.tile_key)
        entries = self.index.arrays["class_starts"][class_ids] + tiles
        if self.centre == "centroid":
            rows, columns = self.index.arrays["entry_centroids"][entries].T
        else:
            points = self.index.arrays["entry_points"]
            rows, columns = points[entries, (tiles + turns) % points.shape[1]].T
        return np.stack([self.index.arrays["entry_images"][entries], class_ids, rows, columns, entries])


def _weights_of(source: Source) -> NDArray[np.float64]:
    """Return the weight of every class, 0 where the source has none of it."""
    names = source.index.head.class_names
    weights = np.ones(len(names))
    for name, weight in source.class_weights.items():
        if name not in names:
            raise SettingsError(f"{_called(source)}: class_weights names '{name}', which is no class of its index.")
        if not 0 <= weight < float("inf"):
            raise SettingsError(f"{_called(source)}: the weight of '{name}' is {weight}. Expected a number from 0.")
        weights[names.index(name)] = weight
    return np.where(source.index.tiles_per_class > 0, weights, 0.0)


def _refuse_bad_mixture(sources: Sequence[Source], seed: int) -> None:
    if not sources:
        raise SettingsError("sources: none given. Expected at least one.")
    if seed < 0:
        raise SettingsError(f"seed {seed}: expected an integer from 0.")
    for source in sources:
        _refuse_bad_source(source)
    total = float(sum(Fraction(source.share) for source in sources))
    if abs(total - 1) > 1e-6:
        listed = " + ".join(f"{float(source.share):g}" for source in sources)
        raise SettingsError(f"shares: {listed} = {total:g}. Expected shares that sum to 1.")
    for source in sources[1:]:
        if source.index.head.class_table != sources[0].index.head.class_table:
            raise SettingsError(
                f"{_called(source)}: its index is of another class table than that of {_called(sources[0])}. "
                "Index both with the same --classes."
            )


def _refuse_bad_source(source: Source) -> None:
    where = _called(source)
    if not 0 < source.share <= 1:
        raise SettingsError(f"{where}: share {source.share} is not above 0 and up to 1. Leave out unused sources.")
    if not 0 <= source.class_uniform <= 1:
        raise SettingsError(f"{where}: class_uniform {source.class_uniform} is not a fraction from 0 to 1.")
    if source.centre not in ("pixel", "centroid"):
        raise SettingsError(f"{where}: centre {source.centre!r} is unknown. Use pixel or centroid.")
    if source.index.num_images == 0:
        raise SettingsError(f"{where}: its index holds no image. Leave it out, or index a folder that has labels.")
    if source.class_uniform > 0 and not _weights_of(source).any():
        raise SettingsError(
            f"{where}: no class to draw uniformly: none with a pixel and a weight. Set class_uniform 0."
        )


def _called(source: Source) -> str:
    return f"source '{source.name}'" if source.name else "source"
