"""The one way a kernel is compiled: ahead of its first call by Numba, cached on disk, without the GIL.

A kernel calls only kernels of its own module: Numba's cache does not notice a change in another file.
"""

import numba

compiled = numba.njit(cache=True, nogil=True)
