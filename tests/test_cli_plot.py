"""`segdata figure` on the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from segdata.commands.plot import command
from segdata.errors import LabelError, SettingsError
from segdata.synthetic import write_cityscapes


@pytest.fixture(scope="module")
def label(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("city")
    write_cityscapes(root, (128, 256), train=1, val=0)
    return next(root.rglob("*_labelIds.png"))


def _run(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output.strip()


def _facts(path: Path) -> tuple[str | None, tuple[int, int]]:
    with Image.open(path) as image:
        return image.format, image.size


def test_pooling_writes_a_figure_and_prints_its_path(label, tmp_path):
    out = tmp_path / "figure.png"
    assert _run("pooling", label, "-o", out) == str(out)
    form, (width, _) = _facts(out)
    assert (form, width) == ("PNG", 1728)


def test_scales_end_at_the_first_word_that_is_no_number(label, tmp_path):
    out = tmp_path / "figure.png"
    _run("pooling", "--scales", 2, 4, label, "-o", out)
    assert _facts(out)[1][0] == 48 + 3 * 282 - 12


def test_default_output_is_named_after_the_label(label, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _run("pooling", label) == f"{label.stem}_pooling.png"
    assert Path(f"{label.stem}_pooling.png").is_file()


def test_ending_says_the_form(label, tmp_path):
    _run("pooling", label, "-o", tmp_path / "figure.jpg")
    assert _facts(tmp_path / "figure.jpg")[0] == "JPEG"


def test_unknown_ending_is_refused(label, tmp_path):
    with pytest.raises(SettingsError, match=r"'\.gifx' names no form of figure"):
        _run("pooling", label, "-o", tmp_path / "figure.gifx")


@pytest.mark.parametrize("name", ["figure.png", "figure.jpg", "figure.webp"])
def test_older_figure_is_replaced(label, tmp_path, name):
    out = tmp_path / name
    _run("pooling", label, "--scales", 2, "-o", out)
    _run("pooling", label, "--scales", 2, 4, "-o", out)
    assert _facts(out)[1][0] == 48 + 3 * 282 - 12


@pytest.mark.parametrize("arguments", [("pooling",), ("scene", "--size", 32, 64)])
def test_file_that_is_no_figure_is_not_replaced(label, tmp_path, arguments):
    out = tmp_path / "important.png"
    out.write_text("my notes")
    with pytest.raises(SettingsError, match=r"important\.png: is there and holds no figure\. Move it away, or choose"):
        _run(*arguments, *([label] if arguments == ("pooling",) else []), "-o", out)
    assert out.read_text() == "my notes"


def test_empty_file_is_replaced(label, tmp_path):
    out = tmp_path / "figure.png"
    out.touch()
    _run("pooling", label, "-o", out)
    assert _facts(out)[0] == "PNG"


def test_label_itself_is_not_replaced(label, tmp_path):
    copy = tmp_path / "label_labelIds.png"
    copy.write_bytes(label.read_bytes())
    with pytest.raises(SettingsError, match=r"label_labelIds\.png: is the file that is drawn"):
        _run("pooling", copy, "-o", tmp_path / "." / copy.name)
    assert copy.read_bytes() == label.read_bytes()


def test_missing_folders_of_the_output_are_made(label, tmp_path):
    out = tmp_path / "new" / "folder" / "figure.png"
    _run("pooling", label, "-o", out)
    assert out.is_file()


def test_what_is_no_label_is_named(tmp_path):
    with pytest.raises(LabelError, match=r"nothing\.png: cannot be read"):
        _run("pooling", tmp_path / "nothing.png")


def test_scene_sheet_shows_figures_beside_labels(tmp_path):
    out = tmp_path / "scenes.png"
    _run("scene", "--count", 3, "--columns", 2, "--size", 32, 64, "-o", out)
    assert _facts(out)[1] == (2 * 128 + 6, 2 * 32 + 6)
