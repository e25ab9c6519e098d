"""Pooling folders of labels: outputs, resuming, refusals, the report."""

import json

import numpy as np
import pytest

from segdata.batch.run import run_plan
from segdata.batch.work import BatchSettings
from segdata.codecs.png import encode_label
from segdata.cpp.pooling import cpp_counts
from segdata.cpp.store import load_cpp
from segdata.errors import LabelError, LayoutError, SettingsError
from segdata.jobs.precompute import PrecomputeSettings, plan_precompute, pool_file
from segdata.labels.classes import ClassTable

CITYSCAPES = ClassTable.load("cityscapes")


def made(seed, height=24, width=40):
    rng = np.random.default_rng(seed)
    blocks = rng.choice(np.array([0, 1, 2, 13, 255], np.uint8), (height // 8, width // 8))
    return np.kron(blocks, np.ones((8, 8), np.uint8))


@pytest.fixture
def source(tmp_path):
    """Return a folder with three labels, one of them two folders down."""
    folder = tmp_path / "labels"
    for name in ("a.png", "-b c.png", "deep/er/ä.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_label(made(len(name))))
    return folder


def run(source, destination, *, scales=(2, 4), encoding="auto", ragged="ignore", **batch):
    plan = plan_precompute(source, destination, scales=scales, encoding=encoding, ragged=ragged)
    result = run_plan(plan, BatchSettings(**batch))
    return result.outcomes, result.report


def statuses(outcomes):
    return {outcome.key: outcome.status for outcome in outcomes}


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_label_gets_its_targets_at_the_same_relative_path(source, tmp_path):
    outcomes, _ = run(source, tmp_path / "out")
    assert sorted(tree(tmp_path / "out")) == ["-b c.cpp.npz", "a.cpp.npz", "deep/er/ä.cpp.npz", "precompute-cpp.json"]
    assert set(statuses(outcomes).values()) == {"done"}
    assert np.array_equal(load_cpp(tmp_path / "out" / "a.cpp.npz").counts(4), cpp_counts(made(5), 4))


def test_a_second_run_keeps_everything_and_changes_no_byte(source, tmp_path):
    run(source, tmp_path / "out")
    before = tree(tmp_path / "out")
    outcomes, _ = run(source, tmp_path / "out")
    assert set(statuses(outcomes).values()) == {"kept"}
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda data: b"", lambda data: data[:70] + b"?" + data[71:]])
def test_a_damaged_output_is_redone(source, tmp_path, spoil):
    run(source, tmp_path / "out")
    before = tree(tmp_path / "out")
    path = tmp_path / "out" / "a.cpp.npz"
    path.write_bytes(spoil(path.read_bytes()))
    outcomes, _ = run(source, tmp_path / "out")
    assert statuses(outcomes)["a.png"] == "done"
    assert tree(tmp_path / "out") == before


def test_shards_give_the_same_tree_as_one_run(source, tmp_path):
    run(source, tmp_path / "whole")
    for part in (1, 2, 3):
        run(source, tmp_path / "parts", shard=(part, 3))
    run(source, tmp_path / "parts")
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")


def test_two_processes_give_the_same_tree_as_one(source, tmp_path):
    run(source, tmp_path / "one")
    run(source, tmp_path / "two", jobs=2)
    assert tree(tmp_path / "two") == tree(tmp_path / "one")


def test_other_settings_are_refused_by_name(source, tmp_path):
    run(source, tmp_path / "out")
    with pytest.raises(SettingsError, match=r"scales was \[2, 4\], is now \[2, 8\]\. Choose another DST"):
        run(source, tmp_path / "out", scales=(2, 8))


def test_other_settings_are_refused_without_a_report_too(source, tmp_path):
    run(source, tmp_path / "out")
    (tmp_path / "out" / "precompute-cpp.json").unlink()
    outcomes, _ = run(source, tmp_path / "out", ragged="error")
    messages = [outcome.message for outcome in outcomes]
    assert all("made with other settings: ragged was 'ignore', is now 'error'" in message for message in messages)


def test_a_changed_label_is_refused_and_overwritten_on_demand(source, tmp_path):
    run(source, tmp_path / "out")
    (source / "a.png").write_bytes(encode_label(made(99)))
    outcomes, _ = run(source, tmp_path / "out")
    assert "made from other bytes of its source" in {o.key: o.message for o in outcomes}["a.png"]
    run(source, tmp_path / "out", overwrite=True)
    assert np.array_equal(load_cpp(tmp_path / "out" / "a.cpp.npz").counts(2), cpp_counts(made(99), 2))


def test_a_file_of_someone_else_is_kept(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.cpp.npz").write_bytes(b"not ours")
    outcomes, _ = run(source, tmp_path / "out")
    assert (
        "was not written by this version of segdata precompute-cpp, so it is kept"
        in {o.key: o.message for o in outcomes}["a.png"]
    )
    assert (tmp_path / "out" / "a.cpp.npz").read_bytes() == b"not ours"


def test_a_dry_run_writes_nothing(source, tmp_path):
    outcomes, _ = run(source, tmp_path / "out", dry_run=True)
    assert set(statuses(outcomes).values()) == {"todo"}
    assert not (tmp_path / "out").exists()


def test_a_bad_label_costs_only_itself(source, tmp_path):
    (source / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    outcomes, report = run(source, tmp_path / "out")
    assert statuses(outcomes) == {"-b c.png": "done", "a.png": "done", "bad.png": "error", "deep/er/ä.png": "done"}
    assert report["state"] == "faulty"
    assert "bad.png" in report["files"]["bad.png"]["message"]


def test_a_run_that_stops_early_keeps_the_entries_and_the_next_one_gives_the_same_bytes(source, tmp_path):
    run(source, tmp_path / "out")
    before, label = tree(tmp_path / "out"), (source / "-b c.png").read_bytes()
    (source / "-b c.png").write_bytes(b"bad")
    outcomes, report = run(source, tmp_path / "out", fail_fast=True)
    assert len(outcomes) < 3
    assert report["state"] == "running"
    assert sorted(report["files"]) == ["-b c.png", "a.png", "deep/er/ä.png"]
    assert report["files"]["-b c.png"]["target"] == "-b c.cpp.npz"
    (source / "-b c.png").write_bytes(label)
    run(source, tmp_path / "out")
    assert tree(tmp_path / "out") == before


def test_the_report_sums_the_pixels(source, tmp_path):
    _, report = run(source, tmp_path / "out")
    pixels = np.sum([np.bincount(made(n).ravel(), minlength=256) for n in (5, 8, 13)], axis=0)
    assert report["totals"]["labels"] == 3
    assert report["totals"]["pixels"]["road"] == pixels[0]
    assert report["totals"]["ignored"] == pixels[255]
    assert json.loads((tmp_path / "out" / "precompute-cpp.json").read_bytes()) == report


def test_source_and_destination_must_differ(source):
    with pytest.raises(SettingsError, match="SRC and DST are the same folder"):
        plan_precompute(source, source, scales=[2])


def test_two_labels_of_one_target_are_refused(source, tmp_path):
    (source / "a.PNG").write_bytes(encode_label(made(1)))
    with pytest.raises(SettingsError, match=r"a\.cpp\.npz"):
        plan_precompute(source, tmp_path / "out", scales=[2])


def test_no_target_is_made_of_some_labels_alone(source, tmp_path):
    made_label = next(source.rglob("*.png"))
    (source / "x_labelIds.png").write_bytes(made_label.read_bytes())
    with pytest.raises(LayoutError, match="holds 1 label named as in Cityscapes"):
        run(source, tmp_path / "out")


def test_label_ids_are_read_as_their_training_ids():
    ids = np.array([[7, 26, 0], [33, 255, 3]], np.uint8)  # road, car, unlabeled; bicycle, 255, out of roi
    settings = PrecomputeSettings(scales=(1,), classes=CITYSCAPES, encoding="labelIds")
    from segdata.cpp.store import decode_cpp

    counts = decode_cpp(pool_file(encode_label(ids), "x.png", settings), "x").counts(1)
    assert counts.argmax(axis=0).tolist() == [[0, 13, 19], [18, 19, 19]]


def test_an_id_of_no_class_is_named_as_the_file_has_it():
    ids = np.full((4, 4), 7, np.uint8)
    ids[2, 1] = 40
    settings = PrecomputeSettings(scales=(2,), classes=CITYSCAPES, encoding="labelIds")
    with pytest.raises(
        LabelError, match=r"x\.png: id 40 is not a label id of 'cityscapes' \(1 pixels, first at row 2, column 1\)"
    ):
        pool_file(encode_label(ids), "x.png", settings)


def test_label_ids_under_train_ids_get_the_hint():
    settings = PrecomputeSettings(scales=(2,), classes=CITYSCAPES)
    with pytest.raises(LabelError, match=r"x\.png: id 26 is neither .* \(0-18\) nor 255 .*pass --encoding labelIds"):
        pool_file(encode_label(np.full((4, 4), 26, np.uint8)), "x.png", settings)


def test_a_ragged_label_is_refused_by_name_on_demand():
    settings = PrecomputeSettings(scales=(2, 4), classes=CITYSCAPES, ragged="error")
    with pytest.raises(LabelError, match=r"^x\.png: 6 x 4 pixels are not whole cells of 4 x 4"):
        pool_file(encode_label(np.zeros((6, 4), np.uint8)), "x.png", settings)


def test_a_table_without_training_classes_is_refused():
    with pytest.raises(SettingsError, match="class table 'empty': has 0 training classes"):
        PrecomputeSettings(scales=(2,), classes=ClassTable("empty", ()))
