"""Words that this project no longer uses, held against messages, help and pages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RETIRED = {
    r"pictures?\b": "image or figure",
    r"made scenes?\b": "synthetic scenes",
    r"stands? where\b": "where each class occurs",
    r"ways? out\b": "how to fix it",
    r"mend(s|ed|ing)?\b": "fix",
    r"(made|begin|start|written?) anew\b": "recreated, start over",
    r"is no (sound|PNG|class\b|label\b|figure|setting)": "is not a ...",
    r"torn\b": "truncated",
    r"the rights\b": "the permissions",
    r"do again\b": "overwrite",
    r"sides of the cells": "pooling strides",
    r"even odds": "with probability 0.5",
    r"dealt out\b": "distributed across",
    r"set apart by tabs": "tab-separated",
    r"one's own recipe": "writing your own recipe",
    r"diary\b": "metrics log",
    r"goes? on\b": "continues",
    r"colou?rs?(?<=our|urs)\b": "color",
    r"(optimis|normalis|initialis|summaris|synchronis)\w*": "American spelling",
    r"(centre|neighbour|grey|labelled|behaviour)\w*": "American spelling",
    r"name_randomness|one_voice_per_machine|ends_in_one_line|hopeless\b": "see the code",
    r"\b1 files\b": "1 file",
}
# Names that are not ours to change: CamVid's own class, MMSegmentation's file names, people.
ALLOWED = re.compile(r"unlabelled|colour-coded")

PAGES = [
    path
    for pattern in ("segdata/**/*.py", "docs/*.md", "README.md", "DESIGN.md", "CHANGELOG.md", "examples/*.py")
    for path in sorted(ROOT.glob(pattern))
]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_retired_words_are_not_used(path: Path) -> None:
    text = ALLOWED.sub("", path.read_text())
    if path.name == "CHANGELOG.md":
        text = text.partition("### Names that changed before this release")[0]
    found = [
        f"line {number}: {match.group()!r}; write {better}"
        for number, line in enumerate(text.splitlines(), 1)
        for word, better in RETIRED.items()
        for match in re.finditer(rf"(?i)(?<![\w-]){word}", line)
    ]
    assert found == []
