"""The class index: sorted by class, named by its content, refused when stale."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from indexes import made_index

from segdata.codecs.mapped_npz import encode_mapped_npz, map_npz
from segdata.data.draw_summary import summarize_index
from segdata.errors import StoreError
from segdata.sampling.class_index import ClassIndex, IndexHead
from segdata.sampling.merge import FileState, IndexedImage, merge_images
from segdata.sampling.scan import scan_label

IDENTITY = np.arange(256, dtype=np.int16)


@pytest.fixture
def written(tmp_path):
    """Return the path of an index over two label files below ``labels``."""
    folder = tmp_path / "labels"
    folder.mkdir()
    images = []
    for name in ("a b.png", "ä.png"):
        path = folder / name
        path.write_bytes(name.encode())
        entries = scan_label(np.array([[0, 1]], np.uint8), IDENTITY, 2)
        state = FileState.of(name.encode(), path.stat().st_mtime_ns)
        images.append(IndexedImage(name, f"../{name}.jpg", state, entries))
    index = merge_images(IndexHead(("x", "y"), "table"), images, root=folder)
    (tmp_path / "index.npz").write_bytes(index.encode("labels"))
    return tmp_path / "index.npz"


def rewrite_meta(path, **changes):
    """Write an index again with other fields in its head; None takes one out."""
    arrays = {name: array.copy() for name, array in map_npz(path).items()}
    meta = json.loads(arrays["meta"].tobytes()) | changes
    text = json.dumps({name: value for name, value in meta.items() if value is not None}).encode()
    path.write_bytes(encode_mapped_npz(arrays | {"meta": np.frombuffer(text, np.uint8)}))


def state_of(index, image):
    """Return what an index says of a label."""
    return FileState(
        int(index.arrays["label_bytes"][image]),
        int(index.arrays["label_times"][image]),
        index.arrays["label_digests"][image].tobytes(),
    )


def nothing():
    """Return the entries of a label that is ignored whole."""
    return scan_label(np.full((1, 1), 255, np.uint8), IDENTITY, 2)


def test_entries_are_sorted_by_class_then_image_then_tile():
    index = made_index([[[0, 2], [2]], [[0]]])
    assert index.tiles_per_class.tolist() == [2, 0, 2]
    of_class = index.entries_of(2)
    assert index.arrays["entry_images"][of_class].tolist() == [0, 0]
    assert index.arrays["entry_tiles"][of_class].tolist() == [0, 1]
    assert index.arrays["entry_pixels"].tolist() == [1, 1, 3, 3]


def test_a_written_index_loads_with_its_names(written):
    index = ClassIndex.load(written)
    assert (index.num_images, index.num_entries, index.head.class_names) == (2, 4, ("x", "y"))
    assert index.label_path(1) == written.parent / "labels" / "ä.png"
    assert index.image_path(0) == written.parent / "a b.png.jpg"
    assert index.confidence_path(0) is None


def test_the_digest_is_that_of_the_content():
    assert made_index([[[0]]]).digest == made_index([[[0]]]).digest
    digests = {made_index(tiles).digest for tiles in ([[[0]]], [[[1]]], [[[0], [0]]], [[[0]], [[0]]])}
    assert len(digests) == 4


def test_an_index_moved_with_its_labels_loads(written, tmp_path):
    home = tmp_path / "elsewhere"
    home.mkdir()
    for path in (written, written.parent / "labels"):
        path.rename(home / path.name)
    assert ClassIndex.load(home / "index.npz").label_path(0).exists()


def test_an_index_moved_apart_loads_with_the_root(written, tmp_path):
    (written.parent / "labels").rename(tmp_path / "moved")
    assert ClassIndex.load(written, root=tmp_path / "moved").num_images == 2
    with pytest.raises(StoreError, match=r"none of its [23] labels is below .* Was the data set moved\?"):
        ClassIndex.load(written)


def test_a_label_of_another_size_makes_the_index_stale(written):
    (written.parent / "labels" / "ä.png").write_bytes(b"longer than it was")
    with pytest.raises(StoreError, match=r"is stale: .*ä\.png has 18 bytes, 6 when it was indexed"):
        ClassIndex.load(written)


def test_a_stale_index_says_how_many_files_differ(written):
    (written.parent / "labels" / "a b.png").unlink()
    (written.parent / "labels" / "ä.png").write_bytes(b"")
    with pytest.raises(StoreError, match=r"a b\.png cannot be read .* \(the first of 2 files that differ\)\. Run the"):
        ClassIndex.load(written)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_bytes(b"sure enough"), "has 11 bytes, 4 when it was indexed"),
        (lambda path: path.write_bytes(b"SURE") and os.utime(path, ns=(1, 1)), "has changed since it was indexed"),
        (lambda path: path.unlink(), "cannot be read"),
    ],
)
def test_a_confidence_image_that_changed_makes_the_index_stale(written, change, message):
    index, confidence = ClassIndex.load(written), written.parent / "labels" / "ä_prob.png"
    confidence.write_bytes(b"sure")
    state = FileState.of(b"sure", confidence.stat().st_mtime_ns)
    images = [
        IndexedImage("a b.png", "", state_of(index, 0), nothing()),
        IndexedImage("ä.png", "", state_of(index, 1), nothing(), "ä_prob.png", state),
    ]
    written.unlink()
    written.write_bytes(merge_images(index.head, images).encode("labels"))
    assert ClassIndex.load(written).confidence_path(1) == confidence
    change(confidence)
    with pytest.raises(StoreError, match=rf"is stale: .*labels/ä_prob\.png {message}"):
        ClassIndex.load(written)


def test_an_index_holds_the_times_of_now_once_refreshed(written):
    index = ClassIndex.load(written)
    assert index.refreshed() is index
    os.utime(index.label_path(1), ns=(7, 7))
    fresh = index.refreshed()
    assert fresh.arrays["label_times"].tolist() == [index.arrays["label_times"][0], 7]
    assert fresh.digest == index.digest


def test_an_index_loaded_by_a_relative_path_is_found_from_another_folder(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(ClassIndex.load(written.name, root="labels"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    index = pickle.loads(sent)
    assert (index.path, index.label_path(1).exists()) == (written, True)


def test_a_pipe_in_the_place_of_a_label_is_not_waited_for(written):
    index = ClassIndex.load(written)
    index.label_path(1).unlink()
    os.mkfifo(index.label_path(1))
    empty = replace(index, arrays={**index.arrays, "label_bytes": np.array([7, 0])})  # a pipe has no bytes either
    with pytest.raises(StoreError, match=r"is stale: .*ä\.png cannot be read \(Not a regular file\)"):
        empty.refuse_stale()


def test_a_label_of_another_content_makes_the_index_stale(written):
    label = written.parent / "labels" / "a b.png"
    label.write_bytes(b"x b.png")
    os.utime(label, ns=(1, 1))
    with pytest.raises(StoreError, match="has changed since it was indexed"):
        ClassIndex.load(written)


def test_a_label_copied_with_another_time_is_no_reason_to_refuse(written):
    for label in (written.parent / "labels").iterdir():
        os.utime(label, ns=(1, 1))
    assert ClassIndex.load(written).num_images == 2


def test_a_deep_check_finds_a_change_that_size_and_time_hide(written):
    label = written.parent / "labels" / "a b.png"
    time = label.stat().st_mtime_ns
    label.write_bytes(b"x b.png")
    os.utime(label, ns=(time, time))
    index = ClassIndex.load(written)
    with pytest.raises(StoreError, match="has changed since it was indexed"):
        index.refuse_stale(deep=True)


def test_a_deep_check_finds_other_content_under_an_old_digest(written):
    index = ClassIndex.load(written)
    forged = replace(index, arrays={**index.arrays, "entry_pixels": index.arrays["entry_pixels"] + 1})
    assert any("does not match its digest" in fault for fault in forged.faults(deep=True))


def test_an_index_sent_to_another_process_is_mapped_there_again(written):
    index = ClassIndex.load(written)
    sent = pickle.dumps(index)
    assert len(sent) < 1000
    assert pickle.loads(sent).digest == index.digest


def test_an_index_replaced_while_in_use_is_refused(written):
    sent = pickle.dumps(ClassIndex.load(written))
    written.unlink()
    written.write_bytes(made_index([[[0]]]).encode("."))
    with pytest.raises(StoreError, match="was replaced by another index while it was in use"):
        pickle.loads(sent)


def test_an_index_without_a_file_is_sent_whole():
    index = made_index([[[0]]])
    assert pickle.loads(pickle.dumps(index)).arrays["entry_pixels"].tolist() == [1]


def test_another_npz_is_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, a=np.arange(3))
    with pytest.raises(StoreError, match=r"other\.npz: is not a class index"):
        ClassIndex.load(path)


def test_an_index_of_another_format_is_refused(written):
    rewrite_meta(written, format=7)
    with pytest.raises(StoreError, match="has format 7, expected 3"):
        ClassIndex.load(written)


@pytest.mark.parametrize("changes", [{"digest": None}, {"class_table": 3}, {"class_names": "xy"}, {"tile": True}])
def test_a_head_that_lacks_something_is_refused(written, changes):
    rewrite_meta(written, **changes)
    with pytest.raises(StoreError, match=f"'{next(iter(changes))}' in its head is missing or of another type"):
        ClassIndex.load(written)


@pytest.mark.parametrize(
    "change", [{"class_starts": [0, 3, 2]}, {"class_starts": [1, 2, 4]}, {"label_ends": [7, 12]}, {"lookup": [0]}]
)
def test_arrays_that_do_not_fit_one_another_are_refused(written, change):
    index = ClassIndex.load(written)
    arrays = {name: np.array(values, index.arrays[name].dtype) for name, values in change.items()}
    written.unlink()
    written.write_bytes(replace(index, arrays={**index.arrays, **arrays}).encode("labels"))
    with pytest.raises(StoreError, match="its arrays do not fit one another"):
        ClassIndex.load(written)


def test_a_name_that_no_file_can_have_is_damage(written):
    data = written.read_bytes()
    written.write_bytes(data.replace(b"a b.png\xc3\xa4", b"a\0b.png\xc3\xa4"))
    with pytest.raises(StoreError, match="the name of a label in it is damaged"):
        ClassIndex.load(written)


def test_any_flipped_byte_is_one_line_or_harms_nothing(written, rng):
    """Every way in which single bytes can be wrong: the load tells, or `verify` does, or the index is the same."""
    sound = {name: array.copy() for name, array in ClassIndex.load(written).arrays.items()}
    whole = written.read_bytes()
    places = [*range(3000), *rng.choice(np.arange(3000, len(whole)), 500, replace=False).tolist()]
    flips = rng.integers(1, 256, len(places)).tolist()
    told = []
    with written.open("r+b") as file:
        for place, flip in zip(places, flips, strict=True):
            os.pwrite(file.fileno(), bytes([whole[place] ^ flip]), place)
            try:
                index = ClassIndex.load(written)
                summarize_index(index)
                if not list(index.faults(deep=True)):
                    assert all(np.array_equal(index.arrays[name], array) for name, array in sound.items())
            except StoreError as error:
                told.append(str(error))
            os.pwrite(file.fileno(), whole[place : place + 1], place)
    assert len(told) > 1000
    assert not [message for message in told if "\n" in message]
    assert written.read_bytes() == whole


def test_a_file_cut_short_is_refused(written):
    written.write_bytes(written.read_bytes()[:-100])
    with pytest.raises(StoreError, match="is not a whole index file"):
        ClassIndex.load(Path(written))


@pytest.mark.parametrize("root", ["a\0b", "a\ud800"])
def test_a_root_that_no_folder_can_have_is_one_line(written, root):
    rewrite_meta(written, root=root)
    with pytest.raises(StoreError, match=r"index\.npz: 'root' in its head, .*, is not the name of a folder"):
        ClassIndex.load(written)


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/etc/a.png"])
def test_labels_outside_the_folder_are_refused_when_read(tmp_path, name):
    images = [IndexedImage(name, "", FileState(), nothing())]
    path = tmp_path / "index.npz"
    path.write_bytes(merge_images(IndexHead(("x", "y"), "table"), images).encode("labels"))
    with pytest.raises(StoreError, match="lies outside the folder that it is of"):
        ClassIndex.load(path, check=False).label_path(0)


def test_images_may_lie_beside_the_labels_and_are_never_absolute(tmp_path):
    for name, path in (("../images/a.png", tmp_path / "images" / "a.png"), ("/etc/a.png", None)):
        images = [IndexedImage("a.png", name, FileState(), nothing())]
        index = tmp_path / "index.npz"
        index.unlink(missing_ok=True)
        index.write_bytes(merge_images(IndexHead(("x", "y"), "table"), images).encode("labels"))
        if path is None:
            with pytest.raises(StoreError, match="a file of kind image in it"):
                ClassIndex.load(index, check=False).image_path(0)
        else:
            assert ClassIndex.load(index, check=False).image_path(0) == path


def test_an_index_says_what_it_is(written):
    assert repr(ClassIndex.load(written)) == (
        f"<ClassIndex of {written}: 2 images, 4 entries, 2 classes, tiles of {IndexHead(('x',), '').tile}>"
    )
    assert str(ClassIndex.load(written).label_name(1)) == "ä.png"
    assert repr(made_index([[[0]]])) == "<ClassIndex: 1 images, 1 entries, 3 classes, tiles of 8>"


def test_a_deep_check_raises_for_other_content_under_an_old_digest(written):
    index = ClassIndex.load(written)
    forged = replace(index, arrays={**index.arrays, "entry_pixels": index.arrays["entry_pixels"] + 1})
    forged.refuse_stale()
    with pytest.raises(StoreError, match="does not match its digest"):
        forged.refuse_stale(deep=True)


def test_an_index_in_memory_is_checked_by_its_digest(written):
    index = replace(ClassIndex.load(written), path=None)
    wrong = replace(index, arrays={**index.arrays, "entry_pixels": index.arrays["entry_pixels"] + 1})
    assert list(index.faults(deep=True)) == []
    assert next(wrong.faults(deep=True)).startswith("index: its content does not match its digest")
