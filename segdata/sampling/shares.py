"""Shares kept exactly: a periodic, randomised schedule in which no prefix is a whole draw off.

With shares ``c_i / D`` the counts after N draws must be ``floor(c_i N / D)`` or the next integer, for every i and N.
Such integer schedules are the vertices of a flow polytope that contains the constant flow ``c_i / D``, so rounding
that flow at random, cycle by cycle and without drift, gives schedules that hold the bound for certain and in which
every single place of a period has source i with probability exactly ``c_i / D`` [1]_ [2]_.

References
----------
.. [1] Tijdeman. The chairman assignment problem. Discrete Mathematics 32, 1980: the bound can be held at all.
.. [2] Goelz, Peters, Procaccia. In this apportionment lottery, the house always wins. EC 2022: cumulative rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import lcm

import numpy as np
from numpy.typing import NDArray

from segdata.compiled import compiled
from segdata.sampling.uniforms import locate_all, named_bits, named_key

MAX_PERIOD = 10_000  # shares finer than one in ten thousand are rounded to it, and the rounded ones are the promise
_TABLE_CELLS = 1 << 13
_SAME = Fraction(1, 1_000_000)  # of a share: as near as shares have to come to a sum of 1


def exact_shares(shares: Sequence[float | Fraction]) -> tuple[Fraction, ...]:
    """Return the shares as fractions of one denominator of at most `MAX_PERIOD`, summing to exactly 1.

    Shares that are such fractions (0.4, 1/3, 0.0725) come back as they are, others as the nearest ones; where these do
    not fit together, all are rounded to 1/10,000 by largest remainder. None becomes zero. The input has to be positive
    and sum to 1 within 1e-6. `is_changed` says which of them became others.

    Examples
    --------
    >>> [str(share) for share in exact_shares([0.4, 0.4, 0.2])]
    ['2/5', '2/5', '1/5']
    >>> [str(share) for share in exact_shares([0.123456, 0.223456, 0.653088])]
    ['247/2000', '1117/5000', '6531/10000']
    """
    fractions = [Fraction(share).limit_denominator(MAX_PERIOD) for share in shares]
    if all(fractions) and sum(fractions) == 1 and lcm(*(share.denominator for share in fractions)) <= MAX_PERIOD:
        return tuple(fractions)
    return _rounded_shares([Fraction(share) for share in shares])


def is_changed(given: float | Fraction, used: Fraction) -> bool:
    """Say whether a share is used as another one than was given: by more than a millionth of it.

    Examples
    --------
    >>> is_changed(1 / 3, Fraction(1, 3)), is_changed(0.00001, Fraction(1, 10_000))
    (False, True)
    """
    return abs(used - Fraction(given)) > _SAME * Fraction(given)


def share_text(share: float | Fraction) -> str:
    """Write a share as a person would: a short fraction as it is, any other number with nine digits.

    Examples
    --------
    >>> share_text(Fraction(2, 5)), share_text(0.4), share_text(0.00001), share_text(Fraction(1 / 7.3))
    ('2/5', '0.4', '0.00001', '0.136986301')
    """
    if isinstance(share, Fraction) and share.denominator <= MAX_PERIOD:
        return str(share)
    return np.format_float_positional(float(share), precision=9, fractional=False, trim="-")


def _rounded_shares(shares: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Round to multiples of 1 / MAX_PERIOD by largest remainder, at least one unit each."""
    spare = MAX_PERIOD - len(shares)
    total = sum(shares)
    wanted = [max(share / total * MAX_PERIOD - 1, Fraction(0)) for share in shares]
    scale = Fraction(spare) / (sum(wanted) or 1)
    units = [1 + int(want * scale) for want in wanted]
    remainders = sorted(range(len(shares)), key=lambda at: (-(wanted[at] * scale % 1), at))
    for at in remainders[: MAX_PERIOD - sum(units)]:
        units[at] += 1
    return tuple(Fraction(unit, MAX_PERIOD) for unit in units)


@dataclass(frozen=True)
class ShareSchedule:
    """Who is drawn at position n, for every n, with exact shares in every prefix.

    Attributes
    ----------
    shares : tuple of Fraction
        What is promised: after any n draws each count differs from ``share * n`` by less than 1.
    choices, seen : ndarray, shape (variants, period)
        The variants of a period, and how often the drawn one came earlier in that period.
    counts : ndarray of int64, shape (num_shares,)
        Draws of each in a period.
    key : uint64
        Chooses the variant of each period.
    """

    shares: tuple[Fraction, ...]
    choices: NDArray[np.uint16]
    seen: NDArray[np.int32]
    counts: NDArray[np.int64]
    key: np.uint64

    @classmethod
    def make(cls, shares: Sequence[float | Fraction], *names: int) -> "ShareSchedule":
        """Build the schedule of these shares; `names` are the integers its randomness is a function of."""
        fractions = exact_shares(shares)
        period = lcm(*(share.denominator for share in fractions))
        counts = np.array([int(share * period) for share in fractions], np.int64)
        choices, seen = _period_tables(tuple(counts.tolist()), names)
        return cls(fractions, choices, seen, counts, named_key(*names))

    def locate(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return for each draw number who is drawn and how often that one was drawn before, each of shape (N,)."""
        return locate_all(numbers, self.choices, self.seen, self.counts, self.key)


@lru_cache(maxsize=64)  # ranks and restarts of one process ask for the same
def _period_tables(counts: tuple[int, ...], names: tuple[int, ...]) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Return the variants of a period and their counts so far; read-only."""
    choices = _variants(np.array(counts, np.int64), names)
    seen = _seen_before(choices, len(counts))
    choices.flags.writeable = seen.flags.writeable = False
    return choices, seen


def _variants(counts: NDArray[np.int64], names: tuple[int, ...]) -> NDArray[np.uint16]:
    """Return many random periods with these counts, shape (variants, sum of counts)."""
    period = int(counts.sum())
    num_variants = max(1, _TABLE_CELLS // period) if counts.size > 1 else 1
    if (counts == 1).all():  # any order is within one draw of equal shares
        bits = named_bits(num_variants * period, *names).reshape(num_variants, period)
        return np.argsort(bits, axis=1, kind="stable").astype(np.uint16)
    randoms = named_bits(num_variants * 2 * counts.size * period, *names).reshape(num_variants, -1)
    return np.stack([round_period(counts, of_variant) for of_variant in (randoms >> np.uint64(2)).astype(np.int64)])


def _seen_before(choices: NDArray[np.uint16], num_shares: int) -> NDArray[np.int32]:
    """Count for every place how often its choice stands before it in the same row."""
    seen = np.empty(choices.shape, np.int32)
    for choice in range(num_shares):
        chosen = choices == choice
        seen[chosen] = (np.cumsum(chosen, axis=1) - 1)[chosen]
    return seen


# The flow network of a period of D places and k shares. Place n sends one draw along its *place edges* (n, i); the
# *running edges* (n, i) -> (n + 1, i) carry how often i was drawn up to place n. Flows are in units of 1/D, so a flow
# is whole when D divides it. Edge numbers: n * k + i for place edges, D * k + n * k + i for the running edge that
# leaves junction (n, i). Node numbers: n for place n, D + n * k + i for junctions.
#
# Flow is pushed around cycles of broken edges until none is left, first within pairs of places, then within fours,
# eights and so on: two spans without a cycle have at most k when joined, so the work grows as D log D.

_NEW, _DEAD = 0, -1  # marks of nodes; on the path a node is marked by its step + 1


@compiled
def round_period(counts: NDArray[np.int64], randoms: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Draw one random schedule of a period, within one draw of the shares in every prefix.

    Parameters
    ----------
    counts : ndarray of int64, shape (k,)
        Draws of each in the period.
    randoms : ndarray of int64, shape (at least 2 * k * counts.sum(),)
        Random integers in ``0 .. 2**62 - 1``.

    Returns
    -------
    ndarray of uint16, shape (counts.sum(),)
        Who is drawn at each place. Over the randomness, place n has i with probability ``counts[i] / counts.sum()``.

    Examples
    --------
    >>> round_period(np.array([3, 1]), np.arange(32)).tolist().count(0)
    3
    """
    num, period = counts.size, counts.sum()
    flow = np.empty(2 * num * period, np.int64)
    for edge in range(num * period):
        flow[edge] = counts[edge % num]
        flow[num * period + edge] = counts[edge % num] * (edge // num + 1)
    path = np.empty((3, period * (num + 1) + 1), np.int64)  # nodes, the edges that leave them, +1 along or -1 against
    marks = np.empty(period * (num + 1), np.int64)
    used, span = 0, 1
    while span < period:
        span *= 2
        marks[:] = _NEW
        for place in range(period):
            first = place - place % span
            bounds = (first, min(period, first + span) - 1)
            used = _break_cycles(place, bounds, flow, num, path, marks, randoms, used)
    schedule = np.empty(period, np.uint16)
    for edge in range(num * period):
        if flow[edge]:
            schedule[edge // num] = edge % num
    return schedule


@compiled
def _break_cycles(
    start: int,
    bounds: tuple[int, int],
    flow: NDArray[np.int64],
    num: int,
    path: NDArray[np.int64],
    marks: NDArray[np.int64],
    randoms: NDArray[np.int64],
    used: int,
) -> int:
    """Search depth first from a place, between two others; push around each cycle met. Returns the randoms used."""
    period = marks.size // (num + 1)
    step, path[0, 0] = 0, start
    while step >= 0 and marks[start] != _DEAD:
        node = path[0, step]
        marks[node] = step + 1
        edge = _open_edge(node, path[1, step - 1] if step else -1, bounds, flow, num, marks)
        if edge < 0:
            marks[node] = _DEAD
            step -= 1
            continue
        other, sign = _cross(node, edge, num, period)
        path[1, step], path[2, step] = edge, sign
        if marks[other] == _NEW:
            step += 1
            path[0, step] = other
        else:
            _push(flow, path[1:, marks[other] - 1 : step + 1], period, randoms[used])
            used += 1
            marks[path[0, : step + 1]] = _NEW
            step = 0
    return used


@compiled
def _open_edge(
    node: int, arrived_by: int, bounds: tuple[int, int], flow: NDArray[np.int64], num: int, marks: NDArray[np.int64]
) -> int:
    """Return a broken edge at the node that leads neither back, nor to a dead end, nor out of bounds; -1 if none."""
    period = marks.size // (num + 1)
    at = node - period
    if node < period:
        for edge in range(node * num, node * num + num):
            if edge != arrived_by and flow[edge] % period and marks[period + edge] != _DEAD:
                return edge
        return -1
    own, before, after = at, (period - 1) * num + at, period * num + at
    if at // num > bounds[0] and before != arrived_by and flow[before] % period and marks[node - num] > _DEAD:
        return before
    if own != arrived_by and flow[own] % period and marks[own // num] != _DEAD:
        return own
    if after != arrived_by and at // num < bounds[1] and flow[after] % period and marks[node + num] != _DEAD:
        return after
    return -1


@compiled
def _cross(node: int, edge: int, num: int, period: int) -> tuple[int, int]:
    """Return the node at the other end of the edge, and +1 along its direction or -1 against it."""
    if edge < period * num:
        tail, head = edge // num, period + edge
    else:
        tail, head = edge - period * (num - 1), edge - period * (num - 1) + num
    return (head, 1) if node == tail else (tail, -1)


@compiled
def _push(flow: NDArray[np.int64], cycle: NDArray[np.int64], period: int, random: int) -> None:
    """Move flow around a cycle until an edge is whole; up or down at random, so that the mean stays."""
    up = down = period
    for at in range(cycle.shape[1]):
        over = flow[cycle[0, at]] % period
        room_up, room_down = (period - over, over) if cycle[1, at] > 0 else (over, period - over)
        up, down = min(up, room_up), min(down, room_down)
    amount = up if random % (up + down) < down else -down
    for at in range(cycle.shape[1]):
        flow[cycle[0, at]] += cycle[1, at] * amount
