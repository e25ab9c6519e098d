"""The stream: a pure function from (seed, position) to a draw. docs/sampling.md explains what it promises and why."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segdata.errors import SettingsError
from segdata.labels.bundled import bundled_classes
from segdata.labels.classes import ClassTable
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.shares import MAX_PERIOD, ShareSchedule, is_changed, share_text
from segdata.sampling.uniforms import CLASSES, IMAGES, MODES, SOURCES, TILES, named_key, turns_all

Numbers = NDArray[np.int64]
_log = logging.getLogger(__name__)
_NUM_LISTED = 4  # shares of one source that a line of the log names


class Draw(NamedTuple):
    """One sample to read.

    Attributes
    ----------
    position : int
        Place in the stream, from 0; with the seed it determines all the rest.
    source : int
        Place of the source in the list of sources.
    image_id : int
        Place of the image in the source's index.
    class_id : int or None
        The class that is to be in the crop, None for a whole-image draw.
    center : (int, int) or None
        (row, column) of a pixel of that class, None for a whole-image draw.
    """

    position: int
    source: int
    image_id: int
    class_id: int | None
    center: tuple[int, int] | None


@dataclass(frozen=True)
class Source:
    """One data set of the mixture.

    Attributes
    ----------
    index : ClassIndex
        Where each class occurs.
    share : float
        Part of all draws that come from it, above 0; the shares of all sources sum to 1.
    class_uniform : float
        Part of its own draws that pick a class first, then a tile, then a pixel of the class there; the other draws
        go over its images. From 0 to 1.
    class_weights : mapping of str to float
        How often a class is picked relative to the others, by name; 1 where not named, 0 for never.
    center : {"pixel", "centroid"}
        A real pixel of the class, or the center of mass of the class in the tile, which may lie on another class.
    name : str
        What messages and tables call it, another for each; by default its place, ``source 0``.
    """

    index: ClassIndex
    share: float | Fraction = 1.0
    class_uniform: float | Fraction = 0.0
    class_weights: Mapping[str, float] = field(default_factory=dict)
    center: Literal["pixel", "centroid"] = "pixel"
    name: str = ""


class UsedShare(NamedTuple):
    """A share as it was given, and as it is used and promised.

    Attributes
    ----------
    given, used : Fraction
        Of all draws for a source's ``share``, of the source's draws for ``class_uniform``, of its class-uniform draws
        for a class.
    what : str
        ``share`` or ``class_uniform``; empty for a class.
    class_name : str
        The class; empty for the others.
    """

    given: Fraction
    used: Fraction
    what: str = ""
    class_name: str = ""

    @property
    def is_changed(self) -> bool:
        """Whether they differ by more than a millionth."""
        return is_changed(self.given, self.used)

    def __str__(self) -> str:
        """Say both, and how many times the given one is used."""
        what = self.what or f"share of class '{self.class_name}'"
        times = float(self.used / self.given)
        return f"{what} {share_text(self.given)} is used as {share_text(self.used)} ({times:.7g} times)"


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
            Draw(position, source, image_id, None, None)
            if class_id < 0
            else Draw(position, source, image_id, class_id, (row, column))
            for position, source, image_id, class_id, row, column in zip(*(f.tolist() for f in fields), strict=True)
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
        If the shares do not sum to 1, a source has no images or no pixel of any class, a weight names no class, two
        sources have one name, or the indexes are of different class tables.
    """

    def __init__(self, sources: Sequence[Source], seed: int = 0) -> None:
        self.sources = tuple(sources)
        self.seed = seed
        _refuse_bad_mixture(self.sources, seed)
        shares = [source.share for source in self.sources]
        self._schedule = ShareSchedule.make(shares, seed, SOURCES)
        self._parts = [_SourceStream(source, at, seed) for at, source in enumerate(self.sources)]

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """The promised share of each source; see `segdata.sampling.shares.exact_shares`."""
        return self._schedule.shares

    @property
    def names(self) -> tuple[str, ...]:
        """What each source is called: by its name, or by its place where it has none."""
        return tuple(_name_of(source, place) for place, source in enumerate(self.sources))

    @property
    def used_shares(self) -> tuple[list[UsedShare], ...]:
        """Per source its share, its part of class-uniform draws, and the share of each class in these."""
        return tuple(
            [UsedShare(Fraction(source.share), share, "share"), *part.used_shares(source)]
            for source, share, part in zip(self.sources, self.shares, self._parts, strict=True)
        )

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
                "center": source.center,
            }
            for source, share, part in zip(self.sources, self.shares, self._parts, strict=True)
        ]
        return {"seed": self.seed, "sources": described}


class _SourceStream:
    """The draws of one source, by their number within the source."""

    def __init__(self, source: Source, place: int, seed: int) -> None:
        self.index = source.index
        self.center = source.center
        self.weights = _weights_of(source, _called(source, place))
        self.class_ids = np.flatnonzero(self.weights)
        self.modes: ShareSchedule | None = None
        self.classes: ShareSchedule | None = None
        self.class_uniform = Fraction(source.class_uniform)
        self.class_shares: list[Fraction] = []  # as given, of `class_ids`
        if self.class_uniform > 0:
            weights = [Fraction(weight) for weight in self.weights[self.class_ids].tolist()]
            self.class_shares = [weight / sum(weights) for weight in weights]
            self.classes = ShareSchedule.make(self.class_shares, seed, CLASSES, place)
        if 0 < self.class_uniform < 1:
            self.modes = ShareSchedule.make([self.class_uniform, 1 - self.class_uniform], seed, MODES, place)
            self.class_uniform = self.modes.shares[0]
        self.tile_key = named_key(seed, TILES, place)
        self.image_key = named_key(seed, IMAGES, place)

    def used_shares(self, source: Source) -> list[UsedShare]:
        """Return the part of class-uniform draws and, where there are any, the share of each class in them."""
        used = [UsedShare(Fraction(source.class_uniform), self.class_uniform, "class_uniform")]
        if self.classes is not None:
            names = [source.index.head.class_names[class_id] for class_id in self.class_ids]
            shares = zip(self.class_shares, self.classes.shares, names, strict=True)
            used += [UsedShare(given, taken, class_name=name) for given, taken, name in shares]
        return used

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
        centers on another of the points stored for the tile.
        """
        if self.classes is None or not numbers.size:
            return np.empty((5, numbers.size), np.int64)
        chosen, numbers = self.classes.locate(numbers)
        class_ids = self.class_ids[chosen]
        tiles, turns = turns_all(numbers, class_ids, self.index.tiles_per_class, self.tile_key)
        entries = self.index.arrays["class_starts"][class_ids] + tiles
        if self.center == "centroid":
            rows, columns = self.index.arrays["entry_centroids"][entries].T
        else:
            points = self.index.arrays["entry_points"]
            rows, columns = points[entries, (tiles + turns) % points.shape[1]].T
        return np.stack([self.index.arrays["entry_images"][entries], class_ids, rows, columns, entries])


def log_changed_shares(stream: Stream) -> None:
    """Warn in one line per source of the shares that are used as others than were given."""
    for name, shares in zip(stream.names, stream.used_shares, strict=True):
        changed = [share for share in shares if share.is_changed]
        if changed:
            more = f"; and {len(changed) - _NUM_LISTED} more" if len(changed) > _NUM_LISTED else ""
            listed = "; ".join(map(str, changed[:_NUM_LISTED])) + more
            _log.warning(
                "source '%s': %s. Shares that go together have a common denominator up to %d. Give such fractions, or "
                "accept these.",
                name,
                listed,
                MAX_PERIOD,
            )


def _weights_of(source: Source, where: str) -> NDArray[np.float64]:
    """Return the weight of every class, 0 where the source has none of it."""
    names = source.index.head.class_names
    weights = np.ones(len(names))
    for name, weight in source.class_weights.items():
        if name not in names:
            raise SettingsError(f"{where}: class_weights names '{name}', which is not a class of its index.")
        if not 0 <= weight < float("inf"):
            raise SettingsError(f"{where}: the weight of '{name}' is {weight}. Expected a number from 0.")
        weights[names.index(name)] = weight
    return np.where(source.index.tiles_per_class > 0, weights, 0.0)


def _refuse_bad_mixture(sources: Sequence[Source], seed: int) -> None:
    if not sources:
        raise SettingsError("sources: none given. Expected at least one.")
    if seed < 0:
        raise SettingsError(f"seed {seed}: expected an integer from 0.")
    _refuse_same_names(sources)
    for place, source in enumerate(sources):
        _refuse_bad_source(source, _called(source, place))
    total = float(sum(Fraction(source.share) for source in sources))
    if abs(total - 1) > 1e-6:
        listed = " + ".join(f"{float(source.share):g}" for source in sources)
        raise SettingsError(f"shares: {listed} = {total:g}. Expected shares that sum to 1.")
    for place, source in enumerate(sources):
        if source.index.head.class_table != sources[0].index.head.class_table:
            raise SettingsError(
                f"{_called(source, place)}: {_table_text(source.index)}; {_called(sources[0], 0)}: "
                f"{_table_text(sources[0].index)}. Expected are the same classes. Index both with the same --classes, "
                "after `segdata convert` where the labels hold others."
            )


def _refuse_same_names(sources: Sequence[Source]) -> None:
    places: dict[str, int] = {}
    for place, source in enumerate(sources):
        name = _name_of(source, place)
        first = places.setdefault(name, place)
        if first != place:
            raise SettingsError(f"sources {first} and {place}: both are called '{name}'. Give each a name of its own.")


def _refuse_bad_source(source: Source, where: str) -> None:
    if not 0 < source.share <= 1:
        raise SettingsError(f"{where}: share {source.share} is not above 0 and up to 1. Leave out unused sources.")
    if not 0 <= source.class_uniform <= 1:
        raise SettingsError(f"{where}: class_uniform {source.class_uniform} is not a fraction from 0 to 1.")
    if source.center not in ("pixel", "centroid"):
        raise SettingsError(f"{where}: center {source.center!r} is unknown. Use pixel or centroid.")
    if source.index.num_images == 0:
        raise SettingsError(f"{where}: its index holds no image. Leave it out, or index a folder that has labels.")
    if source.class_uniform > 0 and not _weights_of(source, where).any():
        raise SettingsError(
            f"{where}: no class to draw uniformly: none with a pixel and a weight. Set class_uniform 0."
        )


def _table_text(index: ClassIndex) -> str:
    """Say which file an index is and which class table it is of.

    An index that a training run made for itself holds no name of its table, so that is looked up by its digest.
    """
    digest = index.head.class_table
    bundled = (name for name in bundled_classes() if ClassTable.load(name).digest == digest)
    name = index.head.settings.get("classes") or next(bundled, "of your own")
    where = index.path or "(in memory)"
    return f"its index {where} is of the classes '{name}' ({len(index.head.class_names)}, digest {digest[:8]})"


def _name_of(source: Source, place: int) -> str:
    return source.name or f"source {place}"


def _called(source: Source, place: int) -> str:
    return f"source '{source.name}'" if source.name else f"source {place}"
