"""Part: is a model fed fast enough? A real run on synthetic scenes, by where its pooled targets come from."""

import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.gpu.measure import Report, arguments
from segdata.commands import group
from segdata.config.recipe import load_recipe
from segdata.synthetic import write_cityscapes
from segdata.training.loop import train


def run_command(*words: object) -> None:
    """Run a command of segdata in this process."""
    from click.testing import CliRunner

    result = CliRunner().invoke(group, [str(word) for word in words])
    assert result.exit_code == 0, result.output


def main() -> int:
    """Make scenes, precompute targets, and train with each origin of targets."""
    chosen = arguments()
    report = Report(chosen.out)
    end = time.monotonic() + chosen.seconds - 5
    cores = os.cpu_count() or 1
    workers = min(16, cores) if not chosen.tiny else 0
    size, number = ((64, 128), 4) if chosen.tiny else ((1024, 2048), 48)
    with TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        write_cityscapes(folder / "city", size, train=number, val=2, jobs=min(16, cores))
        report.note(f"{number} scenes of {size[0]} x {size[1]} were made in {time.perf_counter() - start:.0f} s.")
        run_command(
            "precompute-cpp", "--scales", 4, 8, 16, 32, "-j", min(16, cores), folder / "city", folder / "city-cpp"
        )
        add = report.table(
            f"Training with {workers} loader processes on {cores} cores: images/s, and the part of the time that steps "
            "wait for data",
            ["recipe", "targets", "images/s", "waiting for data", "peak GiB", "MFU"],
        )
        recipes = ["cityscapes-pspnet-cpp"] if chosen.tiny else ["cityscapes-pspnet-cpp", "cityscapes-hrnet-cpp"]
        for recipe in recipes:
            for targets in ("device", "auto", "store"):
                if time.monotonic() > end:
                    report.note(f"{recipe}, {targets}: not measured, no time left")
                    continue
                settings = settings_of(folder, targets, workers, tiny=chosen.tiny, device=chosen.device)
                out = folder / f"{recipe}-{targets}"
                train(load_recipe(recipe, settings), out, progress=False)
                lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
                last = [line for line in lines if line["kind"] == "train"][-1]["speed"]
                mfu = "-" if last["mfu"] is None else f"{100 * last['mfu']:.1f}%"
                add(
                    recipe,
                    targets,
                    last["images_per_second"],
                    f"{100 * last['waiting_for_data']:.0f}%",
                    last["memory_gib"],
                    mfu,
                )
    return 0


def settings_of(folder: Path, targets: str, workers: int, *, tiny: bool, device: str) -> list[str]:
    """Return the settings of a short run on the scenes."""
    images, steps = (2, 4) if tiny else (8, 40)
    settings = [
        f"data.root={folder}",
        f"data.workers={workers}",
        "data.sources.train.root=city",
        "data.validation=null",
        f"schedule.iterations={steps}",
        "schedule.epochs=null",
        f"schedule.batch_size={images}",
        f"schedule.images_per_rank={images}",
        f"run.log_every={steps // 2}",
        "run.tensorboard=false",
        "run.checkpoint_every=1000",
        "model.weights=null",
        f"loss.targets={targets}",
        f"run.device={device}",
    ]
    if targets == "store":
        settings.append("augmentation.scale=[0.5, 1, 2]")
    if tiny:
        settings += ["augmentation.crop=[32, 64]", "model.backbone=resnet_tiny", "model.head_channels=8"]
    if device == "cuda":
        settings += ["run.precision=bfloat16", "run.channels_last=true"]
    return settings


if __name__ == "__main__":
    torch.backends.cudnn.benchmark = True
    sys.exit(main())
