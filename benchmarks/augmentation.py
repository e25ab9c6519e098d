"""Where to change colors: in a loader's process or on the device; beside what reading the image costs."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from segdata.codecs.photos import Photo, read_image
from segdata.config.recipe import AugmentationRecipe
from segdata.data.augmentation import draw_augmentation
from segdata.data.color_tensors import change_colors
from segdata.data.crop_box import crop_image, place_crop

CROP, IMAGE, REPEATS = (512, 1024), (1024, 2048), 15


def milliseconds(work: Callable[[int], object], wait: Callable[[], object] = lambda: None) -> float:
    work(0)
    times = []
    for number in range(REPEATS):
        wait()
        start = time.perf_counter()
        work(number)
        wait()
        times.append(1e3 * (time.perf_counter() - start))
    return median(times)


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)).resize(IMAGE[::-1])
    whole = Photo.of_array(np.asarray(smooth))
    crop = torch.from_numpy(rng.integers(0, 256, (3, *CROP), dtype=np.uint8))
    boxes = [place_crop(IMAGE, CROP, scale=scale) for scale in np.linspace(0.5, 2, REPEATS)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        smooth.save(path)
        rows.append((f"read a PNG of {IMAGE[0]} x {IMAGE[1]}", milliseconds(lambda _: read_image(path))))
    rows.append(("scale and crop it", milliseconds(lambda number: crop_image(whole, boxes[number]))))
    devices = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    for device in devices:
        wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
        there = crop.to(device)
        for color in ("photometric", "jitter"):
            recipe = AugmentationRecipe(crop=CROP, color=color, blur=0.5)
            draws = [draw_augmentation(0, position, recipe).colors for position in range(REPEATS)]
            spent = milliseconds(lambda number, there=there, draws=draws: change_colors(there, draws[number]), wait)
            rows.append((f"{color} and half the blurs, {device.type}", spent))
    for name, spent in rows:
        print(f"{name:<44} {spent:8.1f} ms {spent / rows[0][1]:8.2f} of reading")


if __name__ == "__main__":
    main()
