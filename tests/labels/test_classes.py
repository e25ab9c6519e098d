"""Class tables: what the bundled ones hold, how names are found, what a faulty file says."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from segdata.errors import LabelError, MappingError
from segdata.labels.bundled import bundled_classes, bundled_folder
from segdata.labels.classes import IGNORE_ID, ClassTable, LabelClass
from segdata.labels.reading import LabelMeaning, refuse_contradiction

ROAD = "- {id: 7, name: road, train: 0, color: [128, 64, 128]}"


def table_of(folder: Path, text: str) -> ClassTable:
    path = folder / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return ClassTable.load(path)


def two(first: str, second: str) -> ClassTable:
    return ClassTable("two", (LabelClass(0, first, "Sign", 0, (0, 0, 0)), LabelClass(1, second, "Sign", 1, (1, 1, 1))))


@pytest.mark.parametrize(
    ("name", "num_rows", "num_trained", "void_id"),
    [("vistas-v1.2", 66, 65, 65), ("vistas-v2.0", 124, 116, 123), ("cityscapes", 35, 19, 0), ("camvid", 12, 11, 11)],
)
def test_bundled_tables(name: str, num_rows: int, num_trained: int, void_id: int) -> None:
    table = ClassTable.load(name)
    assert (len(table.classes), table.num_classes, table.void_id) == (num_rows, num_trained, void_id)


def test_bundled_tables_have_one_line_for_each_class() -> None:
    for name, path in bundled_classes().items():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("  - {")]
        assert len(lines) == len(ClassTable.load(name).classes)


@pytest.mark.parametrize("version", ["v1.2", "v2.0"])
def test_vistas_tables_are_the_data_set_s_own(real_data: Path, version: str) -> None:
    labels = json.loads((real_data / "vistas" / f"config_{version}.json").read_text())["labels"]
    table = ClassTable.load(f"vistas-{version}")
    rows = [(row.id, row.name, row.readable, list(row.color), row.train_id != IGNORE_ID) for row in table.classes]
    assert rows == [(i, la["name"], la["readable"], la["color"], la["evaluate"]) for i, la in enumerate(labels)]


def test_cityscapes_table_is_the_data_set_s_own(real_data: Path) -> None:
    labels = json.loads((real_data / "cityscapes_labels.json").read_text())["labels"]
    rows = [(row.id, row.name, row.train_id, list(row.color)) for row in ClassTable.load("cityscapes").classes]
    assert rows == [(la["id"], la["name"], la["trainId"] % 256, la["color"]) for la in labels]


def test_cityscapes_training_classes() -> None:
    table = ClassTable.load("cityscapes")
    assert table.train_names[:3] == ("road", "sidewalk", "building")
    assert table.train_names[16:] == ("train", "motorcycle", "bicycle")
    assert table.train_colors.dtype == np.uint8
    assert table.train_colors[[0, 18]].tolist() == [[128, 64, 128], [119, 11, 32]]


def test_license_plate_has_an_id_that_no_file_holds() -> None:
    table = ClassTable.load("cityscapes")
    assert (table.find("license plate").id, table.find("license plate").train_id) == (-1, IGNORE_ID)
    to_train = table.id_to_train_id()
    assert to_train[[0, 7, 33, 34, 255]].tolist() == [255, 0, 18, -1, -1]
    assert to_train.dtype == np.int16


@pytest.mark.parametrize("written", ["Traffic Sign (Front)", "traffic sign front", "object--traffic-sign--front"])
def test_names_fold_case_spaces_and_punctuation(written: str) -> None:
    assert ClassTable.load("vistas-v1.2").find(written).id == 50


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(MappingError, match=r"^'Sidewlk' is not a class of 'vistas-v1.2'. Did you mean 'Sidewalk'\?$"):
        ClassTable.load("vistas-v1.2").find("Sidewlk")


def test_ambiguous_name_lists_its_meanings() -> None:
    with pytest.raises(MappingError, match=r"'sign' is the name of 'sign-a' \(id 0\) and 'sign-b' \(id 1\) in 'two'"):
        two("sign-a", "sign-b").find("sign")


def test_a_name_in_full_goes_before_a_readable_name() -> None:
    assert two("Sign", "other").find("Sign").id == 0


def test_unknown_bundled_name() -> None:
    with pytest.raises(MappingError, match=r"'cityscape': is neither a bundled class table nor .* mean 'cityscapes'\?"):
        ClassTable.load("cityscape")


def test_digest_is_of_what_ids_mean(tmp_path: Path) -> None:
    table = table_of(tmp_path, f"classes:\n  {ROAD}")
    recolored = table_of(tmp_path, f"classes:\n  {ROAD.replace('128', '9')}")
    renumbered = table_of(tmp_path, f"classes:\n  {ROAD.replace('7', '8')}")
    assert table.digest == recolored.digest != renumbered.digest
    assert len(table.digest) == 32


def test_table_survives_pickling() -> None:
    table = ClassTable.load("cityscapes")
    assert pickle.loads(pickle.dumps(table)) == table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- road", "my.yaml: holds no 'key: value' lines"),
        ('"a\\nb": 1', r"my.yaml: key 'a\\nb' is not known"),
        ("klasses: []", "my.yaml: key 'klasses' is not known. Did you mean 'classes'"),
        ("classes: []", "my.yaml: has no list 'classes'"),
        ("classes: [road]", "my.yaml, row 1: is not a class"),
        ("classes:\n  " + ROAD.replace("color", "colour"), "my.yaml, row 1: key 'colour' .* Did you mean 'color'"),
        ("classes:\n  " + ROAD.replace("7", "256"), "my.yaml, row 1, id: 256 is not a whole number from -128 to 255"),
        ("classes:\n  " + ROAD.replace("7", "yes"), "row 1, id: True is not a whole number"),
        ("classes:\n  " + ROAD.replace("name: road", "name: on"), "row 1, name: True is not a name"),
        ("classes:\n  " + ROAD.replace("name: road", 'name: "a\\nb"'), r"row 1, name: 'a\\nb' is not a name"),
        ("classes:\n  " + ROAD.replace(", 128]", "]"), "row 1, color: .* is not a color"),
        ("classes:\n  " + ROAD.replace("[128", "[300"), "row 1, color: 300 is not a whole number from 0 to 255"),
        (f"classes:\n  {ROAD}\n  {ROAD}", "my.yaml: 'my': id 7 is given to 'road' and to 'road'"),
        (
            "classes:\n  " + ROAD.replace("train: 0", "train: 1"),
            "my.yaml: 'my': no class has train 0, yet the highest is 1",
        ),
        (f"void: road\nclasses:\n  {ROAD}", "my.yaml: void 'road' is a training class"),
        (f"classes:\n  {ROAD}\nclasses: []", "line 3: key 'classes' is given twice, first in line 1"),
        (f"classes:\n  - &a {ROAD[2:]}\n  - *a", "line 2: is used again by an alias"),
        ("classes: [", r"my.yaml, line \d: is not valid YAML"),
        ("classes: !!python/object:os.system {}", "is not valid YAML .could not determine a constructor"),
        ("classes: 2001-99-99", "my.yaml: is not plain YAML"),
        ("classes: " + "[" * 5000, "my.yaml.*: is no"),
        ("#" * (1 << 20) + "\n", "my.yaml: is larger than 1048576 bytes"),
    ],
)
def test_faulty_file_is_named_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MappingError, match=message) as caught:
        table_of(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MappingError, match=r"my\.yaml: is not UTF-8 text"):
        ClassTable.load(tmp_path / "my.yaml")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"none\.yaml: cannot be read \(No such file or directory\)"):
        ClassTable.load(tmp_path / "none.yaml")


@pytest.mark.parametrize("place", ["site/segdata/mappings", "site/mappings"])
def test_bundled_folder_inside_or_beside_the_package(tmp_path: Path, place: str) -> None:
    (tmp_path / "site" / "segdata").mkdir(parents=True)
    (tmp_path / place / "classes").mkdir(parents=True)
    assert bundled_folder(tmp_path / "site" / "segdata") == tmp_path / place


def test_bundled_folder_missing(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="the mapping tables are missing"):
        bundled_folder(tmp_path / "segdata")


@pytest.mark.parametrize("encoding", ["trainIds", "labelIds"])
def test_255_is_ignored_whatever_a_file_holds(encoding: str) -> None:
    lookup = ClassTable.load("cityscapes").value_lookup(encoding)
    assert lookup[IGNORE_ID] == IGNORE_ID
    assert lookup[[18, 33, 34]].tolist() == ([18, -1, -1] if encoding == "trainIds" else [255, 18, -1])


@pytest.mark.parametrize("scalar", ["!!int ''", "!!bool x", "!!timestamp x", "!!float z", "2024-13-45"])
def test_scalars_that_cannot_be_made_are_one_line(tmp_path, scalar):
    path = tmp_path / "my.yaml"
    path.write_text(f"about: {scalar}\nclasses: []\n")
    with pytest.raises(MappingError, match=r"^.*my\.yaml.*$") as caught:
        ClassTable.load(path)
    assert "\n" not in str(caught.value)


def test_a_pipe_in_the_place_of_a_table_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "my.yaml")
    with pytest.raises(MappingError, match=r"cannot be read .Not a regular file"):
        ClassTable.load(tmp_path / "my.yaml")


def test_a_label_that_says_of_itself_that_its_classes_are_others_is_refused():
    settings = {"encoding": "trainIds", "classes": "voc2012", "classes_digest": ClassTable.load("voc2012").digest}
    text = {"segdata": json.dumps({"settings": settings})}
    refuse_contradiction(text, "a.png", LabelMeaning.of(ClassTable.load("voc2012"), "trainIds"))
    changed = LabelMeaning("trainIds", "voc2012", "another digest")
    with pytest.raises(LabelError, match=r"was made with another class table of the name 'voc2012' .*; now"):
        refuse_contradiction(text, "a.png", changed)
    with pytest.raises(LabelError, match=r"a\.png: says that its classes are 'voc2012', and is read as 'cityscapes'"):
        refuse_contradiction(text, "a.png", LabelMeaning.of(ClassTable.load("cityscapes"), "trainIds"))


def test_a_table_may_give_255_a_meaning_of_its_own(tmp_path: Path) -> None:
    rows = f"about: one line\nclasses:\n{ROAD}\n- {{id: 255, name: car, train: 1, color: [0, 0, 142]}}\n"
    assert table_of(tmp_path, rows).value_lookup("labelIds")[[7, 255, 0]].tolist() == [0, 1, -1]
    assert ClassTable.load("cityscapes").value_lookup("labelIds")[255] == IGNORE_ID
