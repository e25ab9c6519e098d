"""What a user is told where a command is used as it was not meant: one line, and advice that is right for the case."""

from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from segdata import ClassIndex, load_cpp
from segdata.commands import WorkflowGroup, group
from segdata.errors import SettingsError, StoreError


def run(*words: object) -> Result:
    return CliRunner().invoke(group, [str(word) for word in words])


def labels(folder: Path, number: int = 2, size: tuple[int, int] = (8, 12)) -> Path:
    folder.mkdir(parents=True)
    for name in range(number):
        Image.fromarray(np.full(size, name % 19, np.uint8)).save(folder / f"{name}.png")
    return folder


def damaged(folder: Path, number: int) -> Path:
    folder.mkdir()
    for name in range(number):
        (folder / f"{name}.png").write_bytes(b"no label")
    return folder


def test_a_vistas_download_is_to_be_converted_first(tmp_path):
    labels(tmp_path / "vistas" / "training" / "labels")
    (tmp_path / "vistas" / "training" / "images").mkdir()
    (tmp_path / "vistas" / "config.json").write_text("{}")
    for source in (tmp_path / "vistas", tmp_path / "vistas" / "training"):
        told = run("precompute-cpp", source, tmp_path / "out")
        assert isinstance(told.exception, SettingsError)
        assert f"{source}: is a Mapillary Vistas download" in str(told.exception)
        assert f"segdata convert-mapillary {source}" in str(told.exception)
        assert not (tmp_path / "out").exists()


def test_a_folder_named_training_with_train_ids_is_no_vistas_download(tmp_path):
    labels(tmp_path / "training" / "labels")
    (tmp_path / "training" / "images").mkdir()
    assert run("precompute-cpp", tmp_path / "training", tmp_path / "out").exit_code == 0


def test_a_run_that_made_nothing_does_not_block_other_settings(tmp_path):
    folder = damaged(tmp_path / "labels", 2)
    assert run("precompute-cpp", folder, tmp_path / "out", "--encoding", "labelIds").exit_code == 1
    labels(tmp_path / "whole")
    for path in (tmp_path / "whole").iterdir():
        path.replace(folder / path.name)
    assert run("precompute-cpp", folder, tmp_path / "out", "--encoding", "trainIds").exit_code == 0
    told = run("precompute-cpp", folder, tmp_path / "out", "--encoding", "labelIds")
    assert "holds output of other settings" in str(told.exception)


def test_errors_of_a_kind_are_capped_and_a_table_of_zeros_is_not_printed(tmp_path):
    told = run("precompute-cpp", damaged(tmp_path / "labels", 45), tmp_path / "out")
    assert told.output.count("is not a PNG file") == 20
    assert "25 more like these; --json lists all" in told.output
    assert "road" not in told.output


def test_scales_may_be_parted_by_commas(tmp_path):
    assert run("precompute-cpp", "--scales", "2,4", labels(tmp_path / "labels"), tmp_path / "out").exit_code == 0
    assert load_cpp(tmp_path / "out" / "0.cpp.npz").scales == (2, 4)


def test_a_scale_beyond_the_labels_is_warned_of(tmp_path, caplog):
    assert run("precompute-cpp", "--scales", "16", labels(tmp_path / "labels"), tmp_path / "out").exit_code == 0
    assert "0.png: has 8x12 pixels, so that a cell of scale 16 reaches beyond it." in caplog.text


def test_what_is_printed_of_targets_and_indexes_is_one_line(tmp_path):
    folder = labels(tmp_path / "labels")
    assert run("precompute-cpp", "--scales", "2", "4", "8", folder, tmp_path / "out").exit_code == 0
    targets = load_cpp(tmp_path / "out" / "0.cpp.npz")
    assert repr(targets) == "<CPPTargets: 8x12 pixels, 19 classes, scales 2, 4, 8>"
    with pytest.raises(
        SettingsError, match=r"scale 3: these targets are of scales 2, 4, 8, and give multiples of them"
    ):
        targets.probabilities(3)
    assert run("index", folder, "-o", tmp_path / "index.npz").exit_code == 0
    index = ClassIndex.load(tmp_path / "index.npz")
    assert repr(index) == f"<ClassIndex of {tmp_path}/index.npz: 2 images, 2 entries, 19 classes, tiles of 1024>"


@pytest.mark.parametrize("name", ["epoch.svg", "epoch.pdf", "epoch"])
def test_the_form_of_a_figure_is_checked_before_anything_is_read(tmp_path, name):
    told = run("sample", "--source", f"a={tmp_path}/none.npz:1", "--plot", tmp_path / name)
    assert "names no form of figure" in str(told.exception)


def test_crops_beyond_every_image_are_refused_or_warned_of(tmp_path, caplog):
    assert run("index", labels(tmp_path / "labels"), "-o", tmp_path / "index.npz").exit_code == 0
    source = f"a={tmp_path}/index.npz:1"
    told = run("sample", "--source", source, "--crop-size", 90000, 90000)
    assert "a crop of 90000x90000 has more than 268,435,456 pixels" in str(told.exception)
    assert run("sample", "--source", source, "--crop-size", 64, 64).exit_code == 0
    assert "crops of 64x64 are larger than every image at every scale, 8x12 at most" in caplog.text


def test_a_command_that_is_not_there_has_a_neighbor():
    told = run("trian")
    assert told.exit_code == 2
    assert "unknown command 'trian'. Did you mean 'train'?" in told.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "augmentation.crop=3",
            "--set augmentation.crop=3: 3 is not a list. Expected are several values, as [512, 1024].",
        ),
        ("augmentation.crop=[3]", "--set augmentation.crop=[3]: has too few values."),
        ("run.log_every=x", "--set run.log_every=x: 'x' is not a whole number."),
        ("optimizer.lr=x", "--set optimizer.lr=x: 'x' is not a number."),
        ("optimizer=3", "--set optimizer=3: 3 is not a section. Expected are keys with values."),
    ],
)
def test_faults_of_set_are_in_our_words(change, message):
    told = run("recipes", "show", "camvid-fcn-ce", "--set", change)
    assert str(told.exception) == message


def test_a_photograph_given_as_a_label_is_called_one(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    told = run("plot", "pooling", tmp_path / "a.jpg", "-o", tmp_path / "p.png")
    assert "a.jpg: is a JPEG photograph, whose pixels are not class ids" in str(told.exception)


def test_a_check_of_nothing_is_no_pass(tmp_path):
    told = run("datasets", "check", "cityscapes-pspnet-cpp", "--set", f"data.root={tmp_path}")
    assert told.exit_code == 1
    assert "PASS" not in told.output


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ConnectionResetError("gone"), ConnectionResetError),
        (TimeoutError("no answer"), TimeoutError),
        (PermissionError(13, "Permission denied", "a.png"), StoreError),
        (OSError(28, "No space left on device"), StoreError),
    ],
)
def test_faults_of_files_are_one_line_and_those_of_the_network_are_not_called_faults_of_files(fault, kind):
    class Broken(WorkflowGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            def fail() -> None:
                raise fault

            return click.Command(cmd_name, callback=fail)

    assert type(CliRunner().invoke(Broken("segdata"), ["demo"]).exception) is kind


def test_outputs_of_other_settings_stay_refused_after_a_run_of_errors_alone(tmp_path):
    folder = labels(tmp_path / "labels")
    assert run("precompute-cpp", folder, tmp_path / "out", "--encoding", "trainIds").exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.npz")}
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    for path in whole:
        path.write_bytes(b"damaged")
    assert run("precompute-cpp", folder, tmp_path / "out", "--encoding", "trainIds").exit_code == 1
    for path, data in whole.items():
        path.write_bytes(data)
    assert run("precompute-cpp", folder, tmp_path / "out", "--encoding", "labelIds").exit_code == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.npz")} == before
