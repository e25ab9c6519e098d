"""Readers on damaged files: a short while for each, and every file that once broke one."""

import pytest

from .__main__ import CORPUS, fuzz
from .targets import make_targets

TARGETS = (
    *("label", "photo-png", "photo-jpeg", "targets", "index", "report"),
    *("mapping", "mixture", "recipe", "set", "checkpoint"),
)


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
    inputs, faults = fuzz(name, targets[name], seconds=10, seed=0, folder=tmp_path)
    assert inputs > 20
    assert faults == 0
