"""From a label file to training ids: the whole of it or a window, and what is said of a file that has no such ids."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from segdata.codecs.png import encode_label
from segdata.errors import LabelError
from segdata.labels.classes import ClassTable
from segdata.labels.reading import (
    LabelMeaning,
    Window,
    encoding_of,
    ignore_unsure,
    label_name,
    read_class_ids,
    read_single_label,
    refuse_contradiction,
    to_class_ids,
    told_settings,
)

CITYSCAPES = ClassTable.load("cityscapes")
LOOKUP = CITYSCAPES.value_lookup("labelIds")


@pytest.fixture
def ids(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return label ids of Cityscapes, shape (9, 12)."""
    return rng.choice(np.array([0, 7, 8, 33], np.uint8), (9, 12))


@pytest.fixture(params=["a.png", "a.mat"])
def label(request: pytest.FixtureRequest, tmp_path: Path, ids: NDArray[np.uint8]) -> Path:
    """Return the path of a file that holds the ids."""
    path = tmp_path / str(request.param)
    if path.suffix == ".mat":
        content = np.zeros((1, 1), [("Segmentation", object)])
        content["Segmentation"][0, 0] = ids
        savemat(path, {"GTcls": content})
    else:
        path.write_bytes(encode_label(ids))
    return path


@pytest.mark.parametrize("window", [None, Window(2, 7, 3, 11), Window(0, 9, 0, 12)])
def test_a_window_is_cut_from_what_the_whole_gives(label: Path, ids: NDArray[np.uint8], window: Window | None) -> None:
    whole = LOOKUP[ids].astype(np.uint8)
    expected = whole if window is None else whole[window.top : window.bottom, window.left : window.right]
    assert np.array_equal(read_class_ids(label, LOOKUP, window=window, size=(9, 12)), expected)


@pytest.mark.parametrize("window", [None, Window(0, 10, 0, 12), Window(0, 9, 0, 13)])
def test_a_label_of_another_size_is_named_with_both(label: Path, window: Window | None) -> None:
    with pytest.raises(LabelError, match=r"a\.(png|mat): has 9x12 pixels, 10x13 its image has\.$"):
        read_class_ids(label, LOOKUP, window=window, size=(10, 13), size_of="its image has")


@pytest.mark.parametrize("window", [None, Window(2, 7, 3, 11)])
def test_unsure_pixels_are_ignored(label: Path, ids: NDArray[np.uint8], window: Window | None) -> None:
    how_sure = np.arange(108, dtype=np.uint8).reshape(9, 12)
    confidence = label.with_name("a_prob.png")
    confidence.write_bytes(encode_label(how_sure))
    expected = np.where(how_sure < 0.2 * 255, 255, LOOKUP[ids])
    if window is not None:
        expected = expected[window.top : window.bottom, window.left : window.right]
    found = read_class_ids(label, LOOKUP, confidence=confidence, threshold=0.2, window=window)
    assert np.array_equal(found, expected)
    assert np.array_equal(read_class_ids(label, LOOKUP, confidence=confidence), LOOKUP[ids])


@pytest.mark.parametrize("window", [None, Window(2, 7, 3, 11)])
def test_a_confidence_image_of_another_size_is_named(label: Path, window: Window | None) -> None:
    confidence = label.with_name("a_prob.png")
    confidence.write_bytes(encode_label(np.zeros((9, 13), np.uint8)))
    with pytest.raises(LabelError, match=r"a_prob\.png: has \(9, 13\) pixels, its label \(9, 12\)"):
        read_class_ids(label, LOOKUP, confidence=confidence, threshold=0.2, window=window)
    with pytest.raises(LabelError, match=r"x: has \(9, 13\) pixels, its label \(9, 12\)"):
        ignore_unsure(np.zeros((9, 12), np.uint8), np.zeros((9, 13), np.uint8), 0.2, where="x")


def test_an_id_that_may_not_occur_is_placed_in_the_file_not_in_the_window(tmp_path: Path) -> None:
    ids = np.full((9, 12), 7, np.uint8)
    ids[5, 6] = ids[5, 8] = 99
    (tmp_path / "a.png").write_bytes(encode_label(ids))
    for window in (None, Window(2, 7, 3, 11)):
        with pytest.raises(LabelError, match=r"id 99 is not in .* \(2 pixels, first at row 5, column 6\)"):
            read_class_ids(tmp_path / "a.png", LOOKUP, window=window)


def test_a_table_that_knows_every_id_refuses_none() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(to_class_ids(every, np.arange(256, dtype=np.int16), where="x"), every)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"settings": 7}', "[" * 100_000])
def test_a_text_chunk_that_says_nothing_of_settings_is_passed_over(text: str) -> None:
    assert told_settings({"segdata": text}) == {}


@pytest.mark.parametrize(
    ("name", "told", "encoding"),
    [
        ("a_gtFine_labelIds.png", "auto", "labelIds"),
        ("a_gtFine_labelTrainIds.png", "auto", "trainIds"),
        ("a_leftImg8bit.png", "auto", "labelIds"),
        ("a.png", "auto", "trainIds"),
        ("a.png", "labelIds", "labelIds"),
        ("a_gtFine_labelIds.png", "trainIds", "trainIds"),
    ],
)
def test_the_encoding_is_as_told_or_goes_by_the_name(name: str, told: str, encoding: str) -> None:
    assert encoding_of(Path(name), told) == encoding


def test_a_file_that_says_its_encoding_is_not_read_as_another() -> None:
    text = {"segdata": '{"settings": {"encoding": "labelIds"}}'}
    refuse_contradiction(text, "a.png", LabelMeaning.of(CITYSCAPES, "labelIds"))
    with pytest.raises(LabelError, match=r"a\.png: says that it holds labelIds, and is read as trainIds"):
        refuse_contradiction(text, "a.png", LabelMeaning.of(CITYSCAPES, "trainIds"))


def test_a_name_of_a_label_is_split() -> None:
    assert label_name(Path("b/a_gtFine_labelIds.png")) == ("a_gtFine", "labelIds")
    assert label_name(Path("b/a_gtFine_color.png")) is None


def single(folder: Path, values: list[int], name: str = "a.png") -> Path:
    """Write a label of one row."""
    (folder / name).write_bytes(encode_label(np.array([values], np.uint8)))
    return folder / name


@pytest.mark.parametrize(
    ("values", "name", "class_ids"),
    [
        ([0, 18, 255], "a.png", [0, 18, 255]),  # all of them can be train ids
        ([7, 33, 0], "a.png", [0, 18, 255]),
        ([7, 8, 0], "a_gtFine_labelIds.png", [0, 1, 255]),
        ([0, 1, 255], "a_gtFine_labelTrainIds.png", [0, 1, 255]),
    ],
)
def test_a_single_label_is_read_by_its_name_or_its_values(
    tmp_path: Path, values: list[int], name: str, class_ids: list[int]
) -> None:
    assert read_single_label(single(tmp_path, values, name), CITYSCAPES).tolist() == [class_ids]


@pytest.mark.parametrize(
    ("values", "encoding", "advice"),
    [
        ([7, 33], "trainIds", "All of these are labelIds of it: pass --encoding labelIds."),
        ([0, 60], "auto", "Is it a label of another data set? Pass --classes vistas-v1.2"),
        ([0, 65], "trainIds", "--classes vistas-v1.2 --encoding labelIds"),
        ([0, 200], "auto", "No bundled class table names them all. Is it a label image? Pass --classes FILE"),
    ],
)
def test_the_advice_names_the_options_that_read_the_file(
    tmp_path: Path, values: list[int], encoding: str, advice: str
) -> None:
    with pytest.raises(LabelError, match=re.escape(advice)):
        read_single_label(single(tmp_path, values), CITYSCAPES, encoding)


def test_the_options_advised_read_the_file(tmp_path: Path) -> None:
    path = single(tmp_path, [0, 60])
    with pytest.raises(LabelError) as refused:
        read_single_label(path, CITYSCAPES)
    tables = re.findall(r"--classes (\S+?)(?= or |\.$)", str(refused.value))
    assert "vistas-v1.2" in tables
    for name in tables:
        assert read_single_label(path, ClassTable.load(name)).shape == (1, 2)


def test_many_values_are_drawn_together(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"The file holds 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, \.\.\., 198\. "):
        read_single_label(single(tmp_path, list(range(0, 200, 2))), CITYSCAPES)


def test_ids_in_a_file_that_is_mapped_into_memory_are_not_written_over(tmp_path):
    (tmp_path / "ids").write_bytes(bytes([7, 7, 7, 7]))
    lookup = np.zeros(256, np.int16)
    for mode in ("r", "r+"):
        ids = np.memmap(tmp_path / "ids", np.uint8, mode, shape=(2, 2))
        assert to_class_ids(ids, lookup, where="x").tolist() == [[0, 0], [0, 0]]
    assert (tmp_path / "ids").read_bytes() == bytes([7, 7, 7, 7])
