"""Remapping an array of ids: what comes out, and what is said of an id that the mapping does not name."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segdata.errors import LabelError
from segdata.labels.classes import ClassTable, LabelClass
from segdata.labels.mapping import LabelMapping
from segdata.labels.remap import first_unmapped, look_up_rows, remap_labels, unmapped_error

TABLE_4 = LabelMapping.load("vistas-v1.2-to-cityscapes")


def test_ids_become_training_ids() -> None:
    mapped = remap_labels(np.array([[13, 2, 58], [17, 65, 52]], np.uint8), TABLE_4)
    assert mapped.tolist() == [[0, 1, 255], [2, 255, 18]]
    assert mapped.dtype == np.uint8
    assert mapped.flags.writeable


def test_ids_become_label_ids() -> None:
    assert remap_labels(np.array([[13, 58]], np.uint8), TABLE_4, encoding="labelIds").tolist() == [[7, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.uint64])
def test_any_integers(dtype: type[np.integer]) -> None:
    assert remap_labels(np.array([[13, 65]], dtype), TABLE_4).tolist() == [[0, 255]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_unmapped_id_is_told_with_its_first_place(dtype: type[np.integer]) -> None:
    ids = np.array([[13, 13, 13], [13, 13, 66], [66, 99, 13]], dtype)
    message = (
        r"^label: id 66 is not named by mapping 'vistas-v1.2-to-cityscapes' \(2 pixels, first at row 1, column 2\). "
        r'The mapping names ids 0-65. Pass unmapped="ignore".$'
    )
    with pytest.raises(LabelError, match=message):
        remap_labels(ids, TABLE_4)


@pytest.mark.parametrize(("wrong", "dtype"), [(-1, np.int8), (256, np.uint16), (2**40, np.int64), (269, np.int16)])
def test_ids_that_no_byte_holds_are_unmapped(wrong: int, dtype: type[np.integer]) -> None:
    ids = np.array([[13, wrong]], dtype)
    with pytest.raises(LabelError, match=rf"id {wrong} is not named .* \(1 pixel at row 0, column 1\)"):
        remap_labels(ids, TABLE_4)
    assert remap_labels(ids, TABLE_4, "ignore").tolist() == [[0, 255]]


@pytest.mark.parametrize(("encoding", "ignored"), [("trainIds", 255), ("labelIds", 0)])
def test_unmapped_ids_are_ignored_on_request(encoding: str, ignored: int) -> None:
    ids = np.array([[66, 255]], np.uint8)
    assert remap_labels(ids, TABLE_4, "ignore", encoding).tolist() == [[ignored, ignored]]  # type: ignore[arg-type]


def test_all_256_ids_named() -> None:
    table = ClassTable("all", tuple(LabelClass(i, f"c{i}", f"c{i}", min(i, 255), (0, 0, 0)) for i in range(256)))
    mapping = LabelMapping("reverse", table, table, table.classes[::-1])
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert remap_labels(ids, mapping).tolist() == ids[::-1, ::-1].tolist()


@pytest.mark.parametrize("ids", [np.zeros((2, 2)), np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), bool)])
def test_only_two_axes_of_integers(ids: np.ndarray) -> None:
    with pytest.raises(LabelError, match=r"Give ids as an integer array of shape \(H, W\)"):
        remap_labels(ids, TABLE_4)


def test_unknown_policy() -> None:
    with pytest.raises(LabelError, match=r"unmapped: 'drop' is not known. Use error or ignore"):
        remap_labels(np.zeros((1, 1), np.uint8), TABLE_4, "drop")  # type: ignore[arg-type]


def test_no_pixels() -> None:
    assert remap_labels(np.zeros((0, 5), np.uint8), TABLE_4).shape == (0, 5)


def test_the_error_speaks_of_the_file_and_the_command() -> None:
    error = unmapped_error(np.array([[70]]), TABLE_4, "a/b.png", "Pass --unmapped ignore.")
    assert str(error).startswith("a/b.png: id 70 is not named")
    assert str(error).endswith("The mapping names ids 0-65. Pass --unmapped ignore.")


def test_ranges_of_named_ids() -> None:
    source = ClassTable("s", tuple(LabelClass(i, f"c{i}", f"c{i}", 255, (0, 0, 0)) for i in (0, 1, 2, 7, 9)))
    mapping = LabelMapping("gaps", source, source, (None,) * 5)
    with pytest.raises(LabelError, match="names ids 0-2, 7, 9"):
        remap_labels(np.array([[8]], np.uint8), mapping)


def test_nothing_unmapped() -> None:
    assert first_unmapped(np.array([[0, 65]], np.uint8), TABLE_4.lookup()) is None


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_equal_to_one_look_up_per_pixel(height: int, width: int, data: st.DataObject) -> None:
    pixels = data.draw(st.lists(st.integers(0, 65), min_size=height * width, max_size=height * width))
    ids = np.array(pixels, np.uint8).reshape(height, width)
    lookup = TABLE_4.lookup().tolist()
    expected = [[lookup[pixel] for pixel in row] for row in ids.tolist()]
    assert remap_labels(ids, TABLE_4).tolist() == expected
    assert remap_labels(ids.T, TABLE_4).T.tolist() == expected
    assert remap_labels(ids.astype(np.int32), TABLE_4).tolist() == expected


def test_real_labels(vistas_sample: Path) -> None:
    labels = sorted(vistas_sample.glob("*/labels/*.png"))
    assert len(labels) == 6
    for path in labels:
        ids = np.asarray(Image.open(path))
        assert np.array_equal(remap_labels(ids, TABLE_4), TABLE_4.lookup().astype(np.uint8)[ids])


def test_the_first_id_above_a_byte_is_unmapped_and_not_255() -> None:
    lookup = np.zeros(256, np.int16)
    found = first_unmapped(np.array([[255, 256]], np.int32), lookup)
    assert found is not None
    assert (found.id, found.column) == (256, 1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 40), st.sampled_from([1, 5, 20]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_rows_are_looked_up_to_one_that_holds_an_unknown_id(
    seed: int, height: int, width: int, run: int, in_place: bool
) -> None:
    rng = np.random.default_rng(seed)
    lookup = rng.integers(0, 256, 256).astype(np.int16)
    lookup[rng.integers(0, 256, 2)] = -1
    ids = rng.integers(0, 256, (height, width), np.uint8).repeat(run, axis=1)[:, :width]
    known = (lookup[ids] >= 0).all(axis=1)
    expected = height if known.all() else int(known.argmin())
    given_ids = ids.copy()
    out = given_ids if in_place else np.full_like(ids, 77)
    before = out.copy()
    assert look_up_rows(given_ids, lookup, out) == expected
    assert np.array_equal(out[:expected], lookup[ids[:expected]])
    assert np.array_equal(out[expected:], before[expected:])
