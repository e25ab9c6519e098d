"""What the fault tests share: commands that start within milliseconds, and one source for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import COMMANDS, INDEX, BatchCommand, Segdata, make_labels


@pytest.fixture(scope="session")
def segdata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segdata]:
    """Return a starter of commands with all of them warm."""
    starter = Segdata()
    folder = tmp_path_factory.mktemp("warm")
    for command in [*COMMANDS, INDEX]:
        command.write_source(folder / command.name, make_labels(1))
        assert starter.warm(command.args(folder / command.name, folder / f"{command.name}-out")) == 0
    yield starter
    starter.close()


@pytest.fixture(params=COMMANDS, ids=lambda command: command.name)
def command(request: pytest.FixtureRequest) -> BatchCommand:
    """Return each of the batch commands."""
    chosen: BatchCommand = request.param
    return chosen


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return where the source of a test goes."""
    return tmp_path / "source"


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Return where the outputs of a test go."""
    return tmp_path / "destination"
