"""`segdata index`: options in, one file and one summary out."""

import json
import logging

import numpy as np
import pytest
from click.testing import CliRunner

from segdata.codecs.png import encode_label
from segdata.commands import group
from segdata.errors import StoreError
from segdata.sampling.class_index import ClassIndex

LABEL = np.kron(np.array([[0, 1, 255], [2, 2, 13]], np.uint8), np.ones((4, 8), np.uint8))


@pytest.fixture
def labels(tmp_path):
    """Return a folder of two labels of train ids."""
    folder = tmp_path / "city"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.png").write_bytes(encode_label(LABEL))
    return folder


def invoke(*words):
    return CliRunner().invoke(group, ["index", *map(str, words)])


def test_the_summary_is_a_table_of_classes(labels, tmp_path):
    result = invoke(labels, "-o", tmp_path / "x.npz")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["road", "2", "2", "64", "20.000%"]
    assert lines[20].split() == ["ignored", "64", "16.667%", "of", "all"]
    assert lines[22].startswith("classes without a pixel: wall, fence")
    assert lines[-1] == "2 files: 2 done"


def test_the_index_goes_beside_the_data_set_by_default(labels, monkeypatch):
    monkeypatch.chdir(labels)
    result = invoke()
    assert result.exit_code == 0, result.output
    assert "2 labels of trainIds of 'cityscapes' (assumed; see --classes and --encoding) to" in result.stderr
    assert ClassIndex.load(labels.parent / "city.index.npz").num_images == 2


def test_json_holds_the_summary(labels, tmp_path):
    result = json.loads(invoke(labels, "-o", tmp_path / "x.npz", "--json").stdout)
    assert result["counts"]["done"] == 2
    assert result["output"] == str(tmp_path / "x.npz")
    assert result["index"]["classes"][2] == {"class": "building", "images": 2, "tiles": 2, "pixels": 128}


def test_show_reads_an_index_and_works_on_nothing(labels, tmp_path):
    invoke(labels, "-o", tmp_path / "x.npz")
    shown = invoke("--show", tmp_path / "x.npz")
    assert shown.exit_code == 0, shown.output
    assert "2 images in tiles of 1024" in shown.stdout
    assert json.loads(invoke("--show", tmp_path / "x.npz", "--json").stdout)["images"] == 2


def test_show_of_a_stale_index_is_one_line(labels, tmp_path):
    invoke(labels, "-o", tmp_path / "x.npz")
    (labels / "a.png").unlink()
    result = invoke("--show", tmp_path / "x.npz")
    assert result.exit_code == 1
    assert isinstance(result.exception, StoreError)
    assert "is stale" in str(result.exception)


def test_a_shard_says_how_to_go_on(labels, tmp_path):
    results = [invoke(labels, "-o", tmp_path / "x.npz", "--shard", f"{part}/2") for part in (1, 2)]
    assert [result.exit_code for result in results] == [0, 0]
    assert "not written yet. The last shard to end writes it." in results[0].stderr
    assert "2 already there" in invoke(labels, "-o", tmp_path / "x.npz").stdout


def test_a_shard_names_those_that_have_to_run_again(labels, tmp_path):
    words = [labels, "-o", tmp_path / "x.npz"]
    invoke(*words, "--shard", "2/2")
    for path in labels.iterdir():
        path.write_bytes(encode_label(LABEL[:2]))
    result = invoke(*words, "--shard", "1/2")
    told = "The last shard to end writes it. To run again, as their files have changed since: 2/2.\n"
    assert (result.exit_code, result.stderr.endswith(told)) == (0, True), result.stderr
    assert "not written yet" not in invoke(*words, "--shard", "2/2").stderr
    assert (tmp_path / "x.npz").exists()


def test_the_last_shard_replaces_an_index_that_is_there(labels, tmp_path):
    invoke(labels, "-o", tmp_path / "x.npz")
    (labels / "a.png").write_bytes(encode_label(LABEL[:2]))
    results = [invoke(labels, "-o", tmp_path / "x.npz", "--shard", f"{part}/2", "--overwrite") for part in (1, 2)]
    assert ["not written yet" in result.stderr for result in results] == [True, False]
    assert ClassIndex.load(tmp_path / "x.npz").arrays["image_sizes"].tolist()[0][0] == 2
    assert ClassIndex.load(tmp_path / "x.npz").num_images == 2


def test_labels_without_a_image_are_counted_where_others_have_one(labels, tmp_path):
    (tmp_path / "images").mkdir()
    assert "no image" not in invoke(labels, "-o", tmp_path / "x.npz").stderr
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    result = invoke(labels, "-o", tmp_path / "x.npz", "--images", tmp_path / "images")
    assert f"1 of 2 labels have no image, first {labels / 'b.png'}\n" in result.stderr
    assert result.stdout.endswith("2 files: 1 done, 1 already there\n")


def test_the_way_out_comes_after_the_errors(labels, tmp_path):
    (labels / "b.png").write_bytes(b"no png")
    lines = invoke(labels, "-o", tmp_path / "x.npz").stderr.splitlines()
    assert lines[-2].startswith(f"error: {labels / 'b.png'}")
    assert lines[-1].endswith("Fix or remove the files above and run it again; done work is kept.")


def test_of_many_errors_the_first_are_printed_and_json_lists_all(labels, tmp_path):
    for number in range(23):
        (labels / f"{number:02}.png").write_bytes(b"no png")
    result = invoke(labels, "-o", tmp_path / "x.npz")
    assert result.exit_code == 1
    assert sum(line.startswith("error: ") for line in result.stderr.splitlines()) == 21
    assert "error: 3 more like these; --json lists all\n" in result.stderr
    assert result.stdout == "25 files: 2 done, 23 with an error\n"
    told = json.loads(invoke(labels, "-o", tmp_path / "x.npz", "--json").stdout)
    assert (len(told["errors"]), told["counts"]["error"]) == (23, 23)


def test_show_works_without_the_labels(labels, tmp_path):
    invoke(labels, "-o", tmp_path / "x.npz")
    labels.rename(tmp_path / "elsewhere")
    shown = invoke("--show", tmp_path / "x.npz")
    assert shown.exit_code == 0, shown.output
    assert "2 images in tiles of 1024" in shown.stdout
    assert shown.stderr.endswith(f" {tmp_path / 'x.npz'}: its labels are not in {labels}. Not compared with them.\n")


def test_show_of_a_image_says_that_it_is_no_index(labels):
    result = invoke("--show", labels / "a.png")
    assert result.exit_code == 1
    assert "a.png: is not a class index. Expected a file that `segdata index` wrote." in str(result.exception)


def test_a_bad_label_is_one_line_and_exit_code_one(labels, tmp_path):
    (labels / "b.png").write_bytes(b"no png")
    result = invoke(labels, "-o", tmp_path / "x.npz")
    assert result.exit_code == 1
    assert f"error: {labels / 'b.png'}" in result.stderr
    assert "not written. Fix or remove the files above" in result.stderr


def test_a_file_as_source_is_a_usage_error(labels):
    result = invoke(labels / "a.png")
    assert result.exit_code == 2
    assert "Expected a folder, or --show" in result.output


def test_a_dask_cluster_gives_the_same_file(labels, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    invoke(labels, "-o", tmp_path / "here.npz")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as cluster:
        result = invoke(labels, "-o", tmp_path / "there.npz", "--dask", cluster.scheduler_address)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "there.npz").read_bytes() == (tmp_path / "here.npz").read_bytes()


def test_the_root_of_the_file_system_has_no_file_beside_it() -> None:
    result = CliRunner().invoke(group, ["index", "/"])
    assert result.exit_code == 2
    assert "-o: not given, and / has no file beside it" in result.stderr
