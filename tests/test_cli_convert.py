"""`segdata convert`: any folder of labels by a mapping."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from segdata.codecs.png import encode_label, read_label
from segdata.commands import group
from segdata.errors import MappingError


@pytest.fixture
def labels(tmp_path):
    folder = tmp_path / "camvid labels"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode_label(np.array([[0, 3, 11]], np.uint8)))  # sky, road, unlabeled
    return folder


def invoke(*words):
    return CliRunner().invoke(group, ["convert", *map(str, words)])


def test_a_folder_is_converted(labels, tmp_path):
    result = invoke(labels, tmp_path / "out", "--mapping", "camvid-to-cityscapes")
    assert result.exit_code == 0, result.output
    assert read_label(tmp_path / "out/a.png").tolist() == [[10, 0, 255]]
    assert "1 label, 3 pixels, 33.33% ignored" in result.stdout


def test_the_sibling_is_named(labels):
    result = invoke(labels, "--mapping", "camvid-to-cityscapes")
    assert "camvid labels-converted" in result.stderr
    assert (labels.parent / "camvid labels-converted/convert.json").is_file()


def test_a_destination_in_the_source_takes_shards(labels):
    words = [labels.parent, labels.parent / "out", "--mapping", "camvid-to-cityscapes"]
    (labels / "b.png").write_bytes((labels / "a.png").read_bytes())
    for shard in ("1/2", "1/2", "2/2"):
        result = invoke(*words, "--shard", shard)
        assert result.exit_code == 0, result.output
    assert len(json.loads((labels.parent / "out/convert.json").read_text())["files"]) == 2


def test_a_destination_in_the_source_goes_on_where_it_stopped(labels):
    words = [labels.parent, labels.parent / "out", "--mapping", "camvid-to-cityscapes"]
    assert "1 file: 1 done" in invoke(*words).stdout
    assert "1 file: 1 already there" in invoke(*words).stdout


def test_unmapped_ids_are_an_error_unless_ignored(labels, tmp_path):
    (labels / "b.png").write_bytes(encode_label(np.array([[0, 77]], np.uint8)))
    result = invoke(labels, tmp_path / "out", "--mapping", "camvid-to-cityscapes")
    assert result.exit_code == 1
    assert "id 77 is not named by mapping 'camvid-to-cityscapes' (1 pixel at row 0, column 1)" in result.stderr
    result = invoke(labels, tmp_path / "new", "--mapping", "camvid-to-cityscapes", "--unmapped", "ignore", "--json")
    assert json.loads(result.stdout)["report"]["totals"]["unmapped"] == {"77": 1}


def test_a_mapping_is_needed(labels):
    result = invoke(labels)
    assert result.exit_code == 2
    assert "--mapping" in result.stderr


def test_an_unknown_mapping_is_refused(labels, tmp_path):
    result = invoke(labels, tmp_path / "out", "--mapping", "camvid-to-citiscapes")
    assert isinstance(result.exception, MappingError)
    assert "camvid-to-cityscapes" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_real_camvid_labels(real_data, tmp_path):
    result = invoke(real_data / "camvid/val/labels", tmp_path / "out", "--mapping", "camvid-to-cityscapes", "--json")
    assert result.exit_code == 0, result.output
    totals = json.loads(result.stdout)["report"]["totals"]
    assert totals["labels"] == 101
    assert totals["pixels"] == 101 * 480 * 360
