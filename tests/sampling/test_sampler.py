"""The sampler: windows on one stream, whatever the ranks, and resumed anywhere."""

import copy
import json
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexes import even_index, made_index

from segdata.errors import SettingsError
from segdata.sampling.sampler import MixedClassUniformBatchSampler, MixedClassUniformSampler
from segdata.sampling.stream import Draw, Source

FINE, VISTAS, COARSE = even_index(7), even_index(13), even_index(5)


def sources() -> list[Source]:
    """Return the paper's mixture."""
    return [Source(FINE, 0.4), Source(VISTAS, 0.4, class_uniform=1.0), Source(COARSE, 0.2, class_uniform=1.0)]


def sampler(**settings) -> MixedClassUniformSampler:
    """Return a sampler of the mixture."""
    return MixedClassUniformSampler(sources(), **({"epoch_size": 53, "seed": 3} | settings))


def epochs(of: MixedClassUniformSampler, num: int) -> list[Draw]:
    """Return the draws of the next epochs."""
    return [draw for _ in range(num) for draw in of]


def global_stream(num_ranks: int, num_epochs: int, **settings) -> list[Draw]:
    """Return what all ranks draw together, in the order of the stream."""
    of_ranks = [epochs(sampler(rank=rank, num_ranks=num_ranks, **settings), num_epochs) for rank in range(num_ranks)]
    assert len({len(draws) for draws in of_ranks}) == 1
    return sorted(draw for draws in of_ranks for draw in draws)


@pytest.mark.parametrize("num_ranks", [2, 3, 4, 8])
def test_the_stream_of_all_ranks_together_is_that_of_one(num_ranks):
    together = global_stream(num_ranks, 3)
    assert together == epochs(sampler(), 3)[: len(together)]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 60), st.integers(1, 4))
def test_epochs_follow_each_other_without_a_gap_and_all_ranks_have_equal_parts(num_ranks, batch, extra, num_epochs):
    size = num_ranks * batch + extra
    together = global_stream(num_ranks, num_epochs, epoch_size=size, batch_size=batch)
    assert [draw.position for draw in together] == list(range(len(together)))
    assert num_epochs * size - num_ranks * batch < len(together) <= num_epochs * size


def test_the_tail_that_ranks_do_not_divide_opens_the_next_epoch():
    of_rank = sampler(epoch_size=10, num_ranks=4, rank=1)
    assert [len(list(of_rank)) for _ in range(4)] == [2, 3, 2, 3]


def test_epochs_hold_whole_batches_of_all_ranks():
    of_rank = sampler(epoch_size=50, num_ranks=2, batch_size=4)
    assert [len(list(of_rank)) for _ in range(4)] == [24, 24, 24, 28]


def test_len_is_what_iterating_yields():
    one = sampler(num_ranks=4)
    assert len(one) == len(list(one))


def test_iterating_again_goes_on_with_the_next_epoch():
    one = sampler()
    assert [draw.position for draw in epochs(one, 2)] == list(range(106))
    assert one.epoch == 2


def test_a_look_at_the_first_draws_uses_nothing_up():
    one = sampler()
    looked = list(islice(one, 5))
    assert list(one)[:5] == looked


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_an_epoch_can_be_chosen(num_ranks):
    one, other = sampler(num_ranks=num_ranks), sampler(num_ranks=num_ranks)
    epochs(one, 4)
    other.set_epoch(4)
    assert list(one) == list(other)


def test_choosing_the_epoch_just_finished_repeats_it():
    one = sampler(num_ranks=2)
    first = list(one)
    one.set_epoch(0)
    assert list(one) == first


@pytest.mark.parametrize("chosen", [0, 1])
def test_after_a_break_the_chosen_epoch_does_not_depend_on_how_far_a_loader_ran_ahead(chosen):
    first = {}
    for ahead in (5, 99):  # draws asked for before the break; 99 is more than the epoch has
        one = sampler(num_ranks=2)
        one.load_state_dict(sampler().state_dict() | {"position": 7})
        list(islice(one, ahead))
        one.set_epoch(chosen)
        first[ahead] = list(one)
    assert first[5] == first[99]


def test_choosing_the_epoch_of_a_loader_that_ran_to_its_end_keeps_count_of_what_was_consumed():
    one, other = sampler(), sampler()
    drawn = list(one)
    one.set_epoch(0)
    other.load_state_dict(one.state_dict(consumed=5))
    assert next(iter(other)) == drawn[5]


def test_no_rank_is_tied_to_a_source_where_the_ranks_divide_the_period():
    for rank in range(5):
        drawn = [draw.source for draw in sampler(epoch_size=25_000, rank=rank, num_ranks=5)]
        spread = 5 * np.sqrt(np.array([0.24, 0.24, 0.16]) * 5000)
        assert (abs(np.bincount(drawn) - [2000, 2000, 1000]) < spread).all()


def test_each_class_reaches_each_rank():
    for rank in range(3):
        classes = [draw.class_id for draw in sampler(epoch_size=3000, rank=rank, num_ranks=3) if draw.source == 1]
        assert np.bincount(classes) == pytest.approx([133] * 3, abs=50)


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_resuming_at_every_draw_gives_the_draws_that_were_left(num_ranks):
    whole = epochs(sampler(num_ranks=num_ranks, epoch_size=20), 3)
    straight = sampler(num_ranks=num_ranks, epoch_size=20)
    num_drawn = 0
    for _ in range(3):
        for _ in straight:
            num_drawn += 1
            resumed = sampler(num_ranks=num_ranks, epoch_size=20)
            resumed.load_state_dict(json.loads(json.dumps(straight.state_dict())))
            resumed.set_epoch(resumed.epoch)
            assert epochs(resumed, 3)[: len(whole) - num_drawn] == whole[num_drawn:]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 60))
def test_resuming_with_other_ranks_goes_on_where_all_ranks_were(before, after, stop):
    first = [sampler(num_ranks=before, rank=rank, epoch_size=30) for rank in range(before)]
    drawn = [draw for one in first for draw in islice((d for _ in range(9) for d in one), stop)]
    second = [sampler(num_ranks=after, rank=rank, epoch_size=30) for rank in range(after)]
    for one in second:
        one.load_state_dict(first[0].state_dict())
    drawn += [draw for one in second for draw in epochs(one, 3)]
    assert sorted(draw.position for draw in drawn) == list(range(len(drawn)))
    assert len({one.epoch for one in second}) == 1


def test_resuming_twice_in_an_epoch_changes_nothing():
    whole = list(sampler())
    state = None
    drawn = []
    for stop in (10, 20, 99):
        one = sampler()
        if state is not None:
            one.load_state_dict(state)
        drawn += list(islice(one, stop))
        state = one.state_dict()
    assert drawn == whole


def test_a_state_at_the_end_of_an_epoch_opens_the_next():
    one, other = sampler(), sampler()
    list(one)
    other.load_state_dict(one.state_dict())
    assert (other.epoch, next(iter(other)).position) == (1, 53)


def test_a_loop_from_the_epoch_of_the_state_goes_on_after_any_draw():
    whole = epochs(sampler(epoch_size=10, num_ranks=3), 3)
    straight = sampler(epoch_size=10, num_ranks=3)
    for num_drawn, _ in enumerate((draw for _ in range(2) for draw in straight), start=1):
        one = sampler(epoch_size=10, num_ranks=3)
        one.load_state_dict(straight.state_dict())
        drawn = []
        for epoch in range(one.epoch, 3):
            one.set_epoch(epoch)
            drawn += one
        assert drawn == whole[num_drawn:]


def test_an_epoch_that_began_before_its_boundary_is_saved_by_its_own_number():
    eight = sampler(epoch_size=31, num_ranks=8, batch_size=3)
    list(eight)  # ends at 24
    alone, resumed = sampler(epoch_size=31), sampler(epoch_size=31)
    alone.load_state_dict(eight.state_dict())
    list(islice(alone, 2))
    resumed.load_state_dict(alone.state_dict())
    resumed.set_epoch(1)
    assert [draw.position for draw in resumed] == list(range(26, 62))


def test_a_resumed_epoch_with_less_left_than_a_batch_of_all_ranks_is_empty_and_the_next_has_the_rest():
    before = sampler(epoch_size=31, num_ranks=8)
    list(islice(before, 2))  # 16 of all ranks; 15 are left, a batch of all ranks now takes 24
    after = [sampler(epoch_size=31, num_ranks=8, batch_size=3, rank=rank) for rank in range(8)]
    drawn = []
    for one in after:
        one.load_state_dict(before.state_dict())
        assert (one.epoch, len(one), list(one), one.epoch) == (0, 0, [], 1)
        drawn += one
    assert sorted(draw.position for draw in drawn) == list(range(16, 40))


def test_only_what_was_consumed_counts_where_the_loader_runs_ahead():
    one, other = sampler(num_ranks=2), sampler(num_ranks=2)
    drawn = list(islice(one, 12))
    other.load_state_dict(one.state_dict(consumed=5))
    assert next(iter(other)) == drawn[5]


def test_more_than_was_yielded_cannot_have_been_consumed():
    with pytest.raises(SettingsError, match="consumed 4: expected from 0 to the 0 draws"):
        sampler().state_dict(consumed=4)


def test_a_state_holds_integers_and_digests_alone():
    state = sampler().state_dict()
    assert state == json.loads(json.dumps(state))
    assert len(json.dumps(state)) < 800


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"seed": 4}, "seed was 3, is now 4"),
        ({"epoch_size": 54}, "epoch_size was 53, is now 54"),
    ],
)
def test_a_state_of_another_seed_or_epoch_is_refused(other, message):
    with pytest.raises(SettingsError, match=message):
        sampler(**other).load_state_dict(sampler().state_dict())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            [Source(FINE, 0.6), Source(VISTAS, 0.2, 1.0), Source(COARSE, 0.2, 1.0)],
            "source 0: share was 2/5, is now 3/5",
        ),
        ([Source(FINE, 0.4), Source(FINE, 0.4, 1.0), Source(COARSE, 0.2, 1.0)], "source 1: index was"),
        ([Source(FINE, 0.4), Source(VISTAS, 0.4, 0.5), Source(COARSE, 0.2, 1.0)], "source 1: class_uniform was 1"),
        ([Source(FINE, 1.0)], "3 sources then, 1 now"),
    ],
)
def test_a_state_of_another_mixture_is_refused(changed, message):
    other = MixedClassUniformSampler(changed, epoch_size=53, seed=3)
    with pytest.raises(SettingsError, match=message):
        other.load_state_dict(sampler().state_dict())


def test_a_state_of_another_version_is_refused():
    state = sampler().state_dict() | {"version": 9}
    with pytest.raises(SettingsError, match=r"sampler state: version 9, expected 1\. Resume with the segdata that"):
        sampler().load_state_dict(state)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"position": "x"}, "position is 'x', expected a whole number from 0"),
        ({"position": -5}, "position is -5, expected a whole number from 0"),
        ({"position": 7.5}, "position is 7.5, expected a whole number from 0"),
        ({"origin": None}, "origin is None, expected a whole number from 0"),
        ({"origin": 7}, "origin is 7, expected 0 to the position, 0"),
        ({"epoch": 99}, "epoch is 99, expected 0 or 1 at position 0 with epochs of 53 draws"),
        ({"position": 10**9}, "epoch is 0, expected 18867924 or 18867925 at position 1000000000"),
        ({"sources": "x"}, "sources is 'x', expected a list of mappings"),
    ],
)
def test_a_damaged_state_is_refused(damage, message):
    one = sampler()
    with pytest.raises(SettingsError, match=f"^sampler state: {message}.* Resume from another .* start over.$"):
        one.load_state_dict(one.state_dict() | damage)
    assert (one.epoch, one.position) == (0, 0)


@pytest.mark.parametrize("name", ["position", "origin", "epoch", "sources"])
def test_a_state_that_lacks_a_key_is_refused(name):
    state = sampler().state_dict()
    del state[name]
    with pytest.raises(SettingsError, match=f"^sampler state: {name} is missing, expected a .* or start over.$"):
        sampler().load_state_dict(state)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 2, "num_ranks": 2}, "rank 2 of 2"),
        ({"epoch_size": 7, "num_ranks": 8}, r"epoch_size 7: shorter than one batch of all ranks \(1 x 8\)"),
        ({"epoch_size": 7, "batch_size": 4, "num_ranks": 2}, r"\(4 x 2\)"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        sampler(**settings)


def test_a_class_that_nobody_has_is_named_once(caplog):
    lacking = [Source(made_index([[[0, 2]]]), class_uniform=1.0)]
    for rank in range(2):
        MixedClassUniformSampler(lacking, epoch_size=10, rank=rank, num_ranks=2)
    assert caplog.messages == [
        "classes with no pixel in any class-uniform source: class 1 (1). "
        "Their share of the class-uniform draws goes to the other 2."
    ]


def test_batches_are_the_draws_in_lists():
    one, other = sampler(batch_size=4), sampler(batch_size=4)
    batches = list(MixedClassUniformBatchSampler(one))
    assert [len(batch) for batch in batches] == [4] * 13
    assert [draw for batch in batches for draw in batch] == list(other)


def test_batches_say_what_accelerate_asks_of_them():
    batches = MixedClassUniformBatchSampler(sampler(batch_size=4))
    assert (batches.batch_size, batches.drop_last) == (4, False)


def test_a_run_resumed_within_a_batch_goes_on_with_whole_batches():
    one, other = sampler(batch_size=4), sampler(batch_size=4)
    list(islice(one, 5))
    other.load_state_dict(one.state_dict())
    batches = MixedClassUniformBatchSampler(other)
    assert len(batches) == 12
    assert [draw.position for batch in batches for draw in batch] == list(range(5, 53))


def test_batches_pass_epochs_and_states_through():
    one = MixedClassUniformBatchSampler(sampler(batch_size=4))
    one.set_epoch(2)
    first = next(iter(one))
    other = MixedClassUniformBatchSampler(sampler(batch_size=4))
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    assert next(iter(other))[0].position == first[-1].position + 1


def test_shares_that_are_used_as_others_are_named_once(caplog):
    sources = [Source(even_index(3), 1e-5, name="tiny"), Source(even_index(3), 1 - 1e-5, name="rest")]
    for rank in range(2):
        MixedClassUniformSampler(sources, epoch_size=10, rank=rank, num_ranks=2)
    assert [message.split(" is used")[0] for message in caplog.messages] == [
        "source 'tiny': share 0.00001",
        "source 'rest': share 0.99999",
    ]


def test_the_shares_are_those_that_were_asked_for():
    assert sampler().shares == (Fraction(2, 5), Fraction(2, 5), Fraction(1, 5))


def test_an_epoch_below_0_is_refused():
    with pytest.raises(SettingsError, match="epoch -1: expected a number from 0"):
        sampler().set_epoch(-1)
