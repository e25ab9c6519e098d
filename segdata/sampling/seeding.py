"""Names for randomness: a key is a function of whole tuples of integers, never of their sum or product."""

import numpy as np
from numpy.typing import NDArray

# What a key is for; the first integer after the seed.
SOURCES, RANKS, MODES, CLASSES, TILES, IMAGES, CROPS = range(7)


def named_key(*names: int) -> np.uint64:
    """Return 64 key bits that are a function of the integers, each from 0 up to 2**64.

    Examples
    --------
    >>> len({int(key) for key in (named_key(0, 1), named_key(1, 0), named_key(0, 1, 0), named_key(2**32))})
    4
    """
    return np.uint64(_sequence(names).generate_state(1, np.uint64)[0])


def named_bits(amount: int, *names: int) -> NDArray[np.uint64]:
    """Return many random numbers of 64 bits that are a function of the integers.

    Bits straight from Philox, whose numbers NumPy has promised to keep; those of its `Generator` may change.
    """
    return np.random.Philox(_sequence(names)).random_raw(amount)


def _sequence(names: tuple[int, ...]) -> np.random.SeedSequence:
    """Seed by number and names, two words each: without them (0, 1) and (0, 1, 0), 2**32 and (0, 1) would be alike."""
    words = [word for name in names for word in (name & 0xFFFFFFFF, name >> 32)]
    return np.random.SeedSequence([len(names), *words])
