"""The one way a kernel is compiled: ahead of its first call by Numba, cached on disk, without the GIL.

A kernel calls only kernels of its own module: Numba's cache does not notice a change in another file.

`inlined` is for what a kernel calls in its innermost loop: a call would pass each array as seven numbers and count a
reference to it, which costs more than the few lines that are called.
"""

import logging

import numba


def _can_cache() -> bool:
    """Tell whether Numba finds a folder for its cache: that of the package, the user's, or NUMBA_CACHE_DIR."""
    try:
        numba.njit(cache=True)(_can_cache)
    except RuntimeError:
        logging.getLogger(__name__).warning(
            "compiled code can be kept neither beside the package nor in the home folder, so each process compiles "
            "again, for some ten seconds. Set NUMBA_CACHE_DIR to a folder that can be written."
        )
        return False
    return True


_cache = _can_cache()


def is_cached() -> bool:
    """Say whether compiled code is kept for the next process."""
    return _cache


compiled = numba.njit(cache=_cache, nogil=True)
inlined = numba.njit(cache=_cache, nogil=True, inline="always")
