"""Make the n-th file operation below a folder fail, as a full disk, a broken one or missing rights would.

Opening, renaming, linking, removing, listing, making folders and mapping are caught by audit events; writing and
fsync, which have none, by wrappers. Interrupted calls (EINTR) are left out: Python repeats them itself (PEP 475).
"""

import errno
import io
import os
import pathlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
_WATCHED = {
    "open", "os.rename", "os.remove", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir",
    "os.truncate", "os.chmod", "mmap.__new__",
}  # fmt: skip


@dataclass
class Injection:
    """Which operation is to fail, and what was seen.

    Attributes
    ----------
    folder : Path
        Operations on paths below it count; those without a path (mapping, fsync) always.
    place : int
        The operation that fails, counted from 0.
    number : int
        Its error; see `ERRORS`.
    seen : list of str
        The operations so far.
    """

    folder: Path
    place: int
    number: int
    seen: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether an operation was made to fail."""
        return len(self.seen) > self.place

    def meet(self, operation: str, path: object = None) -> None:
        """Count an operation, and raise where it is its turn."""
        if path is not None and not os.fspath(path).startswith(str(self.folder)):
            return
        self.seen.append(f"{operation} {path or ''}")
        if len(self.seen) == self.place + 1:
            raise OSError(self.number, os.strerror(self.number), None if path is None else str(path))


_active: list[Injection] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _active and event in _WATCHED:
        path = arguments[0] if arguments else None
        if event == "mmap.__new__":
            _active[0].meet(event)
        elif isinstance(path, str | bytes | os.PathLike):
            _active[0].meet(event, os.fsdecode(path))


sys.addaudithook(_hook)  # cannot be taken out again: does nothing while no injection is active


class _Writer(io.BufferedWriter):
    """A file whose writes are counted."""

    def write(self, data: Any) -> int:
        if _active:
            _active[0].meet("write")
            half = len(data) // 2
            if len(_active[0].seen) == _active[0].place:  # the next operation fails: after half of the bytes
                super().write(memoryview(data)[:half])
                super().flush()
                _active[0].meet("write the second half")
        return super().write(data)


@contextmanager
def injected(folder: Path, place: int, number: int, monkeypatch: Any) -> Iterator[Injection]:
    """Let the operation at a place fail while the block runs."""
    injection = Injection(folder, place, number)
    path_open, fsync = pathlib.Path.open, os.fsync

    def opened(path: Path, mode: str = "r", *more: Any, **options: Any) -> Any:
        if mode != "xb":
            return path_open(path, mode, *more, **options)
        return _Writer(io.FileIO(path, mode))

    def synchronized(handle: int) -> None:
        if _active:
            _active[0].meet("fsync")
        fsync(handle)

    with monkeypatch.context() as patches:
        patches.setattr(pathlib.Path, "open", opened)
        patches.setattr(os, "fsync", synchronized)
        _active.append(injection)
        try:
            yield injection
        finally:
            _active.clear()
