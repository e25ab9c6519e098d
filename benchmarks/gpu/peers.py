"""Part: the same networks as others have them, on the same card: MMSegmentation's, segmentation_models_pytorch's.

Their modules are trained by the same loop with the same images and the same cross entropy, in bfloat16 under autocast.
MMSegmentation's networks come with channels first and uncompiled; ours are measured that way, with channels last, and
with compiled blocks in passes that are replayed, as the trainer can run them.
"""

import sys
import time
import traceback
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.gpu.measure import Report, arguments, milliseconds
from segdata.config.steps import CompiledPart
from segdata.models import build_model
from segdata.training.compilation import compiled_model

CLASSES = 19
_NORM = {"type": "BN", "requires_grad": True}
_LOSS = {"type": "CrossEntropyLoss"}
_COMMON = {"num_classes": CLASSES, "norm_cfg": _NORM, "align_corners": False, "loss_decode": _LOSS}
_PLAIN = {**_COMMON, "type": "FCNHead", "num_convs": 1, "concat_input": False}
_RESNET = {
    **{"type": "ResNetV1c", "depth": 101, "num_stages": 4, "out_indices": (0, 1, 2, 3), "norm_cfg": _NORM},
    **{"dilations": (1, 1, 2, 4), "strides": (1, 2, 1, 1), "norm_eval": False, "contract_dilation": True},
}
_WIDTHS = (48, 96, 192, 384)
_FIRST = {"num_modules": 1, "num_branches": 1, "block": "BOTTLENECK", "num_blocks": (4,), "num_channels": (64,)}
_STAGES = {
    f"stage{n}": {
        **{"num_modules": modules, "num_branches": n, "block": "BASIC"},
        **{"num_blocks": (4,) * n, "num_channels": _WIDTHS[:n]},
    }
    for n, modules in ((2, 1), (3, 4), (4, 3))
}
_HRNET = {"type": "HRNet", "norm_cfg": _NORM, "norm_eval": False, "extra": {"stage1": _FIRST, **_STAGES}}


class _Stub(types.ModuleType):
    """Stands for a compiled module that the networks import and never call."""

    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def mmsegmentation(name: str) -> tuple[nn.Module, nn.Module, nn.Module, dict[str, Any]]:
    """Return backbone, head, auxiliary head and cross entropy of a model of MMSegmentation's zoo, with our crop."""
    for stub in ("mmcv.ops", "cv2"):
        try:
            __import__(stub)
        except ImportError:
            sys.modules[stub] = _Stub(stub)
    from mmengine.registry import init_default_scope  # type: ignore[import-not-found]

    init_default_scope("mmseg")
    from mmseg.registry import MODELS  # type: ignore[import-not-found]
    from mmseg.utils import register_all_modules  # type: ignore[import-not-found]

    register_all_modules()
    if name == "pspnet":
        head = {**_COMMON, "type": "PSPHead", "in_channels": 2048, "in_index": 3, "channels": 512, "dropout_ratio": 0.1}
        auxiliary = {**_PLAIN, "in_channels": 1024, "in_index": 2, "channels": 256, "dropout_ratio": 0.1}
        parts = (_RESNET, {**head, "pool_scales": (1, 2, 3, 6)}, auxiliary)
    else:
        joined = {"in_channels": list(_WIDTHS), "in_index": (0, 1, 2, 3), "input_transform": "resize_concat"}
        head = {**_COMMON, **joined, "type": "OCRHead", "channels": 512, "ocr_channels": 256, "dropout_ratio": -1}
        auxiliary = {**_PLAIN, **joined, "channels": sum(_WIDTHS), "kernel_size": 1, "dropout_ratio": -1}
        parts = (_HRNET, head, auxiliary)
    backbone, head_module, auxiliary_module = (MODELS.build(part) for part in parts)
    return backbone, head_module, auxiliary_module, {"cascade": name == "ocrnet"}


class _Peer(nn.Module):
    """Backbone and heads as MMSegmentation's encoder-decoders call them."""

    def __init__(self, backbone: nn.Module, head: nn.Module, auxiliary: nn.Module, *, cascade: bool) -> None:
        super().__init__()
        self.backbone, self.head, self.auxiliary, self.cascade = backbone, head, auxiliary, cascade

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return class scores of the head and of the auxiliary head."""
        features = self.backbone(images)
        coarse = self.auxiliary(features)
        return [self.head(features, coarse) if self.cascade else self.head(features), coarse]


class _Ours(nn.Module):
    """Our model with the one auxiliary head that the peer has."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return class scores of the head and of the auxiliary ones."""
        output = self.model(images)
        return [output.logits, *(each.logits for each in output.auxiliary)]


def pairs(name: str, *, tiny: bool) -> dict[str, Callable[[], nn.Module]]:
    """Return ours and the peer's network of a name."""
    if tiny:  # the path alone: no peer is installed where the tests run
        return {
            "ours": lambda: _Ours(build_model("fcn", CLASSES, backbone="resnet_tiny", head_channels=8, aux_stages=(1,)))
        }
    ours: dict[str, dict[str, Any]] = {
        "pspnet": {"name": "pspnet", "aux_stages": (3,)},
        "ocrnet": {"name": "ocrnet"},
        "deeplabv3plus": {"name": "deeplabv3plus", "backbone": "resnet101", "output_stride": 16, "head_channels": 256},
    }
    built = {"ours": lambda: _Ours(build_model(num_classes=CLASSES, channels_last=True, **ours[name]))}
    if name == "deeplabv3plus":

        def theirs() -> nn.Module:
            import segmentation_models_pytorch as smp  # type: ignore[import-not-found]

            class Listed(nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.model = smp.DeepLabV3Plus("resnet101", encoder_weights=None, classes=CLASSES)

                def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
                    return [self.model(images)]

            return Listed()

        return {**built, "segmentation_models_pytorch": theirs}

    def peer() -> nn.Module:
        backbone, head, auxiliary, how = mmsegmentation(name)
        return _Peer(backbone, head, auxiliary, **how)

    return {**built, "MMSegmentation": peer}


class Training:
    """Steps with the mean cross entropy of every map, upsampled to the label."""

    def __init__(
        self,
        model: nn.Module,
        images: torch.Tensor,
        ids: torch.Tensor,
        *,
        compiled: CompiledPart | None,
        replayed: bool,
    ) -> None:
        self.images, self.ids = images, ids
        self.model = compiled_model(model, compiled)
        self.loss = torch.compile(cross_entropies) if compiled else cross_entropies
        fused = images.device.type == "cuda" or None
        self.optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=fused)

        self.replay: Callable[[], None] | None = None
        if replayed:
            for _ in range(3):
                self.step()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._forward_backward()
            self.replay = graph.replay

    def _forward_backward(self) -> None:
        with torch.autocast(self.images.device.type, torch.bfloat16):
            scores = self.model(self.images)
        self.loss(scores, self.ids).backward()

    def step(self) -> None:
        """Take a step."""
        (self.replay or self._forward_backward)()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)


def cross_entropies(scores: list[torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """Return the sum of the mean cross entropies of maps."""
    resized = [F.interpolate(each.float(), ids.shape[1:], mode="bilinear", align_corners=False) for each in scores]
    return torch.stack([F.cross_entropy(each, ids) for each in resized]).sum()


def main() -> int:
    """Measure a network of ours beside the peer's; with --warm only fill the compiler's cache."""
    chosen = arguments("name")
    device, report = torch.device(chosen.device), Report(chosen.out)
    images = 2 if chosen.name == "ocrnet" or chosen.tiny else 8
    crop = (64, 128) if chosen.tiny else (1024, 2048) if chosen.name == "ocrnet" else (512, 1024)
    batch = torch.randn(images, 3, *crop, device=device), torch.randint(0, CLASSES, (images, *crop), device=device)
    torch.backends.cudnn.benchmark = True
    add = report.table(
        f"{chosen.name}, cross entropy, {images} crops of {crop[0]} x {crop[1]}, bfloat16",
        ["network", "parameters, millions", "way", "ms", "images/s", "peak GiB"],
    )
    ways: list[tuple[str, bool, CompiledPart | None, bool]] = []
    if not chosen.warm:
        names = reversed(pairs(chosen.name, tiny=chosen.tiny))
        ways += [(name, last, None, False) for name in names for last in (False, True)]
    if not chosen.tiny:
        ways += [("ours", True, None, True), ("ours", True, "blocks", True)]
    for name, last, compiled, replayed in ways:
        start = time.perf_counter()
        try:
            with device:
                torch.manual_seed(0)
                model = pairs(chosen.name, tiny=chosen.tiny)[name]().to(device).train()
            place = torch.channels_last if last else torch.contiguous_format
            model.to(memory_format=place)  # type: ignore[call-overload]
            if name == "ours" and hasattr(model.model, "settings"):
                object.__setattr__(model.model.settings, "channels_last", last)
            training = Training(model, batch[0].to(memory_format=place), batch[1], compiled=compiled, replayed=replayed)
            if device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            ms = milliseconds(training.step, device, rounds=10, warmup=3)
        except Exception as error:
            report.note(f"{name}: {type(error).__name__} ({str(error).strip()[:300]})")
            traceback.print_exc()
            continue
        memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
        parameters = sum(each.numel() for each in model.parameters()) / 1e6
        way = ("channels last" if last else "channels first") + (f", {compiled} compiled" if compiled else "")
        way += ", replayed" if replayed else ""
        add(name, parameters, way, ms, 1e3 * images / ms, memory)
        print(name, way, f"{ms:.1f} ms, {time.perf_counter() - start:.1f} s", flush=True)
        del model, training
    return 0


if __name__ == "__main__":
    sys.exit(main())
