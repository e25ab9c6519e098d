"""Keyed randomness: known answers, and permutations that are permutations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdata.sampling.uniforms import _scramble, permute, random_bits, rank_slots, turns_all, uniforms

KEY = np.uint64(77)


@pytest.mark.parametrize(
    ("key", "stream", "counter", "bits"),
    [
        (0, 0, 0, 0x6627E8D5E169C58D),
        (2**64 - 1, 2**64 - 1, 2**64 - 1, 0x408F276D41C83B0E),
        (0x299F31D0A4093822, 0x0370734413198A2E, 0x85A308D3243F6A88, 0xD16CFE0994FDCCEB),
    ],
)
def test_random_bits_are_those_of_the_published_philox_vectors(key, stream, counter, bits):
    assert random_bits(np.uint64(key), np.uint64(stream), np.uint64(counter)) == bits


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_permute_gives_every_place_once(size, key):
    places = [permute(index, size, np.uint64(key)) for index in range(size)]
    assert sorted(places) == list(range(size))


def test_permute_gives_what_it_always_gave():
    """A run that is resumed by a later version has to draw what it would have drawn."""
    assert [permute(index, 100, KEY) for index in range(12)] == [62, 81, 32, 64, 97, 90, 30, 2, 40, 61, 23, 3]
    assert [permute(index, 1000, KEY) for index in range(8)] == [692, 56, 425, 710, 209, 836, 213, 210]


def test_permute_sends_each_index_to_each_place_equally_often():
    places = np.array([[permute(index, 5, np.uint64(key)) for index in range(5)] for key in range(20_000)])
    for index in range(5):
        counts = np.bincount(places[:, index], minlength=5)
        assert abs(counts - 4000).max() < 5 * np.sqrt(20_000 * 0.2 * 0.8)


def test_permute_of_ten_million_stays_in_range():
    assert 0 <= permute(9_999_999, 10_000_000, KEY) < 10_000_000


def test_a_turn_draws_every_item_once_and_each_turn_has_its_own_order():
    items, turns = turns_all(np.arange(30), np.zeros(30, np.int64), np.array([10]), KEY)
    orders = items.reshape(3, 10)
    assert (np.sort(orders) == np.arange(10)).all()
    assert turns.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert len({tuple(order) for order in orders.tolist()}) == 3


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 5, 8])
def test_ranks_share_the_slots_of_each_round_and_each_gets_each_slot_equally_often(num_ranks):
    rounds = np.arange(4 * num_ranks)
    slots = np.array([rank_slots(rounds, rank, num_ranks, KEY) for rank in range(num_ranks)])
    assert np.sort(slots, axis=0).T.tolist() == [list(range(num_ranks))] * rounds.size
    for of_rank in slots:
        assert np.bincount(of_rank).tolist() == [4] * num_ranks


def test_uniform_numbers_are_the_highest_53_of_the_random_bits():
    numbers = uniforms(KEY, 5, 4)
    assert numbers.tolist() == [(int(random_bits(KEY, 5, at)) >> 11) / 2**53 for at in range(4)]
    assert ((numbers >= 0) & (numbers < 1)).all()


def test_the_ranks_of_a_round_take_all_its_slots():
    slots = np.stack([rank_slots(np.arange(12), rank, 3, KEY) for rank in range(3)])
    assert (np.sort(slots, axis=0) == np.arange(3)[:, None]).all()
    assert np.bincount(slots[0], minlength=3).tolist() == [4, 4, 4]


def test_bits_are_mixed_as_splitmix64_does():
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]  # seed 1234567
    states = [(1234567 + number * 0x9E3779B97F4A7C15) % 2**64 for number in range(1, 5)]
    assert [int(_scramble(np.uint64(state))) for state in states] == published
