"""The index that training builds for itself: kept while it is true, built anew where it is not."""

import os
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from segdata.batch.work import BatchSettings
from segdata.codecs.png import encode_label
from segdata.errors import LabelError, StoreError
from segdata.jobs.index import plan_index
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.index_builder import build_index, list_images, merge_parts
from segdata.sampling.index_part import IndexItem

HERE = BatchSettings()
TILE = 16


@pytest.fixture
def labels(tmp_path, rng):
    """Return a folder of four labels of train ids."""
    folder = tmp_path / "labels"
    folder.mkdir()
    for number in range(4):
        write(folder / f"{number}.png", rng.choice(np.array([0, 5, 13, 255], np.uint8), (40, 48)))
    return folder


def write(path, ids):
    """Write a label image."""
    path.write_bytes(encode_label(np.asarray(ids, np.uint8)))


def plan(labels, **settings):
    """Return the plan of an index in a folder of its own."""
    return plan_index(labels, labels.parent / "cache" / "city.npz", **({"tile": TILE} | settings))


def written_at(planned):
    """Return what tells one written file from the next."""
    return planned.output.stat().st_ino, planned.output.stat().st_mtime_ns


def test_an_index_is_built_where_none_is_and_kept_while_it_is_true(labels):
    built = build_index(plan(labels), HERE)
    before = written_at(plan(labels))
    kept = build_index(plan(labels), HERE)
    assert built.num_images == kept.num_images == 4
    assert written_at(plan(labels)) == before
    assert [path.name for path in plan(labels).output.parent.iterdir()] == ["city.npz"]


def damage(planned):
    planned.output.write_bytes(planned.output.read_bytes()[:-40])


def other_bytes(planned):
    write(planned.source / "1.png", np.full((40, 48), 7))


def one_more(planned):
    write(planned.source / "9.png", np.zeros((40, 48)))


def one_less(planned):
    (planned.source / "3.png").unlink()


@pytest.mark.parametrize("change", [damage, other_bytes, one_more, one_less])
def test_an_index_that_is_true_no_more_is_built_anew(labels, change):
    planned = plan(labels)
    build_index(planned, HERE)
    change(planned)
    anew = build_index(plan(labels), HERE)
    planned.output.unlink()
    straight = build_index(plan(labels), HERE)
    assert anew.digest == straight.digest
    assert anew.names("label") == sorted(path.name for path in labels.glob("*.png"))


def test_an_index_of_other_settings_is_built_anew(labels):
    build_index(plan(labels), HERE)
    assert build_index(plan(labels, tile=8), HERE).head.tile == 8


def test_new_times_of_the_same_bytes_are_written(labels):
    planned = plan(labels)
    digest = build_index(planned, HERE).digest
    before = written_at(planned)
    os.utime(labels / "1.png", ns=(10**18, 10**18))
    assert build_index(planned, HERE).digest == digest
    assert written_at(planned) != before
    assert ClassIndex.load(planned.output, check=False).arrays["label_times"][1] == 10**18


def test_a_bad_label_is_an_error_or_left_out_with_a_warning(labels, caplog):
    (labels / "1.png").write_bytes(b"no label")
    with pytest.raises(LabelError, match=r"1\.png"):
        build_index(plan(labels), HERE)
    assert not plan(labels).output.exists()
    index = build_index(plan(labels), HERE, skip_bad=True)
    assert index.names("label") == ["0.png", "2.png", "3.png"]
    assert re.search(r"left out of the index: .*1\.png", caplog.text)
    caplog.clear()
    assert build_index(plan(labels), HERE, skip_bad=True).digest == index.digest
    assert re.search(r"city\.npz: 1 label left out, first 1\.png", caplog.text)
    with pytest.raises(LabelError, match=r"1\.png"):  # what one run may leave out is no less an error of another
        build_index(plan(labels), HERE)


def test_a_label_left_out_is_looked_at_again_when_it_was_changed(labels):
    (labels / "1.png").write_bytes(b"no label")
    build_index(plan(labels), HERE, skip_bad=True)
    write(labels / "1.png", np.zeros((40, 48)))
    assert build_index(plan(labels), HERE, skip_bad=True).num_images == 4


def test_a_label_left_out_is_looked_at_again_when_its_image_was_changed(labels):
    images = labels.parent / "images"
    images.mkdir()
    for number in range(4):
        Image.new("RGB", (48, 40) if number else (9, 9)).save(images / f"{number}.png")
    assert build_index(plan(labels, images=images), HERE, skip_bad=True).num_images == 3
    Image.new("RGB", (48, 40)).save(images / "0.png")
    assert build_index(plan(labels, images=images), HERE, skip_bad=True).num_images == 4


def test_a_folder_of_bad_labels_alone_is_no_index(labels):
    for path in labels.glob("*.png"):
        path.write_bytes(b"no label")
    with pytest.raises(LabelError, match=r"0\.png"):
        build_index(plan(labels), HERE, skip_bad=True)
    assert not plan(labels).output.exists()


def test_a_folder_that_cannot_be_made_is_named(labels):
    labels.with_name("cache").write_text("a file")
    with pytest.raises(StoreError, match=r"cache: cannot be made: File exists\. Expected a directory, found a file"):
        build_index(plan(labels), HERE)


def test_a_missing_part_is_named_with_its_label(labels):
    with pytest.raises(StoreError, match=r"the part of 0\.png is missing or damaged\. Run the same command again"):
        merge_parts(plan(labels))


def test_what_else_lies_in_the_folder_of_parts_stays(labels):
    planned = plan(labels)
    planned.destination.mkdir(parents=True)
    (planned.destination / "notes.txt").write_text("mine")
    build_index(planned, HERE)
    assert [path.name for path in planned.destination.iterdir()] == ["notes.txt"]


def test_a_list_of_images_names_them_without_reading_any(labels):
    (labels / "1.png").write_bytes(b"no label")
    images = list_images(plan(labels))
    assert images.names("label") == ["0.png", "1.png", "2.png", "3.png"]
    assert images.num_entries == 0


def test_labels_of_sbd_are_indexed_as_their_png_would_be(labels, rng):
    ids = rng.integers(0, 21, (40, 48)).astype(np.uint8)
    content = np.zeros((1, 1), [("Segmentation", object)])
    content["Segmentation"][0, 0] = ids
    planned = plan(labels, classes="voc2012", encoding="labelIds")
    indexed = []
    for name in ("a.mat", "a.png"):
        folder = labels.with_name(name)
        folder.mkdir()
        savemat(folder / name, {"GTcls": content}) if name == "a.mat" else write(folder / name, ids)
        items = [IndexItem(key=name, path=folder / name)]
        indexed.append(build_index(replace(planned, source=folder, items=items, output=folder / "i.npz"), HERE))
    for array in ("entry_pixels", "entry_tiles", "entry_points", "class_starts", "image_sizes", "image_ignored"):
        assert indexed[0].arrays[array].tolist() == indexed[1].arrays[array].tolist()


def test_an_image_of_another_size_than_its_label_is_an_error_and_one_that_cannot_be_read_is_not(labels):
    image = labels.with_name("image.png")
    planned = plan(labels)
    item = replace(planned.items[0], image="../image.png", image_path=image)
    for content in (b"no image", encode_label(np.zeros((40, 48), np.uint8))):
        image.write_bytes(content)
        assert build_index(replace(planned, items=[item]), HERE).num_images == 1
        planned.output.unlink()
    write(image, np.zeros((20, 24)))
    with pytest.raises(LabelError, match=r"0\.png: has 40x48 pixels \(height x width\), its image .*image\.png 20x24"):
        build_index(replace(planned, items=[item]), HERE)
