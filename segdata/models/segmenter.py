"""A model of one scale: backbone, head, auxiliary heads."""

import torch
from torch import Tensor, nn

from segdata.models.auxiliary import AuxiliaryHeads
from segdata.models.backbone import Backbone
from segdata.models.heads.head import Head, HeadOutput
from segdata.models.output import AuxiliaryOutput, ModelOutput
from segdata.models.settings import ModelSettings


class Segmenter(nn.Module):
    """Backbone, head and auxiliary heads, put together.

    Parameters
    ----------
    backbone : Backbone
    head : Head
        Built for the backbone's channels and strides.
    settings : ModelSettings

    Attributes
    ----------
    backbone, head, auxiliary : nn.Module
        ``auxiliary`` is None where no stage has an auxiliary head.
    settings : ModelSettings
    auxiliary_strides : tuple of int
        Of the auxiliary heads on the backbone's stages.
    """

    def __init__(self, backbone: Backbone, head: Head, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone = backbone
        self.head = head
        self.auxiliary = None
        self.auxiliary_strides: tuple[int, ...] = ()
        if settings.aux_stages:
            self.auxiliary = AuxiliaryHeads(
                settings.aux_stages,
                backbone.channels,
                backbone.strides,
                channels=settings.aux_channels,
                num_logits=settings.aux_logits,
                dropout=settings.aux_dropout,
            )
            self.auxiliary_strides = self.auxiliary.strides

    def forward(self, images: Tensor) -> ModelOutput:
        """Return the class scores of images.

        Parameters
        ----------
        images : Tensor, shape (N, 3, H, W)
            Normalized with ImageNet's mean and standard deviation.

        Returns
        -------
        ModelOutput
            Auxiliary maps in training mode only.
        """
        out = self.encode(images, with_auxiliary=self.training)
        regions = () if out.regions is None else (AuxiliaryOutput(out.regions, self.head.stride, "regions"),)
        return ModelOutput(out.logits, self.head.stride, (*regions, *out.auxiliary) if self.training else ())

    def encode(self, images: Tensor, *, with_auxiliary: bool = False) -> HeadOutput:
        """Return what the head says of images, with the auxiliary heads' maps added to its own on request."""
        if self.settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        features = self.backbone(images)
        out: HeadOutput = self.head(features)
        if self.auxiliary is None or not with_auxiliary:
            return out
        auxiliary = (*out.auxiliary, *self.auxiliary(features))
        return HeadOutput(out.logits, out.embedding, out.regions, auxiliary)
