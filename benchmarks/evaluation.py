"""The confusion matrix against its peers, side by side in one run.

    python benchmarks/evaluation.py [--rounds N]

Two synthetic scenes of 1024 x 2048: one is the label; the other, laid over a part of it, makes a prediction with whole
objects wrong. Noise is the worst case: a prediction without two equal neighbors. Each round runs every way once, in
turn; a row holds medians over the rounds, milliseconds per image on one core. All ways give the same counts, or the
script ends. cityscapesScripts is measured where it is installed; it reads both files, as ours does in the last row.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from segdata.codecs.png import encode_label
from segdata.jobs.compare import LabelFile, Pair, compare
from segdata.labels.classes import ClassTable
from segdata.metrics.boundary import count_boundary
from segdata.metrics.confusion import count_pairs, fold_pairs, value_lookup
from segdata.synthetic.label_ids import class_ids
from segdata.synthetic.render import render_scene

SIZE = (1024, 2048)
TABLE = ClassTable.load("cityscapes")
Ids = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    label, prediction = scene_pair()
    noise = np.random.default_rng(0).choice([row.id for row in TABLE.classes if row.id >= 0], SIZE).astype(np.uint8)
    for name, predicted in (("scene", prediction), ("noise", noise)):
        ways = counting_ways(label, predicted)
        assert len({way()[:34, :34].tobytes() for way in ways.values()}) == 1, "the ways differ"
        tell(f"counting, {name}", measure(ways, rounds))
    tell("from two files", measure(file_ways(label, prediction), max(3, rounds // 3)))
    trained = TABLE.id_to_train_id().astype(np.uint8)
    borders = {"ours": lambda: count_boundary(trained[label], trained[prediction], 19)}
    tell("boundary IoU", measure(borders, max(3, rounds // 3)))


def scene_pair() -> tuple[Ids, Ids]:
    """Return a label and a prediction as label ids."""
    label, other = (class_ids(render_scene(0, number, SIZE), "cityscapes") for number in (0, 1))
    prediction = np.roll(label, 3, axis=1)
    prediction[:, 700:1100] = other[:, 700:1100]
    return label, prediction


def counting_ways(label: Ids, prediction: Ids) -> dict[str, Callable[[], NDArray[np.int64]]]:
    """Return ways to count pairs of ids, ours first; each gives a square of counts."""
    lookup = value_lookup(TABLE, "labelIds")

    def ours() -> NDArray[np.int64]:
        pairs = count_pairs(label, prediction)
        fold_pairs(pairs, lookup, lookup, TABLE.num_classes)
        return pairs

    def numpy_bincount() -> NDArray[np.int64]:
        return np.bincount(label.ravel().astype(np.int64) * 34 + prediction.ravel(), minlength=34 * 34).reshape(34, 34)

    def torch_bincount() -> NDArray[np.int64]:
        joined = torch.from_numpy(label).long().flatten() * 34 + torch.from_numpy(prediction).flatten()
        return torch.bincount(joined, minlength=34 * 34).view(34, 34).numpy()

    return {"ours": ours, "numpy.bincount": numpy_bincount, "torch.bincount": torch_bincount}


def file_ways(label: Ids, prediction: Ids) -> dict[str, Callable[[], object]]:
    """Return ways to count two label files, ours first."""
    folder = Path(tempfile.mkdtemp())
    paths = folder / "a_gtFine_labelIds.png", folder / "a.png"
    for path, ids in zip(paths, (label, prediction), strict=True):
        path.write_bytes(encode_label(ids))
    pair = Pair(*(LabelFile(path, "labelIds") for path in paths))
    ways: dict[str, Callable[[], object]] = {"ours": lambda: list(compare([pair], TABLE))}
    try:
        official = import_module("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    except ImportError:
        return ways
    official.args.evalInstLevelScore = False

    def cityscapes_scripts() -> object:
        counts = official.generateMatrix(official.args)
        return official.evaluatePair(str(paths[1]), str(paths[0]), counts, {}, {}, official.args)

    return ways | {"cityscapesScripts": cityscapes_scripts}


def measure(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each way, run in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):  # the first round warms up
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            times[name].append(1e3 * (time.perf_counter() - started))
    return {name: statistics.median(each[1:]) for name, each in times.items()}


def tell(what: str, found: dict[str, float]) -> None:
    """Print a table with the ratio of each way to ours."""
    print(what)
    for name, milliseconds in found.items():
        print(f"  {name:<20} {milliseconds:9.2f} ms {milliseconds / found['ours']:8.1f}x")


if __name__ == "__main__":
    main()
