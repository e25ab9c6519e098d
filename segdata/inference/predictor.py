"""One image through a model: at several scales, mirrored, in windows, and in smaller ones where memory is short.

It puts `segdata.models.predict` to work on images as they are stored, of any size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from segdata.config.steps import EvaluationRecipe
from segdata.data.normalization import IMAGENET_MEAN, IMAGENET_STD, normalize
from segdata.data.resampling import scale_to_fit
from segdata.errors import SegdataError, SettingsError
from segdata.inference.sliding import Size, slide
from segdata.models import HierarchicalSegmenter, Segmenter, predict
from segdata.models.settings import check_scales

Precision = Literal["float32", "bfloat16", "float16"]
SMALLEST_WINDOW = 256
"""Pixels of a side below which windows are not made smaller: a model sees too little there."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one image.

    Attributes
    ----------
    class_ids : ndarray of uint8, shape (H, W)
        The most probable class of each pixel.
    confidence : ndarray of float32, shape (H, W)
        Its probability.
    probabilities : ndarray of float16, shape (K, H, W), or None
        Of every class, if they were asked for.
    tiled : bool
        Whether the image went through smaller windows than asked for, since memory did not hold them.
    """

    class_ids: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    probabilities: NDArray[np.float16] | None
    tiled: bool


class Predictor:
    """A model ready to predict images one by one.

    Parameters
    ----------
    model : Segmenter
        Is put on the device and in evaluation mode.
    settings : EvaluationRecipe
        Size, scales, flip and window. `window` and `stride` are in pixels of the image at that size, before scales.
    device : torch.device or str
    precision : {"float32", "bfloat16", "float16"}
        Of the model's arithmetic; probabilities are averaged in float32.
    mean, std : sequence of three floats
        Of the images the model was trained on; see `segdata.data.normalization`.

    Raises
    ------
    SettingsError
        If the model cannot fuse the scales, or the window cannot be slid.
    """

    def __init__(
        self,
        model: Segmenter,
        settings: EvaluationRecipe,
        device: torch.device | str = "cpu",
        *,
        precision: Precision = "float32",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        _check_window(settings)
        if isinstance(model, HierarchicalSegmenter):
            check_scales(settings.scales)
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.settings = settings
        self.dtype: torch.dtype = getattr(torch, precision)
        self.mean, self.std = tuple(mean), tuple(std)
        self._too_large: int | None = None
        """Pixels of the smallest window that did not fit into memory."""

    def predict(self, image: NDArray[np.uint8], *, keep_probabilities: bool = False) -> Prediction:
        """Predict one image of any size.

        Where memory runs out, the image is tried again in windows of half the size, down to `SMALLEST_WINDOW`; later
        images start with what fitted.

        Parameters
        ----------
        image : ndarray of uint8, shape (3, H, W)
            As `segdata.codecs.photos.read_image` gives it.
        keep_probabilities : bool
            Also return the probability of every class; takes 2 K bytes per pixel.

        Raises
        ------
        SegdataError
            If memory does not even hold the smallest window.
        """
        original = (image.shape[1], image.shape[2])
        size = fitted_size(original, self.settings.resize)
        asked = self.settings.window or size
        window, stride = asked, self.settings.stride or default_stride(asked)
        while True:
            if not self._is_too_large(window, size):
                try:
                    bands = list(self._bands(image, size, window, stride, keep_probabilities))
                    return _join(bands, tiled=window != asked)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                # Out of the except block, so that the traceback no longer holds the tensors.
                self._note_too_large(window, size)
            window = smaller_window(window, size)
            stride = default_stride(window)

    @torch.inference_mode()
    def _bands(
        self, image: NDArray[np.uint8], size: Size, window: Size, stride: Size, keep_probabilities: bool
    ) -> Iterator["_Band"]:
        """Predict band by band, with one row of windows at a time on the device; of a resized image, all rows."""
        pixels = torch.from_numpy(image)
        batch_size = self.settings.batch_size
        original = (pixels.shape[1], pixels.shape[2])
        if size == original:
            found = slide(self._score, pixels, window, stride, batch_size=batch_size)
        else:
            resized = resize_maps(pixels[None].float(), size)[0].round()
            whole = torch.cat(list(slide(self._score, resized, window, stride, batch_size=batch_size)), dim=1)
            found = iter([resize_maps(whole[None], original)[0]])
        for probabilities_Khw in found:
            confidence, class_ids = probabilities_Khw.max(dim=0)
            kept = probabilities_Khw.half().cpu().numpy() if keep_probabilities else None
            yield _Band(class_ids.to(torch.uint8).cpu().numpy(), confidence.cpu().numpy(), kept)

    def _score(self, pixels: Tensor) -> Tensor:
        """Return the class probabilities of parts of an image, shape (N, K, h, w)."""
        images = normalize(pixels.to(self.device), self.mean, self.std)
        chosen = self.settings
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return predict(self.model, images, scales=chosen.scales, flip=chosen.flip, average=chosen.average)

    def _is_too_large(self, window: Size, size: Size) -> bool:
        return self._too_large is not None and _area(window, size) >= self._too_large

    def _note_too_large(self, window: Size, size: Size) -> None:
        """Remember what did not fit, and give back what torch holds for later use."""
        self._too_large = _area(window, size)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def fitted_size(size: Size, sides: Size | None) -> Size:
    """Return the size at which an image is predicted that is brought to a longer and a shorter side.

    >>> fitted_size((375, 500), (2048, 512)), fitted_size((375, 500), None)
    ((512, 683), (375, 500))
    """
    factor = scale_to_fit(size, sides)
    return max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))


def resize_maps(maps: Tensor, size: Size) -> Tensor:
    """Return pixels or probabilities of shape (N, C, H, W) at another size, bilinearly."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class _Band:
    """Some rows of a prediction."""

    class_ids: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    probabilities: NDArray[np.float16] | None


def default_stride(window: Size) -> Size:
    """Return two thirds of a window, so that each pixel lies well inside one: MMSegmentation's 513 of 769.

    >>> default_stride((769, 512))
    (513, 342)
    """
    height, width = (-(-2 * side // 3) for side in window)
    return height, width


def smaller_window(window: Size, size: Size) -> Size:
    """Return the window to try after one that did not fit: half of its longer side, of what of it the image fills.

    >>> smaller_window((1024, 2048), (1024, 2048)), smaller_window((9000, 9000), (700, 300))
    ((1024, 1024), (350, 300))

    Raises
    ------
    SegdataError
        If it would be smaller than `SMALLEST_WINDOW`.
    """
    height, width = min(window[0], size[0]), min(window[1], size[1])
    longer = max(height, width)
    if longer <= SMALLEST_WINDOW:
        raise SegdataError(
            f"prediction: a window of {height} x {width} pixels does not fit into memory. "
            "Free some memory, predict at smaller --scales, or use a smaller model or a larger machine."
        )
    half = max(SMALLEST_WINDOW, -(-longer // 2))
    return (half, width) if height == longer else (height, half)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an exception is a device's or the machine's way to say that memory ran out."""
    # torch's allocator on the CPU and cuBLAS raise a plain RuntimeError.
    told = ("out of memory", "DefaultCPUAllocator", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in told)


def _check_window(settings: EvaluationRecipe) -> None:
    """Refuse a window that cannot be slid."""
    window, stride = settings.window, settings.stride or (1, 1)
    if window is not None and any(not 1 <= step <= side for step, side in zip(stride, window, strict=True)):
        raise SettingsError(
            f"window {window}, stride {stride}: expected (height, width) above 0, the stride at most the window."
        )


def _area(window: Size, size: Size) -> int:
    """Return the pixels of the part of an image that a window shows."""
    return min(window[0], size[0]) * min(window[1], size[1])


def _join(bands: list[_Band], *, tiled: bool) -> Prediction:
    """Put the bands of an image together."""
    probabilities = [band.probabilities for band in bands if band.probabilities is not None]
    return Prediction(
        class_ids=np.concatenate([band.class_ids for band in bands]),
        confidence=np.concatenate([band.confidence for band in bands]),
        probabilities=np.concatenate(probabilities, axis=1) if probabilities else None,
        tiled=tiled,
    )
