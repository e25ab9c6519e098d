"""The stream: what a draw is, and what every stretch of draws holds."""

from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indexes import even_index, made_index

from segdata.errors import SettingsError
from segdata.labels.classes import ClassTable
from segdata.sampling.class_index import ClassIndex, IndexHead
from segdata.sampling.merge import merge_images
from segdata.sampling.sampler import MixedClassUniformSampler
from segdata.sampling.stream import Draw, Source, Stream, log_changed_shares

GOLDEN = [(10**9, 1, 11, 1, (1, 1)), (10**9 + 1, 0, 1, None, None), (10**9 + 2, 1, 3, 0, (0, 1))]
LACKING = made_index([[[0, 2], [0]], [[0]], [[2]]])  # no class 1


def mixture(seed: int = 0) -> Stream:
    """Return the paper's shares over three small data sets."""
    return Stream(
        [
            Source(even_index(7), 0.4),
            Source(even_index(13), 0.4, class_uniform=1.0),
            Source(even_index(5), 0.2, class_uniform=0.5),
        ],
        seed,
    )


def test_a_draw_names_source_image_class_and_a_pixel_of_it():
    (draw,) = Stream([Source(made_index([[[2]]]), class_uniform=1.0)]).draws(5, 6).to_draws()
    assert draw == Draw(position=5, source=0, image_id=0, class_id=2, center=(2, draw.center[1]))
    assert draw.center[1] in range(4)


def test_a_whole_image_draw_has_neither_class_nor_center():
    (draw,) = Stream([Source(even_index(1))]).draws(0, 1).to_draws()
    assert draw == Draw(0, 0, 0, None, None)


def test_positions_drawn_alone_are_as_in_a_run():
    stream = mixture()
    run = stream.draws(0, 300).to_draws()
    assert [draw for at in range(0, 300, 7) for draw in stream.draws(at, at + 1).to_draws()] == run[::7]


def test_another_seed_is_another_stream():
    assert mixture(1).draws(0, 50).to_draws() != mixture(2).draws(0, 50).to_draws()


def test_the_same_seed_is_the_same_stream_on_every_machine():
    assert [tuple(draw) for draw in mixture().draws(10**9, 10**9 + 3).to_draws()] == GOLDEN


def test_every_image_comes_once_before_any_comes_twice():
    images = Stream([Source(even_index(9))]).draws(0, 45).images.reshape(5, 9)
    assert (np.sort(images) == np.arange(9)).all()


def test_every_tile_of_a_class_comes_once_before_any_comes_twice():
    index = made_index([[[0], [0, 1]], [[0, 1], [1]]], num_classes=2)
    draws = Stream([Source(index, class_uniform=1.0)]).draws(0, 60)
    for class_id in (0, 1):
        entries = draws.entries[draws.classes == class_id].reshape(-1, 3)
        assert (np.sort(entries) == np.arange(3) + 3 * class_id).all()


def test_each_turn_over_a_tile_centers_on_another_point():
    draws = Stream([Source(made_index([[[0]]], num_classes=1), class_uniform=1.0)]).draws(0, 8)
    assert sorted(draws.columns[:4].tolist()) == [0, 1, 2, 3]
    assert draws.columns[:4].tolist() == draws.columns[4:].tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 19), st.integers(0, 500), st.integers(1, 6), st.integers(0, 99))
def test_any_window_of_whole_rounds_of_the_classes_is_within_one_of_equal(num_classes, start, rounds, seed):
    stream = Stream([Source(even_index(4, num_classes), class_uniform=1.0)], seed)
    classes = stream.draws(start, start + rounds * num_classes).classes
    assert abs(np.bincount(classes, minlength=num_classes) - rounds).max() <= 1


def test_a_class_uniform_part_is_exact_in_every_prefix_of_the_source():
    draws = Stream([Source(even_index(6), class_uniform=0.3)]).draws(0, 1000)
    uniform = np.cumsum(draws.classes >= 0)
    assert abs(uniform * 10 - 3 * np.arange(1, 1001)).max() < 10


def test_class_weights_hold_in_every_prefix():
    source = Source(even_index(4), class_uniform=1.0, class_weights={"class 0": 2, "class 1": 0.5, "class 2": 0})
    classes = Stream([source]).draws(0, 500).classes
    assert (classes != 2).all()
    assert abs(np.cumsum(classes == 0) * 5 - 4 * np.arange(1, 501)).max() < 5


def test_a_class_that_no_source_has_is_named_and_the_others_share_its_draws():
    stream = Stream([Source(LACKING, 0.5, class_uniform=1.0), Source(LACKING, 0.5)])
    assert stream.absent_classes == (1,)
    assert Counter(stream.draws(0, 400).classes.tolist()) == {-1: 200, 0: 100, 2: 100}


def test_a_class_that_one_source_lacks_comes_from_the_other_by_its_share_alone():
    stream = Stream([Source(LACKING, 0.5, class_uniform=1.0), Source(even_index(3), 0.5, class_uniform=1.0)])
    draws = stream.draws(0, 600)
    assert stream.absent_classes == ()
    assert Counter(draws.sources.tolist()) == {0: 300, 1: 300}
    assert Counter(draws.classes[draws.sources == 0].tolist()) == {0: 150, 2: 150}
    assert Counter(draws.classes[draws.sources == 1].tolist()) == {0: 100, 1: 100, 2: 100}


def test_a_centroid_is_drawn_where_asked_for():
    draws = Stream([Source(made_index([[[0], [0]]]), class_uniform=1.0, center="centroid")]).draws(0, 10)
    assert set(draws.columns.tolist()) == {0, 8}


EMPTY = merge_images(IndexHead(("a",), "table"), [])


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "sources: none given"),
        ([Source(LACKING, 0.4), Source(LACKING, 0.4)], r"shares: 0\.4 \+ 0\.4 = 0\.8. Expected shares that sum to 1"),
        ([Source(LACKING, 0.0)], r"source 0: share 0\.0 is not above 0"),
        ([Source(LACKING, float("nan"))], "source 0: share nan is not above 0"),
        ([Source(LACKING, class_uniform=1.5)], r"class_uniform 1\.5 is not a fraction"),
        ([Source(EMPTY, name="coarse")], "source 'coarse': its index holds no image"),
        ([Source(made_index([[[]]]), class_uniform=1.0)], "no class to draw uniformly"),
        ([Source(LACKING, class_weights={"class 9": 1})], "names 'class 9', which is not a class"),
        ([Source(LACKING, class_weights={"class 0": -1})], "the weight of 'class 0' is -1"),
        ([Source(LACKING, center="middle")], "center 'middle' is unknown"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused_in_one_line(sources, message):
    with pytest.raises(SettingsError, match=message):
        Stream(sources)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("fine", "coarse", "fine"), "sources 0 and 2: both are called 'fine'. Give each a name of its own"),
        (("source 1", "", "b"), "sources 0 and 1: both are called 'source 1'"),
    ],
)
def test_two_sources_of_one_name_are_refused(names, message):
    with pytest.raises(SettingsError, match=message):
        Stream([Source(LACKING, Fraction(1, 3), name=name) for name in names])


def test_sources_without_a_name_are_called_by_their_place():
    assert Stream([Source(LACKING, 0.5), Source(LACKING, 0.5)]).names == ("source 0", "source 1")


def of_table(digest: str, path: str | None, **settings: str) -> ClassIndex:
    """Return an index of another class table, as if loaded from a file."""
    head = IndexHead(LACKING.head.class_names, digest, 8, settings=settings)
    return ClassIndex(head, LACKING.digest, LACKING.arrays, path=None if path is None else Path(path))


def test_indexes_of_different_class_tables_are_refused_naming_tables_and_files():
    first = of_table("0123456789ab", "a.npz", classes="mine")
    second = of_table(ClassTable.load("camvid").digest, "b.npz")
    with pytest.raises(SettingsError) as caught:
        Stream([Source(first, 0.5, name="a"), Source(second, 0.5, name="b")])
    assert str(caught.value) == (
        "source 'b': its index b.npz is of the classes 'camvid' (3, digest 9ca1d9b7); source 'a': its index a.npz is "
        "of the classes 'mine' (3, digest 01234567). Expected are the same classes. Index both with the same "
        "--classes, after `segdata convert` where the labels hold others."
    )


def test_an_index_in_memory_of_classes_without_a_name_is_told_by_its_digest():
    sources = [Source(LACKING, 0.5), Source(of_table("another table", None), 0.5)]
    with pytest.raises(SettingsError, match=r"source 1: its index \(in memory\) is of the classes 'of your own' \(3, "):
        Stream(sources)


def test_shares_that_are_used_as_others_are_logged_in_one_line_per_source(caplog):
    weights = {"class 0": 1e-5, "class 1": 0}
    log_changed_shares(
        Stream([Source(even_index(3), 1e-5, name="tiny"), Source(even_index(3), 1 - 1e-5, 1.0, weights, name="rest")])
    )
    how_to_fix = "Shares that go together have a common denominator up to 10000. Give such fractions, or accept these."
    assert caplog.messages == [
        f"source 'tiny': share 0.00001 is used as 1/10000 (10 times). {how_to_fix}",
        "source 'rest': share 0.99999 is used as 9999/10000 (0.99991 times); share of class 'class 0' 0.0000099999 is "
        "used as 1/10000 (10.0001 times); share of class 'class 2' 0.99999 is used as 9999/10000 (0.99991 times). "
        + how_to_fix,
    ]


def test_a_part_drawn_by_class_that_is_used_as_another_is_logged(caplog):
    log_changed_shares(Stream([Source(even_index(3), class_uniform=1e-6, name="a")]))
    assert "source 'a': class_uniform 0.000001 is used as 1/10000 (100 times)" in caplog.text


def test_shares_that_are_used_as_given_are_not_logged(caplog):
    weights = {"class 0": 0.1, "class 1": 0.7, "class 2": 0.3}
    sources = [Source(even_index(3), share, 1 / 3, weights) for share in (1 / 3, 2 / 7, 8 / 21)]
    log_changed_shares(Stream(sources))
    assert caplog.messages == []


def excess(kinds: np.ndarray, ranks: np.ndarray) -> float:
    """Return how many standard deviations chi-square is above its mean, if ranks and kinds of draws are independent."""
    table = np.zeros((kinds.max() + 1, ranks.max() + 1))
    np.add.at(table, (kinds, ranks), 1)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    return float((((table - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom))


def dealt(num_ranks: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return source and class as one number, and the rank, of 40,000 draws of a mixture."""
    kinds, ranks = [], []
    for rank in range(num_ranks):
        sampler = MixedClassUniformSampler(
            mixture().sources, epoch_size=40_000, seed=seed, rank=rank, num_ranks=num_ranks
        )
        kinds += [4 * draw.source + (3 if draw.class_id is None else draw.class_id) for draw in sampler]
        ranks += [rank] * len(sampler)
    return np.unique(kinds, return_inverse=True)[1], np.array(ranks[: len(kinds)])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("num_ranks", [5, 8])
def test_sources_and_classes_come_together_as_often_on_every_rank(num_ranks, seed):
    kinds, ranks = dealt(num_ranks, seed)
    assert np.unique(kinds).size == 1 + 3 + 4
    assert excess(kinds, ranks) < 4


def test_a_rank_with_a_part_of_one_class_too_many_would_be_seen():
    kinds, ranks = dealt(5, 0)
    ranks[np.flatnonzero(kinds == 1)[::10]] = 0  # a tenth of the draws of one class
    assert excess(kinds, ranks) > 10


def test_a_negative_seed_is_refused():
    with pytest.raises(SettingsError, match="seed -1: expected an integer from 0"):
        Stream([Source(LACKING)], seed=-1)


def test_shares_that_sum_to_1_but_for_a_thousandth_are_refused():
    for rest in (0.499, 0.501):
        with pytest.raises(SettingsError, match="Expected shares that sum to 1"):
            Stream([Source(even_index(3), 0.5), Source(even_index(3), rest)])
    assert Stream([Source(even_index(3), 0.5), Source(even_index(3), 0.5 - 1e-9)])
