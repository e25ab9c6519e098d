"""What a command logs: as it is on a terminal, with time and rank elsewhere; progress as a bar or as lines."""

import io
import re
import sys

import pytest

from segdata import logs
from segdata.logs import configure_logging, logger, progress_bar


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SECONDS_BETWEEN_LINES", 0.0)


def test_a_message_has_the_time_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(environment={})
    logger.info("3 labels")
    logger.error("a.png: is damaged")
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d 3 labels", first)
    assert second == "error: a.png: is damaged"


def test_ranks_and_tasks_are_named_in_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(environment={"SLURM_ARRAY_TASK_ID": "7"})
    logger.warning("low memory")
    assert re.fullmatch(r"\S+ \S+ \[task 7\] warning: low memory\n", capsys.readouterr().err)


def test_only_the_first_rank_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(environment={"RANK": "1", "WORLD_SIZE": "2"})
    logger.info("3 labels")
    logger.warning("low memory")
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("verbosity", "shown"), [(-1, "w"), (0, "iw"), (1, "diw")])
def test_verbosity(capsys: pytest.CaptureFixture[str], verbosity: int, shown: str) -> None:
    configure_logging(verbosity, environment={})
    for log, letter in ((logger.debug, "d"), (logger.info, "i"), (logger.warning, "w")):
        log(letter)
    assert "".join(line[-1] for line in capsys.readouterr().err.splitlines()) == shown


def test_progress_is_a_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(environment={})
    with progress_bar(total=4, unit="files", desc="convert") as bar:
        bar.update(2)
        bar.set_postfix_str("1 failed", refresh=False)
        bar.update(2)
    told = capsys.readouterr().err
    assert "\r" not in told
    assert "convert: 2 of 4 files" in told
    assert told.splitlines()[-1].endswith(", 1 failed")


def test_progress_is_a_bar_on_a_terminal_and_messages_stand_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    configure_logging(environment={})
    with progress_bar(total=4, unit="files", desc="convert") as bar:
        logger.error("a.png: is damaged")
        bar.update(4)
        bar.refresh()
    told = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "\rerror: a.png: is damaged\n" in told
    assert "convert: 100%" in told


def test_quiet_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(-1, environment={})
    with progress_bar(total=1, unit="files") as bar:
        bar.update()
    assert capsys.readouterr().err == ""
