"""Made data sets on disk, in the layouts of Vistas and of Cityscapes."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segdata.codecs.png import read_label
from segdata.errors import SettingsError, StoreError
from segdata.labels.classes import ClassTable
from segdata.labels.mapping import LabelMapping
from segdata.labels.remap import remap_labels
from segdata.layouts import open_labels
from segdata.synthetic import render_scene, write_cityscapes, write_vistas
from segdata.synthetic.label_ids import class_ids
from segdata.synthetic.write_cityscapes import train_ids

SIZE = (48, 96)


def _contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def _folders(root: Path) -> Counter[str]:
    return Counter(str(path.parent.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_vistas_v1_2_is_flat(tmp_path):
    write_vistas(tmp_path, 5, SIZE, testing=1)
    contents = ("images", "instances", "labels")
    expected = {f"training/{name}": 4 for name in contents} | {f"validation/{name}": 1 for name in contents}
    assert _folders(tmp_path) == expected | {"testing/images": 1, ".": 1}
    assert (tmp_path / "config.json").is_file()


def test_vistas_v2_0_holds_both_versions(tmp_path):
    keys = write_vistas(tmp_path, 2, SIZE, version="v2.0", validation=0)["training"]
    for version, name in (("v1.2", "vistas-v1.2"), ("v2.0", "vistas-v2.0")):
        label = read_label(tmp_path / "training" / version / "labels" / f"{keys[1]}.png")
        assert np.array_equal(label, class_ids(render_scene(0, 1, SIZE), name))
    assert json.loads((tmp_path / "config_v2.0.json").read_text())["labels"][21]["readable"] == "Road"


def test_vistas_config_is_that_of_the_data_set(tmp_path, real_data):
    write_vistas(tmp_path, 1, SIZE)
    made, real = (
        json.loads(path.read_text()) for path in (tmp_path / "config.json", real_data / "vistas/config_v1.2.json")
    )
    assert made.keys() == real.keys()
    facts = ("color", "evaluate", "name", "readable")
    assert [[row[fact] for fact in facts] for row in made["labels"]] == [
        [row[fact] for fact in facts] for row in real["labels"]
    ]


def test_vistas_labels_are_palette_pngs_and_instances_16_bit(tmp_path):
    [key] = write_vistas(tmp_path, 1, SIZE)["training"]
    label = _opened(tmp_path / "training" / "labels" / f"{key}.png")
    instances = _opened(tmp_path / "training" / "instances" / f"{key}.png")
    assert (label.mode, label.size) == ("P", (96, 48))
    assert label.getpalette()[13 * 3 : 14 * 3] == [128, 64, 128]
    assert instances.mode == "I;16"
    assert np.array_equal(np.asarray(instances) // 256, np.asarray(label))


def test_keys_are_long_unique_and_some_begin_with_hyphen_or_underscore(tmp_path):
    keys = write_vistas(tmp_path, 6, (16, 32), validation=0)["training"]
    assert {len(key) for key in keys} == {22}
    assert len(set(keys)) == 6
    assert {"-", "_"} <= {key[0] for key in keys}


def test_table_4_of_made_vistas_labels_is_cityscapes_but_where_the_tables_differ(tmp_path):
    scene = render_scene(3, 0, SIZE)
    mapped = remap_labels(class_ids(scene, "vistas-v1.2"), LabelMapping.load("vistas-v1.2-to-cityscapes"))
    truth = train_ids(class_ids(scene, "cityscapes"))
    both = (mapped != 255) & (truth != 255)
    assert both.mean() > 0.8
    assert np.array_equal(mapped[both], truth[both])


def test_same_arguments_write_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_vistas(tmp_path / name, 2, SIZE, seed=4)
        write_cityscapes(tmp_path / name, SIZE, train=1, val=0, train_extra=1, auto_labels=True, seed=4)
    assert _contents(tmp_path / "a") == _contents(tmp_path / "b")


def test_cityscapes_fine_labels(tmp_path):
    keys = write_cityscapes(tmp_path, SIZE, train=1, val=1)
    assert keys == {"train": ["lindau_000000_000019"], "val": ["nordheim_000000_000019"], "train_extra": []}
    stem = tmp_path / "gtFine" / "train" / "lindau" / "lindau_000000_000019_gtFine"
    ids, trained = (read_label(Path(f"{stem}_{ending}.png")) for ending in ("labelIds", "labelTrainIds"))
    table = ClassTable.load("cityscapes")
    assert np.array_equal(table.id_to_train_id()[ids], trained)
    assert _opened(Path(f"{stem}_color.png")).mode == "RGB"
    assert np.asarray(_opened(Path(f"{stem}_instanceIds.png"))).max() > 999


def test_coarse_labels_are_true_or_unlabeled(tmp_path):
    write_cityscapes(tmp_path, (128, 256), train=0, val=0, train_extra=1, seed=2)
    [item] = open_labels(tmp_path, "labelIds")[0]
    coarse, exact = read_label(item.label), class_ids(render_scene(2, 3_000_000, (128, 256)), "cityscapes")
    kept = coarse != 0
    assert np.array_equal(coarse[kept], exact[kept])
    assert 0.3 < kept.mean() < 0.9


def test_auto_labels_are_mostly_right_and_surer_where_they_are(tmp_path):
    write_cityscapes(tmp_path, (128, 256), train=0, val=0, train_extra=1, auto_labels=True, seed=2)
    [item] = open_labels(tmp_path / "autolabeled")[0]
    right = read_label(item.label) == class_ids(render_scene(2, 3_000_000, (128, 256)), "cityscapes")
    sure = np.asarray(_opened(item.confidence), dtype=float)
    assert 0.85 < right.mean() < 1
    assert sure[right].mean() > sure[~right].mean() + 25


def test_images_and_labels_pair_up(tmp_path):
    write_cityscapes(tmp_path, SIZE, train=2, val=1, train_extra=1)
    labels, encoding = open_labels(tmp_path)
    assert encoding == "trainIds"
    assert [item.split for item in labels] == ["train", "train", "val", "train_extra"]
    assert all(item.image is not None for item in labels)


@pytest.mark.parametrize(
    ("count", "numbers"), [(0, {}), (3, {"validation": 4}), (3, {"testing": -1}), (3, {"version": "v3"})]
)
def test_impossible_numbers_of_vistas_scenes_are_refused(tmp_path, count, numbers):
    with pytest.raises(SettingsError, match=r"do not fit|'v3' is unknown"):
        write_vistas(tmp_path, count, SIZE, **numbers)


def test_no_cityscapes_scene_at_all_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"0 \+ 0 \+ 0 scenes"):
        write_cityscapes(tmp_path, SIZE, train=0, val=0)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(StoreError, match=r"config\.json: cannot be written: Is a directory"):
        write_vistas(tmp_path, 1, SIZE)
