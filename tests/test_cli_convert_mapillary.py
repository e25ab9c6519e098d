"""`segdata convert-mapillary`: options, output, exit codes, and being killed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segdata.codecs.png import encode_label, read_label
from segdata.commands import group

LABEL = encode_label(np.array([[13, 65]], np.uint8))

MAPPING_OF_OWN = "source: vistas-v1.2\ntarget: cityscapes\nmap: {road: [road]}\nignore: [house]\n"


@pytest.fixture
def vistas(tmp_path):
    for folder in ("training/labels", "training/images", "testing/images"):
        (tmp_path / "vistas" / folder).mkdir(parents=True)
    (tmp_path / "vistas/training/labels/-key.png").write_bytes(LABEL)
    Image.new("RGB", (2, 1)).save(tmp_path / "vistas/training/images/-key.jpg")
    Image.new("RGB", (2, 1)).save(tmp_path / "vistas/testing/images/t.jpg")
    return tmp_path / "vistas"


def invoke(*words):
    return CliRunner().invoke(group, ["convert-mapillary", *map(str, words)])


def segdata(*words, **options):
    command = [sys.executable, "-m", "segdata", "convert-mapillary", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def tree(folder: Path):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_tables_go_to_stdout(vistas, tmp_path):
    result = invoke(vistas, tmp_path / "out", "--labels", "v1.2")
    assert result.exit_code == 0, result.output
    assert "construction--flat--road" in result.stdout
    assert "1 label, 2 pixels, 50.00% ignored" in result.stdout
    assert "testing: 1 image without a label (t)" in result.stdout
    assert "labels v1.2 (by --labels v1.2), mapping vistas-v1.2-to-cityscapes" in result.stderr


def test_json_holds_the_report(vistas, tmp_path):
    result = invoke(vistas, tmp_path / "out", "--labels", "v1.2", "--json")
    printed = json.loads(result.stdout)
    assert printed["report"] == json.loads((tmp_path / "out/convert-mapillary.json").read_text())
    assert printed["counts"]["done"] == 1


def test_without_folders_it_converts_the_current_one_to_a_sibling(vistas):
    result = segdata("--labels", "v1.2", cwd=vistas)
    assert result.returncode == 0, result.stderr
    assert "vistas-cityscapes" in result.stderr
    written = vistas.parent / "vistas-cityscapes/gtFine/train/mapillary/-key_gtFine_labelTrainIds.png"
    assert read_label(written).tolist() == [[0, 255]]


def test_the_root_folder_needs_a_destination(monkeypatch):
    monkeypatch.chdir("/")
    result = invoke()
    assert result.exit_code == 2
    assert "DST: none is given, and / has no folder beside it. Give one." in result.stderr


def test_options_reach_the_conversion(vistas, tmp_path):
    words = ["--labels", "v1.2", "--encoding", "labelIds", "--images", "copy", "--compression", "small"]
    result = invoke(vistas, tmp_path / "out", *words)
    assert result.exit_code == 0, result.output
    assert read_label(tmp_path / "out/gtFine/train/mapillary/-key_gtFine_labelIds.png").tolist() == [[7, 0]]
    assert not (tmp_path / "out/leftImg8bit/train/mapillary/-key_leftImg8bit.jpg").is_symlink()


def test_a_dry_run_says_how_many_labels_there_are_to_do(vistas, tmp_path):
    result = invoke(vistas, tmp_path / "out", "--labels", "v1.2", "--dry-run")
    assert result.stdout == "1 file: 1 to do\n"
    assert not (tmp_path / "out").exists()


def test_an_own_class_list_is_refused_unless_trusted(vistas, tmp_path):
    own = [{"name": name, "color": [number, 0, 0]} for number, name in enumerate(["road", "house"])]
    (vistas / "config.json").write_text(json.dumps({"labels": own}))
    (vistas / "training/labels/-key.png").write_bytes(encode_label(np.array([[0, 1]], np.uint8)))
    (tmp_path / "own.yaml").write_text(MAPPING_OF_OWN)
    words = [vistas, tmp_path / "out", "--labels", "v1.2", "--mapping", tmp_path / "own.yaml"]
    assert "class 0 is 'road', but 'animal--bird' in the bundled table" in str(invoke(*words).exception)
    result = invoke(*words, "--trust-config")
    assert result.exit_code == 0, result.output
    assert read_label(next((tmp_path / "out/gtFine").rglob("*.png"))).tolist() == [[0, 255]]


def test_another_mapping(vistas, tmp_path):
    (vistas / "training/labels/-key.png").write_bytes(encode_label(np.array([[58]], np.uint8)))
    result = invoke(vistas, tmp_path / "out", "--labels", "v1.2", "--mapping", "vistas-v1.2-to-cityscapes-on-rails")
    assert result.exit_code == 0, result.output
    assert read_label(next((tmp_path / "out/gtFine").rglob("*.png"))).tolist() == [[16]]


def test_a_faulty_label_is_one_line_and_exit_code_1(vistas, tmp_path):
    (vistas / "training/labels/bad.png").write_bytes(LABEL[:50])
    result = invoke(vistas, tmp_path / "out", "--labels", "v1.2")
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if "bad.png" in line]
    assert line.endswith("it is truncated. Copy it again from its source.")
    assert "2 files: 1 done, 1 with an error" in result.stdout


def test_labels_that_are_not_there_are_one_line_and_exit_code_1(vistas, tmp_path):
    result = segdata(vistas, tmp_path / "out", "--mapping", "vistas-v1.2-to-citiscapes", "--labels", "v1.2")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "vistas-v1.2-to-cityscapes" in result.stderr


@pytest.fixture
def small_disk(tmp_path):
    """A disk with room for the beginning of a run only."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("only root can mount a small file system")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_one_line_per_file_and_the_run_goes_on_later(vistas, small_disk, rng):
    for number in range(6):
        noise = rng.integers(0, 66, (150, 150), np.uint8)
        (vistas / f"training/labels/{number}.png").write_bytes(encode_label(noise))
    words = [vistas, small_disk / "out", "--labels", "v1.2"]
    result = invoke(*words)
    assert result.exit_code == 1
    full = [line for line in result.stderr.splitlines() if "No space left on device. Free some space" in line]
    assert len(full) >= 2
    assert not list(small_disk.rglob("*.segdata-tmp"))
    subprocess.run(["mount", "-o", "remount,size=1m", small_disk], check=True)
    assert invoke(*words).exit_code == 0
    assert len(list((small_disk / "out/gtFine").rglob("*.png"))) == 7


def test_a_wrong_option_is_exit_code_2(vistas, tmp_path):
    assert invoke(vistas, tmp_path / "out", "--encoding", "colors").exit_code == 2


def test_v2_labels_are_found_in_their_folder(tmp_path):
    labels = tmp_path / "v2/training/v2.0/labels"
    labels.mkdir(parents=True)
    (labels / "a.png").write_bytes(encode_label(np.array([[21, 123]], np.uint8)))
    result = invoke(tmp_path / "v2", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "labels v2.0" in result.stderr
    assert read_label(next((tmp_path / "out/gtFine").rglob("*.png"))).tolist() == [[0, 255]]


def test_help_names_every_option_of_the_contract():
    text = invoke("--help").stdout
    for option in ("--labels", "--mapping", "--encoding", "--images", "--unmapped", "--shard", "--dask", "--dry-run"):
        assert option in text


def test_real_labels(vistas_sample, tmp_path):
    result = invoke(vistas_sample, tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    totals = json.loads(result.stdout)["report"]["totals"]
    assert totals["labels"] == 6
    assert totals["images"] == {"symlink": 6}
    assert totals["pixels"] == sum(read_label(path).size for path in vistas_sample.glob("*/labels/*.png"))
