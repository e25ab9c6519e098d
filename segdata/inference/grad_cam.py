"""What of an image speaks for a class: Grad-CAM of any layer, for the final map or an auxiliary one.

References
----------
Selvaraju et al. Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization. ICCV 2017.
Vinogradova, Dibrov, Myers. Towards Interpretable Semantic Segmentation via Gradient-weighted Class Activation Mapping.
AAAI 2020: the score is the sum over pixels.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from segdata.data.normalization import IMAGENET_MEAN, IMAGENET_STD, normalize
from segdata.errors import SettingsError
from segdata.labels.names import did_you_mean
from segdata.models.layers import resize

MAIN = "main"
_STAGE = re.compile(r"stage([1-9])")


def grad_cam(
    model: nn.Module,
    image: NDArray[np.uint8],
    class_id: int,
    *,
    layer: str | None = None,
    head: str = MAIN,
    device: torch.device | str = "cpu",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> NDArray[np.float32]:
    """Return how much each place of a layer speaks for a class.

    Parameters
    ----------
    model : nn.Module
        A `Segmenter`; is put on the device and in evaluation mode.
    image : ndarray of uint8, shape (3, H, W)
    class_id : int
        Training id of the class.
    layer : str, optional
        ``stageN`` for a feature of the backbone, or the name of any module that returns (N, C, h, w); the backbone's
        last feature if not given.
    head : str
        ``main`` for the final map, or an auxiliary one by its name, as ``stage3`` or ``coarse1``.
    device, mean, std
        As for `Predictor`.

    Returns
    -------
    ndarray of float32, shape (H, W)
        From 0 to 1, the largest being 1; all 0 where nothing speaks for the class.

    Raises
    ------
    SettingsError
        If there is no such layer or map, or the layer returns something else.

    Notes
    -----
    Channels are weighed by the mean gradient of the class's score summed over all pixels, added, and cut off at 0.
    Where a layer is called several times, for several image scales, its largest output counts.
    """
    model = model.to(device).eval()
    pixels = normalize(torch.from_numpy(image)[None].to(device), mean, std)
    kept: list[Tensor] = []
    with ExitStack() as stack, torch.enable_grad():
        module, choose = _layer(model, layer)

        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            kept.append(choose(output))

        stack.callback(module.register_forward_hook(keep).remove)
        scores = _scores(model, pixels, head)
        if not kept or not isinstance(kept[0], Tensor) or kept[0].ndim != 4:
            raise SettingsError(f"layer '{layer}': does not return features of shape (N, C, h, w). Choose another one.")
        if not 0 <= class_id < scores.shape[1]:
            raise SettingsError(f"class {class_id}: the map '{head}' has {scores.shape[1]} classes.")
        features = max(kept, key=lambda each: each.shape[-1])
        (gradient,) = torch.autograd.grad(scores[:, class_id].sum(), features, allow_unused=True)
    if gradient is None:
        raise SettingsError(f"layer '{layer}': the map '{head}' does not depend on it. Choose a layer before it.")
    weights = gradient.mean((2, 3), keepdim=True)
    heat = (weights * features.detach()).sum(1, keepdim=True).relu()
    whole = resize(heat.float(), image.shape[1:])[0, 0]
    largest = float(whole.max())
    found: NDArray[np.float32] = (whole / largest if largest > 0 else whole).cpu().numpy()
    return found


def _layer(model: nn.Module, name: str | None) -> tuple[nn.Module, Callable[[Any], Any]]:
    """Return the module to listen to, and what of its output is meant."""
    backbone = model.backbone
    assert isinstance(backbone, nn.Module)
    if name is None:
        return backbone, lambda features: features[-1]
    stage = _STAGE.fullmatch(name)
    if stage:
        number, count = int(stage[1]), len(backbone.strides)  # type: ignore[arg-type]
        if number > count:
            raise SettingsError(f"layer '{name}': the backbone has {count} stages.")
        return backbone, lambda features: features[number - 1]
    modules = dict(model.named_modules())
    if name not in modules or not name:
        raise SettingsError(f"layer '{name}': is no module of the model.{did_you_mean(name, list(modules))}")
    return modules[name], lambda output: output


def _scores(model: nn.Module, images: Tensor, head: str) -> Tensor:
    """Return the class scores of a map."""
    if head == MAIN:
        scores: Tensor = model(images).logits
        return scores
    maps: dict[str, Tensor] = {each.name: each.logits for each in model.encode(images, with_auxiliary=True).auxiliary}  # type: ignore[operator]
    if head not in maps:
        raise SettingsError(f"head '{head}': the model has the maps {', '.join([MAIN, *maps])}.")
    return maps[head]
