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


def test_names_follow_the_ids_of_converted_labels() -> None:
    table = ClassTable.load("pascal-context-60")
    assert [table.find(name).id for name in ("background", "aeroplane", "tvmonitor", "bag", "wood")] == [
        0,
        1,
        20,
        21,
        59,
    ]


def test_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"SegmentationContext/val\.txt: is missing; there are train\."):
        pascal_context.find(write_context(tmp_path), splits=["val"])
