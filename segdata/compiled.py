"""The one way a kernel is compiled: ahead of its first call by Numba, cached on disk, without the GIL.

A kernel calls only kernels of its own module: Numba's cache does not notice a change in another file.

`inlined` is for what a kernel calls in its innermost loop: a call would pass each array as seven numbers and count a
reference to it, which costs more than the few lines that are called.
"""

import numba

compiled = numba.njit(cache=True, nogil=True)
inlined = numba.njit(cache=True, nogil=True, inline="always")
