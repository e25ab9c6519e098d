"""A loss as a sum and a mass, and the division of the one by the other over all ranks.

`DistributedDataParallel` averages gradients over ranks. Ranks see different numbers of ignored pixels, so a mean per
rank, averaged, weighs a pixel by the rank it happens to be on. Here every sum is divided by the mass of *all* ranks,
and multiplied by the number of ranks to undo the averaging: gradients do not depend on how the crops are distributed.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from segdata.distributed.process_group import rank_and_size, sum_over_ranks
from segdata.models.resizing import resize_bilinear


class Term(NamedTuple):
    """One summand of a loss, before it is divided by its mass.

    Attributes
    ----------
    name : str
        For the log.
    total : Tensor, scalar
        The weighted sum over this rank's pixels, cells or images; its gradient is what trains.
    mass : Tensor of float64, scalar
        What `total` is a sum over, on this rank: pixels, cells of valid mass, or images. Without gradient.
    weight : float
        Factor of this term in its loss.
    floor : Tensor, scalar, or None
        The entropy of the targets, summed as `total`: what is to be added to it for the cross entropy.
    over_all : bool
        Whether the mass is of all pixels, the ignored ones among them.
    """

    name: str
    total: Tensor
    mass: Tensor
    weight: float = 1.0
    floor: Tensor | None = None
    over_all: bool = False


class PassShare(NamedTuple):
    """The part of a step that one forward pass is, where the gradients of several are added up.

    Attributes
    ----------
    valid : float or scalar Tensor
        Its valid pixels over those of all passes: for terms that are means over what is valid.
    pixels : float or scalar Tensor
        Its pixels over those of all passes: for terms that are means over all pixels.
    """

    valid: float | Tensor = 1.0
    pixels: float | Tensor = 1.0

    def of(self, term: Term) -> float | Tensor:
        """Return the factor of a term, so that the terms of all passes add up to that of the whole batch."""
        return self.pixels if term.over_all else self.valid


WHOLE_STEP = PassShare()
"""The share of a pass that is alone in its step."""


class SegmentationLoss(nn.Module, ABC):
    """What all losses share: `terms` says what is summed over what, and a call divides.

    Attributes
    ----------
    takes_counts : bool
        Whether the target is (or may be) CPP counts at the stride of the scores, rather than labels alone.
    """

    takes_counts: ClassVar[bool] = False

    @abstractmethod
    def terms(self, logits: Tensor, target: Tensor, cell: int | None = None) -> tuple[Term, ...]:
        """Return the summands on this rank.

        Parameters
        ----------
        logits : Tensor, shape (N, K, h, w)
            Class scores of any floating dtype.
        target : Tensor
            Labels of shape (N, H, W), or what the loss says it takes.
        cell : int, optional
            Side in label pixels of a cell of the scores; found from the shapes if not given.
        """

    def forward(self, logits: Tensor, target: Tensor, cell: int | None = None) -> Tensor:
        """Return the loss, a scalar, normalized over all ranks.

        Parameters
        ----------
        logits, target, cell
            As for `terms`.

        Returns
        -------
        Tensor, scalar of float32 (float64 for scores of float64)
            Averaged over ranks, as gradients are, it is the loss of the whole batch. 0 where nothing is valid.
        """
        return weighted_sum(self.terms(logits, target, cell))


def weighted_sum(terms: Sequence[Term]) -> Tensor:
    """Return the sum of normalized terms, each times its weight."""
    factors = normalizers(terms)
    values = [factor * term.weight * term.total for factor, term in zip(factors, terms, strict=True)]
    return torch.stack(values).sum()


def normalizers(terms: Sequence[Term]) -> list[Tensor]:
    """Return for each term ``ranks / mass over all ranks``, or 0 where no rank has any mass.

    One all-reduce of as many numbers as there are terms, on the default process group; none without one. All ranks
    must call it with the same terms.
    """
    masses = torch.stack([term.mass for term in terms])
    num_ranks = rank_and_size()[1]
    sum_over_ranks(masses)
    factors = torch.where(masses > 0, num_ranks / torch.where(masses > 0, masses, 1), 0)
    return [factor.to(term.total.dtype) for factor, term in zip(factors, terms, strict=True)]


def working_dtype(logits: Tensor) -> torch.dtype:
    """Return what a loss is computed in: float32, or float64 for scores of float64."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def full_precision(logits: Tensor) -> AbstractContextManager[None]:
    """Return a context without autocast, which would halve the precision of matrix products."""
    return torch.autocast(device_type=logits.device.type, enabled=False)


def enlarged(logits: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """Return scores at `size` (height, width) in the working dtype, interpolated bilinearly where they have another."""
    return resize_bilinear(logits.to(working_dtype(logits)), size, align_corners=align_corners)


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
