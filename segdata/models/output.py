"""What every model returns: plain named tuples, so that DDP, FSDP and torch.compile see the tensors in them."""

from typing import NamedTuple

from torch import Tensor


class AuxiliaryOutput(NamedTuple):
    """One map that is trained beside the final one.

    Attributes
    ----------
    logits : Tensor, shape (N, K, h, w), or (N, K + 1, h, w) with ``ignore_channel=True``
        Class scores at the map's own stride: with input (H, W), ``h = ceil(H / stride)``, ``w = ceil(W / stride)``,
        the shape of ``cpp_counts(labels, stride)``. The extra last channel is the ignored class.
    stride : int
        Pixels of the model's input per cell; the cell of the CPP target that belongs to this map.
    name : str
        ``stageN`` (head on backbone stage N, from 1), ``regions`` (OCR's soft object regions),
        ``coarseN`` (SeeThroughNet's coarse map on stage N), ``fine`` (its fine map); ``@s`` is appended for a map
        of the image resized by s.
    """

    logits: Tensor
    stride: int
    name: str


class ScaleOutput(NamedTuple):
    """The final map of one image scale, before maps of several scales are fused.

    Attributes
    ----------
    logits : Tensor, shape (N, K, h, w)
        Class scores at the resolution of that image scale; resize them to the labels before a loss.
    scale : float
        Factor by which the image was resized.
    """

    logits: Tensor
    scale: float


class ModelOutput(NamedTuple):
    """The result of every model's ``forward``, in training and in evaluation.

    Attributes
    ----------
    logits : Tensor, shape (N, K, h, w)
        The final class scores at `stride`; resize them to the labels (`segdata.models.resize`) before a loss.
    stride : int
        Pixels of the input per cell of `logits`; 1 where the model fuses image scales at full size.
    auxiliary : tuple of AuxiliaryOutput
        Maps trained beside it; empty in evaluation.
    scales : tuple of ScaleOutput
        Final maps of the single image scales, smallest scale first; empty for models of one scale and in evaluation.
        Two-scale training is ``main(logits) + sum(w * aux) + 0.05 * sum(main(resize(s.logits)) for s in scales)``.
    """

    logits: Tensor
    stride: int
    auxiliary: tuple[AuxiliaryOutput, ...] = ()
    scales: tuple[ScaleOutput, ...] = ()
