"""What is fuzzed: for each reader, whole files to begin with, a way to damage them, and what must hold then.

A check raises where the reader raised something else than a SegdataError, took what a reference refuses, or gave other
values than it.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from segdata import ClassIndex, load_cpp
from segdata.batch.report import read_report
from segdata.codecs.photos import decode_photo
from segdata.codecs.png import decode_label, encode_label
from segdata.codecs.png_chunks import split_png
from segdata.config.mixture import read_mixture
from segdata.config.recipe import load_recipe
from segdata.cpp.store import encode_cpp
from segdata.cpp.targets import pool_targets
from segdata.errors import SegdataError
from segdata.labels.mapping import LabelMapping
from segdata.models.checkpoint import read_checkpoint, write_checkpoint
from segdata.sampling.class_index import IndexHead
from segdata.sampling.merge import FileState, IndexedImage, merge_images
from segdata.sampling.scan import scan_label

from .mutators import damaged, damaged_text, with_checksums

Mutator = Callable[[bytes, np.random.Generator], bytes]
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes
    ----------
    seeds : sequence of bytes
        Whole files.
    check : callable of (bytes, Path)
        Reads damaged bytes; the folder is for readers that want a file.
    mutate : callable
    """

    seeds: Sequence[bytes]
    check: Callable[[bytes, Path], None]
    mutate: Mutator = damaged


def scene() -> np.ndarray:
    """Return ids of flat and of busy regions."""
    rng = np.random.default_rng(9802)
    ids = np.zeros((60, 50), np.uint8)
    for _ in range(10):
        ids[rng.integers(60) :, rng.integers(50) :] = rng.integers(19)
    ids[:20, 30:] = rng.integers(0, 19, (20, 20))
    return ids


def photo() -> Image.Image:
    ids = scene()
    return Image.fromarray(np.stack([ids * 13, ids * 7, 255 - ids * 11], -1)).resize((90, 110))


def saved(image: Image.Image, form: str, **how: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


def png_damage(data: bytes, rng: np.random.Generator) -> bytes:
    found = damaged(data, rng)
    return with_checksums(found) if rng.random() < 0.7 else found


def check_label(data: bytes, _folder: Path) -> None:
    """A label that is read is one that Pillow reads, with the same ids."""
    with suppress(SegdataError):
        ids = decode_label(data, "x.png", max_pixels=10**6)
        header = split_png(data, "x.png").header
        image = Image.open(io.BytesIO(data))
        image.load()
        if header.bit_depth == 8 or header.is_palette:
            assert image.mode in "LP"
            assert (np.asarray(image) == ids).all()


def check_photo(data: bytes, _folder: Path) -> None:
    """Rows of a photograph are those that Pillow decodes of the whole."""
    with suppress(SegdataError):
        opened = decode_photo(data, "x")
        height, width = opened.size
        if height * width > 10**6:
            return
        top = len(data) % height
        rows = opened.rows(top, min(top + 20, height), width)
        try:
            whole = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        except (OSError, SyntaxError, ValueError):
            return  # Pillow refuses what lies below these rows
        assert (rows == whole[top : top + 20]).all()


def must_be_one_line(error: SegdataError) -> None:
    """Fail where a message has several lines."""
    assert "\n" not in str(error), str(error)


def written(read: Callable[[Path], object], name: str) -> Callable[[bytes, Path], None]:
    """Return a check that writes the bytes to a file and reads them; whatever is refused is refused in one line."""

    def check(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        try:
            read(path)
        except SegdataError as error:
            must_be_one_line(error)

    return check


def read_index(path: Path) -> None:
    index = ClassIndex.load(path, check=False)
    for kind in ("label", "image", "confidence"):
        index.names(kind)
    for class_id in range(len(index.head.class_names)):
        index.entries_of(class_id)


def read_targets(path: Path) -> None:
    targets = load_cpp(path, max_pixels=10**6)
    for scale in targets.scales:
        counts = targets.counts(scale)
        assert (counts.sum(0, dtype=np.int64) == scale * scale).all()


def set_values(data: bytes, _folder: Path) -> None:
    for line in data.decode(errors="surrogateescape").split("\n"):
        try:
            load_recipe("camvid-fcn-ce", [line])
        except SegdataError as error:
            must_be_one_line(error)


def index_bytes() -> bytes:
    lookup = np.arange(256, dtype=np.int16)
    images = [IndexedImage(f"{n}.png", f"../{n}.jpg", FileState(), scan_label(scene(), lookup, 19)) for n in range(3)]
    return merge_images(IndexHead(tuple(f"class {n}" for n in range(19)), "table"), images).encode("labels")


def checkpoint_bytes(folder: Path) -> bytes:
    write_checkpoint(folder / "seed.pt", {"progress": {"step": 3}, "model": {"weight": torch.arange(9.0)}})
    return (folder / "seed.pt").read_bytes()


REPORT = b"""{"tool": "convert", "segdata": "0.1.0", "format": 1, "source": "/labels", "state": "complete",
"settings": {"mapping": "x", "encoding": "trainIds"}, "totals": {"labels": 1},
"files": {"a": {"status": "done", "source": "a.png", "target": "a.png", "message": null}}}"""
MIXTURE = b"""sources:
  fine: {index: fine.npz, share: 0.6, class_uniform: 0.5}
  coarse: {index: coarse.npz, share: 0.4, class_weights: {road: 2.0}}
epoch_size: 100
seed: 3
"""
SETS = b"""optimizer.lr=0.1
augmentation.crop=[32, 48]
augmentation.scale=[0.5, 1, 2]
data.sources.train.splits=[train]
loss.main_settings={a: 1}
run.log_every=3
"""


def make_targets(folder: Path) -> dict[str, Target]:
    """Return the targets by name; `folder` is for making whole files."""
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    label, image = Image.fromarray(scene()), photo()
    palette = label.copy()
    palette.putpalette(bytes(range(256)) * 3)
    mappings = sorted((ROOT / "mappings").glob("*.yaml"))
    recipes = [*sorted((ROOT / "segdata" / "recipes").glob("tiny-*.yaml"))]
    return {
        "label": Target(
            [encode_label(scene()), saved(label, "png"), saved(palette, "png"), saved(palette, "png", bits=8)],
            check_label,
            png_damage,
        ),
        "photo-png": Target(
            [saved(image, "png"), saved(image.convert("P"), "png"), saved(image.convert("RGBA"), "png")],
            check_photo,
            png_damage,
        ),
        "photo-jpeg": Target(
            [
                saved(image, "jpeg"),
                saved(image, "jpeg", optimize=True, subsampling=0),
                saved(image, "jpeg", restart_marker_rows=1),
                saved(image.convert("L"), "jpeg"),
            ],
            check_photo,
        ),
        "targets": Target([encode_cpp(pool_targets(scene(), [2, 4, 8]), {})], written(read_targets, "x.cpp.npz")),
        "index": Target([index_bytes()], written(read_index, "x.index.npz")),
        "report": Target([REPORT], written(read_report, "convert.json"), damaged_text),
        "mapping": Target(
            [path.read_bytes() for path in mappings], written(LabelMapping.load, "mapping.yaml"), damaged_text
        ),
        "mixture": Target([MIXTURE], written(read_mixture, "mixture.yaml"), damaged_text),
        "recipe": Target([path.read_bytes() for path in recipes], written(load_recipe, "recipe.yaml"), damaged_text),
        "set": Target([SETS], set_values, damaged_text),
        "checkpoint": Target([checkpoint_bytes(folder)], written(read_checkpoint, "x.pt")),
    }
