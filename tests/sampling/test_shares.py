"""Shares: no prefix is a whole draw off, and no place of a period belongs to anyone."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdata.sampling.shares import MAX_PERIOD, ShareSchedule, exact_shares, is_changed, round_period, share_text


def counts_after(schedule: ShareSchedule, num_draws: int) -> np.ndarray:
    """Return how often each was drawn after 1, 2, ... draws."""
    chosen, _ = schedule.locate(np.arange(num_draws))
    return np.cumsum(chosen[:, np.newaxis] == np.arange(len(schedule.shares)), axis=0)


def largest_error(schedule: ShareSchedule, num_draws: int) -> Fraction:
    """Return the largest |count - share * n| over all prefixes, without rounding."""
    period = int(schedule.counts.sum())
    after = np.arange(1, num_draws + 1)[:, np.newaxis]
    return Fraction(int(abs(counts_after(schedule, num_draws) * period - schedule.counts * after).max()), period)


def test_40_40_20_of_2975_is_exactly_1190_1190_595():
    schedule = ShareSchedule.make([0.4, 0.4, 0.2], 0)
    assert counts_after(schedule, 2975)[-1].tolist() == [1190, 1190, 595]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 2**32))
def test_every_prefix_is_within_one_draw_of_the_shares(weights, seed):
    schedule = ShareSchedule.make([Fraction(weight, sum(weights)) for weight in weights], seed)
    assert largest_error(schedule, 3 * sum(weights) + 1) < 1


@pytest.mark.parametrize(
    "shares",
    [
        [0.9997, 0.0001, 0.0002],
        [0.5, 0.4999, 0.0001],
        [0.123456, 0.376544, 0.5],
        [1 / 3, 2 / 7, 8 / 21],
        [1 / np.pi, 1 - 1 / np.pi],
        [0.02] * 50,
    ],
)
def test_prefixes_hold_for_rare_and_odd_shares(shares):
    schedule = ShareSchedule.make(shares, 1)
    assert largest_error(schedule, 25_000) < 1
    assert max(abs(float(got) - asked) for got, asked in zip(schedule.shares, shares, strict=True)) <= 1 / MAX_PERIOD


def test_each_place_of_a_period_has_each_source_as_often_as_its_share():
    counts = np.array([2, 2, 1])
    rng = np.random.default_rng(0)
    periods = np.array([round_period(counts, rng.integers(0, 1 << 62, 30)) for _ in range(20_000)])
    for source, count in enumerate(counts):
        share = count / 5
        assert abs((periods == source).mean(axis=0) - share).max() < 5 * np.sqrt(share * (1 - share) / 20_000)


def test_a_stride_as_long_as_the_period_meets_every_source_by_its_share():
    chosen, _ = ShareSchedule.make([0.4, 0.4, 0.2], 5).locate(np.arange(50_000))
    for start in range(5):
        shares = np.bincount(chosen[start::5]) / 10_000
        assert shares == pytest.approx([0.4, 0.4, 0.2], abs=0.03)


def test_locate_counts_the_earlier_draws_of_the_same_source():
    schedule = ShareSchedule.make([0.5, 0.3, 0.2], 3)
    chosen, numbers = schedule.locate(np.arange(1000))
    for source in range(3):
        mine = numbers[chosen == source]
        assert mine.tolist() == list(range(mine.size))


def test_a_position_is_located_alone_as_in_a_crowd():
    schedule = ShareSchedule.make([0.7, 0.3], 4)
    at = 10**12 + 3
    crowd = schedule.locate(np.arange(at - 5, at + 5))
    alone = schedule.locate(np.array([at]))
    assert (alone[0][0], alone[1][0]) == (crowd[0][5], crowd[1][5])


def test_other_names_give_another_order():
    first, second = (ShareSchedule.make([0.4, 0.4, 0.2], seed).locate(np.arange(100))[0] for seed in (1, 2))
    assert (first != second).any()


def test_shares_that_are_fractions_stay_as_they_are():
    assert exact_shares([1 / 3, 0.0725, 1 - 1 / 3 - 0.0725]) == (Fraction(1, 3), Fraction(29, 400), Fraction(713, 1200))


def test_a_share_too_small_for_the_period_still_gets_draws():
    assert exact_shares([1e-6, 1 - 1e-6]) == (Fraction(1, MAX_PERIOD), Fraction(MAX_PERIOD - 1, MAX_PERIOD))


@pytest.mark.parametrize(
    ("given", "changed"),
    [(0.4, False), (Fraction(1, 3), False), (0.3333333, False), (0.33333, True), (1e-5, True), (0.123456, True)],
)
def test_a_share_is_changed_if_it_is_used_as_one_a_millionth_off(given, changed):
    assert is_changed(given, exact_shares([given, 1 - given])[0]) is changed


def test_shares_are_written_short():
    assert [share_text(share) for share in (Fraction(1, 3), 1 / 3, Fraction(1, 20_000))] == [
        "1/3",
        "0.333333333",
        "0.00005",
    ]
