"""The loss on CPP targets: the divergence of the predicted class probabilities from those of each cell."""

from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from segdata.cpp.tensors import cpp_counts
from segdata.errors import SettingsError
from segdata.losses.terms import SegmentationLoss, Term, full_precision, working_dtype

Ignore = Literal["mask", "channel"]

_UNSIGNED = {torch.uint16: torch.int32, torch.uint32: torch.int64}
"""Dtypes without arithmetic in torch, and what holds their values."""


class CPPLoss(SegmentationLoss):
    """Kullback-Leibler divergence KL(q || p) of predictions p from CPP targets q, given as counts or as labels.

    Parameters
    ----------
    ignore : {"mask", "channel"}
        What becomes of the ignored mass of a cell. ``"mask"``: q is over the valid pixels, and a cell weighs as much as
        its valid share. ``"channel"``: the ignored class is a trained class, the last of K + 1 scores, and all cells
        weigh 1.
    ignore_id : int
        Id of ignored pixels, where the target is labels.

    Notes
    -----
    With counts n and valid share ``v = sum_k n_k / cell area`` of a cell, ``loss = sum v KL(q || p) / sum v``, the last
    sum over all ranks. ``KL(q || p) = -sum q log p - H(q)``: its gradient is that of the cross entropy with soft
    targets, and its value can reach 0, whatever the entropy H of the targets; `entropy_floor` gives that. At cell 1 it
    is the cross entropy. The direction, the reduction and the treatment of ignored pixels are not published [1]_.

    Scores are taken to float32 first, under autocast too. The targets are never held as floating numbers: what the
    backward pass keeps is the counts as they came and the log-probabilities.

    References
    ----------
    .. [1] Han, Yoo, Oh. SeeThroughNet. CVPR 2022, supplementary, A.1.

    Examples
    --------
    A cell that is three quarters class 0, predicted as probability 0.5: ``0.75 ln 1.5 + 0.25 ln 0.5``.

    >>> counts = torch.tensor([3, 1, 0]).view(1, 3, 1, 1)
    >>> CPPLoss()(torch.zeros(1, 2, 1, 1), counts)
    tensor(0.1308)
    """

    takes_counts: ClassVar[bool] = True

    def __init__(self, *, ignore: Ignore = "mask", ignore_id: int = 255) -> None:
        super().__init__()
        if ignore not in get_args(Ignore):
            raise SettingsError(f"CPPLoss, ignore {ignore!r}: the ignored mass is a 'mask' or a 'channel'.")
        self.ignore = ignore
        self.ignore_id = ignore_id

    def terms(self, logits: Tensor, target: Tensor, cell: int | None = None) -> tuple[Term, ...]:
        """Return the divergence on this rank.

        Parameters
        ----------
        logits : Tensor, shape (N, K, h, w); (N, K + 1, h, w) with ``ignore="channel"``
            Class scores.
        target : Tensor of an integer dtype, shape (N, K + 1, h, w) or (N, H, W)
            Counts or areas (`cpp_counts`, `scaled_counts`, a stored target), the ignored mass last; only their ratios
            in a cell matter. Or labels, which are pooled here.
        cell : int, optional
            Side of a cell, for labels; the whole ratio of the sizes if not given.

        Returns
        -------
        tuple of one Term
            Its `floor` is the entropy of the targets.

        Raises
        ------
        SettingsError
            If shapes do not fit.
        """
        counts = self._counts(logits, target, cell)
        classes = counts[:, : logits.shape[1]]
        dtype = working_dtype(logits)
        with full_precision(logits):
            weights = _weights(counts, classes, dtype)
            log_probabilities = F.log_softmax(logits.to(dtype), dim=1)
            cross_entropy = -((classes * log_probabilities).sum(1) * weights.per_count).sum()
            floor = _entropy(classes, weights)
        return (Term("cpp", cross_entropy - floor, weights.valid.sum(dtype=torch.float64), floor=floor),)

    def entropy_floor(self, target: Tensor) -> Tensor:
        """Return the mean entropy of targets given as counts: the least that a cross entropy with them can be.

        Parameters
        ----------
        target : Tensor of an integer dtype, shape (N, K + 1, h, w)
            Counts or areas.

        Returns
        -------
        Tensor of float32, scalar
            In nats, cells weighted as in the loss; of this rank alone.

        Examples
        --------
        >>> CPPLoss().entropy_floor(torch.tensor([2, 2, 0]).view(1, 3, 1, 1))
        tensor(0.6931)
        """
        counts = _signed(target)
        classes = counts if self.ignore == "channel" else counts[:, :-1]
        weights = _weights(counts, classes, torch.float32)
        return _entropy(classes, weights) / weights.valid.sum().clamp(min=torch.finfo(torch.float32).tiny)

    def _counts(self, logits: Tensor, target: Tensor, cell: int | None) -> Tensor:
        """Return the target as counts that fit the scores."""
        num_classes = logits.shape[1] - (self.ignore == "channel")
        if target.ndim == 3:
            side = cell or _cell(logits, target)
            target = cpp_counts(target, side, num_classes=num_classes, ignore_id=self.ignore_id)
        expected = (logits.shape[0], num_classes + 1, *logits.shape[2:])
        if tuple(target.shape) != expected:
            raise SettingsError(
                f"CPPLoss: scores of shape {tuple(logits.shape)} and counts of {tuple(target.shape)}. With "
                f"ignore='{self.ignore}' counts of shape {expected} are expected. Pool at the stride of the scores."
            )
        return _signed(target)


class _Weights(NamedTuple):
    """How cells weigh; all of shape (N, h, w), without gradient."""

    valid: Tensor
    """Valid share of the cell."""
    per_count: Tensor
    """1 / area of the cell."""
    per_valid: Tensor
    """1 / valid area of the cell; 1 where nothing is valid."""


def _weights(counts: Tensor, classes: Tensor, dtype: torch.dtype) -> _Weights:
    area = counts.sum(1, dtype=dtype)
    valid_area = classes.sum(1, dtype=dtype)
    return _Weights(valid_area / area, 1 / area, 1 / torch.where(valid_area > 0, valid_area, 1))


def _entropy(classes: Tensor, weights: _Weights) -> Tensor:
    """Return the sum over cells of valid share times entropy."""
    with torch.no_grad():
        target = classes * weights.per_valid[:, None]
        return -(torch.xlogy(target, target).sum(1) * weights.valid).sum()


def _signed(counts: Tensor) -> Tensor:
    return counts.to(_UNSIGNED.get(counts.dtype, counts.dtype))


def _cell(logits: Tensor, labels: Tensor) -> int:
    """Return the side of a cell where it divides the label, or raise SettingsError."""
    height, width = labels.shape[1:]
    cell = height // logits.shape[2]
    if tuple(logits.shape[2:]) != (height / max(cell, 1), width / max(cell, 1)):
        raise SettingsError(
            f"CPPLoss: scores of {logits.shape[2]} x {logits.shape[3]} are not a whole fraction of labels of "
            f"{height} x {width}. Pass cell=, the stride of the scores."
        )
    return cell
