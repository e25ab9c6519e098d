"""The class index: sorted by class, named by its content, refused when stale."""

import os
import pickle
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from indexes import made_index

from segdata.errors import StoreError
from segdata.sampling.index import ClassIndex, IndexHead
from segdata.sampling.merge import IndexedImage, merge_images
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
        digest = blake2b(name.encode(), digest_size=16).digest()
        images.append(
            IndexedImage(name, f"../{name}.jpg", path.stat().st_size, path.stat().st_mtime_ns, digest, entries)
        )
    index = merge_images(IndexHead(("x", "y"), "table"), images, root=folder)
    (tmp_path / "index.npz").write_bytes(index.encode("labels"))
    return tmp_path / "index.npz"


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
    assert index.picture_path(0) == written.parent / "a b.png.jpg"
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
    with pytest.raises(StoreError, match=r"is stale: .*labels/a b\.png cannot be read"):
        ClassIndex.load(written)


def test_a_label_of_another_size_makes_the_index_stale(written):
    (written.parent / "labels" / "ä.png").write_bytes(b"longer than it was")
    with pytest.raises(StoreError, match=r"is stale: .*ä\.png has 18 bytes, 6 when it was indexed"):
        ClassIndex.load(written)


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
    with pytest.raises(StoreError, match=r"other\.npz: is no class index"):
        ClassIndex.load(path)


def test_an_index_of_another_format_is_refused(written):
    data = written.read_bytes()
    written.write_bytes(data.replace(b'"format": 1', b'"format": 7'))
    with pytest.raises(StoreError, match="has format 7, expected 1"):
        ClassIndex.load(written)


def test_a_file_cut_short_is_refused(written):
    written.write_bytes(written.read_bytes()[:-100])
    with pytest.raises(StoreError, match="is no whole index file"):
        ClassIndex.load(Path(written))
