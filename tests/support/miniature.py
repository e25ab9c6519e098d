"""Data sets of a few pixels: what the tests of layouts and of their checks write."""

from pathlib import Path

import numpy as np
from PIL import Image

from segdata.codecs.png import encode_label


def write_label(path: Path, ids) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_label(np.array(ids, np.uint8)))
    return path


def write_image(path: Path, size=(2, 2)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0]), (90, 120, 150)).save(path)
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
