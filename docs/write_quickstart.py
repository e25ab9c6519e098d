"""Run docs/quickstart.md and put into it what its commands print.

python docs/write_quickstart.py
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

MOST_LINES, SHOWN_LINES = 28, 10
"""Longer outputs than the one are cut to the other."""
PAGE = Path(__file__).with_name("quickstart.md")
_BLOCK = re.compile(
    r"(?:<!-- (?P<file>[\w.]+) -->\n```python\n(?P<code>.*?)```)|(?:```console\n(?P<console>.*?)```)", re.DOTALL
)


def quickstart() -> str:
    """Return the page with fresh outputs: its files are written and its commands run in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        return _BLOCK.sub(lambda found: _run(found, Path(folder)), PAGE.read_text(encoding="utf-8"))


def _run(found: "re.Match[str]", folder: Path) -> str:
    """Write a file of the page, or run a block of commands and return it with what they print."""
    if found["file"] is not None:
        (folder / found["file"]).write_text(found["code"])
        return found[0]
    commands = [line for line in found["console"].splitlines() if line.startswith("$ ")]
    told = "".join(f"{command}\n{_output(command.removeprefix('$ '), folder)}" for command in commands)
    return f"```console\n{told}```"


def _output(command: str, folder: Path) -> str:
    """Return what a command prints on stdout, its beginning where that is long."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: ended with {done.returncode}\n{done.stderr}")
    lines = done.stdout.splitlines(keepends=True)
    return done.stdout if len(lines) <= MOST_LINES else "".join([*lines[:SHOWN_LINES], "...\n"])


if __name__ == "__main__":
    PAGE.write_text(quickstart(), encoding="utf-8")
