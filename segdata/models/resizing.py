"""Bilinear resizing and means over regions, on CUDA as matrix products.

Both are linear in the maps. torch's CUDA kernels for them add up gradients one by one: the backward pass of an
upsampling by 8 takes fifty times as long as the memory traffic needs (H200, bfloat16). Products with small constant
matrices come near it. Elsewhere torch's own functions are called.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

LONGEST_SIDE = 512
"""Rows or columns of the largest map that is resized by products: they cost this many multiplications per value."""

FEWEST_CHANNELS = 32
"""Channels from which channels-last maps are resized as such; rows of fewer make narrow products."""

MOST_KEPT = 256
"""Matrices that are kept at most; a training run needs a few dozen, which take a few MB together."""

_KEPT: dict[tuple[Any, ...], Any] = {}

T = TypeVar("T")


def resize_bilinear(maps: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """Resize maps bilinearly, and return them unchanged where they have the size already.

    On CUDA, maps of up to 512 rows and columns are enlarged by a matrix product for each direction, in their own
    dtype, whatever autocast says; the products add up in float32. Everything else is done by `F.interpolate`.

    Parameters
    ----------
    maps : Tensor of any floating dtype, shape (N, C, h, w)
    size : (int, int)
        Target (height, width).
    align_corners : bool
        True puts the corner pixels' centers onto each other; False their corners.

    Returns
    -------
    Tensor, shape (N, C, height, width)
        Channels-last if `maps` are and have at least 32 channels.

    Examples
    --------
    >>> resize_bilinear(torch.tensor([[[[0.0, 6.0]]]]), (1, 4)).tolist()
    [[[[0.0, 1.5, 4.5, 6.0]]]]
    """
    (h, w), (height, width) = maps.shape[-2:], size
    if (h, w) == (height, width):
        return maps
    if not (_by_products(maps) and h <= height and w <= width and max(h, w) <= LONGEST_SIDE):
        return F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=align_corners)
    rows_Hh = _constant(interpolation_matrix, h, height, align_corners, maps.dtype, maps.device)
    columns_Ww = _constant(interpolation_matrix, w, width, align_corners, maps.dtype, maps.device)
    with torch.autocast(maps.device.type, enabled=False):  # it would halve the precision of float32
        if maps.shape[1] >= FEWEST_CHANNELS and _is_channels_last(maps):
            return _enlarged_channels_last(maps, rows_Hh, columns_Ww)
        return _enlarged(maps, rows_Hh, columns_Ww)


def _enlarged(maps: Tensor, rows_Hh: Tensor, columns_Ww: Tensor) -> Tensor:
    """Enlarge columns, then rows: the first product has one operand of all rows, and the fewer values."""
    num, channels, h, w = maps.shape
    wide = maps.reshape(-1, w) @ columns_Ww.mT
    return (rows_Hh @ wide.view(num * channels, h, -1)).view(num, channels, len(rows_Hh), len(columns_Ww))


def _enlarged_channels_last(maps: Tensor, rows_Hh: Tensor, columns_Ww: Tensor) -> Tensor:
    """Enlarge rows, of all columns and channels at once, then columns, of all channels."""
    num, channels, h, w = maps.shape
    high = rows_Hh @ maps.permute(0, 2, 3, 1).reshape(num, h, w * channels)
    return (columns_Ww @ high.view(num, -1, w, channels)).permute(0, 3, 1, 2)


def interpolation_matrix(
    source: int, target: int, align_corners: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the weights by which `F.interpolate` makes `target` values of `source` along one direction.

    Rounded so that the two weights of a row add up to 1 exactly: a constant map stays as it is in every dtype. Exact
    for powers of two as factors (of up to 128 in bfloat16).

    Returns
    -------
    Tensor, shape (target, source)

    Examples
    --------
    >>> interpolation_matrix(2, 4, False, torch.float32, torch.device("cpu")).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    step = (source - 1) / max(target - 1, 1) if align_corners else source / target
    first = 0.0 if align_corners else (step - 1) / 2
    places = first + step * torch.arange(target, dtype=torch.float64, device=device)
    spacing = torch.finfo(dtype).eps / 2  # of the dtype's numbers in [0.5, 1)
    places = ((places / spacing).round() * spacing).clamp(0, source - 1)
    distances = (places[:, None] - torch.arange(source, device=device)).abs()
    return (1 - distances).clamp(min=0).to(dtype)


def region_means(x: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Return the means over s x s regions for each s of `sizes`, as `F.adaptive_avg_pool2d` does for one.

    On CUDA all of them come from one matrix product, in the dtype of `x`, which adds up in float32.

    Parameters
    ----------
    x : Tensor of any floating dtype, shape (N, C, h, w)
    sizes : sequence of int
        Regions per side. Region i of s has the rows ``floor(i * h / s)`` to ``ceil((i + 1) * h / s) - 1``.

    Returns
    -------
    list of Tensor, shapes (N, C, s, s)
        In the order of `sizes`.

    Examples
    --------
    >>> one, two = region_means(torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]]), (1, 2))
    >>> one.tolist(), two.tolist()
    ([[[[4.0]]]], [[[[1.0, 3.0], [5.0, 7.0]]]])
    """
    if not _by_products(x):
        return [F.adaptive_avg_pool2d(x, size) for size in sizes]
    num, channels, h, w = x.shape
    weights_Rp, factors_R1 = _constant(region_matrix, h, w, tuple(sizes), x.dtype, x.device)
    with torch.autocast(x.device.type, enabled=False):
        if _is_channels_last(x):
            sums_NRC = weights_Rp @ x.permute(0, 2, 3, 1).reshape(num, h * w, channels)
        else:
            sums_NRC = (x.reshape(num * channels, h * w) @ weights_Rp.mT).view(num, channels, -1).mT
    means_NRC = (sums_NRC * factors_R1).to(x.dtype)
    parts = means_NRC.split_with_sizes([size * size for size in sizes], dim=1)
    return [part.view(num, size, size, channels).permute(0, 3, 1, 2) for part, size in zip(parts, sizes, strict=True)]


def region_matrix(
    height: int, width: int, sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the matrix that sums pixels over all regions, and what is missing to the means.

    A reciprocal area is not a number of bfloat16, and a sum may exceed float16. So the matrix has powers of two,
    which are exact, and the result of the product is multiplied by the rest in float32.

    Returns
    -------
    weights : Tensor, shape (R, height * width)
        For the regions of all `sizes`: in a region of area a, ``2**-floor(log2(a))``; 0 elsewhere.
    factors : Tensor of float32 (float64 for weights of float64), shape (R, 1)
        ``2**floor(log2(a)) / a``, in (0.5, 1].
    """
    regions = []
    for size in sizes:
        rows, columns = _intervals(height, size, device), _intervals(width, size, device)
        regions.append((rows[:, None, :, None] & columns[None, :, None, :]).reshape(size * size, height * width))
    inside = torch.cat(regions)
    areas = inside.sum(1, keepdim=True).double()
    powers = areas.log2().floor().exp2()
    return (inside / powers).to(dtype), (powers / areas).to(torch.promote_types(dtype, torch.float32))


def _intervals(length: int, size: int, device: torch.device) -> Tensor:
    """Return which of `length` pixels lie in which of `size` regions, shape (size, length)."""
    region, pixel = torch.arange(size, device=device)[:, None], torch.arange(length, device=device)
    return (pixel >= region * length // size) & (pixel < ((region + 1) * length + size - 1) // size)


def _by_products(maps: Tensor) -> bool:
    return maps.is_cuda


def _is_channels_last(maps: Tensor) -> bool:
    """Whether the channels of a pixel are neighbors in memory; for maps of one pixel the strides tell."""
    return maps.is_contiguous(memory_format=torch.channels_last) and maps.stride(3) == maps.shape[1]


def _constant(make: Callable[..., T], *arguments: Any) -> T:
    """Return ``make(*arguments)``, made once per process where it can be kept.

    In a compiled graph it is a few operations of the graph. Memory that a CUDA graph allocates while it is captured is
    filled when it is replayed, so it is not kept. What is kept is never dropped: a captured graph may read it.
    """
    if torch.compiler.is_compiling():
        return make(*arguments)
    key = (make, *arguments)
    if key in _KEPT:
        return _KEPT[key]  # type: ignore[no-any-return]
    with torch.inference_mode(False), torch.no_grad():  # a tensor made in inference mode could not be trained with
        made = make(*arguments)
    if len(_KEPT) < MOST_KEPT and not (arguments[-1].type == "cuda" and torch.cuda.is_current_stream_capturing()):
        _KEPT[key] = made
    return made
