"""Put the tables of docs/results.md where its markers are: what `segdata experiment show` prints of docs/results/.

python docs/write_results.py
"""

import re
from pathlib import Path

from click.testing import CliRunner

from segdata.commands.experiment import command

FOLDER = Path(__file__).parent
PAGE = FOLDER / "results.md"
_MARKED = re.compile(r"(<!-- ([\w-]+)((?: --[a-z]+)*) -->\n).*?(<!-- end -->)", re.DOTALL)


def results() -> str:
    """Return the page with fresh tables."""
    return _MARKED.sub(_filled, PAGE.read_text(encoding="utf-8"))


def _filled(found: "re.Match[str]") -> str:
    begin, name, options, end = found.groups()
    shown = CliRunner().invoke(command, ["show", str(FOLDER / "results" / name), *options.split()])
    assert shown.exit_code == 0, shown.output
    return f"{begin}```text\n{shown.stdout}```\n{end}"


if __name__ == "__main__":
    PAGE.write_text(results(), encoding="utf-8")
