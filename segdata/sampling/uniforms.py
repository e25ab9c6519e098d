"""The compiled heart of the stream: keyed random bits, permutations by index, and draws by number.

Every function here is pure and needs no memory of what came before: any draw of any source is computed from its number
alone. All randomness is Philox4x32-10 [1]_ on named integers; permutations are Feistel networks walked back into
their range [2]_.

References
----------
.. [1] Salmon, Moraes, Dror, Shaw. Parallel random numbers: as easy as 1, 2, 3. SC 2011.
.. [2] Black, Rogaway. Ciphers with arbitrary finite domains. CT-RSA 2002.
"""

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_PHILOX_A = np.uint64(0xD2511F53)
_PHILOX_B = np.uint64(0xCD9E8D57)
_WEYL_A = np.uint64(0x9E3779B9)
_WEYL_B = np.uint64(0xBB67AE85)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31 = np.uint64(30), np.uint64(27), np.uint64(31)
_ROUNDS = 8
_MIN_BITS = 6  # a smaller Feistel domain has too few permutations; walking out of 64 is cheap


@compiled
def random_bits(key: np.uint64, stream: int, counter: int) -> np.uint64:
    """Return 64 random bits that are a pure function of three integers: Philox4x32-10, its first two words.

    Examples
    --------
    >>> hex(random_bits(np.uint64(0), 0, 0))
    '0x6627e8d5e169c58d'
    """
    word_0, word_1 = np.uint64(counter) & _LOW, np.uint64(counter) >> _HALF
    word_2, word_3 = np.uint64(stream) & _LOW, np.uint64(stream) >> _HALF
    key_0, key_1 = np.uint64(key) & _LOW, np.uint64(key) >> _HALF
    for _ in range(10):
        product_a, product_b = _PHILOX_A * word_0, _PHILOX_B * word_2
        word_0, word_1, word_2, word_3 = (
            (product_b >> _HALF) ^ word_1 ^ key_0,
            product_b & _LOW,
            (product_a >> _HALF) ^ word_3 ^ key_1,
            product_a & _LOW,
        )
        key_0, key_1 = (key_0 + _WEYL_A) & _LOW, (key_1 + _WEYL_B) & _LOW
    return (word_0 << _HALF) | word_1


@compiled
def _scramble(value: np.uint64) -> np.uint64:
    """Mix 64 bits: SplitMix64's finaliser."""
    value = (value ^ (value >> _SHIFT_30)) * _MIX_A
    value = (value ^ (value >> _SHIFT_27)) * _MIX_B
    return value ^ (value >> _SHIFT_31)


@compiled
def _feistel(value: np.uint64, bits: int, key: np.uint64) -> np.uint64:
    """Permute ``0 .. 2**bits - 1``: each round xors one half with a keyed function of the other."""
    low_bits = np.uint64(bits - bits // 2)
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << np.uint64(bits // 2)) - np.uint64(1)
    high, low = value >> low_bits, value & low_mask
    round_key = np.uint64(key)
    for _ in range(_ROUNDS // 2):
        round_key += _GOLDEN
        high ^= _scramble(low ^ round_key) & high_mask
        round_key += _GOLDEN
        low ^= _scramble(high ^ round_key) & low_mask
    return (high << low_bits) | low


@compiled
def permute(index: int, size: int, key: np.uint64) -> int:
    """Return the place of `index` in a keyed random permutation of ``0 .. size - 1``, without storing one.

    A Feistel network permutes the next power of two; what lands outside is sent through again (cycle walking), so the
    result is a permutation of exactly `size` things. Time and memory do not grow with `size`.

    Examples
    --------
    >>> sorted(permute(index, 7, np.uint64(9)) for index in range(7))
    [0, 1, 2, 3, 4, 5, 6]
    """
    bits = _MIN_BITS
    while (np.int64(1) << bits) < size:
        bits += 1
    value = _feistel(np.uint64(index), bits, key)
    while value >= np.uint64(size):
        value = _feistel(value, bits, key)
    return int(value)


@compiled
def shuffled_turn(number: int, size: int, key: np.uint64, stream: int) -> tuple[int, int]:
    """Return (item, turn) of draw `number` over `size` items: none comes twice before all came once.

    Turn t is the t-th pass over all items, each pass in an order of its own.
    """
    turn = number // size
    return permute(number % size, size, random_bits(key, stream, turn)), turn


@compiled
def locate(
    number: int, choices: NDArray[np.uint16], seen: NDArray[np.int32], counts: NDArray[np.int64], key: np.uint64
) -> tuple[int, int]:
    """Return (choice, how often it was chosen before) of draw `number` in a share schedule.

    Parameters
    ----------
    number : int
        Number of the draw, from 0.
    choices, seen : ndarray, shape (variants, period)
        Who is drawn at each place of a period, and how often that one was drawn earlier in the period.
    counts : ndarray, shape (num_choices,)
        Draws of each per period, the same in every variant.
    key : uint64
        Says which variant each period uses.
    """
    period = number // choices.shape[1]
    place = number % choices.shape[1]
    variant = np.int64(random_bits(key, 0, period) % np.uint64(choices.shape[0]))
    choice = int(choices[variant, place])
    return choice, int(period * counts[choice] + seen[variant, place])


@compiled
def locate_all(
    numbers: NDArray[np.int64],
    choices: NDArray[np.uint16],
    seen: NDArray[np.int32],
    counts: NDArray[np.int64],
    key: np.uint64,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Apply `locate` to many numbers: (choice, number within the choice), each of shape (N,)."""
    choice = np.empty(numbers.size, np.int64)
    number = np.empty(numbers.size, np.int64)
    for at in range(numbers.size):
        choice[at], number[at] = locate(numbers[at], choices, seen, counts, key)
    return choice, number


@compiled
def turns_all(
    numbers: NDArray[np.int64], streams: NDArray[np.int64], sizes: NDArray[np.int64], key: np.uint64
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Apply `shuffled_turn` to many draws, of streams over ``sizes[stream]`` items: (item, turn), each (N,)."""
    item = np.empty(numbers.size, np.int64)
    turn = np.empty(numbers.size, np.int64)
    for at in range(numbers.size):
        item[at], turn[at] = shuffled_turn(numbers[at], sizes[streams[at]], key, streams[at])
    return item, turn


@compiled
def rank_slots(rounds: NDArray[np.int64], rank: int, num_ranks: int, key: np.uint64) -> NDArray[np.int64]:
    """Return which of the `num_ranks` draws of each round goes to `rank`, shape (N,).

    In every round the ranks take the slots in a cyclic order whose start is drawn at random, each start once per
    `num_ranks` rounds. So each rank has each slot equally often, and no rhythm of the stream can settle on one rank.
    """
    slots = np.empty(rounds.size, np.int64)
    for at in range(rounds.size):
        start, _ = shuffled_turn(rounds[at], num_ranks, key, 0)
        slots[at] = (start + rank) % num_ranks
    return slots


@compiled
def uniforms(key: np.uint64, stream: int, amount: int) -> NDArray[np.float64]:
    """Return `amount` numbers in [0, 1) that are a pure function of (key, stream), 53 bits each."""
    numbers = np.empty(amount, np.float64)
    for at in range(amount):
        numbers[at] = np.float64(random_bits(key, stream, at) >> np.uint64(11)) / 9007199254740992.0
    return numbers


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
