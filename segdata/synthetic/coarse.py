"""From exact labels to what a hurried annotator draws, and to what a network would have labeled."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdata.synthetic.light import smooth_noise


def is_pure(ids: NDArray[np.uint8], radius: int) -> NDArray[np.bool_]:
    """Say where all pixels in the square of this radius have the center's id; pixels outside count as the nearest.

    >>> is_pure(np.array([[1, 1, 1, 2, 2]], np.uint8), 1).tolist()
    [[True, True, False, False, True]]
    """
    pure: NDArray[np.bool_] = _extreme(ids, radius, np.maximum) == _extreme(ids, radius, np.minimum)
    return pure


def coarse_ids(ids: NDArray[np.uint8], void_id: int) -> NDArray[np.uint8]:
    """Keep the inner part of regions, as polygons drawn well inside the outlines do; the rest becomes `void_id`.

    Parameters
    ----------
    ids : ndarray of uint8, shape (H, W)
    void_id : int
        Id of what is left out: outlines, thin things, small things.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Never another id than the true one or `void_id`.
    """
    height, width = ids.shape
    inner = is_pure(ids, max(1, height // 90))
    step = max(2, height // 48)
    small = Image.fromarray((inner * 255).astype(np.uint8)).resize(
        (max(2, width // step), max(2, height // step)), Image.Resampling.BOX
    )
    # straight edges a few pixels long, where a mouse was clicked
    drawn = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR)) > 140
    coarse: NDArray[np.uint8] = np.where(drawn & is_pure(ids, 1), ids, void_id).astype(np.uint8)
    return coarse


def auto_ids(ids: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return labels with wandering outlines, and how sure they are (0-255): less near outlines and on small things."""
    height, width = ids.shape
    reach = max(1.0, height / 110)
    shifts = [_noise(rng, height, width) * 2 * reach - reach for _ in range(2)]
    rows = np.clip(np.arange(height)[:, None] + shifts[0], 0, height - 1).astype(int)
    columns = np.clip(np.arange(width)[None] + shifts[1], 0, width - 1).astype(int)
    labels = ids[rows, columns]
    radii = (1, max(2, height // 150), max(3, height // 60))
    sure = 0.42 + sum(0.18 * is_pure(labels, radius) for radius in radii)
    sure = sure - 0.15 * _noise(rng, height, width) + 0.04
    return labels, np.clip(sure * 255, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Return smooth noise in [0, 1] over an image."""
    tile = Image.fromarray((smooth_noise(rng, 128, 1.2) * 255).astype(np.uint8))
    return np.asarray(tile.resize((width, height), Image.Resampling.BICUBIC)) / 255.0


def _extreme(ids: NDArray[np.uint8], radius: int, extreme: np.ufunc) -> NDArray[np.uint8]:
    """Return the largest or smallest id within `radius` rows and columns, in a logarithmic number of steps."""
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (radius, radius)
        padded, reached = np.pad(ids, padding, mode="edge"), 1
        while reached < 2 * radius + 1:
            step = min(reached, 2 * radius + 1 - reached)
            length = padded.shape[axis] - step
            padded = extreme(padded.take(range(length), axis), padded.take(range(step, step + length), axis))
            reached += step
        ids = padded
    return ids
