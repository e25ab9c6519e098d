"""Cross entropy with one label per score: the loss of the baselines."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from segdata.cpp.tensors import check_labels
from segdata.errors import SettingsError
from segdata.losses.terms import SegmentationLoss, Term, enlarged, full_precision, nearest_labels

Resize = Literal["logits", "labels"]
Normalize = Literal["valid", "all"]


class CrossEntropyLoss(SegmentationLoss):
    """Cross entropy, averaged over the pixels of all ranks.

    Parameters
    ----------
    resize : {"logits", "labels"}
        Where the sizes differ: ``"logits"`` enlarges the scores bilinearly to the labels, ``"labels"`` keeps the
        nearest label of each score, as auxiliary heads are trained without CPP.
    ignore_id : int
        Id of the pixels that do not count.
    align_corners : bool
        As for `torch.nn.functional.interpolate`, where scores are enlarged.
    normalize : {"valid", "all"}
        Which pixels the mean is over: those that are not ignored, or all. The latter is what MMSegmentation does by
        default (``avg_non_ignore=False``): crops with much padding then weigh less.

    Examples
    --------
    >>> labels = torch.tensor([[[0, 255]]])
    >>> CrossEntropyLoss()(torch.tensor([[[[0.0, 9.0]], [[0.0, 9.0]]]]), labels)
    tensor(0.6931)
    >>> CrossEntropyLoss(normalize="all")(torch.tensor([[[[0.0, 9.0]], [[0.0, 9.0]]]]), labels)
    tensor(0.3466)
    """

    def __init__(
        self,
        *,
        resize: Resize = "logits",
        ignore_id: int = 255,
        align_corners: bool = False,
        normalize: Normalize = "valid",
    ) -> None:
        super().__init__()
        if resize not in get_args(Resize):
            raise SettingsError(
                f"{type(self).__name__}, resize {resize!r}: what is resized is the 'logits' or the 'labels'."
            )
        if normalize not in get_args(Normalize):
            raise SettingsError(
                f"{type(self).__name__}, normalize {normalize!r}: the mean is over 'valid' pixels or over 'all'."
            )
        self.resize = resize
        self.ignore_id = ignore_id
        self.align_corners = align_corners
        self.normalize = normalize

    def terms(self, logits: Tensor, target: Tensor, cell: int | None = None) -> tuple[Term, ...]:  # noqa: ARG002
        """Return the cross entropy on this rank; see `SegmentationLoss.terms`."""
        with full_precision(logits):
            scores, labels = self.matched(logits, target)
            losses = self.per_pixel(scores, labels)
            mass = self.mass(labels != self.ignore_id)
            return (Term("ce", losses.sum(), mass, over_all=self.normalize == "all"),)

    def matched(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores in the working dtype and checked labels, of one size."""
        check_labels(labels, logits.shape[1], self.ignore_id)
        size = (labels.shape[1], labels.shape[2])
        if self.resize == "labels":
            size = (logits.shape[2], logits.shape[3])
        return enlarged(logits, size, align_corners=self.align_corners), nearest_labels(labels, size)

    def mass(self, counted: Tensor) -> Tensor:
        """Return what the sum is divided by, given which pixels are summed over: a scalar of float64."""
        if self.normalize == "all":
            return torch.full((), counted.numel(), dtype=torch.float64, device=counted.device)
        return counted.sum(dtype=torch.float64)

    def per_pixel(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the cross entropy of every pixel, 0 where it is ignored: shape (N, H, W)."""
        return F.cross_entropy(scores, labels.long(), ignore_index=self.ignore_id, reduction="none")
