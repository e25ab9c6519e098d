"""Cross entropy of the hard pixels: online hard example mining."""

import torch
from torch import Tensor

from segdata.errors import SettingsError
from segdata.losses.cross_entropy import CrossEntropyLoss, Normalize, Resize
from segdata.losses.terms import Term, full_precision


class OHEMCrossEntropyLoss(CrossEntropyLoss):
    """Cross entropy over the pixels that are predicted badly, at least so many per image.

    Parameters
    ----------
    threshold : float
        A pixel is hard where its class has a probability below this, in (0, 1].
    min_kept : int
        The least number of pixels kept per image, the hardest ones; all valid ones where there are fewer.
    resize, ignore_id, align_corners, normalize
        As for `CrossEntropyLoss`; ``"valid"`` divides by the pixels that are kept.

    Raises
    ------
    SettingsError
        If a setting is out of range.

    Notes
    -----
    Public code keeps `min_kept` pixels per process, which makes the pixels kept depend on how many images a process
    has. Here it is per image, so that they do not. Pixels exactly as hard as the last one kept are kept too.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.7,
        min_kept: int = 100_000,
        resize: Resize = "logits",
        ignore_id: int = 255,
        align_corners: bool = False,
        normalize: Normalize = "valid",
    ) -> None:
        super().__init__(resize=resize, ignore_id=ignore_id, align_corners=align_corners, normalize=normalize)
        if not 0 < threshold <= 1 or min_kept < 1:
            raise SettingsError(
                f"OHEMCrossEntropyLoss: threshold {threshold}, min_kept {min_kept}. A threshold is a probability over "
                f"0, and at least one pixel is kept."
            )
        self.threshold = threshold
        self.min_kept = min_kept

    def terms(self, logits: Tensor, target: Tensor, cell: int | None = None) -> tuple[Term, ...]:  # noqa: ARG002
        """Return the cross entropy of the hard pixels on this rank; see `SegmentationLoss.terms`."""
        with full_precision(logits):
            scores, labels = self.matched(logits, target)
            losses = self.per_pixel(scores, labels)
            hard = self.hard_pixels(losses.detach(), labels != self.ignore_id)
            return (Term("ohem", (losses * hard).sum(), self.mass(hard), over_all=self.normalize == "all"),)

    def hard_pixels(self, losses: Tensor, valid: Tensor) -> Tensor:
        """Return which pixels are kept.

        Parameters
        ----------
        losses : Tensor, shape (N, H, W)
            Cross entropy of every pixel.
        valid : Tensor of bool, shape (N, H, W)
            Pixels that are not ignored.

        Returns
        -------
        Tensor of bool, shape (N, H, W)
        """
        ranked = losses.masked_fill(~valid, -torch.inf).flatten(1)
        hardest = ranked.topk(min(self.min_kept, ranked.shape[1]), dim=1).values
        last = (valid.flatten(1).sum(1).clamp(1, hardest.shape[1]) - 1)[:, None]
        least_kept = hardest.gather(1, last)[:, :, None]
        return valid & ((torch.exp(-losses) < self.threshold) | (losses >= least_kept))
