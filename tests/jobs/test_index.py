"""Indexing folders: one file, the same to the byte however the run went, and refused where it would mislead."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segdata.batch.runners import take_shard
from segdata.batch.work import BatchSettings
from segdata.codecs.png import encode_label
from segdata.cpp.store import encode_cpp
from segdata.cpp.targets import pool_targets
from segdata.errors import LayoutError, SettingsError, StoreError
from segdata.jobs.index import plan_index
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.index_builder import run_index
from segdata.sampling.index_part import read_part

HERE = BatchSettings()


@pytest.fixture
def labels(tmp_path, rng):
    """Return a folder of six labels of train ids."""
    folder = tmp_path / "labels"
    folder.mkdir()
    for number in range(6):
        ids = np.kron(rng.choice(np.array([0, 5, 13, 255], np.uint8), (5, 6)), np.ones((8, 8), np.uint8))
        (folder / f"{number}.png").write_bytes(encode_label(ids))
    return folder


def plan(labels, name="city.npz", **settings):
    """Return the plan of an index beside the labels."""
    return plan_index(labels, labels.parent / name, **({"tile": 16} | settings))


def statuses(outcomes):
    """Return the status of each outcome."""
    return [outcome.status for outcome in outcomes]


def test_the_index_counts_all_pixels_and_leaves_no_parts(labels):
    outcomes, index = run_index(plan(labels), HERE)
    assert statuses(outcomes) == ["done"] * 6
    assert index.num_images == 6
    assert index.arrays["entry_pixels"].sum() + index.arrays["image_ignored"].sum() == 6 * 40 * 48
    assert sorted(path.name for path in labels.parent.iterdir()) == ["city.npz", "labels"]


def test_shards_give_the_file_of_a_straight_run(labels):
    run_index(plan(labels), HERE)
    sharded = plan(labels, "sharded.npz")
    assert sharded.product == sharded.output  # what the line of a shard says is not written yet
    for part in (2, 1):
        assert run_index(sharded, BatchSettings(shard=(part, 3)))[1] is None
    assert run_index(sharded, BatchSettings(shard=(3, 3)))[1] is not None
    assert statuses(run_index(sharded, HERE)[0]) == ["kept"] * 6
    assert sharded.output.read_bytes() == (labels.parent / "city.npz").read_bytes()


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_shards_that_run_again_after_a_repair_write_the_index(labels, order):
    sharded = plan(labels, "sharded.npz")
    bad = take_shard(sharded.items, (2, 2))[0].path
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-20])
    assert "error" in statuses(run_index(sharded, BatchSettings(shard=(2, 2)))[0])
    bad.write_bytes(whole)
    found = [run_index(sharded, BatchSettings(shard=(part, 2)))[1] for part in order]
    assert [index is None for index in found] == [True, False]
    run_index(plan(labels), HERE)
    assert sharded.output.read_bytes() == (labels.parent / "city.npz").read_bytes()
    assert not sharded.destination.exists()


@pytest.mark.parametrize("again", [(1, 2), (2,)])
def test_after_a_sum_with_an_error_all_shards_or_that_one_can_run_again(labels, again):
    sharded = plan(labels, "sharded.npz")
    bad = take_shard(sharded.items, (2, 2))[0].path
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-20])
    for part in (1, 2):
        assert run_index(sharded, BatchSettings(shard=(part, 2)))[1] is None
    bad.write_bytes(whole)
    assert [run_index(sharded, BatchSettings(shard=(part, 2)))[1] is not None for part in again][-1]
    assert not sharded.destination.exists()


def test_no_index_is_made_of_parts_of_labels_that_have_changed(labels):
    sharded = plan(labels, "sharded.npz")
    run_index(sharded, BatchSettings(shard=(2, 2)))
    changed = take_shard(sharded.items, (2, 2))[0].path
    changed.write_bytes(encode_label(np.zeros((40, 48), np.uint8)))
    assert run_index(sharded, BatchSettings(shard=(1, 2), update=True))[1] is None
    assert not sharded.output.exists()
    assert run_index(sharded, BatchSettings(shard=(2, 2), update=True))[1] is not None
    run_index(plan(labels), HERE)
    assert sharded.output.read_bytes() == (labels.parent / "city.npz").read_bytes()


def test_processes_give_the_file_of_a_straight_run(labels):
    run_index(plan(labels), HERE)
    run_index(plan(labels, "parallel.npz"), BatchSettings(jobs=2))
    assert (labels.parent / "parallel.npz").read_bytes() == (labels.parent / "city.npz").read_bytes()


def test_a_run_that_stopped_goes_on_where_it_was(labels):
    planned = plan(labels)
    run_index(planned, BatchSettings(shard=(1, 2)))
    done = len(list(planned.destination.glob("*.part")))
    assert 0 < done < 6
    assert sorted(statuses(run_index(planned, HERE)[0])) == ["done"] * (6 - done) + ["kept"] * done


def test_an_index_that_is_there_is_kept(labels):
    run_index(plan(labels), HERE)
    before = (labels.parent / "city.npz").read_bytes()
    outcomes, index = run_index(plan(labels), HERE)
    assert statuses(outcomes) == ["kept"] * 6
    assert index is not None
    assert (labels.parent / "city.npz").read_bytes() == before


@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: data[:-3] + b"abc", lambda data: b""])
def test_a_damaged_part_is_made_anew(labels, damage):
    planned = plan(labels)
    run_index(planned, BatchSettings(shard=(1, 2)))
    part = next(planned.destination.glob("*.part"))
    part.write_bytes(damage(part.read_bytes()))
    run_index(planned, HERE)
    run_index(plan(labels, "other.npz"), HERE)
    assert planned.output.read_bytes() == (labels.parent / "other.npz").read_bytes()


def test_a_part_of_other_bytes_or_settings_is_made_anew(labels):
    planned = plan(labels)
    run_index(planned, BatchSettings(shard=(1, 2)))
    part = next(planned.destination.glob("*.part"))
    assert read_part(part, planned.settings) is not None
    assert read_part(part, planned.settings, "0" * 32) is None
    assert read_part(part, replace(planned.settings, tile=8)) is None


def test_a_bad_label_is_named_the_others_are_done_and_no_index_is_written(labels):
    (labels / "3.png").write_bytes(b"no png")
    outcomes, index = run_index(plan(labels), HERE)
    assert statuses(outcomes) == ["done"] * 3 + ["error"] + ["done"] * 2
    assert str(labels / "3.png") in outcomes[3].message
    assert index is None
    assert not (labels.parent / "city.npz").exists()
    (labels / "3.png").write_bytes(encode_label(np.zeros((8, 8), np.uint8)))
    assert statuses(run_index(plan(labels), HERE)[0]).count("kept") == 5


def test_a_dry_run_writes_nothing(labels):
    outcomes, index = run_index(plan(labels), BatchSettings(dry_run=True))
    assert (statuses(outcomes), index) == (["todo"] * 6, None)
    assert [path.name for path in labels.parent.iterdir()] == ["labels"]


def test_an_index_of_other_settings_is_refused_and_can_be_overwritten(labels):
    run_index(plan(labels), HERE)
    with pytest.raises(SettingsError, match=r"city\.npz: was made with other settings: tile was 16, is now 8"):
        run_index(plan(labels, tile=8), HERE)
    _, index = run_index(plan(labels, tile=8), BatchSettings(overwrite=True))
    assert index.head.tile == 8


def test_parts_of_other_settings_are_refused(labels):
    run_index(plan(labels), BatchSettings(shard=(1, 2)))
    with pytest.raises(
        SettingsError,
        match=r"city\.npz: was begun with other settings: tile was 16, is now 8\. Choose another FILE, or",
    ):
        run_index(plan(labels, tile=8), HERE)


def test_a_run_of_which_no_part_was_done_is_begun_anew(labels):
    outcomes, _ = run_index(plan(labels, classes="camvid", encoding="labelIds"), HERE)
    assert statuses(outcomes) == ["error"] * 6
    assert statuses(run_index(plan(labels), HERE)[0]) == ["done"] * 6


def test_update_indexes_again_where_labels_were_changed_or_added(labels):
    update = replace(HERE, update=True)
    run_index(plan(labels), HERE)
    before = plan(labels).output.stat().st_ino
    assert statuses(run_index(plan(labels), update)[0]) == ["kept"] * 6
    assert plan(labels).output.stat().st_ino == before
    (labels / "2.png").write_bytes(encode_label(np.full((40, 48), 7, np.uint8)))
    _, index = run_index(plan(labels), update)
    assert index.num_images == 6
    assert list(index.faults()) == []
    (labels / "7.png").write_bytes(encode_label(np.zeros((8, 8), np.uint8)))
    assert run_index(plan(labels), update)[1].num_images == 7
    with pytest.raises(SettingsError, match="was made with other settings"):
        run_index(plan(labels, tile=8), update)


def test_another_set_of_images_is_refused(labels):
    run_index(plan(labels), HERE)
    (labels / "7.png").write_bytes(encode_label(np.zeros((8, 8), np.uint8)))
    with pytest.raises(SettingsError, match=r"holds 6 images, .* has 7; '7\.png' is in one of them alone"):
        run_index(plan(labels), HERE)


def test_a_stale_index_is_refused(labels):
    run_index(plan(labels), HERE)
    (labels / "2.png").write_bytes(encode_label(np.zeros((8, 8), np.uint8)))
    with pytest.raises(StoreError, match=r"is stale: .*2\.png has"):
        run_index(plan(labels), HERE)


def test_something_else_in_the_place_of_the_index_is_refused(labels):
    (labels.parent / "city.npz").write_bytes(b"my thesis")
    with pytest.raises(StoreError, match=r"city\.npz: is not a class index"):
        run_index(plan(labels), HERE)


def test_the_way_out_of_a_truncated_index_is_true(labels):
    _, index = run_index(plan(labels), HERE)
    whole = index.path.read_bytes()
    index.path.write_bytes(whole[:300])
    with pytest.raises(
        StoreError, match=r"is not a whole index file .* Run the `segdata index` command that made it again"
    ):
        run_index(plan(labels), HERE)
    run_index(plan(labels), BatchSettings(overwrite=True))
    assert index.path.read_bytes() == whole


def test_label_ids_are_read_by_the_class_table(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.png").write_bytes(encode_label(np.array([[7, 7, 8, 0]], np.uint8)))
    _, index = run_index(plan(tmp_path / "labels", encoding="labelIds"), HERE)
    assert index.tiles_per_class.tolist() == [1, 1] + [0] * 17
    assert index.arrays["image_ignored"].tolist() == [1]


def test_targets_give_the_counts_of_their_labels(labels):
    _, of_labels = run_index(plan(labels), HERE)
    targets = labels.parent / "targets"
    targets.mkdir()
    for item in plan(labels).items:
        ids = np.zeros((8, 8), np.uint8) if item is None else _read(item.path)
        data = encode_cpp(pool_targets(ids, [2, 4], num_classes=19))
        (targets / f"{item.path.stem}.cpp.npz").write_bytes(data)
    _, of_targets = run_index(plan(targets, "targets.npz"), HERE)
    assert of_targets.head.reach == 2
    for name in ("entry_pixels", "entry_tiles", "entry_images", "class_starts", "image_sizes", "image_ignored"):
        assert of_targets.arrays[name].tolist() == of_labels.arrays[name].tolist()


def test_the_reach_of_targets_of_mixed_scales_is_the_largest(tmp_path):
    (tmp_path / "targets").mkdir()
    for name, scales in {"a": [2], "b": [4, 8], "c": [2]}.items():
        data = encode_cpp(pool_targets(np.zeros((32, 32), np.uint8), scales, num_classes=19))
        (tmp_path / "targets" / f"{name}.cpp.npz").write_bytes(data)
    _, index = run_index(plan(tmp_path / "targets", tile=64), HERE)
    assert index.head.reach == 4


def _read(path):
    from segdata.codecs.png import read_label

    return read_label(path)


def test_targets_of_another_class_table_are_refused(tmp_path):
    (tmp_path / "targets").mkdir()
    data = encode_cpp(pool_targets(np.zeros((16, 16), np.uint8), [2], num_classes=3))
    (tmp_path / "targets" / "a.cpp.npz").write_bytes(data)
    outcomes, _ = run_index(plan(tmp_path / "targets"), HERE)
    assert "was pooled by another class table than 'cityscapes'" in outcomes[0].message


def test_a_confidence_image_of_another_size_is_an_error_of_its_label(labels):
    (labels / "1_prob.png").write_bytes(encode_label(np.zeros((2, 2), np.uint8)))
    outcomes, _ = run_index(plan(labels), HERE)
    assert "1_prob.png: has (2, 2) pixels" in outcomes[1].message


def test_a_changed_confidence_image_makes_its_part_anew(labels):
    (labels / "1_prob.png").write_bytes(encode_label(np.full((40, 48), 255, np.uint8)))
    planned = plan(labels)
    for part in (1, 2):
        run_index(planned, BatchSettings(shard=(part, 3)))
    (labels / "1_prob.png").write_bytes(encode_label(np.zeros((40, 48), np.uint8)))
    outcomes, index = run_index(planned, HERE)
    assert statuses(outcomes) == ["kept", "done", "done", "kept", "kept", "done"]
    assert index.arrays["image_ignored"][1] == 40 * 48


@pytest.fixture
def unsure(labels):
    """Return the plan of an index that is there, of labels two of which have a confidence image."""
    for number in (1, 4):
        (labels / f"{number}_prob.png").write_bytes(encode_label(np.full((40, 48), 255, np.uint8)))
    planned = plan(labels)
    run_index(planned, HERE)
    assert ClassIndex.load(planned.output).names("confidence") == ["", "1_prob.png", "", "", "4_prob.png", ""]
    return planned


def test_a_confidence_image_that_changed_makes_the_index_stale(labels, unsure):
    (labels / "1_prob.png").write_bytes(encode_label(np.eye(40, 48, dtype=np.uint8)))
    with pytest.raises(StoreError, match=r"is stale: .*1_prob\.png has"):
        run_index(plan(labels), HERE)
    run_index(plan(labels), BatchSettings(overwrite=True))
    assert ClassIndex.load(unsure.output).arrays["image_ignored"][1] == 40 * 48


def test_a_confidence_image_that_came_or_went_makes_the_index_another(labels, unsure):
    (labels / "2_prob.png").write_bytes(encode_label(np.full((40, 48), 255, np.uint8)))
    with pytest.raises(
        SettingsError, match=r"holds 2 confidence images, .* has 3; '2_prob\.png' is in one of them alone"
    ):
        run_index(plan(labels), HERE)
    (labels / "2_prob.png").unlink()
    (labels / "4_prob.png").unlink()
    with pytest.raises(
        SettingsError, match=r"holds 2 confidence images, .* has 1; '4_prob\.png' is in one of them alone"
    ):
        run_index(plan(labels), HERE)
    with pytest.raises(StoreError, match=r"is stale: .*4_prob\.png cannot be read"):
        ClassIndex.load(unsure.output)


def test_the_times_of_a_copied_data_set_are_stored_by_the_next_run(labels, unsure):
    for path in labels.iterdir():
        os.utime(path, ns=(5, 5))
    outcomes, index = run_index(plan(labels), HERE)
    assert statuses(outcomes) == ["kept"] * 6
    assert index.arrays["label_times"].tolist() == [5] * 6
    assert index.arrays["confidence_times"].tolist() == [0, 5, 0, 0, 5, 0]
    before = unsure.output.stat().st_ino
    run_index(plan(labels), HERE)
    assert unsure.output.stat().st_ino == before


def test_parts_that_a_crash_left_beside_the_index_are_removed_by_the_next_run(labels):
    planned = plan(labels)
    run_index(planned, HERE)
    planned.destination.mkdir()
    (planned.destination / planned.items[0].target).write_bytes(b"left")
    run_index(plan(labels), BatchSettings(dry_run=True))
    assert planned.destination.exists()
    run_index(plan(labels), HERE)
    assert not planned.destination.exists()


def test_a_pipe_among_the_labels_is_named_and_not_waited_for(labels):
    os.mkfifo(labels / "pipe.png")
    outcomes, _ = run_index(plan(labels), HERE)
    assert statuses(outcomes) == ["done"] * 6 + ["error"]
    assert "pipe.png: cannot be read (Not a regular file)" in outcomes[6].message


def test_a_pipe_in_the_place_of_a_part_is_replaced(labels):
    planned = plan(labels)
    planned.destination.mkdir()
    os.mkfifo(planned.part(planned.items[0]))
    assert statuses(run_index(planned, HERE)[0]) == ["done"] * 6


def test_images_are_found_by_their_path(labels):
    images = labels.parent / "images"
    images.mkdir()
    (images / "0.JPG").write_bytes(b"")
    _, index = run_index(plan(labels, images=images), HERE)
    assert index.image_path(0) == images / "0.JPG"
    assert index.image_path(1) is None


def test_a_label_is_not_its_own_image_where_both_lie_in_one_folder(labels):
    for number in range(6):
        (labels / f"{number}.jpg").write_bytes(b"")
    for images in (labels, Path(os.path.relpath(labels))):
        _, index = run_index(plan(labels, images=images), HERE)
        assert index.names("image") == [f"{number}.jpg" for number in range(6)]


def test_two_images_for_a_label_are_refused(labels):
    images = labels.parent / "images"
    images.mkdir()
    for name in ("0.jpg", "0.png"):
        (images / name).write_bytes(b"")
    with pytest.raises(LayoutError, match=r"images/0\.png: and 0\.jpg beside it are both images of .*labels/0\.png"):
        plan(labels, images=images)


def test_images_in_linked_folders_are_found_and_hidden_ones_are_not(tmp_path):
    for name in ("elsewhere/labels/0.png", "elsewhere/images/0.jpg", "images/.thumbnails/0.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encode_label(np.zeros((8, 8), np.uint8)))
    (tmp_path / "labels").mkdir()
    for kind in ("labels", "images"):
        (tmp_path / kind / "linked").symlink_to(tmp_path / "elsewhere" / kind)
    _, index = run_index(plan(tmp_path / "labels", images=tmp_path / "images"), HERE)
    assert index.names("image") == ["../images/linked/0.jpg"]


def test_images_are_added_to_an_index_that_is_there(labels):
    run_index(plan(labels), HERE)
    images = labels.parent / "images"
    images.mkdir()
    for number in (0, 2):
        (images / f"{number}.jpg").write_bytes(b"")
    later = plan(labels, images=images)
    outcomes, index = run_index(later, BatchSettings(dry_run=True))
    assert statuses(outcomes) == ["todo", "kept", "todo", "kept", "kept", "kept"]
    assert not any(index.names("image"))
    outcomes, index = run_index(later, HERE)
    assert statuses(outcomes) == ["done", "kept", "done", "kept", "kept", "kept"]
    assert index.names("image") == ["../images/0.jpg", "", "../images/2.jpg", "", "", ""]
    run_index(plan(labels, "straight.npz", images=images), HERE)
    assert later.output.read_bytes() == (labels.parent / "straight.npz").read_bytes()
    assert statuses(run_index(plan(labels), HERE)[0]) == ["kept"] * 6
    assert ClassIndex.load(later.output).image_path(2) == images / "2.jpg"


def test_targets_get_the_images_of_their_labels(tmp_path):
    for folder in ("targets/a", "images/a"):
        (tmp_path / folder).mkdir(parents=True)
    data = encode_cpp(pool_targets(np.zeros((16, 16), np.uint8), [2], num_classes=19))
    (tmp_path / "targets/a/x.y.cpp.npz").write_bytes(data)
    (tmp_path / "images/a/x.y.jpg").write_bytes(b"")
    _, index = run_index(plan(tmp_path / "targets", images=tmp_path / "images"), HERE)
    assert index.image_path(0) == tmp_path / "images/a/x.y.jpg"


def test_a_folder_of_images_that_fit_no_label_is_refused(labels, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(LayoutError, match="no image here has the path of a label"):
        plan(labels, images=tmp_path / "elsewhere")


def test_targets_do_not_stand_in_for_labels_that_are_refused(labels):
    data = encode_cpp(pool_targets(np.zeros((8, 8), np.uint8), [2], num_classes=19))
    (labels / "0.cpp.npz").write_bytes(data)
    (labels / "6_labelIds.png").write_bytes((labels / "0.png").read_bytes())
    with pytest.raises(LayoutError, match=r"and 6 PNG files of other names, first 0\.png"):
        plan(labels)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(LayoutError, match="no label image found"):
        plan(tmp_path / "none")


@pytest.mark.parametrize(
    ("settings", "message"), [({"tile": 12}, "tile 12: expected"), ({"confidence": 2.0}, r"confidence 2\.0: expected")]
)
def test_settings_out_of_range_are_refused(labels, settings, message):
    with pytest.raises(SettingsError, match=message):
        plan(labels, **settings)


def test_a_moved_data_set_keeps_its_index(labels, tmp_path):
    run_index(plan(labels), HERE)
    home = tmp_path / "new home"
    home.mkdir()
    for path in (labels, tmp_path / "city.npz"):
        path.rename(home / path.name)
    assert ClassIndex.load(home / "city.npz").num_images == 6
