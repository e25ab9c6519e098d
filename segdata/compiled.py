"""The one way a kernel is compiled: ahead of its first call by Numba, cached on disk, without the GIL.

A kernel calls only kernels of its own module: Numba's cache does not notice a change in another file.

`inlined` is for what a kernel calls in its innermost loop: a call would pass each array as seven numbers and count a
reference to it, which costs more than the few lines that are called.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import event

from segdata.logs import leave_out_of_rates, logger

Function = TypeVar("Function", bound=Callable[..., Any])


def _can_cache() -> bool:
    """Tell whether Numba finds a folder for its cache: that of the package, the user's, or NUMBA_CACHE_DIR."""
    try:
        numba.njit(cache=True)(_can_cache)
    except RuntimeError:
        logger.warning(
            "compiled code can be kept neither beside the package nor in the home folder, so each process compiles "
            "again, for some ten seconds. Set NUMBA_CACHE_DIR to a folder that can be written."
        )
        return False
    return True


_cache = _can_cache()


def is_cached() -> bool:
    """Say whether compiled code is kept for the next process."""
    return _cache


inlined = numba.njit(cache=_cache, nogil=True, inline="always")
_kernels: list[Any] = []


def compiled(function: Function) -> Function:
    """Compile a function at its first call with arguments of a kind, or take it from the cache."""
    kernel = cast(Function, numba.njit(cache=_cache, nogil=True)(function))
    _kernels.append(kernel)
    return kernel


def announce_compilation_in_processes() -> None:
    """Log that other processes will compile, of which this one learns nothing, where the cache has no kernel yet."""
    if _kernels and not any(map(_is_kept, _kernels)):
        logger.info("each process compiles the kernels that it needs first, once: some ten seconds")


def _is_kept(kernel: Any) -> bool:
    """Say whether the cache has a kernel for any kind of arguments."""
    function = getattr(kernel, "py_func", None)
    if function is None:
        return True  # NUMBA_DISABLE_JIT
    names = f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}-*.nbi"
    return any(Path(kernel.stats.cache_path or "").glob(names))


class _Announcer(event.Listener):
    """Says how many kernels are compiled, and leaves the time that it takes out of what progress estimates."""

    SECONDS = 3.0
    """From one line to the next."""
    _depth, _done, _begin, _told = 0, 0, 0.0, float("-inf")

    def on_start(self, event: event.Event) -> None:  # noqa: ARG002  # a kernel's compilation compiles those it calls
        if not self._depth:
            self._begin = time.monotonic()
            self._tell()
        self._depth += 1

    def on_end(self, event: event.Event) -> None:  # noqa: ARG002
        self._depth -= 1
        if not self._depth:
            self._done += 1
            leave_out_of_rates(time.monotonic() - self._begin)

    def _tell(self) -> None:
        """Log how many are done; which of the others this run will call is not known."""
        if self._begin < self._told + self.SECONDS:
            return
        self._told = self._begin
        others = sum(not _is_kept(kernel) for kernel in _kernels) if _cache else len(_kernels) - self._done
        logger.info(f"compiling kernels, once: {self._done + 1} of at most {self._done + max(1, others)}")


event.register("numba:compile", _Announcer())  # type: ignore[no-untyped-call]
