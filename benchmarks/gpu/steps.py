"""Part: training steps of a recipe's model at its own crop, as the trainer takes them."""

import re
import sys
import time
import traceback
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.gpu.measure import Report, arguments, milliseconds, wait_for
from segdata.config.recipe import Recipe, load_recipe
from segdata.data.loader import Batch, Sample
from segdata.distributed.process_group import DistributedContext
from segdata.losses.by_name import build_criterion
from segdata.models import build_model
from segdata.training.compilation import compiled_graphs
from segdata.training.optimizer import build_optimizer
from segdata.training.speed import peak_flops, peak_memory, probe
from segdata.training.step import Stepper

TINY = ("model.backbone=hrnet_tiny", "model.head_channels=16", "model.aux_channels=8")
FULL_SIZE = {"cityscapes-ocrnet-cpp": ("augmentation.crop=[1024, 2048]",)}
IMAGES = {"cityscapes-pspnet-cpp": 8, "cityscapes-deeplabv3plus-cpp": 8}
"""Crops a step on one GPU; 2 of the others."""
KINDS = {
    "triton (fused by compile)": r"^triton_",
    "convolution, matrix product": r"conv|gemm|wgrad|dgrad|fprop|xmma|cutlass|cudnn.*sm\d|nvjet|splitK|cublas",
    "batch norm": r"batch_?norm|bn_fw|bn_bw",
    "resizing": r"upsample|interpolate",
    "change of layout": r"nchwToNhwc|nhwcToNchw|transpose|permute|Cat",
    "copies and casts": r"copy|Memcpy|Memset|fill",
    "loss": r"softmax|nll|topk|radix|sort|gather|im2col|col2im|cholesky|trsm|potrf",
    "optimizer": r"multi_tensor|Fused",
    "pooling": r"pool",
    "reduction": r"reduce",
    "elementwise": r"elementwise",
}
"""Kinds of kernel by what their names hold; the first that fits."""
TINY_DILATED = ("model.backbone=resnet_tiny", "model.head_channels=16", "model.aux_channels=8")


def made_batch(number: int, crop: tuple[int, int], num_classes: int, *, pinned: bool) -> Batch:
    """Return a batch of noise with labels of blocks, as the loader would hand it over."""
    rng = np.random.default_rng(9802)
    images = torch.from_numpy(rng.integers(0, 256, (number, 3, *crop), np.uint8))
    blocks = rng.integers(0, num_classes, (number, -(-crop[0] // 16), -(-crop[1] // 16)), np.uint8)
    ids = torch.from_numpy(np.kron(blocks, np.ones((1, 16, 16), np.uint8))[:, : crop[0], : crop[1]].copy())
    if pinned:
        images, ids = images.pin_memory(), ids.pin_memory()
    samples = [
        Sample(images[n], ids[n], (0, crop[0], 0, crop[1]), (), {}, ids[n].numel(), n, f"{n}") for n in range(number)
    ]
    return Batch(images, ids, samples)


def build(recipe: Recipe, device: torch.device) -> Stepper:
    """Return the trainer's own step over a model with initial weights."""
    with device:
        model = build_model(**recipe.model_arguments() | {"weights": None}).to(device)
    criterion = build_criterion(**recipe.criterion_arguments()).to(device)
    world = DistributedContext(device=device)
    return Stepper(model, criterion, build_optimizer(model, recipe.optimizer), recipe, world)


def measured(recipe: Recipe, device: torch.device, images: int, flops: float, *, rounds: int) -> dict[str, Any]:
    """Return the figures of a variant."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    stepper = build(recipe, device)
    batch = made_batch(images, recipe.augmentation.crop, recipe.table.num_classes, pinned=device.type == "cuda")
    shares = [1.0]  # the whole batch in one pass
    start = time.perf_counter()
    stepper.run(batch, shares)
    wait_for(device)
    first = time.perf_counter() - start
    ms = milliseconds(lambda: stepper.run(batch, shares), device, rounds=rounds, warmup=4)  # a graph is recorded there
    peak = peak_flops(device, recipe.run.precision)
    per_second = 1e3 * images / ms
    return {
        "stepper": stepper,
        "batch": batch,
        "shares": shares,
        "ms": ms,
        "images/s": per_second,
        "mfu": None if peak is None else per_second * flops / peak,
        "gib": peak_memory(device) / 2**30,
        "first": first,
    }


def profile_of(found: dict[str, Any], device: torch.device, *, steps: int = 3) -> "Profile":
    """Return where the time of a step goes."""
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CUDA] if device.type == "cuda" else [ProfilerActivity.CPU]
    with profile(activities=kinds) as recorded:
        start = time.perf_counter()
        for _ in range(steps):
            found["stepper"].run(found["batch"], found["shares"])
        wait_for(device)
        wall = time.perf_counter() - start
    times: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in recorded.key_averages():
        spent = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        times[event.key] += spent / 1e3 / steps
        calls[event.key] += event.count // steps
    for name, spent in times.most_common(60):
        print(f"{spent:8.3f} ms {calls[name]:5d} x {name[:150]}")
    return Profile(times, 1e3 * wall / steps)


class Profile(NamedTuple):
    """Milliseconds of a step by kernel, and in all."""

    times: "Counter[str]"
    wall: float

    def by_kind(self) -> list[tuple[str, float]]:
        """Return the milliseconds of each kind of kernel, the longest first."""
        kinds: Counter[str] = Counter()
        for name, spent in self.times.items():
            kinds[next((kind for kind, holds in KINDS.items() if re.search(holds, name)), "other")] += spent
        return kinds.most_common()


def add_profile(report: Report, title: str, profile: Profile) -> None:
    """Add the kinds of kernel and the ten longest kernels to a report."""
    busy = sum(profile.times.values()) or 1.0
    add = report.table(
        f"{title}: device time by kind of kernel, {busy:.1f} of a step's {profile.wall:.1f} ms", ["kind", "ms", "share"]
    )
    for kind, spent in profile.by_kind():
        add(kind, spent, f"{100 * spent / busy:.1f}%")
    add = report.table(f"{title}: the ten longest kernels", ["kernel", "ms", "share"])
    for name, spent in profile.times.most_common(10):
        add(f"`{name[:90]}`", spent, f"{100 * spent / busy:.1f}%")


class Variant(NamedTuple):
    """A way to take the steps of a recipe."""

    name: str
    images: int
    run: dict[str, Any] = {}  # noqa: RUF012
    model: dict[str, Any] = {}  # noqa: RUF012
    profiled: bool = False

    def of(self, recipe: Recipe) -> Recipe:
        """Return a recipe that takes steps this way."""
        schedule = {"batch_size": self.images, "images_per_rank": self.images}
        return recipe.model_copy(
            update={
                "run": recipe.run.model_copy(update=self.run),
                "model": recipe.model.model_copy(update=self.model),
                "schedule": recipe.schedule.model_copy(update=schedule),
            }
        )


def variants(recipe: str, *, tiny: bool) -> list[Variant]:
    """Return the ways in which the steps of a recipe are measured, those that say most first."""
    images = IMAGES.get(recipe, 2)
    eager = Variant("as written", images)
    first = Variant("channels first", images, {"channels_last": False})
    recomputed = Variant("recomputed", images, model={"checkpointing": True})
    if tiny:  # every eager way once; compilation and CUDA graphs have tests of their own
        return [each._replace(images=2) for each in ([eager, first, recomputed] if "pspnet" in recipe else [eager])]
    replayed = {"cuda_graphs": True}
    blocks = {"compile": "blocks"}
    ways = [
        eager,
        Variant("replayed", images, replayed, profiled=images == 2),
        Variant("blocks compiled, replayed", images, blocks | replayed, profiled=True),
        Variant("blocks compiled", images, blocks),
    ]
    if images > 2:
        ways += [Variant("as written", 2), Variant("blocks compiled, replayed", 2, blocks | replayed)]
    return [*ways, recomputed, first, Variant("model compiled", images, {"compile": "model"})]


def main() -> int:
    """Measure a recipe; with --warm only fill the compiler's cache, so that what is measured later compiles soon."""
    chosen = arguments("recipe")
    device, report = torch.device(chosen.device), Report(chosen.out)
    end = time.monotonic() + chosen.seconds - 5
    precision = "bfloat16" if device.type == "cuda" else "float32"
    settings = [f"run.precision={precision}", "run.channels_last=true", *FULL_SIZE.get(chosen.recipe, ())]
    if chosen.tiny:
        dilated = "pspnet" in chosen.recipe or "deeplab" in chosen.recipe
        settings += [*(TINY_DILATED if dilated else TINY), "augmentation.crop=[64, 128]", "loss.main=ce"]
        settings += ["loss.main_settings={}"]
    base = load_recipe(chosen.recipe, settings)
    torch.backends.cudnn.benchmark = True
    add = report.table(
        f"Training steps of {chosen.recipe}, crops of {base.augmentation.crop[0]} x {base.augmentation.crop[1]}, "
        f"{precision}",
        ["variant", "crops", "ms", "images/s", "MFU", "peak GiB", "first step, s", "graphs so far, breaks"],
    )
    if chosen.warm:
        images = IMAGES.get(chosen.recipe, 2)
        measured(Variant("", images, {"compile": "blocks"}).of(base), device, images, 1.0, rounds=1)
        return 0
    with torch.device("meta"):
        shell = build_model(**base.model_arguments() | {"weights": None})
    flops = probe(shell, build_criterion(**base.criterion_arguments()), base.augmentation.crop).flops_per_image
    for variant in variants(chosen.recipe, tiny=chosen.tiny):
        compiles = bool(variant.run.get("compile"))
        if time.monotonic() > end:
            report.note(f"{variant.name}: not measured, no time left")
            continue
        try:
            found = measured(variant.of(base), device, variant.images, flops, rounds=2 if chosen.tiny else 10)
        except Exception as error:
            report.note(f"{variant.name}: {type(error).__name__} ({str(error).strip()[:300]})")
            traceback.print_exc()
            continue
        graphs = "{}, {}".format(*compiled_graphs()) if compiles else "-"
        mfu = "-" if found["mfu"] is None else f"{100 * found['mfu']:.1f}%"
        add(variant.name, variant.images, found["ms"], found["images/s"], mfu, found["gib"], found["first"], graphs)
        print(f"{time.monotonic() - end + chosen.seconds:.0f} s: {variant.name}, {found['ms']:.1f} ms", flush=True)
        if variant.profiled:
            add_profile(report, f"{variant.name}, {variant.images} crops", profile_of(found, device))
        del found
    return 0


if __name__ == "__main__":
    sys.exit(main())
