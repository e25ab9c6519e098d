"""A window slid over an image: any size in bounded memory, the finished rows handed on band by band."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

Size = tuple[int, int]
"""(height, width)"""


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Return where windows begin along one axis: each `stride` on from the last, the final one moved back to fit.

    It is MMSegmentation's grid.

    Parameters
    ----------
    length, window, stride : int
        In pixels; `stride` at most `window`. A window longer than the image is as long as the image.

    Examples
    --------
    >>> window_starts(10, 4, 3), window_starts(11, 4, 3), window_starts(3, 4, 3)
    ([0, 3, 6], [0, 3, 6, 7], [0])
    """
    assert 1 <= stride <= window, f"stride {stride}, window {window}"
    last = max(0, length - window)
    return [*range(0, last, stride), last]


def slide(
    score: Callable[[Tensor], Tensor], image: Tensor, window: Size, stride: Size, *, batch_size: int = 1
) -> Iterator[Tensor]:
    """Score an image window by window and yield the mean over the windows in bands of rows, from the top.

    Parameters
    ----------
    score : callable
        From parts of the image, shape (N, C, h, w), to maps of the same size, shape (N, K, h, w).
    image : Tensor, shape (C, H, W)
    window, stride : (int, int)
        Height and width of the windows, and how far each lies from the next.
    batch_size : int
        Windows scored at a time.

    Yields
    ------
    Tensor, shape (K, rows, W)
        Together all rows of the image. No more than one row of windows is held at a time.
    """
    size = (image.shape[-2], image.shape[-1])
    height, width = min(window[0], size[0]), min(window[1], size[1])
    tops, lefts = (window_starts(*axis) for axis in zip(size, window, stride, strict=True))
    rows, columns = _coverage(tops, height, size[0]), _coverage(lefts, width, size[1])
    waiting: Tensor | None = None
    for top, following in pairwise([*tops, size[0]]):
        total = _sum_of_windows(score, image[:, top : top + height], lefts, width, batch_size)
        if waiting is not None:
            total[:, : waiting.shape[1]] += waiting
        num_done = following - top
        windows_per_pixel = rows[top:following, None] * columns
        yield total[:, :num_done] / windows_per_pixel.to(total)
        waiting = total[:, num_done:]


def _sum_of_windows(
    score: Callable[[Tensor], Tensor], rows: Tensor, lefts: Sequence[int], width: int, batch_size: int
) -> Tensor:
    """Return the sum of the maps of the windows that lie side by side, shape (K, h, W)."""
    total: Tensor | None = None
    for start in range(0, len(lefts), batch_size):
        chosen = lefts[start : start + batch_size]
        parts = score(torch.stack([rows[:, :, left : left + width] for left in chosen]))
        if total is None:
            total = parts.new_zeros(*parts.shape[1:3], rows.shape[-1])
        for part, left in zip(parts, chosen, strict=True):
            total[:, :, left : left + width] += part
    assert total is not None, "no window"
    return total


def _coverage(starts: Sequence[int], window: int, length: int) -> Tensor:
    """Return in how many windows each place of an axis lies."""
    covered = torch.zeros(length, dtype=torch.int64)
    for start in starts:
        covered[start : start + window] += 1
    return covered
