"""The reader printed in docs/cpp-format.md is twelve lines, and reads every stored form."""

import re
from pathlib import Path

import numpy as np
import pytest

from segdata.cpp.pooling import cpp_counts
from segdata.cpp.store import encode_cpp, read_meta
from segdata.cpp.targets import pool_targets

PAGE = Path(__file__).parents[2] / "docs" / "cpp-format.md"


def printed_reader():
    (code,) = (
        block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "def " in block
    )
    return code


def test_the_reader_has_twelve_lines():
    lines = printed_reader().strip().splitlines()
    assert len([line for line in lines if line and not line.startswith("import")]) == 12


@pytest.mark.parametrize(
    ("scales", "scale", "num_classes"),
    [((2, 4, 8), 2, 19), ((2, 4, 8), 8, 19), ((2, 4, 8), 16, 19), ((3, 5), 15, 19), ((16,), 16, 254), ((1,), 7, 3)],
)
def test_the_reader_reads_what_is_written(tmp_path, scales, scale, num_classes):
    rng = np.random.default_rng(scale)
    label = rng.choice(np.array([0, 1, num_classes - 1, 255], np.uint8), (5, 7)).repeat(9, axis=0).repeat(5, axis=1)
    label[rng.random(label.shape) < 0.05] = 2
    path = tmp_path / "x.cpp.npz"
    path.write_bytes(encode_cpp(pool_targets(label, scales, num_classes=num_classes)))
    names = {}
    exec(printed_reader(), names)
    assert np.array_equal(names["read_counts"](path, scale), cpp_counts(label, scale, num_classes=num_classes))


def test_the_page_names_every_field_of_meta():
    meta = read_meta(encode_cpp(pool_targets(np.zeros((4, 4), np.uint8), [2])), "x")
    page = PAGE.read_text("utf-8")
    assert [name for name in meta if f"`{name}" not in page] == []
