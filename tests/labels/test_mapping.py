"""Mapping rules: Table 4 and its kin, and what a faulty rule says."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from segdata.errors import MappingError
from segdata.labels.browse import compare, load_any, without_source
from segdata.labels.bundled import bundled_mappings
from segdata.labels.classes import ClassTable, LabelClass
from segdata.labels.mapping import LabelMapping

TABLE_4 = "vistas-v1.2-to-cityscapes"

# Table 4 on the ids of Vistas v1.2, written out by hand from the printed table and the data set's class list.
TABLE_4_IDS = {
    0: [7, 8, 12, 13, 14, 23, 24],  # road
    1: [2, 9, 15],  # sidewalk
    2: [17],  # building
    3: [6],  # wall
    4: [3, 4, 5],  # fence
    5: [45, 46, 47],  # pole
    6: [48],  # traffic light
    7: [50],  # traffic sign
    8: [30],  # vegetation
    9: [29],  # terrain
    10: [27],  # sky
    11: [19],  # person
    12: [20, 21, 22],  # rider
    13: [55, 59],  # car
    14: [61],  # truck
    15: [54],  # bus
    16: [],  # train
    17: [57],  # motorcycle
    18: [52],  # bicycle
}

CLASSES = """
void: nothing
classes:
  - {id: 0, name: road, train: 0, color: [0, 0, 0]}
  - {id: 1, name: side walk, train: 1, color: [0, 0, 0]}
  - {id: 9, name: nothing, color: [0, 0, 0]}
"""
HEAD = "source: abc.yaml\ntarget: abc.yaml\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "abc.yaml").write_text(CLASSES, encoding="utf-8")
    return tmp_path


def rule(folder: Path, text: str, name: str = "rule.yaml") -> LabelMapping:
    (folder / name).write_text(text, encoding="utf-8")
    return LabelMapping.load(folder / name)


def test_table_4_by_hand() -> None:
    lookup = LabelMapping.load(TABLE_4).lookup()
    assert {train_id: np.flatnonzero(lookup == train_id).tolist() for train_id in range(19)} == TABLE_4_IDS
    assert (lookup[:66] == 255).sum() == 33
    assert (lookup[66:] == -1).all()


@pytest.mark.parametrize(("name", "truth"), [("v1.2", "table4_v1.2"), ("v2.0", "table4_v2.0_core")])
def test_table_4_against_the_resolved_tables(real_data: Path, name: str, truth: str) -> None:
    rows = json.loads((real_data / "vistas" / f"{truth}.json").read_text())["map"]
    mapping = LabelMapping.load(f"vistas-{name}-to-cityscapes")
    expected = np.full(256, -1)
    expected[[row["id"] for row in rows]] = [row["trainId"] for row in rows]
    assert mapping.lookup().tolist() == expected.tolist()


def test_table_4_as_label_ids() -> None:
    lookup = LabelMapping.load(TABLE_4).lookup("labelIds")
    assert lookup[[13, 15, 52, 58, 65, 66]].tolist() == [7, 8, 33, 0, 0, -1]
    assert lookup.dtype == np.int16


def test_core_for_v2_by_hand() -> None:
    lookup = LabelMapping.load("vistas-v2.0-to-cityscapes").lookup()
    assert np.flatnonzero(lookup == 0).tolist() == [13, 14, 20, 21, 23, *range(35, 59)]
    assert np.flatnonzero(lookup == 6).tolist() == [90, 91, 92, 93, 94, 95]
    assert np.flatnonzero(lookup == 7).tolist() == [99, 100, 103]
    assert (lookup == 255).sum() == 62


def test_extended_adds_the_sixteen_judgment_calls() -> None:
    core = LabelMapping.load("vistas-v2.0-to-cityscapes").lookup()
    extended = LabelMapping.load("vistas-v2.0-to-cityscapes-extended").lookup()
    changed = np.flatnonzero(core != extended)
    assert changed.tolist() == [2, 3, 8, 9, 10, 11, 16, 18, 22, 25, 28, 31, 86, 96, 101, 115]
    assert (core[changed] == 255).all()
    assert extended[changed].tolist() == [4, 4, 4, 4, 4, 4, 0, 0, 0, 1, 2, 11, 5, 7, 7, 13]


@pytest.mark.parametrize(("version", "on_rails"), [("v1.2", 58), ("v2.0", 111)])
def test_on_rails_becomes_train_in_its_own_profile(version: str, on_rails: int) -> None:
    plain = LabelMapping.load(f"vistas-{version}-to-cityscapes").lookup()
    profile = LabelMapping.load(f"vistas-{version}-to-cityscapes-on-rails").lookup()
    assert np.flatnonzero(plain != profile).tolist() == [on_rails]
    assert (plain[on_rails], profile[on_rails]) == (255, 16)


def test_camvid() -> None:
    lookup = LabelMapping.load("camvid-to-cityscapes").lookup()
    assert lookup[:13].tolist() == [10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 12, 255, -1]


def test_every_bundled_file_says_where_it_comes_from() -> None:
    for name, path in bundled_mappings().items():
        assert path.read_text(encoding="utf-8").startswith("# ")
        assert LabelMapping.load(name).about


def test_table_4_leaves_train_without_a_source() -> None:
    assert [row.name for row in without_source(LabelMapping.load(TABLE_4))] == ["train"]


def test_a_training_id_of_255_is_not_an_ignored_label_id(folder: Path) -> None:
    mapping = rule(folder, HEAD + "map: {nothing: [road]}\nrest: ignore")
    assert mapping.lookup("trainIds")[0] == 255
    assert mapping.lookup("labelIds")[0] == 9


def test_unknown_encoding() -> None:
    with pytest.raises(MappingError, match=r"encoding 'colors' is not known. Use trainIds or labelIds"):
        LabelMapping.load(TABLE_4).lookup("colors")  # type: ignore[arg-type]


def test_label_ids_need_a_void_class(folder: Path) -> None:
    (folder / "abc.yaml").write_text(CLASSES.replace("void: nothing", ""), encoding="utf-8")
    with pytest.raises(MappingError, match="target 'abc' names no void class"):
        rule(folder, HEAD + "rest: ignore").lookup("labelIds")


def test_label_ids_need_a_target_that_a_file_can_hold() -> None:
    target = ClassTable("t", (LabelClass(-1, "plate", "plate", 0, (0, 0, 0)),), void_id=0)
    mapping = LabelMapping("m", ClassTable.load("camvid"), target, target.classes * 12)
    with pytest.raises(MappingError, match="target 'plate' has id -1, which no 8-bit file holds"):
        mapping.lookup("labelIds")


def test_digest_is_of_the_outcome_not_of_the_name(folder: Path) -> None:
    a = rule(folder, HEAD + "about: one\nmap: {road: [road]}\nrest: ignore", "a.yaml")
    b = rule(folder, HEAD + "map: {road: ROAD}\nignore: [sidewalk, nothing]", "b.yaml")
    c = rule(folder, HEAD + "map: {road: [side walk]}\nrest: ignore", "c.yaml")
    assert a.digest == b.digest != c.digest


def test_a_mapping_on_top_of_another(folder: Path) -> None:
    rule(folder, HEAD + "map: {road: [road, sidewalk]}\nrest: ignore", "base.yaml")
    mapping = rule(folder, "extends: base.yaml\nmap: {side walk: [side walk]}\nignore: [road]")
    assert mapping.lookup()[[0, 1, 9]].tolist() == [255, 1, 255]


def test_mapping_survives_pickling() -> None:
    mapping = LabelMapping.load(TABLE_4)
    assert pickle.loads(pickle.dumps(mapping)) == mapping


def test_source_table_of_the_data_set_replaces_the_bundled(folder: Path) -> None:
    own = ClassTable("own", ClassTable.load("camvid").classes[::-1])
    mapping = LabelMapping.load("camvid-to-cityscapes", source=own)
    assert mapping.source is own
    assert mapping.lookup().tolist() == LabelMapping.load("camvid-to-cityscapes").lookup().tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("target: cityscapes", "rule.yaml: has no 'source'. Add 'source: NAME'"),
        (
            "source: cityscape\ntarget: camvid",
            r"rule.yaml, source: 'cityscape': is neither .* Did you mean 'cityscapes'\?",
        ),
        (HEAD + "rule: {}", "rule.yaml: key 'rule' is not known"),
        (HEAD + "ignored: []", "rule.yaml: key 'ignored' is not known. Did you mean 'ignore'"),
        (HEAD + "map: [road]", "rule.yaml, map: is not a list of 'target: "),
        (
            HEAD + "map: {rode: []}",
            "rule.yaml, map, 'rode': target 'rode' is not a class of 'abc'. Did you mean 'road'",
        ),
        (HEAD + "map: {road: [sidewlk]}", "map, 'road': 'sidewlk' is not a class of 'abc'. Did you mean 'side walk'"),
        (HEAD + "map: {road: [no]}", "map, 'road': False is not a name"),
        (HEAD + "map: {road: [road], Road: []}\nmap: {}", "line 4: key 'map' is given twice, first in line 3"),
        (HEAD + "map: {road: [road], road: []}", "line 3: key 'road' is given twice, first in line 3"),
        (HEAD + "ignore: [roed]", "rule.yaml, ignore: 'roed' is not a class of 'abc'. Did you mean 'road'"),
        (
            HEAD + "map: {road: [side walk], side walk: [Sidewalk]}",
            "map, 'side walk': 'Sidewalk' is sent to 'road' elsewhere and sent to 'side walk' here. Keep one.",
        ),
        (HEAD + "map: {road: road}\nignore: [road]", "ignore: 'road' is sent to 'road' elsewhere and ignored here"),
        (
            HEAD + "map: {road: [road]}",
            "2 of the 3 classes of 'abc' are neither mapped nor ignored: side walk, nothing",
        ),
        (HEAD + "rest: drop", "rule.yaml, rest: 'drop' is not known. Write 'rest: ignore'"),
        ("extends: rule.yaml", "rule.yaml: extends itself"),
        ("extends: camvid-to-cityscapes\nsource: camvid", "'source' comes from the mapping it extends"),
        ("extends: [a]", r"rule.yaml, extends: \['a'\] is not a name"),
    ],
)
def test_faulty_rule_is_named_with_the_place(folder: Path, text: str, message: str) -> None:
    with pytest.raises(MappingError, match=message) as caught:
        rule(folder, text)
    assert "\n" not in str(caught.value)


def test_the_same_class_named_twice_alike_is_no_fault(folder: Path) -> None:
    mapping = rule(folder, HEAD + "map: {road: [side walk, Sidewalk]}\nrest: ignore")
    assert mapping.lookup()[1] == 0


def test_compare_pairs_classes_across_versions() -> None:
    rows = {
        row.name: row for row in compare(LabelMapping.load(TABLE_4), LabelMapping.load("vistas-v2.0-to-cityscapes"))
    }
    person, light = rows["Person"], rows["Traffic Light - Other"]
    assert (person.id_a, person.id_b, person.target_a, person.target_b) == (19, 30, "person", "person")
    assert (light.id_a, light.id_b, light.target_a, light.target_b) == (None, 95, None, "traffic light")
    assert (person.differs, light.differs) == (False, True)


def test_the_examples_of_the_page_load(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "mappings.md").read_text(encoding="utf-8")
    on_top, whole, classes = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my-classes.yaml").write_text(classes, encoding="utf-8")
    assert rule(tmp_path, on_top).lookup()[[56, 58, 59, 60]].tolist() == [14, 16, 255, 14]
    assert rule(tmp_path, whole).lookup("labelIds")[:5].tolist() == [255, 255, 1, 0, 255]


def test_a_class_without_an_id_in_files_has_no_place_in_a_lookup(tmp_path):
    (tmp_path / "roads.yaml").write_text("source: cityscapes\ntarget: cityscapes\nmap: {road: [road]}\nrest: ignore\n")
    lookup = LabelMapping.load(tmp_path / "roads.yaml").lookup("labelIds")
    license_plate = ClassTable.load("cityscapes").classes[-1]
    assert license_plate.id == -1
    assert (lookup[7], lookup[8], lookup[255]) == (7, 0, -1)


def test_either_kind_of_table_is_loaded_by_name_or_file(tmp_path: Path) -> None:
    assert load_any(TABLE_4) == LabelMapping.load(TABLE_4)
    assert load_any("cityscapes") == ClassTable.load("cityscapes")
    copy = tmp_path / "mine.yaml"
    copy.write_bytes(bundled_mappings()[TABLE_4].read_bytes())
    assert isinstance(load_any(copy), LabelMapping)
    with pytest.raises(MappingError, match="mapping or class table"):
        load_any("cityscape")
