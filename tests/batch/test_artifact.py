"""What outputs say of themselves: read, kept, and never taken for one's own when they are another's."""

import json
from pathlib import Path

import numpy as np
import pytest

from segdata.batch.artifact import FORMAT, KEYWORD, Provenance, describe_difference, facts_to_keep, read_provenance
from segdata.batch.report import entry_of, outcome_of
from segdata.batch.work import Outcome
from segdata.codecs.png import encode_label
from segdata.errors import StoreError

MADE = Provenance(tool="convert", settings={"encoding": "trainIds"}, facts={"digest": "ab"})


def image_saying(about: object, folder: Path) -> Path:
    """Write a label image with JSON in the text chunk of outputs."""
    path = folder / "a.png"
    path.write_bytes(encode_label(np.zeros((2, 2), np.uint8), text={KEYWORD: json.dumps(about)}))
    return path


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    path = image_saying(json.loads(MADE.encode()), tmp_path)
    assert read_provenance(path, "convert") == MADE
    assert read_provenance(tmp_path / "none.png", "convert") is None


def test_the_output_of_another_tool_is_kept() -> None:
    with pytest.raises(StoreError, match=r"x\.png: was not written by this version of segdata predict, so it is kept"):
        facts_to_keep(Path("x.png"), MADE, tool="predict", settings=MADE.settings, digest="ab")


@pytest.mark.parametrize(
    "changes",
    [{"format": FORMAT + 1}, {"settings": []}, {"facts": None}, {"facts": {}}, {"facts": {"digest": 7}}],
)
def test_an_output_of_another_version_is_kept(tmp_path: Path, changes: dict[str, object]) -> None:
    path = image_saying(json.loads(MADE.encode()) | changes, tmp_path)
    with pytest.raises(StoreError, match="was not written by this version of segdata convert"):
        read_provenance(path, "convert")


@pytest.mark.parametrize("content", [b"a list of things to buy", b"PK\3\4 and then something else"])
def test_a_file_of_somebody_else_is_kept(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(StoreError, match="was not written by this version"):
        read_provenance(tmp_path / "a.png", "convert")


@pytest.mark.parametrize("content", [b"", b"\0" * 500, encode_label(np.zeros((9, 9), np.uint8))[:40]])
def test_what_a_crash_leaves_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert read_provenance(tmp_path / "a.png", "convert") is None


def test_a_long_value_is_cut_in_the_message() -> None:
    told = describe_difference({"names": list(range(100))}, {"names": []})
    assert told == "names was [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11..., is now []"


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(key="a", status="done", facts={"digest": "ab"}),
        Outcome(key="a", status="error", message="a: is damaged.", facts={"source": "a.png"}),
    ],
)
def test_an_entry_of_the_report_gives_its_outcome_back(outcome: Outcome) -> None:
    assert outcome_of("a", entry_of(outcome)) == outcome
