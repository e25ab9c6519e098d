"""`segdata datasets check`: PASS and FAIL for each question, one line for each file with a fault, pixels by class."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from segdata.codecs.png import encode_label, read_label
from segdata.commands import group
from segdata.commands.datasets import command
from segdata.errors import SettingsError

CAMVID = "camvid-fcn-ce"


def write_pair(root: Path, split: str, key: str, ids, size: tuple[int, int] | None = None) -> None:
    ids = np.array(ids, np.uint8)
    for kind in ("images", "labels"):
        (root / split / kind).mkdir(parents=True, exist_ok=True)
    (root / split / "labels" / f"{key}.png").write_bytes(encode_label(ids))
    height, width = size or ids.shape
    Image.new("RGB", (width, height)).save(root / split / "images" / f"{key}.png")


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Three sound pairs."""
    write_pair(tmp_path, "train", "a", [[0, 1, 2, 3], [4, 5, 6, 7]])
    write_pair(tmp_path, "train", "b", [[8, 9, 10, 11]])
    write_pair(tmp_path, "val", "c", [[0, 0, 3, 11]])
    return tmp_path


def check(root: Path, *words: str, recipe: str = CAMVID) -> Result:
    return CliRunner().invoke(command, ["check", recipe, "--set", f"data.root={root}", *words], catch_exceptions=False)


def failed(result: Result) -> list[str]:
    return [line.removeprefix("FAIL  ") for line in result.stdout.splitlines() if line.startswith("FAIL")]


def test_sound_data_pass_with_counts_and_pixels(camvid: Path) -> None:
    result = check(camvid)
    assert (result.exit_code, failed(result)) == (0, [])
    assert f"PASS  train: files: 2 labels (2 in train) below {camvid}" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["sky", "1", "9.09%", "2", "66.67%"] in lines
    assert ["ignored", "1", "8.33%", "1", "25.00%"] in lines


def test_a_truncated_image_is_found_by_its_header_or_with_deep(camvid: Path) -> None:
    path = camvid / "train" / "images" / "a.png"
    path.write_bytes(path.read_bytes()[:-20])
    assert check(camvid).exit_code == 0
    result = check(camvid, "--deep")
    assert failed(result) == ["train: images: 1 of 2 images can be read"]
    assert f"error: {path}: " in result.stderr
    path.write_bytes(b"no image")
    assert failed(check(camvid)) == ["train: images: 1 of 2 images can be read"]


def test_a_damaged_label_is_named(camvid: Path) -> None:
    path = camvid / "train" / "labels" / "b.png"
    path.write_bytes(path.read_bytes()[:-20])
    result = check(camvid)
    assert (result.exit_code, failed(result)[0]) == (1, "train: labels: 1 of 2 labels can be read")
    assert f"error: {path}: " in result.stderr


def test_sizes_that_do_not_match_are_named(camvid: Path) -> None:
    write_pair(camvid, "train", "d", [[0, 1]], size=(2, 2))
    result = check(camvid)
    assert failed(result) == ["train: sizes: 2 of 3 labels have the size of their image"]
    assert "d.png: has 1x2 pixels (height x width), its image 2x2" in result.stderr


def test_unknown_ids_are_named_with_their_place(camvid: Path) -> None:
    write_pair(camvid, "val", "d", [[0, 77]])
    result = check(camvid)
    assert "validation: ids: 1 of 2 labels hold known ids only" in failed(result)
    assert "id 77 is not in 'camvid' as labelIds (1 pixels, first at row 0, column 1)" in result.stderr


def test_an_encoding_that_ignores_nearly_all_is_doubted(tmp_path: Path) -> None:
    for split in ("train", "val"):
        folder, images = (tmp_path / kind / split / "lindau" for kind in ("gtFine", "leftImg8bit"))
        for each in (folder, images):
            each.mkdir(parents=True)
        (folder / f"{split}_gtFine_labelIds.png").write_bytes(encode_label(np.array([[0, 1, 2, 8]], np.uint8)))
        Image.new("RGB", (4, 1)).save(images / f"{split}_leftImg8bit.png")
    result = check(tmp_path, recipe="cityscapes-fcn-ce")
    assert [line.split(":")[1] for line in failed(result)] == [" encoding", " encoding"]
    assert "read as labelIds its labels ignore 75% of the pixels, as trainIds 0% are ignored" in result.stderr


def test_labels_without_an_image_fail_and_images_without_a_label_are_counted(camvid: Path) -> None:
    (camvid / "train" / "images" / "a.png").unlink()
    (camvid / "val" / "labels" / "c.png").rename(camvid / "val" / "labels" / "d.png")
    result = check(camvid)
    assert "train: pairs: 1 of 2 labels have an image" in failed(result)
    assert "validation: pairs: 0 of 1 labels have an image; 1 images have no label and are left out" in failed(result)


def test_a_folder_that_is_not_there_fails_and_the_other_source_is_checked(camvid: Path) -> None:
    result = check(camvid, "--set", "data.validation.root=nowhere")
    assert failed(result) == ["validation: files: not found"]
    assert "PASS  train: ids: 2 of 2" in result.stdout


def test_training_on_the_validation_images_fails(camvid: Path) -> None:
    result = check(camvid, "--set", "data.sources.train.splits=[train, val]")
    assert failed(result) == ["recipe: apart: 0 of 1 validation images are not trained on"]


def test_a_source_that_bears_the_name_of_the_validation_data_is_refused(camvid: Path) -> None:
    with pytest.raises(SettingsError, match=r"'validation' is what data\.validation is called"):
        check(
            camvid,
            "--set",
            "data.sources.train.share=0.5",
            "--set",
            "data.sources.validation={layout: camvid, splits: [val], share: 0.5}",
        )


def test_a_pipe_in_the_place_of_an_image_is_not_waited_for(camvid: Path) -> None:
    path = camvid / "train" / "images" / "a.png"
    path.unlink()
    os.mkfifo(path)
    result = check(camvid)
    assert failed(result) == ["train: images: 1 of 2 images can be read"]
    assert f"error: {path}: Not a regular file" in result.stderr


def test_missing_targets_and_a_broken_index_are_named(camvid: Path) -> None:
    (camvid / "x.npz").write_bytes(b"no index")
    result = check(camvid, "--set", "data.sources.train.cpp=soft", "--set", "data.sources.train.index=x.npz")
    assert [line.split(":")[1] for line in failed(result)] == [" index", " targets"]
    assert f"{camvid}/soft/train/labels/a.cpp.npz: is missing, the target of" in result.stderr


def test_damaged_and_stale_targets_are_named(camvid: Path) -> None:
    write_pair(camvid, "train", "d", [[1, 2]])
    soft = camvid / "soft" / "train" / "labels"
    soft.mkdir(parents=True)
    words = ["--classes", "camvid", "--encoding", "labelIds"]
    made = CliRunner().invoke(group, ["precompute-cpp", "--scales", "2", *words, str(camvid), str(camvid / "soft")])
    assert made.exit_code == 0, made.output
    assert check(camvid, "--set", "data.sources.train.cpp=soft").exit_code == 0
    (soft / "a.cpp.npz").write_bytes(b"no targets")
    (camvid / "train" / "labels" / "b.png").write_bytes(encode_label(np.full((1, 4), 2, np.uint8)))
    result = check(camvid, "--set", "data.sources.train.cpp=soft")
    assert failed(result) == [f"train: targets: 1 of 3 labels have pooled targets in {camvid / 'soft'}"]
    assert f"{soft}/a.cpp.npz: " in result.stderr
    assert f"{soft}/b.cpp.npz: was made from another content of {camvid}/train/labels/b.png" in result.stderr


def test_a_recipe_that_trains_on_stored_targets_needs_them(camvid: Path) -> None:
    result = check(camvid, recipe="camvid-pspnet-lite0-cpp-stored")
    assert failed(result) == [f"train: targets: 0 of 2 labels have pooled targets in {camvid}-cpp"]


def test_images_are_as_large_as_the_loader_takes_them(camvid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, passes in ((5, True), (3, False)):  # Pillow warns from its limit on, and refuses twice as many pixels
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert (failed(check(camvid)) == []) == passes


def test_many_faults_are_counted_and_named_on_demand(camvid: Path) -> None:
    for number in range(25):
        write_pair(camvid, "train", f"bad{number:02}", [[0, 1]], size=(9, 9))
    short, whole = check(camvid), check(camvid, "--all")
    assert "error: ... and 5 more of this kind; --all names them." in short.stderr
    assert whole.stderr.count("its image 9x9") == 25


def test_json_holds_checks_faults_and_pixels_whatever_the_number_of_processes(camvid: Path) -> None:
    one, two = (check(camvid, "--json", "--jobs", jobs) for jobs in ("1", "2"))
    told = json.loads(one.stdout)
    assert told == json.loads(two.stdout)
    assert told["passed"] is True
    assert told["pixels"]["validation"]["road"] == 1


def test_real_camvid_passes_and_counts_as_numpy_does(real_data: Path) -> None:
    result = check(real_data / "camvid", "--json")
    pixels = json.loads(result.stdout)["pixels"]["validation"]
    labels = [read_label(path) for path in (real_data / "camvid" / "val" / "labels").iterdir()]
    assert result.exit_code == 0
    assert pixels["car"] == sum(int((label == 8).sum()) for label in labels)


def test_a_threshold_that_ignores_every_pixel_is_no_other_table(tmp_path: Path) -> None:
    place = tmp_path / "autolabeled/train_extra/a"
    image = tmp_path / "leftImg8bit/train_extra/a/a_000000_000019_leftImg8bit.png"
    for folder in (place, image.parent):
        folder.mkdir(parents=True)
    Image.new("RGB", (2, 1)).save(image)
    (place / image.name).write_bytes(encode_label(np.array([[7, 8]], np.uint8)))
    (place / f"{image.stem}_prob.png").write_bytes(encode_label(np.array([[90, 100]], np.uint8)))
    (tmp_path / "recipe.yaml").write_text("""
extends: cityscapes-fcn-ce
data:
  sources:
    train: {root: autolabeled, annotation: auto, splits: [train_extra], confidence: 0.9}
  validation: null
""")
    found = check(tmp_path, recipe=str(tmp_path / "recipe.yaml"))
    assert found.exit_code == 1
    assert "no pixel of any class of 'cityscapes' has a confidence of 0.9. Lower the source's" in found.stderr
    assert "Is it another table?" not in found.stderr


def test_an_index_of_another_encoding_is_no_sound_one(camvid: Path) -> None:
    index = camvid / "x.npz"
    for path in (camvid / "train").rglob("b.png"):  # 11 is no training id
        path.unlink()
    words = ["index", str(camvid / "train/labels"), "--classes", "camvid", "--encoding", "trainIds", "-o", str(index)]
    assert CliRunner().invoke(group, [*words, "--images", str(camvid / "train/images")]).exit_code == 0
    named = ("--set", "data.sources.train.index=x.npz", "--set", "data.sources.train.encoding=labelIds")
    assert "x.npz: was made with --encoding trainIds, source 'train' has labelIds" in check(camvid, *named).stderr
