"""`segdata explain` and `segdata plot panels`: two models on images of their validation data."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from toy_model import write_toy_checkpoint

from segdata.commands.explain import command as explain
from segdata.commands.plot import command as plot
from segdata.errors import SettingsError
from segdata.figures.panels import Panel, most_different
from segdata.synthetic import write_cityscapes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_cityscapes(folder / "city", (64, 128), train=1, val=2)
    write_toy_checkpoint(folder / "one", folder / "city")
    write_toy_checkpoint(folder / "two", folder / "city", seed=1)
    return folder


def images_of(folder: Path) -> list[str]:
    return [str(path) for path in sorted((folder / "city" / "leftImg8bit" / "val").rglob("*.png"))]


def call(command, *arguments):
    return CliRunner().invoke(command, [str(each) for each in arguments], catch_exceptions=False)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as figure:
        return figure.size


def test_two_models_are_explained_side_by_side(folder, tmp_path):
    out = tmp_path / "pole.png"
    run = call(explain, folder / "one", *images_of(folder), "--beside", folder / "two", "--class", "pole", "-o", out)
    assert (run.exit_code, run.stdout.strip()) == (0, str(out))
    assert size_of(out) == (48 + 3 * 490 - 10, 70 + 2 * 250 + 24)


def test_a_class_that_the_model_does_not_have_is_refused_with_the_nearest(folder, tmp_path):
    with pytest.raises(SettingsError, match="Did you mean 'pole'"):
        call(explain, folder / "one", *images_of(folder), "--class", "poel", "-o", tmp_path / "x.png")


def test_a_form_that_is_not_known_is_refused_before_the_model_is_loaded(folder, tmp_path):
    with pytest.raises(SettingsError, match="names no form of figure"):
        call(explain, tmp_path, *images_of(folder), "--class", "pole", "-o", tmp_path / "x.xyz")


def test_panels_show_the_truth_of_the_validation_data(folder, tmp_path):
    out = tmp_path / "panels.png"
    run = call(plot, "panels", folder / "one", folder / "two", images_of(folder)[0], "-o", out)
    assert run.exit_code == 0
    with Image.open(out) as figure:
        truth = np.asarray(figure.convert("RGB"))[34 + 150 : 34 + 200, 24 + 430 : 24 + 850]
    assert (truth == (128, 64, 128)).all(-1).mean() > 0.2  # the road, in its color


def test_panels_of_an_image_without_a_label_say_so(folder, tmp_path):
    Image.new("RGB", (128, 64), (90, 90, 90)).save(tmp_path / "other.png")
    out = tmp_path / "panels.png"
    assert call(plot, "panels", folder / "one", folder / "two", tmp_path / "other.png", "-o", out).exit_code == 0
    assert out.exists()


def test_the_close_view_is_where_the_two_differ_most():
    first = np.zeros((100, 200), np.uint8)
    second, truth = first.copy(), first.copy()
    second[70:80, 150:170] = 1
    second[:40, :60], truth[:40, :60] = 2, 255  # more, but on ignored pixels
    top, left, height, width = most_different(Panel(np.zeros((3, 100, 200), np.uint8), truth, first, second))
    assert (height, width) == (30, 60)
    assert top <= 70
    assert top + height >= 80
    assert left <= 150
    assert left + width >= 170
