"""What heads and the weight loader ask of a backbone."""

from typing import ClassVar

from torch import Tensor, nn


class Backbone(nn.Module):
    """A network that turns images into features of several strides.

    Attributes
    ----------
    channels, strides : tuple of int
        Of the features, finest first; feature i has the size ``ceil(input / strides[i])``.
    unused_weights : tuple of str
        Prefixes of the published files' keys that the backbone has no use for (their classifiers).
    renamed_weights : tuple of (str, str)
        Pattern and replacement, as for `re.sub`, of published keys that are named otherwise here.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    unused_weights: ClassVar[tuple[str, ...]] = ()
    renamed_weights: ClassVar[tuple[tuple[str, str], ...]] = ()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of images of shape (N, 3, H, W), finest first."""
        raise NotImplementedError
