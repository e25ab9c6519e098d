"""Stored targets against pooling on the device: what each costs the loader, and the device.

python -m benchmarks.stored_targets

Crops of 512x1024 at scales 0.5, 1 and 2 from scenes of 1024x2048; cells of 4, 8 and 16 pixels, as auxiliary heads on
three stages ask for. CPU time of one process with one thread, medians.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from benchmarks.loading import cpu_ms, draws_of, indexed, ran
from segdata.config.recipe import AugmentationRecipe
from segdata.data.loader import PooledTargets, TrainingDataset, collate
from segdata.data.sources import TrainingSource
from segdata.training.step import batch_targets

CELLS, IMAGES = (4, 8, 16), 8
RECIPE = AugmentationRecipe(crop=(512, 1024), scale=(0.5, 1.0, 2.0), color_on="loader")


def write_scenes(folder: Path, rng: np.random.Generator) -> None:
    """Write photographs and labels of regions with ragged borders and thin poles."""
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(4):
        regions = np.asarray(Image.fromarray(rng.integers(0, 19, (16, 32), np.uint8)).resize((2048, 1024), 0)).copy()
        ragged = rng.integers(-3, 4, 1024).cumsum()[:, np.newaxis] // 8 + np.arange(2048)
        regions = np.take_along_axis(regions, ragged % 2048, axis=1)
        for left in rng.integers(0, 2040, 40):
            regions[200:700, left : left + 5] = 5
        photo = (regions[..., np.newaxis] * np.array([9, 5, 2]) + rng.integers(0, 12, (1024, 2048, 1))).astype(np.uint8)
        Image.fromarray(photo).save(folder / "images" / f"{number}.png")
        Image.fromarray(regions).save(folder / "labels" / f"{number}.png")


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the median time of a call in ms, the device's work included."""
    times = []
    for _ in range(12):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return median(times[2:])


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_scenes(folder, np.random.default_rng(0))
        ran(["precompute-cpp", "--scales", "2", "4", "8", str(folder / "labels"), str(folder / "labels-cpp")])
        source = indexed(folder)
        held = sum(path.stat().st_size for path in (folder / "labels-cpp").rglob("*.cpp.npz")) / 4e3
        draws = draws_of(source)
        stored, pooled = (
            TrainingDataset(
                [TrainingSource(source, folder / "labels-cpp")],
                RECIPE,
                seed=1,
                targets=PooledTargets(cells=CELLS, stored=stored, align=True),
            )
            for stored in (True, False)
        )
        works = {"without": pooled.__getitem__, "with": stored.__getitem__}
        (_, without), (_, with_store) = cpu_ms(works, draws)
        print(f"a crop without targets      {without:8.1f} ms")
        print(f"a crop with stored targets  {with_store:8.1f} ms, {with_store / without:.2f}x; {held:.0f} kB a label")
        batches = {
            name: collate([found[draw] for draw in draws[:IMAGES]])
            for name, found in (("stored", stored), ("pooled", pooled))
        }
        assert all(sample.counts.keys() == {*CELLS} for sample in batches["stored"].samples)
        for device in [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]:

            def pool(device: torch.device = device) -> None:
                targets = batch_targets(batches["pooled"], device, 19)
                for cell in CELLS:
                    targets.counts(cell)

            spent = [
                timed(lambda device=device: batch_targets(batches["stored"], device, 19), device),
                timed(pool, device),
            ]
            print(f"{IMAGES} crops on {device.type}: stored {spent[0]:.1f} ms, pooled there {spent[1]:.1f} ms")


if __name__ == "__main__":
    main()
