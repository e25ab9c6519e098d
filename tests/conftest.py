"""What the tests share: the real data where it is at hand, and the rule about skips."""

import os
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

# Small tensors: a second thread costs more than it does, and tests of several processes share the cores anyway.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real samples named by SEGDATA_REAL_DATA, or skip, saying so."""
    folder = os.environ.get("SEGDATA_REAL_DATA")
    if not folder:
        pytest.skip("SEGDATA_REAL_DATA names no folder of real samples")
    path = Path(folder).resolve()
    assert path.is_dir(), f"SEGDATA_REAL_DATA: {path} is not a folder"
    return path


@pytest.fixture(scope="session")
def vistas_sample(real_data: Path) -> Path:
    """Return the root of six real Vistas v1.2 images with labels, in the data set's own layout."""
    return real_data / "vistas" / "sample-v1.2"


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator with a fixed seed."""
    return np.random.default_rng(9802)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what skips where SEGDATA_FORBID_SKIPS is set, but for want of a GPU or an optional library."""
    report = yield
    forbidden = bool(os.environ.get("SEGDATA_FORBID_SKIPS")) and not {"gpu", "optional"} & set(item.keywords)
    if report.skipped and forbidden and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped where nothing may skip: {report.longrepr}"
    return report


class _NameTests:
    """Tells coverage.py which test runs, so that `make mutants` knows which ones take a line."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        sys.modules["coverage"].Coverage.current().switch_context(item.nodeid.partition("[")[0])
        return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Name the tests where coverage is measured, doctests of the package as well."""
    if "coverage" in sys.modules and sys.modules["coverage"].Coverage.current():
        config.pluginmanager.register(_NameTests())
