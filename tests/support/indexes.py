"""Small made indexes for the tests of the stream."""

from collections.abc import Sequence

import numpy as np

from segdata.sampling.class_index import ClassIndex, IndexHead
from segdata.sampling.merge import FileState, IndexedImage, merge_images
from segdata.sampling.scan import TileEntries


def made_index(classes_of_tiles: Sequence[Sequence[Sequence[int]]], num_classes: int = 3, tile: int = 8) -> ClassIndex:
    """Make an index from the class ids of each tile of each image; an image's tiles stand side by side.

    The first point of class c in tile t is (c, 8 t), and the class has c + 1 pixels there.
    """
    images = []
    for number, tiles in enumerate(classes_of_tiles):
        pairs = [(at, class_id) for at, classes in enumerate(tiles) for class_id in sorted(classes)]
        at, classes = np.array(pairs, np.int64).reshape(-1, 2).T
        points = np.stack([np.stack([classes, at * tile + extra], -1) for extra in range(4)], 1)
        entries = TileEntries(
            size=(tile, tile * len(tiles)),
            ignored=0,
            classes=classes.astype(np.uint8),
            tiles=at.astype(np.uint16),
            pixels=(classes + 1).astype(np.uint32),
            points=points.astype(np.uint16),
            centroids=points[:, 0].astype(np.uint16),
        )
        images.append(IndexedImage(f"{number}.png", "", FileState(), entries))
    names = tuple(f"class {class_id}" for class_id in range(num_classes))
    return merge_images(IndexHead(names, "table", tile), images)


def even_index(num_images: int, num_classes: int = 3) -> ClassIndex:
    """Make an index of images with one tile each that holds every class."""
    return made_index([[range(num_classes)]] * num_images, num_classes)
