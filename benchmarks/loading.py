"""What a crop costs a core: ours, the same from whole images by Pillow, and MMSegmentation's pipeline, side by side.

python -m benchmarks.loading [--vistas DOWNLOAD] [--peers FOLDER]

Photographs and labels are those of a Mapillary Vistas download, or made up; the Cityscapes rows scale them to 1024x2048
PNG files. `--peers` is a folder with mmsegmentation, mmcv-lite, mmengine, opencv-python-headless and simplejpeg, as
`pip install --target` makes it. All figures are CPU time in one process with one thread, the median of all crops.
"""

import argparse
import importlib
import io
import multiprocessing
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from click.testing import CliRunner
from PIL import Image, ImageEnhance, ImageFilter

from segdata import ClassIndex
from segdata.codecs.photos import open_photo
from segdata.commands import group
from segdata.config.recipe import AugmentationRecipe
from segdata.data.crops import CropReader
from segdata.data.loader import TrainingDataset
from segdata.data.sources import TrainingSource
from segdata.labels.reading import read_class_ids
from segdata.sampling.sampler import MixedClassUniformSampler
from segdata.sampling.stream import Draw, Source

CROPS = 24
BASELINE = AugmentationRecipe(  # as recipes/data/_paper.yaml has it, and MMSegmentation
    crop=(512, 1024),
    scale=(0.5, 2.0),
    interpolation="bilinear",
    cat_max_ratio=0.75,
    color="photometric",
    color_on="loader",
)
SMOOTHED = BASELINE.model_copy(update={"interpolation": "bicubic"})
SEETHROUGHNET = AugmentationRecipe(
    crop=(1024, 2048), scale=(0.5, 2.0), color="jitter", blur=0.5, blur_sigma=(0.1, 2.0), color_on="loader"
)


Work = Callable[[Any], object]


def cpu_ms(works: dict[str, Work], items: list[Any]) -> list[tuple[str, float]]:
    """Return the median CPU time of a call of each in ms, after every item was seen once.

    They take turns at each item, so that a machine that is slow for a while is so for all.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(2 * len(items)):
        for name, work in works.items():
            start = time.process_time()
            work(items[number % len(items)])
            if number >= len(items):
                times[name].append(1e3 * (time.process_time() - start))
    return [(name, median(spent)) for name, spent in times.items()]


def made_up(folder: Path, rng: np.random.Generator) -> None:
    """Write photographs of 8 and 16 megapixels with regions, edges and grain, and labels of their regions."""
    for number, (height, width) in enumerate([(3456, 4608), (2448, 3264), (2448, 3264)]):
        coarse = Image.fromarray(rng.integers(0, 256, (27, 36, 3), np.uint8)).resize((width, height), 2)
        grain = rng.normal(0, 6, (height, width, 1))
        photo = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
        regions = Image.fromarray(rng.integers(0, 19, (27, 36), np.uint8)).resize((width, height), 0)
        Image.fromarray(photo).save(folder / "images" / f"{number}.jpg", quality=85)
        regions.save(folder / "labels" / f"{number}.png")


def of_download(folder: Path, vistas: Path) -> None:
    """Convert the labels of a Vistas download."""
    ran(["convert-mapillary", str(vistas), str(folder / "converted")])
    for label in sorted((folder / "converted").rglob("*_gtFine_labelTrainIds.png")):
        name = label.name.removesuffix("_gtFine_labelTrainIds.png")
        (photo,) = vistas.rglob(f"{name}.jpg")
        (folder / "labels" / f"{name}.png").symlink_to(label)
        (folder / "images" / photo.name).symlink_to(photo.absolute())


def as_cityscapes(source: Path, folder: Path) -> None:
    """Write the same scenes as PNG files of 1024x2048."""
    for photo in sorted((source / "images").iterdir()):
        Image.open(photo).resize((2048, 1024), Image.Resampling.BICUBIC).save(folder / "images" / f"{photo.stem}.png")
        label = Image.open(source / "labels" / f"{photo.stem}.png")
        label.resize((2048, 1024), Image.Resampling.NEAREST).save(folder / "labels" / f"{photo.stem}.png")


def ran(words: list[str]) -> None:
    result = CliRunner().invoke(group, words)
    assert result.exit_code == 0, result.output


def indexed(folder: Path) -> Source:
    target = folder / "index.npz"
    ran(["index", str(folder / "labels"), "--images", str(folder / "images"), "-o", str(target)])
    return Source(ClassIndex.load(target), class_uniform=0.5)


def draws_of(source: Source) -> list[Draw]:
    return list(MixedClassUniformSampler([source], epoch_size=CROPS, seed=1))


def whole_images(reader: CropReader, colors: Callable[[Image.Image], Image.Image]) -> Callable[[Draw], object]:
    """Return the same crops from whole images: decode, crop and scale with Pillow, labels whole."""
    filter_ = Image.Resampling[reader.augmentation.interpolation.upper()]

    def crop(draw: Draw) -> object:
        index = reader.sources[0].index
        photo = Image.open(index.image_path(draw.image_id)).convert("RGB")
        ids = read_class_ids(index.label_path(draw.image_id), index.arrays["lookup"])
        box = reader.place_on(draw, ids)
        (height, width), scale = box.size, box.scale
        region = (
            max(box.left, 0),
            max(box.top, 0),
            *(
                min(start + side / scale, most)
                for start, side, most in ((box.left, width, photo.width), (box.top, height, photo.height))
            ),
        )
        image = np.asarray(colors(photo.resize((width, height), filter_, box=region)))
        label = ids[np.ix_(np.maximum(box.rows(), 0), np.maximum(box.columns(), 0))]
        return np.ascontiguousarray(image.transpose(2, 0, 1)), label

    return crop


def jittered(image: Image.Image) -> Image.Image:
    """Change colors as hierarchical multi-scale attention does, with Pillow."""
    for step in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = step(image).enhance(1.2)
    hue, saturation, value = image.convert("HSV").split()
    hue = hue.point(lambda number: (number + 9) % 256)
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB").filter(ImageFilter.GaussianBlur(1.0))


class _NoOperators(types.ModuleType):
    """Stands for compiled operators, which loading images does not need."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


def mmsegmentation(index: ClassIndex) -> Callable[[Draw], object] | None:
    """Return MMSegmentation's training pipeline, None where it is not at hand."""
    sys.modules.setdefault("mmcv.ops", _NoOperators("mmcv.ops"))
    try:
        importlib.import_module("mmseg.datasets.transforms")
        importlib.import_module("mmengine.registry").init_default_scope("mmseg")
        compose = importlib.import_module("mmcv.transforms").Compose
        importlib.import_module("cv2").setNumThreads(1)
    except Exception as error:
        print(f"MMSegmentation: not at hand ({type(error).__name__}: {error})")
        return None
    pipeline = compose(
        [
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations"},
            {"type": "RandomResize", "scale": (2048, 1024), "ratio_range": (0.5, 2.0), "keep_ratio": True},
            {"type": "RandomCrop", "crop_size": (512, 1024), "cat_max_ratio": 0.75},
            {"type": "RandomFlip", "prob": 0.5},
            {"type": "PhotoMetricDistortion"},
            {"type": "PackSegInputs"},
        ]
    )

    def crop(draw: Draw) -> object:
        return pipeline(
            {
                "img_path": str(index.image_path(draw.image_id)),
                "seg_map_path": str(index.label_path(draw.image_id)),
                "reduce_zero_label": False,
                "label_map": None,
                "seg_fields": [],
            }
        )

    return crop


def rows_of_jpegs(folder: Path, row_indexes: Path) -> list[tuple[str, float]]:
    """Measure 512 rows from the middle of each photograph."""
    paths = sorted(path for path in (folder / "images").iterdir())

    def ours(path: Path) -> object:
        photo = open_photo(path, row_indexes)
        top = photo.size[0] // 2
        return photo.rows(top, top + 512)

    def pillow(path: Path) -> object:
        return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))

    decode = importlib.import_module("simplejpeg").decode_jpeg
    works: dict[str, Work] = {
        "segdata, 512 rows": ours,
        "Pillow, whole": pillow,
        "simplejpeg, whole": lambda path: decode(path.read_bytes()),
    }
    return cpu_ms(works, 4 * paths)


def show(title: str, rows: list[tuple[str, float]]) -> None:
    print(f"\n{title}")
    for name, spent in rows:
        print(f"  {name:<44} {spent:8.1f} ms {spent / rows[0][1]:6.2f}x")


def crops_of(folder: Path, recipe: AugmentationRecipe, row_indexes: Path, *, peer: bool) -> list[tuple[str, float]]:
    source = indexed(folder)
    draws = draws_of(source)
    dataset = dataset_of(source, recipe, row_indexes)
    works: dict[str, Work] = {"segdata": dataset.__getitem__}
    if recipe is BASELINE:
        works["segdata, bicubic"] = dataset_of(source, SMOOTHED, row_indexes).__getitem__
    colors = jittered if recipe.color == "jitter" else (lambda image: image)
    works["whole images, Pillow"] = whole_images(dataset.reader, colors)
    pipeline = mmsegmentation(source.index) if peer else None
    if pipeline is not None:
        works["MMSegmentation"] = pipeline
    return cpu_ms(works, draws)


def dataset_of(source: Source, recipe: AugmentationRecipe, row_indexes: Path) -> TrainingDataset:
    return TrainingDataset([TrainingSource(source, None)], recipe, seed=1, row_indexes=row_indexes)


def worker(folder: str, recipe: AugmentationRecipe, row_indexes: str, results: Any) -> None:
    """Read crops as a worker of the loader does; put seconds, and MiB resident before and after."""
    torch.set_num_threads(1)
    source = Source(ClassIndex.load(Path(folder) / "index.npz"), class_uniform=0.5)
    dataset = dataset_of(source, recipe, Path(row_indexes))
    draws = draws_of(source)
    before = _resident()
    for draw in draws:
        dataset[draw]
    start = time.perf_counter()
    for _ in range(4):
        for draw in draws:
            dataset[draw]
    results.put((time.perf_counter() - start, before, _resident()))


def _resident() -> float:
    """Return the most memory that this process has held so far, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def workers(folder: Path, recipe: AugmentationRecipe, row_indexes: Path) -> None:
    """Compare two workers with one, and show what one holds."""
    seconds, processes = {}, multiprocessing.get_context("spawn")
    for number in (1, 2):
        results = processes.Queue()
        arguments = (str(folder), recipe, str(row_indexes), results)
        started = [processes.Process(target=worker, args=arguments) for _ in range(number)]
        for process in started:
            process.start()
        told = [results.get() for _ in started]
        for process in started:
            process.join()
        seconds[number] = max(spent for spent, _, _ in told)
    _, before, after = told[0]
    print(f"  two workers do {2 * seconds[1] / seconds[2]:.2f} times the work of one")
    print(f"  a worker is {after:.0f} MiB resident at most, {before:.0f} MiB before its first crop")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--vistas", type=Path, help="a download, or a sample of one")
    options.add_argument("--peers", type=Path, help="folder with the packages of peers")
    chosen = options.parse_args()
    if chosen.peers is not None:
        sys.path.append(str(chosen.peers))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        vistas, city = Path(temporary) / "vistas", Path(temporary) / "city"
        for part in (vistas, city):
            for name in ("images", "labels"):
                (part / name).mkdir(parents=True)
        if chosen.vistas is None:
            made_up(vistas, np.random.default_rng(0))
        else:
            of_download(vistas, chosen.vistas)
        as_cityscapes(vistas, city)
        kept = Path(temporary) / "rows"
        show("512 of 2448-3456 rows of a JPEG", rows_of_jpegs(vistas, kept))
        show("Cityscapes PNG to 512x1024, photometric", crops_of(city, BASELINE, kept, peer=True))
        show("Vistas JPEG to 512x1024, photometric", crops_of(vistas, BASELINE, kept, peer=True))
        workers(vistas, BASELINE, kept)
        show("Cityscapes PNG to 1024x2048, jitter and blur", crops_of(city, SEETHROUGHNET, kept, peer=False))
        show("Vistas JPEG to 1024x2048, jitter and blur", crops_of(vistas, SEETHROUGHNET, kept, peer=False))


if __name__ == "__main__":
    main()
