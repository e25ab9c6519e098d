"""Class probabilities of images, seen at several scales and flipped."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from segdata.models.hierarchical import scaled_size
from segdata.models.layers import resize
from segdata.models.segmenter import Segmenter
from segdata.models.settings import HierarchicalSettings

Average = Literal["probabilities", "logits"]


@torch.no_grad()
def predict(
    model: Segmenter,
    images: Tensor,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    average: Average = "probabilities",
) -> Tensor:
    """Return the class probabilities of images at their own size.

    Parameters
    ----------
    model : Segmenter
        In evaluation mode. A `HierarchicalSegmenter` fuses the scales by its attention; the maps of any other model
        are averaged over them.
    images : Tensor, shape (N, 3, H, W)
        Normalized with ImageNet's mean and standard deviation.
    scales : sequence of float
        Factors by which the images are resized; for a `HierarchicalSegmenter` 1.0 is among them.
    flip : bool
        Average with the images mirrored left to right.
    average : {"probabilities", "logits"}
        What is averaged over flips and scales: probabilities as MMSegmentation, scores as NVIDIA's code.

    Returns
    -------
    Tensor of float32, shape (N, K, H, W)
        Every pixel sums to 1.
    """
    assert not model.training, "call model.eval() first"
    views = [images, images.flip(3)] if flip else [images]
    total: Tensor | float = 0.0
    count = 0
    for mirrored, view in enumerate(views):
        for logits in _looks(model, view, scales):
            scores = resize(logits.float(), images.shape[-2:], align_corners=model.settings.align_corners)
            part = scores.softmax(dim=1) if average == "probabilities" else scores
            total = total + (part.flip(3) if mirrored else part)
            count += 1
    assert isinstance(total, Tensor), "no scale was named"
    mean = total / count
    return mean if average == "probabilities" else mean.softmax(dim=1)


def _looks(model: Segmenter, images: Tensor, scales: Sequence[float]) -> list[Tensor]:
    """Return the scores to average: one fused map, or one map per scale."""
    if isinstance(model.settings, HierarchicalSettings):  # not the model's class, which torch.compile wraps
        return [model(images, scales).logits]
    align_corners = model.settings.align_corners
    sizes = [scaled_size(images.shape[-2:], scale) for scale in scales]
    return [model(resize(images, size, align_corners=align_corners)).logits for size in sizes]
