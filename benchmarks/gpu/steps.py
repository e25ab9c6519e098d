"""Part: training steps of a recipe's model at its own crop, as the trainer takes them."""

import sys
import time
from collections import Counter
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.measure import Report, arguments, milliseconds, wait_for
from segdata.config.recipe import Recipe, load_recipe
from segdata.data.loader import Batch, Sample
from segdata.distributed.process_group import DistributedContext
from segdata.losses.by_name import build_criterion
from segdata.models import build_model
from segdata.training.optimizer import build_optimizer
from segdata.training.speed import peak_flops, peak_memory, probe
from segdata.training.step import Stepper, compiled_graphs

TINY = ("model.backbone=hrnet_tiny", "model.head_channels=16", "model.aux_channels=8")
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
    model = build_model(**recipe.model_arguments() | {"weights": None}).to(device)
    criterion = build_criterion(**recipe.criterion_arguments()).to(device)
    world = DistributedContext(device=device)
    return Stepper(model, criterion, build_optimizer(model, recipe.optimizer), recipe, world)


def measured(recipe: Recipe, device: torch.device, images: int, *, rounds: int) -> dict[str, Any]:
    """Return the figures of a variant."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    criterion = build_criterion(**recipe.criterion_arguments())
    shell = build_model(**recipe.model_arguments() | {"weights": None})
    flops = probe(shell, criterion, recipe.augmentation.crop).flops_per_image
    stepper = build(recipe, device)
    batch = made_batch(images, recipe.augmentation.crop, recipe.table.num_classes, pinned=device.type == "cuda")
    shares = [1.0]  # the whole batch in one pass
    start = time.perf_counter()
    stepper.run(batch, shares)
    wait_for(device)
    first = time.perf_counter() - start
    ms = milliseconds(lambda: stepper.run(batch, shares), device, rounds=rounds, warmup=2)
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


def profile_of(found: dict[str, Any], device: torch.device) -> list[tuple[str, float]]:
    """Return the ten kinds of kernel that take the most time, with their share."""
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CUDA] if device.type == "cuda" else [ProfilerActivity.CPU]
    with profile(activities=kinds) as recorded:
        for _ in range(2):
            found["stepper"].run(found["batch"], found["shares"])
        wait_for(device)
    times: Counter[str] = Counter()
    for event in recorded.key_averages():
        spent = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        times[event.key[:70]] += spent
    total = sum(times.values()) or 1
    return [(name, spent / total) for name, spent in times.most_common(10)]


def main() -> int:
    """Measure a recipe: eager with channels last and without, compiled, and with activations recomputed."""
    chosen = arguments("recipe")
    device, report = torch.device(chosen.device), Report(chosen.out)
    end = time.monotonic() + chosen.seconds - 5
    precision = "bfloat16" if device.type == "cuda" else "float32"
    settings = [f"run.precision={precision}", "run.channels_last=true"]
    if chosen.tiny:
        dilated = "pspnet" in chosen.recipe or "deeplab" in chosen.recipe
        settings += [*(TINY_DILATED if dilated else TINY), "augmentation.crop=[64, 128]", "loss.main=ce"]
        settings += ["loss.main_settings={}"]
    base = load_recipe(chosen.recipe, settings)
    images = 2 if chosen.tiny else base.schedule.images_per_rank or 2
    base = base.model_copy(
        update={"schedule": base.schedule.model_copy(update={"batch_size": images, "images_per_rank": images})}
    )
    torch.backends.cudnn.benchmark = True
    add = report.table(
        f"Training steps of {chosen.recipe}, {images} crops of {base.augmentation.crop[0]} x "
        f"{base.augmentation.crop[1]}, {precision}",
        ["variant", "ms", "images/s", "MFU", "peak GiB", "first step, s", "graphs, breaks"],
    )
    variants: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("channels last", {}, {}),
        ("channels first", {"channels_last": False}, {}),
        ("compiled", {"compile": True}, {}),
        ("recomputed", {}, {"checkpointing": True}),
    ]
    found = None
    for name, run, model in variants:
        if time.monotonic() > end or (chosen.tiny and run.get("compile")):
            report.note(f"{name}: not measured, {'slow on a CPU' if chosen.tiny else 'no time left'}")
            continue
        recipe = base.model_copy(
            update={"run": base.run.model_copy(update=run), "model": base.model.model_copy(update=model)}
        )
        torch._dynamo.reset()
        try:
            found = measured(recipe, device, images, rounds=2 if chosen.tiny else 15)
        except torch.OutOfMemoryError as error:
            report.note(f"{name}: out of memory ({str(error).splitlines()[0][:120]})")
            continue
        graphs = "{}, {}".format(*compiled_graphs()) if run.get("compile") else "-"
        mfu = "-" if found["mfu"] is None else f"{100 * found['mfu']:.1f}%"
        add(name, found["ms"], found["images/s"], mfu, found["gib"], found["first"], graphs)
        if name == "channels last":
            top = report.table("Share of device time by kernel, channels last, eager", ["kernel", "share"])
            for kernel, share in profile_of(found, device):
                top(f"`{kernel}`", f"{100 * share:.1f}%")
        del found["stepper"]
    return 0


if __name__ == "__main__":
    sys.exit(main())
