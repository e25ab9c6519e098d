"""How names are compared, and which known one is near enough to be named."""

import pytest

from segdata.labels.classes import ClassTable
from segdata.labels.names import did_you_mean


@pytest.mark.parametrize(
    ("word", "name"), [("raod", "road"), ("bux", "bus"), ("Trafic-Light", "traffic light"), ("fense", "fence")]
)
def test_a_slip_of_the_pen_is_mended(word, name):
    known = [row.name for row in ClassTable.load("cityscapes").classes]
    assert did_you_mean(word, known) == f" Did you mean '{name}'?"


@pytest.mark.parametrize("word", ["lane", "asphalt", "cow", "", "--"])
def test_a_name_that_is_near_to_none_gets_no_guess(word):
    known = [row.name for row in ClassTable.load("cityscapes").classes]
    assert did_you_mean(word, known) == ""
