"""A hook of MkDocs: links that lead out of the documentation become plain text; the site lacks these files."""

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./[^)]*\)")


def on_page_markdown(markdown: str, **_context: Any) -> str:
    """Return a page without such links."""
    return _OUTSIDE.sub(r"\1", markdown)
