"""Labels without images and images without labels are told, and stop nothing."""

import json
from pathlib import Path

import numpy as np
from commands import MAPILLARY, PRECOMPUTE, Segdata, make_labels

from segdata.codecs.png import encode_label


def test_convert_mapillary_does_the_labels_without_images_and_tells_of_both(
    segdata: Segdata, source: Path, destination: Path
) -> None:
    MAPILLARY.write_source(source, make_labels(3))
    (source / "training/images/label-00.jpg").unlink()
    MAPILLARY.label(source, "label-01").unlink()
    finished = segdata.run(MAPILLARY.args(source, destination))
    assert finished.code == 0
    assert "training: 1 image without a label (label-01)\n" in finished.out
    assert "1 label without an image (training/label-00)\n" in finished.out
    assert sorted(path.name for path in (destination / "leftImg8bit/train/mapillary").iterdir()) == [
        "label-02_leftImg8bit.jpg"
    ]
    assert MAPILLARY.output(destination, "label-00").exists()
    assert segdata.run(["verify", str(destination)]).code == 0


def test_precompute_does_the_labels_of_a_city_with_images_missing_and_to_spare(
    segdata: Segdata, source: Path, destination: Path
) -> None:
    label = source / "gtFine/train/town/town_000000_000001_gtFine_labelTrainIds.png"
    image = source / "leftImg8bit/train/town/town_000000_000002_leftImg8bit.png"
    for path in (label, image):
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_label(np.zeros((8, 8), np.uint8)))
    finished = segdata.run(PRECOMPUTE.args(source, destination))
    assert finished.code == 0
    assert finished.out.endswith("1 file: 1 done\n")
    report = json.loads((destination / "precompute-cpp.json").read_text())
    assert list(report["files"]) == [str(label.relative_to(source))]
