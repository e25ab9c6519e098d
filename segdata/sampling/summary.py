"""What an index holds and what an epoch draws, class by class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.sampling.index import ClassIndex
from segdata.sampling.stream import DrawArrays, Stream


def summarise_index(index: ClassIndex) -> dict[str, Any]:
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
        Share of each class in the classified pixels of what is drawn: the tile of a class-uniform draw, an average
        tile of the image of another. A crop as large as a tile has this in the mean, as far as tile and crop overlap.
    """

    names: tuple[str, ...]
    draws_by_source: NDArray[np.int64]
    before: NDArray[np.float64]
    draws_by_class: NDArray[np.int64]
    after: NDArray[np.float64]


def summarise_epoch(stream: Stream, start: int, stop: int) -> EpochSummary:
    """Count what the positions ``start .. stop - 1`` of a stream draw."""
    draws = stream.draws(start, stop)
    num_classes = len(stream.class_names)
    before, after = np.zeros(num_classes), np.zeros(num_classes)
    for place, source in enumerate(stream.sources):
        mine = draws.sources == place
        mean = _mean_tile(source.index)
        before += mine.sum() * mean
        after += (mine & (draws.classes < 0)).sum() * mean
        after += _drawn_tiles(source.index, draws, mine & (draws.classes >= 0))
    return EpochSummary(
        names=stream.class_names,
        draws_by_source=np.bincount(draws.sources, minlength=len(stream.sources)),
        before=before / max(before.sum(), 1.0),
        draws_by_class=np.bincount(draws.classes[draws.classes >= 0], minlength=num_classes),
        after=after / max(after.sum(), 1.0),
    )


def epoch_as_json(stream: Stream, epoch: EpochSummary) -> dict[str, Any]:
    """Return a summary as plain values."""
    sources: list[Mapping[str, Any]] = [
        {"name": source.name, "share": str(share), "draws": int(draws), "images": source.index.num_images}
        for source, share, draws in zip(stream.sources, stream.shares, epoch.draws_by_source, strict=True)
    ]
    classes = [
        {"class": name, "pixels_before": float(before), "draws": int(draws), "pixels_after": float(after)}
        for name, before, draws, after in zip(epoch.names, epoch.before, epoch.draws_by_class, epoch.after, strict=True)
    ]
    absent = [stream.class_names[class_id] for class_id in stream.absent_classes]
    return {"sources": sources, "classes": classes, "absent": absent}


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
