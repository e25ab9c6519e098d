"""`segdata index`: options in, one file and one summary out."""

import json
import logging

import numpy as np
import pytest
from click.testing import CliRunner

from segdata.commands import group
from segdata.errors import StoreError
from segdata.labels.png import encode_label
from segdata.sampling.index import ClassIndex

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
    assert lines[20].split() == ["ignored", "64"]
    assert lines[22].startswith("classes without a pixel: wall, fence")
    assert lines[-1] == "2 files: 2 done"


def test_the_index_goes_beside_the_data_set_by_default(labels, monkeypatch):
    monkeypatch.chdir(labels)
    result = invoke()
    assert result.exit_code == 0, result.output
    assert "2 labels of trainIds to" in result.stderr
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
    assert "When all shards are done, run it again without --shard." in results[0].stderr
    assert "2 already there" in invoke(labels, "-o", tmp_path / "x.npz").stdout


def test_a_bad_label_is_one_line_and_exit_code_one(labels, tmp_path):
    (labels / "b.png").write_bytes(b"no png")
    result = invoke(labels, "-o", tmp_path / "x.npz")
    assert result.exit_code == 1
    assert f"error: {labels / 'b.png'}" in result.stderr
    assert "not written. Mend or remove the files above" in result.stderr


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
