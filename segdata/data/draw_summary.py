"""What an index holds and what an epoch draws, class by class."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from segdata.data.crop_box import count_crop
from segdata.errors import LabelError, SegdataError
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.shares import share_text
from segdata.sampling.stream import DrawArrays, Numbers, Stream, UsedShare

if TYPE_CHECKING:
    from segdata.data.crops import CropReader

NUM_CROPS = 500
"""Draws of an epoch whose crops are measured at least; more where labels are small."""

_PIXELS = NUM_CROPS * (1024 * 2048 + 512 * 1024)  # of labels and crops: a few seconds, whatever their size


def summarize_index(index: ClassIndex) -> dict[str, Any]:
    """Return images, tiles and pixels of each class, and what is ignored; JSON-able."""
    classes = []
    for class_id, name in enumerate(index.head.class_names):
        entries = index.entries_of(class_id)
        classes.append(
            {
                "class": name,
                "images": int(np.unique(index.arrays["entry_images"][entries]).size),
                "tiles": entries.stop - entries.start,
                "pixels": int(index.arrays["entry_pixels"][entries].sum(dtype=np.int64)),
            }
        )
    return {
        "images": index.num_images,
        "tile": index.head.tile,
        "entries": index.num_entries,
        "ignored": int(index.arrays["image_ignored"].sum()),
        "classes": classes,
        "absent": [row["class"] for row in classes if not row["tiles"]],
        "digest": index.digest,
    }


@dataclass(frozen=True)
class Measured:
    """How the shares of the classes were found.

    Attributes
    ----------
    by : {"crops", "tiles"}
    num_crops : int
        Draws whose crops were measured, as many for "before" as for "after"; 0 if none was.
    size : (int, int) or None
        Height and width of a crop.
    tiles : tuple of int
        Sides of the tiles of the indexes.
    why : str
        Why no crop was measured, in one line; empty where none was to be.
    """

    by: Literal["crops", "tiles"]
    num_crops: int = 0
    size: tuple[int, int] | None = None
    tiles: tuple[int, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        if self.size is not None and self.by == "crops":
            return (
                f"pixels in {self.num_crops} crops of {self.size[0]}x{self.size[1]}: before, drawn image by image; "
                "after, as the epoch draws"
            )
        sides = " and ".join(map(str, self.tiles))
        return f"pixels by tiles of {sides}: before, whole images; after, the tiles drawn. Smaller crops change more"


@dataclass(frozen=True)
class EpochSummary:
    """What a stretch of the stream holds.

    Attributes
    ----------
    names : tuple of str
        The classes.
    draws_by_source : ndarray of int64, shape (S,)
        Draws from each source.
    before : ndarray of float64, shape (K,)
        Share of each class in the classified pixels, if the same sources were drawn image by image.
    draws_by_class : ndarray of int64, shape (K,)
        Class-uniform draws of each class.
    after : ndarray of float64, shape (K,)
        Share of each class in the classified pixels of what is drawn.
    measured : Measured
        How `before` and `after` were found. By crops, both are those of label crops of one size, at the same positions
        of the stream. By tiles, a class-uniform draw counts as its whole tile, any other draw as the mean of all
        images.
    """

    names: tuple[str, ...]
    draws_by_source: NDArray[np.int64]
    before: NDArray[np.float64]
    draws_by_class: NDArray[np.int64]
    after: NDArray[np.float64]
    measured: Measured


def summarize_epoch(
    stream: Stream, start: int, stop: int, crops: "CropReader | None" = None, *, num_crops: int | None = None
) -> EpochSummary:
    """Count what the positions ``start .. stop - 1`` of a stream draw.

    Parameters
    ----------
    stream : Stream
    start, stop : int
    crops : CropReader, optional
        How crops are cut. Without it, or where labels cannot be read, the tiles of the index are counted.
    num_crops : int, optional
        Draws whose crops are measured at most, spread evenly over the draws of each source and class; by default 500,
        or as many as hold no more pixels than that many labels of 1024 x 2048 with crops of 512 x 1024.
    """
    draws = stream.draws(start, stop)
    if num_crops is None and crops is not None:
        num_crops = _affordable_crops(stream, draws, crops.augmentation.crop)
    before, after, measured = _pixels(stream, draws, crops, num_crops or 0)
    return EpochSummary(
        names=stream.class_names,
        draws_by_source=np.bincount(draws.sources, minlength=len(stream.sources)),
        before=before / max(before.sum(), 1.0),
        draws_by_class=np.bincount(draws.classes[draws.classes >= 0], minlength=len(stream.class_names)),
        after=after / max(after.sum(), 1.0),
        measured=measured,
    )


def epoch_as_json(stream: Stream, epoch: EpochSummary) -> dict[str, Any]:
    """Return a summary as plain values."""
    classes = [
        {"class": name, "pixels_before": float(before), "draws": int(draws), "pixels_after": float(after)}
        for name, before, draws, after in zip(epoch.names, epoch.before, epoch.draws_by_class, epoch.after, strict=True)
    ]
    return {
        "sources": _sources_as_json(stream, epoch),
        "changed_shares": [
            f"source '{name}': {share}"
            for name, shares in zip(stream.names, stream.used_shares, strict=True)
            for share in shares
            if share.is_changed
        ],
        "classes": classes,
        "absent": [stream.class_names[class_id] for class_id in stream.absent_classes],
        "measured": {
            "by": epoch.measured.by,
            "crops": epoch.measured.num_crops,
            "crop_size": None if epoch.measured.size is None else list(epoch.measured.size),
            "tiles": list(epoch.measured.tiles),
            "text": str(epoch.measured),
            "why": epoch.measured.why,
        },
    }


def _sources_as_json(stream: Stream, epoch: EpochSummary) -> list[dict[str, Any]]:
    """Return draws and shares of each source; shares as text, as they are used and as they were given."""
    return [
        {"name": name, "draws": draws, "images": source.index.num_images, **_shares_as_json(used)}
        for name, source, draws, used in zip(
            stream.names, stream.sources, epoch.draws_by_source.tolist(), stream.used_shares, strict=True
        )
    ]


def _shares_as_json(shares: Sequence[UsedShare]) -> dict[str, Any]:
    share, class_uniform, *classes = shares
    return {
        "share": share_text(share.used),
        "share_given": share_text(share.given),
        "class_uniform": share_text(class_uniform.used),
        "class_uniform_given": share_text(class_uniform.given),
        "class_shares": [
            {"class": of.class_name, "share": share_text(of.used), "share_given": share_text(of.given)}
            for of in classes
        ],
    }


def _pixels(
    stream: Stream, draws: DrawArrays, crops: "CropReader | None", num_crops: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], Measured]:
    """Return the pixels of each class before and after, and how they were found."""
    why = "no crop size is given" if crops is None else ""
    if crops is not None and num_crops > 0 and draws.positions.size:
        try:
            return _crop_pixels(stream, draws, crops, num_crops)
        except SegdataError as error:
            why = str(error)
    tiles = tuple(sorted({source.index.head.tile for source in stream.sources}))
    return *_tile_pixels(stream, draws), Measured("tiles", tiles=tiles, why=why)


def _crop_pixels(
    stream: Stream, draws: DrawArrays, crops: "CropReader", num_crops: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], Measured]:
    """Return the pixels of each class in crops at some of the positions, drawn image by image and as they are drawn."""
    for name, source in zip(stream.names, stream.sources, strict=True):
        if source.index.head.settings.get("kind") == "targets":
            raise LabelError(f"source '{name}': its index was made from pooled targets, which have no pixels to crop.")
    positions = _spread_positions(draws, num_crops)
    by_image = Stream([replace(source, class_uniform=0) for source in stream.sources], stream.seed)
    both = [*by_image.at(positions).to_draws(), *stream.at(positions).to_draws()]
    counts = np.zeros((len(both), len(stream.class_names)))
    label: tuple[tuple[int, int], NDArray[np.uint8]] | None = None
    for at in sorted(range(len(both)), key=lambda at: (both[at].source, both[at].image_id)):  # reads no label twice
        draw = both[at]
        if label is None or label[0] != (draw.source, draw.image_id):
            label = (draw.source, draw.image_id), crops.read_label(draw.source, draw.image_id)
        ids = label[1]
        counts[at] = count_crop(ids, crops.place_on(draw, ids))[: counts.shape[1]]
    before, after = counts.reshape(2, positions.size, -1).sum(axis=1)
    return before, after, Measured("crops", positions.size, crops.augmentation.crop)


def _affordable_crops(stream: Stream, draws: DrawArrays, size: tuple[int, int]) -> int:
    """Return how many crops can be measured in a few seconds."""
    areas = [float(source.index.arrays["image_sizes"].prod(axis=1).mean()) for source in stream.sources]
    mean = float(np.mean(np.take(areas, draws.sources))) if draws.sources.size else 0.0
    return max(NUM_CROPS, int(_PIXELS / (mean + size[0] * size[1])))


def _spread_positions(draws: DrawArrays, amount: int) -> Numbers:
    """Return so many of the positions, each source and class having its part of them up to one."""
    order = np.lexsort((draws.positions, draws.classes, draws.sources))
    amount = min(amount, order.size)
    return draws.positions[order[(2 * np.arange(amount) + 1) * order.size // (2 * amount)]]


def _tile_pixels(stream: Stream, draws: DrawArrays) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pixels of each class in the mean tile of each source drawn, and in the tiles drawn."""
    before, after = np.zeros((2, len(stream.class_names)))
    for place, source in enumerate(stream.sources):
        mine = draws.sources == place
        mean = _mean_tile(source.index)
        before += mine.sum() * mean
        after += (mine & (draws.classes < 0)).sum() * mean
        after += _drawn_tiles(source.index, draws, mine & (draws.classes >= 0))
    return before, after


def _mean_tile(index: ClassIndex) -> NDArray[np.float64]:
    """Return the pixels of each class per full tile of area, over all images."""
    pixels = np.array(
        [
            index.arrays["entry_pixels"][index.entries_of(class_id)].sum(dtype=np.int64)
            for class_id in range(len(index.head.class_names))
        ],
        np.float64,
    )
    area = index.arrays["image_sizes"].astype(np.float64).prod(axis=1).sum()
    return pixels * (index.head.tile**2 / max(float(area), 1.0))


def _drawn_tiles(index: ClassIndex, draws: DrawArrays, mine: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the pixels of each class in the tiles that were drawn."""
    entries = draws.entries[mine]
    drawn = _tile_keys(index.arrays["entry_images"][entries], index.arrays["entry_tiles"][entries])
    keys, times = np.unique(drawn, return_counts=True)
    pixels = np.zeros(len(index.head.class_names))
    for class_id in range(pixels.size):
        of_class = index.entries_of(class_id)
        held = _tile_keys(index.arrays["entry_images"][of_class], index.arrays["entry_tiles"][of_class])
        at = np.minimum(np.searchsorted(held, keys), max(held.size - 1, 0))
        if held.size:
            pixels[class_id] = (index.arrays["entry_pixels"][of_class][at] * times)[held[at] == keys].sum()
    return pixels


def _tile_keys(images: NDArray[Any], tiles: NDArray[Any]) -> NDArray[np.int64]:
    """Return one number per tile of all images; ascending within a class."""
    keys: NDArray[np.int64] = images.astype(np.int64) << 16 | tiles
    return keys
