"""From the entries of single images to one index, sorted class by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.mapped_npz import Array
from segdata.sampling.class_index import ClassIndex, IndexHead, join_names, make_index
from segdata.sampling.scan import TileEntries
from segdata.sampling.scan_kernels import NUM_POINTS


@dataclass(frozen=True)
class FileState:
    """What is recorded of a file that was indexed, to know it again; by default of none.

    Attributes
    ----------
    size : int
        Its bytes.
    time : int
        When it was last changed, in nanoseconds.
    digest : bytes
        BLAKE2b of its content, 16 bytes.
    """

    size: int = 0
    time: int = 0
    digest: bytes = bytes(16)

    @classmethod
    def of(cls, data: bytes, time: int) -> "FileState":
        """Return the state of a file that holds `data`; `time` is best asked for before they are read."""
        return cls(len(data), time, blake2b(data, digest_size=16).digest())


@dataclass(frozen=True)
class IndexedImage:
    """One image of an index.

    Attributes
    ----------
    label, image : str
        Paths below the root; the image's is empty where there is none.
    label_state : FileState
        Of the label's file.
    entries : TileEntries
        What stands in it.
    confidence : str
        Path of the label's confidence image below the root, empty where it has none.
    confidence_state : FileState
        Of the confidence image.
    reach : int
        What its points stand for, see `IndexHead`.
    """

    label: str
    image: str
    label_state: FileState
    entries: TileEntries
    confidence: str = ""
    confidence_state: FileState = FileState()
    reach: int = 1


def merge_images(
    head: IndexHead,
    images: Sequence[IndexedImage],
    *,
    lookup: NDArray[np.int16] | None = None,
    root: Path | None = None,
) -> ClassIndex:
    """Make the index of images; the same images in the same order give the same index.

    Parameters
    ----------
    head : IndexHead
    images : sequence of IndexedImage
    lookup : ndarray of int16, shape (256,), optional
        The class id of each id in the label files, 255 for ignored; by default they hold class ids.
    root : Path, optional
        Folder that the images' paths start from.
    """
    all_entries = [image.entries for image in images]
    classes = _joined([entries.classes for entries in all_entries], (0,), np.uint8)
    by_class = np.argsort(classes, kind="stable")
    label_names, label_ends = join_names([image.label for image in images])
    image_names, image_ends = join_names([image.image for image in images])
    confidence_names, confidence_ends = join_names([image.confidence for image in images])
    numbers = [np.full(entries.classes.size, at, np.uint32) for at, entries in enumerate(all_entries)]
    arrays: dict[str, Array] = {
        "lookup": np.arange(256, dtype=np.int16) if lookup is None else lookup,
        "image_sizes": np.array([entries.size for entries in all_entries], np.int32).reshape(-1, 2),
        "image_ignored": np.array([entries.ignored for entries in all_entries], np.int64),
        "label_names": label_names,
        "label_ends": label_ends,
        "image_names": image_names,
        "image_ends": image_ends,
        "confidence_names": confidence_names,
        "confidence_ends": confidence_ends,
        **_states("label", [image.label_state for image in images]),
        **_states("confidence", [image.confidence_state for image in images]),
        "class_starts": np.searchsorted(classes[by_class], np.arange(len(head.class_names) + 1)),
        "entry_images": _joined(numbers, (0,), np.uint32)[by_class],
        "entry_tiles": _joined([entries.tiles for entries in all_entries], (0,), np.uint16)[by_class],
        "entry_pixels": _joined([entries.pixels for entries in all_entries], (0,), np.uint32)[by_class],
        "entry_points": _joined([entries.points for entries in all_entries], (0, NUM_POINTS, 2), np.uint16)[by_class],
        "entry_centroids": _joined([entries.centroids for entries in all_entries], (0, 2), np.uint16)[by_class],
    }
    return make_index(head, arrays, root)


def _states(kind: str, states: Sequence[FileState]) -> dict[str, Array]:
    return {
        f"{kind}_bytes": np.array([state.size for state in states], np.int64),
        f"{kind}_times": np.array([state.time for state in states], np.int64),
        f"{kind}_digests": np.frombuffer(b"".join(state.digest for state in states), np.uint8).reshape(-1, 16),
    }


def _joined(parts: Sequence[Array], empty: tuple[int, ...], dtype: type) -> Array:
    return np.concatenate([np.empty(empty, dtype), *parts])
