"""Readers on damaged files: a short while for each, and every file that once broke one."""

import pytest
from PIL import Image

from .__main__ import CORPUS, fuzz
from .targets import make_targets

TARGETS = (
    *("label", "photo-png", "photo-jpeg", "targets", "index", "report"),
    *("mapping", "mixture", "recipe", "set", "checkpoint"),
)


pytestmark = pytest.mark.filterwarnings(f"ignore::{Image.__name__}.DecompressionBombWarning")


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    made = make_targets(tmp_path_factory.mktemp("seeds"))
    assert set(made) == set(TARGETS)
    return made


@pytest.mark.parametrize("name", TARGETS)
def test_whole_files_are_read_and_what_once_broke_a_reader_is_not_any_more(targets, tmp_path, name):
    for data in targets[name].seeds:
        targets[name].check(data, tmp_path)
    for path in sorted((CORPUS / name).glob("*")):
        targets[name].check(path.read_bytes(), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files(targets, tmp_path, name):
    """The same inputs on every machine, however fast it is: what fails here fails everywhere."""
    wanted = 200 if name == "set" else 2000  # each line of settings loads a recipe
    inputs, faults = fuzz(name, targets[name], inputs=wanted, seed=0, folder=tmp_path)
    assert (inputs, faults) == (wanted, 0)
