"""What a head is asked to learn, as a figure."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from segdata.commands import group
from segdata.cpp.pooling import cpp_counts
from segdata.errors import SettingsError
from segdata.figures.heat import heat_colors
from segdata.figures.target_maps import entropy_bits, most_shared, targets_figure
from segdata.labels.classes import ClassTable

TABLE = ClassTable.load("cityscapes")


@pytest.fixture
def label():
    """Return a label of 64 x 128: road, on it a pole three pixels wide, and an ignored corner."""
    ids = np.zeros((64, 128), np.uint8)
    ids[8:40, 21:24] = 5
    ids[48:, 96:] = 255
    return ids


def test_the_maps_are_the_shares_of_the_cells(label):
    figure = np.asarray(targets_figure(label, TABLE, 8, ["pole"]))
    share = cpp_counts(label, 8, num_classes=19)[5] / 64
    top, left, height = 84 + 28, 24 + 3 * 412, 200
    tile = figure[top : top + height, left : left + 400]
    rows, columns = (np.arange(8) * 25 + 12, np.arange(16) * 25 + 12)
    assert (tile[np.ix_(rows, columns)] == heat_colors(share)).all()
    assert share.max() == 3 / 8


def test_by_default_the_classes_that_share_cells_are_shown(label):
    shares = cpp_counts(label, 8, num_classes=19)[:-1] / 64
    assert most_shared(shares) == [0, 5]
    assert most_shared(np.ones((1, 2, 2))) == []


def test_entropy_is_that_of_the_shares(rng):
    shares = rng.dirichlet(np.ones(5), (3, 4)).transpose(2, 0, 1)
    np.testing.assert_allclose(entropy_bits(shares), -(shares * np.log2(shares)).sum(0), rtol=1e-12)


def test_a_label_without_mixed_cells_is_drawn():
    assert targets_figure(np.zeros((16, 16), np.uint8), TABLE, 4).width == 24 * 2 + 3 * 412 - 12


@pytest.mark.parametrize(
    ("stride", "names", "told"), [(1, (), "from 2 to the size"), (65, (), "64x128"), (8, ("poles",), "'pole'")]
)
def test_what_cannot_be_drawn_is_refused(label, stride, names, told):
    with pytest.raises(SettingsError, match=told):
        targets_figure(label, TABLE, stride, names)


def test_the_command_writes_the_figure_and_not_over_the_label(label, tmp_path):
    path = tmp_path / "label.png"
    Image.fromarray(label).save(path)
    words = ["plot", "targets", str(path), "--stride", "4", "--class", "pole", "-o"]
    assert CliRunner().invoke(group, [*words, str(tmp_path / "out.png")]).exit_code == 0
    with Image.open(tmp_path / "out.png") as figure:
        assert figure.size == (24 * 2 + 4 * 412 - 12, 84 + 200 + 28 + 12 + 12)
    assert "would be replaced" in str(CliRunner().invoke(group, [*words, str(path)]).exception)
