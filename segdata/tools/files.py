"""Moved to `segdata/files.py`; import from there."""

from segdata.files import *  # noqa: F403
from segdata.files import is_temporary as is_temporary
