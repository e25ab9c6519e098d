"""Object-contextual representations: each pixel looks at the classes' mean features.

References
----------
Yuan, Chen, Wang. Object-Contextual Representations for Semantic Segmentation. ECCV 2020.
The numbers (512 and 256 channels, scaling, dropout 0.05) are those of NVIDIA/semantic-segmentation.
"""

import torch
from torch import Tensor, nn

from segdata.models.layers import Classifier, ConvBNReLU


def gather_objects(pixels: Tensor, regions: Tensor) -> Tensor:
    """Return each region's mean feature, the pixels weighted by the softmax of the region's scores over the image.

    Parameters
    ----------
    pixels : Tensor, shape (N, C, h, w)
    regions : Tensor, shape (N, K, h, w)
        Scores of the soft object regions.

    Returns
    -------
    Tensor, shape (N, C, K, 1)

    Examples
    --------
    >>> import torch
    >>> pixels = torch.tensor([[[[1.0, 3.0]]]])
    >>> even, first = torch.zeros(1, 2), torch.tensor([[100.0, 0.0]])
    >>> gather_objects(pixels, torch.stack([even, first])[None]).flatten().tolist()
    [2.0, 1.0]
    """
    weights = regions.flatten(2).softmax(dim=2)
    return torch.einsum("nkp,ncp->nck", weights, pixels.flatten(2)).unsqueeze(3)


class ObjectAttention(nn.Module):
    """Each pixel's context: the objects' values, weighted by how well the pixel's query fits their keys."""

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.query = nn.Sequential(ConvBNReLU(channels, key_channels), ConvBNReLU(key_channels, key_channels))
        self.key = nn.Sequential(ConvBNReLU(channels, key_channels), ConvBNReLU(key_channels, key_channels))
        self.value = ConvBNReLU(channels, key_channels)
        self.out = ConvBNReLU(key_channels, channels)
        self.scale = key_channels**-0.5

    def forward(self, pixels: Tensor, objects: Tensor) -> Tensor:
        """Return the context of `pixels` (N, C, h, w) among `objects` (N, C, K, 1), shape (N, C, h, w)."""
        query = self.query(pixels)
        key, value = self.key(objects).flatten(2), self.value(objects).flatten(2)
        fit = torch.einsum("ndp,ndk->npk", query.flatten(2), key) * self.scale
        context = torch.einsum("npk,ndk->ndp", fit.softmax(dim=2), value)
        return self.out(context.view_as(query))  # type: ignore[no-any-return]


class OCRBlock(nn.Module):
    """Pixel features and soft object regions in, pixel features that know their objects out.

    Parameters
    ----------
    in_channels : int
        Channels of the backbone features.
    channels, key_channels : int
        Channels of the pixel features (512) and of queries, keys and values (256).
    dropout : float
        On the channels of the result.
    """

    def __init__(
        self, in_channels: int, channels: int = 512, key_channels: int = 256, *, dropout: float = 0.05
    ) -> None:
        super().__init__()
        self.pixels = ConvBNReLU(in_channels, channels, 3)
        self.attention = ObjectAttention(channels, key_channels)
        self.merge = nn.Sequential(ConvBNReLU(2 * channels, channels), nn.Dropout2d(dropout))

    def forward(self, features: Tensor, regions: Tensor) -> Tensor:
        """Return features of shape (N, channels, h, w), given `regions` of shape (N, K, h, w)."""
        pixels = self.pixels(features)
        context = self.attention(pixels, gather_objects(pixels, regions))
        return self.merge(torch.cat([context, pixels], dim=1))  # type: ignore[no-any-return]


def region_head(in_channels: int, channels: int, num_classes: int, *, kernel: int = 1) -> nn.Sequential:
    """Return the head of the soft object regions: a convolution with norm and ReLU, then the classifier."""
    return nn.Sequential(ConvBNReLU(in_channels, channels, kernel), Classifier(channels, num_classes))
