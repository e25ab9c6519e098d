"""Scores and labels of different sizes: scores are enlarged, or labels thinned out."""

import torch
from torch import Tensor
from torch.nn import functional as F

from segdata.losses.terms import working_dtype


def enlarged(logits: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """Return scores at `size` (height, width) in the working dtype, interpolated bilinearly where they have another."""
    logits = logits.to(working_dtype(logits))
    if tuple(logits.shape[-2:]) == size:
        return logits
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=align_corners)


def nearest_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Keep one pixel of each cell: row ``floor(l * H / h)``, column ``floor(m * W / w)``.

    The usual way to give a coarse head labels (torch's and MMSegmentation's mode ``nearest``), and what CPP replaces.

    Parameters
    ----------
    labels : Tensor of any integer dtype, shape (N, H, W)
    size : (int, int)
        Target (height, width), (h, w).

    Returns
    -------
    Tensor, shape (N, h, w)

    Examples
    --------
    >>> nearest_labels(torch.tensor([[[0, 1, 2, 3], [4, 5, 6, 7]]]), (1, 2))
    tensor([[[0, 2]]])
    """
    if tuple(labels.shape[-2:]) == size:
        return labels
    rows, columns = (
        torch.arange(length, device=labels.device) * source // length
        for length, source in zip(size, labels.shape[-2:], strict=True)
    )
    return labels[:, rows[:, None], columns]
