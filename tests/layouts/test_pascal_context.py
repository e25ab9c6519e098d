"""The layout of Pascal Context, and its two class tables on the same files."""

from pathlib import Path

import pytest
from miniature import write_label, write_text

from segdata.data.samples import read_sample
from segdata.errors import LayoutError
from segdata.labels.classes import ClassTable
from segdata.layouts import pascal_context

LISTS = "ImageSets/SegmentationContext"


def write_context(root: Path) -> Path:
    write_text(root / LISTS / "train.txt", "2008_000008\n2008_000003\n")
    write_label(root / "SegmentationClassContext" / "2008_000003.png", [[0, 1], [59, 33]])
    return root


def test_a_split_is_its_list_sorted(tmp_path: Path) -> None:
    items = pascal_context.find(write_context(tmp_path))
    assert [item.key for item in items] == ["2008_000003", "2008_000008"]
    assert items[0].image == tmp_path / "JPEGImages" / "2008_000003.jpg"


@pytest.mark.parametrize(("table", "expected"), [("59", [[255, 0], [58, 32]]), ("60", [[0, 1], [59, 33]])])
def test_background_is_ignored_or_a_class_by_the_table(tmp_path: Path, table: str, expected: list[list[int]]) -> None:
    item = pascal_context.find(write_context(tmp_path))[0]
    assert read_sample(item, ClassTable.load(f"pascal-context-{table}"), "labelIds").tolist() == expected


# The numbers, among the 459 classes of the data set, of the 59 that MMSegmentation's converter keeps; it gives them ids
# from 1 in the order of these numbers. Some of them with their names in the data set's labels.txt.
KEPT = (
    *(
        2,
        259,
        260,
        415,
        324,
        9,
        258,
        144,
        18,
        19,
        22,
        23,
        397,
        25,
        284,
        158,
        159,
        416,
        33,
        162,
        420,
        454,
        295,
        296,
        427,
    ),
    *(44, 45, 46, 308, 59, 440, 445, 31, 232, 65, 354, 424, 68, 326, 72, 458, 34, 207, 80, 355, 85, 347, 220, 349, 360),
    *(98, 187, 104, 105, 366, 189, 368, 113, 115),
)
NAMED = {
    **{2: "aeroplane", 9: "bag", 18: "bed", 19: "bedclothes", 22: "bench", 23: "bicycle", 25: "bird", 31: "boat"},
    **{33: "book", 34: "bottle", 44: "building", 45: "bus", 46: "cabinet", 59: "car", 65: "cat", 68: "ceiling"},
    **{72: "chair", 98: "cow", 113: "dog", 207: "horse", 258: "motorbike", 284: "person", 308: "pottedplant"},
    **{347: "sheep", 368: "sofa", 397: "table", 416: "train", 427: "tvmonitor", 440: "wall", 458: "wood"},
}


@pytest.mark.parametrize("classes", ["59", "60"])
def test_names_follow_the_ids_that_the_converter_writes(classes: str) -> None:
    table = ClassTable.load(f"pascal-context-{classes}")
    ids = {number: place for place, number in enumerate(sorted(KEPT), 1)}
    assert len(ids) == 59
    assert {name: table.find(name).id for name in NAMED.values()} == {
        name: ids[number] for number, name in NAMED.items()
    }
    named = [each.name for each in sorted(table.classes, key=lambda each: each.id) if 1 <= each.id <= 59]
    assert named == sorted(named)  # as the 459 are


def test_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"SegmentationContext/val\.txt: is missing; there are train\."):
        pascal_context.find(write_context(tmp_path), splits=["val"])
