"""What a run says at its start: where it computes, what it trains on, and what will be in the way."""

import os

import torch

from segdata.data.crops import images_of
from segdata.logs import logger
from segdata.losses.ohem import OHEMCrossEntropyLoss
from segdata.text import counted
from segdata.training.setup import Run

SLOW_STEP_SECONDS = 30.0
"""A step on a CPU that is expected to take longer is warned of."""
CPU_FLOPS_PER_THREAD = 4e10
"""What a core does per second in convolutions, by and large."""


def tell_start(run: Run) -> None:
    """Log device, data, model and length of a run, and warn of a model that is too large for a CPU."""
    recipe, world = run.recipe, run.world
    how: list[str] = [recipe.run.precision]
    how += [f"compiled ({recipe.run.compile})"] if recipe.run.compile else []
    how += ["passes replayed as a CUDA graph"] if recipe.run.cuda_graphs else []
    logger.info(f"{_device(world.device)}; {counted(world.num_ranks, 'rank')}, {', '.join(how)}")
    parameters = sum(each.numel() for each in run.model.parameters())
    backbone = recipe.model.backbone or type(run.model.backbone).__name__
    logger.info(f"{recipe.model.name} on {backbone}: {parameters / 1e6:,.2f} million parameters")
    for source in run.sources:
        part = source.source
        uniform = f", {part.class_uniform:.0%} of them by class" if part.class_uniform else ""
        logger.info(f"{part.name}: {counted(images_of([part]), 'image')}, {part.share:.1%} of the draws{uniform}")
    height, width = recipe.augmentation.crop
    images, accumulated = recipe.schedule.per_rank(world.num_ranks)
    at_a_time = f" ({images} at a time on each rank)" if accumulated > 1 or world.num_ranks > 1 else ""
    begun = f", from step {run.progress.step:,}" if run.progress.step else ""
    batch = counted(recipe.schedule.batch_size, "crop")
    logger.info(f"{counted(run.num_steps, 'step')} of {batch} of {height}x{width}{at_a_time}{begun}, to {run.out}")
    _warn_of_slow_steps(run)
    _warn_of_easy_pixels(run)


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return f"{device} ({found.name}, {found.total_memory / 2**30:.0f} GiB)"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{device} ({counted(torch.get_num_threads(), 'thread')}, {memory:.0f} GiB)"


def _warn_of_slow_steps(run: Run) -> None:
    if run.world.device.type != "cpu":
        return
    per_step = run.probe.flops_per_image * run.recipe.schedule.batch_size / run.world.num_ranks
    seconds = per_step / (CPU_FLOPS_PER_THREAD * torch.get_num_threads())
    if seconds > SLOW_STEP_SECONDS:
        days = seconds * (run.num_steps - run.progress.step) / 86400
        logger.warning(
            f"a step is {per_step / 1e12:,.0f} TFLOPs, about {seconds / 60:,.0f} min on this CPU, the whole run some "
            f"{days:,.0f} days. For a CPU there are the recipes *-lite0-*, camvid-small-* and tiny-*."
        )


def _warn_of_easy_pixels(run: Run) -> None:
    main, (height, width) = run.criterion.main, run.recipe.augmentation.crop
    if isinstance(main, OHEMCrossEntropyLoss) and main.min_kept >= height * width:
        logger.warning(
            f"ohem keeps at least {main.min_kept:,} pixels of each crop, which has {height * width:,}: none is left "
            "out, and the loss is plain cross entropy. Set a lower loss.main_settings.min_kept."
        )
