"""Region mutual information: labels and predictions compared as 3 x 3 patches, not pixel by pixel.

References
----------
Zhao, Wang, Yang, Cai. Region Mutual Information Loss for Semantic Segmentation. NeurIPS 2019. The constants are those
of the hierarchical multi-scale attention code (Tao, Sapra, Catanzaro, 2020).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from segdata.cpp.tensors import check_labels, cpp_counts
from segdata.errors import SettingsError
from segdata.losses.terms import SegmentationLoss, Term, enlarged, full_precision

LEAST_PROBABILITY = 1e-6
"""Added to every probability."""


class BinaryCrossEntropyLoss(SegmentationLoss):
    """One sigmoid per class: summed over classes, averaged over the valid pixels of all ranks.

    Parameters
    ----------
    ignore_id : int
        Id of the pixels that do not count.
    align_corners : bool
        As for `torch.nn.functional.interpolate`, where scores are enlarged to the labels.
    """

    def __init__(self, *, ignore_id: int = 255, align_corners: bool = False) -> None:
        super().__init__()
        self.ignore_id = ignore_id
        self.align_corners = align_corners

    def terms(self, logits: Tensor, target: Tensor, cell: int | None = None) -> tuple[Term, ...]:  # noqa: ARG002
        """Return the binary cross entropy on this rank; see `SegmentationLoss.terms`."""
        check_labels(target, logits.shape[1], self.ignore_id)
        with full_precision(logits):
            scores = enlarged(logits, (target.shape[1], target.shape[2]), align_corners=self.align_corners)
            return (_binary_cross_entropy(scores, target, self.ignore_id),)


class RMILoss(SegmentationLoss):
    """Half binary cross entropy, half region mutual information, both on sigmoids.

    Parameters
    ----------
    radius : int
        Side of a patch, in pooled pixels.
    pool : int
        Side and stride of the average pooling before patches are taken; padded by half of it.
    ridge : float
        Added to the diagonal of covariances so that they can be inverted.
    binary_share : float
        Weight of the binary cross entropy; the rest is the weight of the mutual information.
    ignore_id, align_corners
        As for `BinaryCrossEntropyLoss`.

    Attributes
    ----------
    left_out : Tensor of int64, scalar
        How many (image, class) pairs have been left out since the start because their covariance had no Cholesky
        factor. It stays on the device; reading it waits for the device.

    Notes
    -----
    For each image and class the patches of the labels, L, and of the predictions, P, are seen as points with
    ``radius**2`` coordinates. What is left of the covariance of L when P is known, ``C = LL' - LP' (PP' + eI)^-1 PL'``,
    bounds the conditional entropy; the loss is ``log det(C + eI) / 2 / radius**2`` with e = 5e-4, summed over classes
    and averaged over the images that have a valid pixel. In float64. It has no natural zero and is often negative.

    Where rounding leaves a covariance without a Cholesky factor, that class of that image is left out of this step and
    counted, instead of stopping the run.

    Two details differ from the public code by less than its own rounding: the binary cross entropy is divided by the
    number of valid pixels and not by one more, and no 1e-8 is added to the factor's diagonal, which is 0.02 or more.
    """

    left_out: Tensor

    def __init__(
        self,
        *,
        radius: int = 3,
        pool: int = 4,
        ridge: float = 5e-4,
        binary_share: float = 0.5,
        ignore_id: int = 255,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        if radius < 1 or pool < 1 or ridge < 0 or not 0 <= binary_share <= 1:
            raise SettingsError(
                f"RMILoss: radius {radius}, pool {pool}, ridge {ridge}, binary_share {binary_share}. Radius and pool "
                f"are 1 or more, the ridge is not negative, the share is from 0 to 1."
            )
        self.radius = radius
        self.pool = pool
        self.ridge = ridge
        self.binary_share = binary_share
        self.ignore_id = ignore_id
        self.align_corners = align_corners
        self.register_buffer("left_out", torch.zeros((), dtype=torch.int64), persistent=False)

    def terms(self, logits: Tensor, target: Tensor, cell: int | None = None) -> tuple[Term, ...]:  # noqa: ARG002
        """Return binary cross entropy and mutual information on this rank; see `SegmentationLoss.terms`."""
        check_labels(target, logits.shape[1], self.ignore_id)
        with full_precision(logits):
            scores = enlarged(logits, (target.shape[1], target.shape[2]), align_corners=self.align_corners)
            binary = _binary_cross_entropy(scores, target, self.ignore_id)
            bound = self.lower_bound(scores, target)
            has_valid = (target != self.ignore_id).flatten(1).any(1)
            total = (bound.sum(1) * has_valid).sum().to(scores.dtype)
        region = Term("rmi", total, has_valid.sum(dtype=torch.float64), 1 - self.binary_share)
        return (Term(binary.name, binary.total, binary.mass, self.binary_share), region)

    def lower_bound(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return half the log determinant per image and class, over ``radius**2``.

        Parameters
        ----------
        scores : Tensor of float32 or float64, shape (N, K, H, W)
            Class scores at the size of the labels.
        labels : Tensor of an integer dtype, shape (N, H, W)
            Class ids.

        Returns
        -------
        Tensor of float64, shape (N, K)
            0 where it is left out.
        """
        of_labels, of_scores = self._centered_patches(scores, labels)
        ridge = self.ridge * torch.eye(self.radius**2, dtype=torch.float64, device=scores.device)
        factor, predicted = _cholesky(of_scores @ of_scores.mT + ridge)
        explained = torch.linalg.solve_triangular(factor, of_scores @ of_labels.mT, upper=False)
        factor, remains = _cholesky(of_labels @ of_labels.mT - explained.mT @ explained + ridge)
        usable = predicted & remains
        self.left_out += (~usable).sum()
        half_log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return torch.where(usable, half_log_determinant / self.radius**2, 0)

    def _centered_patches(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the patches of labels and predictions less their means: two of shape (N, K, radius**2, patches)."""
        valid = (labels != self.ignore_id)[:, None]
        probabilities = torch.sigmoid(scores) * valid + LEAST_PROBABILITY
        pooled = F.avg_pool2d(probabilities, self.pool, padding=self.pool // 2)
        if min(pooled.shape[2:]) < self.radius:
            raise SettingsError(
                f"RMILoss: labels of {labels.shape[1]} x {labels.shape[2]} pixels pooled by {self.pool} hold no patch "
                f"of {self.radius} x {self.radius}. Choose larger crops, or a smaller pool."
            )
        return self._patches(self._pooled_labels(labels, pooled)), self._patches(pooled)

    def _pooled_labels(self, labels: Tensor, like: Tensor) -> Tensor:
        """Return the labels' one-hot average over the same windows, from counts: no one-hot label is made."""
        padded = F.pad(labels, (self.pool // 2,) * 4, value=self.ignore_id)
        counts = cpp_counts(padded, self.pool, num_classes=like.shape[1], ignore_id=self.ignore_id)
        return counts[:, :-1, : like.shape[2], : like.shape[3]].to(like.dtype) / self.pool**2

    def _patches(self, maps: Tensor) -> Tensor:
        num_images, num_classes = maps.shape[:2]
        patches = F.unfold(maps.flatten(0, 1)[:, None].to(torch.float64), self.radius)
        return (patches - patches.mean(2, keepdim=True)).view(num_images, num_classes, self.radius**2, -1)


def _cholesky(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Cholesky factors, and which matrices have one; the others get the identity, and no gradient.

    They are found out first, so that the factor of a matrix without one is in no graph: its gradient would be NaN.
    """
    usable = torch.linalg.cholesky_ex(matrices.detach()).info == 0
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    return torch.linalg.cholesky_ex(torch.where(usable[..., None, None], matrices, identity)).L, usable


def _binary_cross_entropy(scores: Tensor, labels: Tensor, ignore_id: int) -> Term:
    """Return ``log(1 + exp x_k)`` summed over classes less the score of the true one: no one-hot label is made."""
    valid = labels != ignore_id
    true_class = torch.where(valid, labels, 0).long()[:, None]
    losses = -F.logsigmoid(-scores).sum(1) - scores.gather(1, true_class)[:, 0]
    return Term("bce", torch.where(valid, losses, 0).sum(), valid.sum(dtype=torch.float64))
