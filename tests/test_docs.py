"""The pages: links lead somewhere, code blocks run, the reference is fresh, nothing names a machine."""

import doctest
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            name, _, anchor = target.partition("#")
            destination = (page.parent / name).resolve() if name else page
            assert destination.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in anchors(destination.read_text(encoding="utf-8")), f"no {target}"


@page
def test_python_sessions_run(page: Path) -> None:
    failures, _ = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failures == 0


@page
def test_named_commands_exist(page: Path) -> None:
    commands = runpy.run_path(str(ROOT / "docs" / "write_reference.py"))["COMMANDS"]
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```(?:console|sh|bash)\n(.*?)```", text, re.DOTALL):
        for name in re.findall(r"^(?:\$ )?segdata ([a-z][a-z-]*)", block, re.MULTILINE):
            assert name in commands, f"{page.name} shows `segdata {name}`"


def test_reference_is_fresh() -> None:
    # In a process of its own: click keeps the help option that a command was first asked with.
    program = "import runpy; print(runpy.run_path('docs/write_reference.py')['reference'](), end='')"
    made = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == made, "run `make docs`"


def test_results_are_fresh() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "write_results.py"))["results"]()
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == made, "run python docs/write_results.py"


@pytest.mark.slow
def test_the_quickstart_prints_what_its_page_shows() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "write_quickstart.py"))["quickstart"]()
    assert (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8") == made, "run python docs/write_quickstart.py"


def test_no_path_of_a_machine_is_committed() -> None:
    pattern = "/" + r"(work|root|home/[a-z]+|Users)/[A-Za-z0-9]"
    found = subprocess.run(["git", "grep", "-nIE", pattern], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stdout == ""
