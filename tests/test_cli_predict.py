"""`segdata predict`: images in, label images and images of them out."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from toy_model import write_toy_checkpoint

from segdata.codecs.png import read_label
from segdata.commands.evaluate import command as evaluate_command
from segdata.commands.predict import command
from segdata.errors import SettingsError, StoreError
from segdata.synthetic import write_cityscapes


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """Return a Cityscapes root of two validation scenes."""
    root = tmp_path_factory.mktemp("city")
    write_cityscapes(root, (32, 64), train=1, val=2)
    return root


@pytest.fixture(scope="module")
def run(city, tmp_path_factory):
    """Return the folder of a run."""
    return write_toy_checkpoint(tmp_path_factory.mktemp("runs") / "toy", city)


def call(command, *words, exit_code=0):
    found = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == exit_code, found.output
    return found.stdout


def test_labels_are_written_for_every_image_and_kept_the_second_time(run, city, tmp_path):
    assert call(command, run, city, tmp_path) == "3 files: 3 done\n"
    assert call(command, run, city, tmp_path) == "3 files: 3 already there\n"
    assert len(list(tmp_path.glob("labels/*/*/*_leftImg8bit.png"))) == 3


@pytest.mark.parametrize("encoding", ["trainIds", "labelIds"])
def test_what_is_predicted_scores_as_the_model_does(run, city, tmp_path, encoding):
    call(command, run, city, tmp_path, "--split", "val", "--encoding", encoding)
    of_model = json.loads(call(evaluate_command, run, "--json"))
    words = ["--predictions", tmp_path / "labels", "--labels", city, "--split", "val", "--json"]
    of_files = json.loads(call(evaluate_command, *words))
    assert of_files["confusion"] == of_model["confusion"]
    assert of_files["encoding"]["predictions"] == encoding


def test_several_kinds_lie_in_folders_of_their_own(run, city, tmp_path):
    words = ["--write", "labels", "--write", "overlay", "--write", "probabilities", "--split", "train"]
    call(command, run, city, tmp_path, *words)
    (archive,) = tmp_path.glob("probabilities/train/*/*.npz")
    (label,) = tmp_path.glob("labels/train/*/*.png")
    assert len(list(tmp_path.glob("overlay/train/*/*.png"))) == 1
    with Image.open(tmp_path / "legend.png") as legend:
        assert {color[1] for color in legend.getcolors(10**6)} >= {(128, 64, 128), (0, 0, 0)}  # road, ignored
    with np.load(archive) as found:
        likely = np.take_along_axis(found["probabilities"], read_label(label)[None].astype(np.int64), axis=0)[0]
        np.testing.assert_array_equal(likely, found["probabilities"].max(axis=0))


def test_the_legend_comes_with_colors_alone_and_not_in_a_dry_run(run, city, tmp_path):
    for words in ([], ["--write", "color", "--dry-run"]):
        call(command, run, city, tmp_path, "--split", "val", *words)
        assert not (tmp_path / "legend.png").exists()


def test_out_is_by_default_beside_the_images(run, city, tmp_path):
    image = tmp_path / "one.png"
    image.write_bytes(next(city.glob("leftImg8bit/val/*/*")).read_bytes())
    call(command, run, image)
    assert (tmp_path / "one-predicted" / "labels" / "one.png").is_file()
    for number in (1, 2):
        (tmp_path / f"seq.{number}").mkdir()
        (tmp_path / f"seq.{number}" / "one.png").write_bytes(image.read_bytes())
        call(command, run, tmp_path / f"seq.{number}")
        assert (tmp_path / f"seq.{number}-predicted" / "labels" / "one.png").is_file()


def test_json_holds_the_report(run, city, tmp_path):
    found = json.loads(call(command, run, city, tmp_path, "--json", "--window", 16, 32))
    assert found["counts"]["done"] == 3
    assert found["report"]["settings"]["window"] == [16, 32]
    assert sum(found["report"]["totals"]["pixels"].values()) == 3 * 32 * 64


def test_another_model_into_the_same_folder_is_refused(run, city, tmp_path):
    call(command, run, city, tmp_path / "out")
    other = write_toy_checkpoint(tmp_path / "other", city, seed=1)
    with pytest.raises(SettingsError, match="holds output of other settings: model_digest was"):
        call(command, other, city, tmp_path / "out")


def test_a_bad_image_is_one_line_and_exit_code_1(run, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    assert call(command, run, tmp_path / "in", tmp_path / "out", exit_code=1) == "1 file: 1 with an error\n"


def test_a_folder_without_checkpoint_is_named(city, tmp_path):
    with pytest.raises(StoreError, match="holds no checkpoint"):
        call(command, tmp_path, city, tmp_path / "out")
