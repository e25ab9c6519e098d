"""What an index holds and what an epoch draws, counted by hand."""

import pytest
from indexes import made_index

from segdata.sampling.stream import Source, Stream
from segdata.sampling.summary import epoch_as_json, summarise_epoch, summarise_index

# class c has c + 1 pixels in each tile of 64 where it stands
INDEX = made_index([[[0, 2], [2]], [[0], [0]]])


def test_an_index_is_summed_by_class():
    summary = summarise_index(INDEX)
    assert [(row["images"], row["tiles"], row["pixels"]) for row in summary["classes"]] == [
        (2, 3, 3),
        (0, 0, 0),
        (1, 2, 6),
    ]
    assert summary["absent"] == ["class 1"]
    assert summary["images"] == 2


def test_before_is_the_mean_over_images_and_after_counts_the_drawn_tiles():
    stream = Stream([Source(INDEX, class_uniform=1.0)])
    epoch = summarise_epoch(stream, 0, 12)  # class 0 twice in each of its 3 tiles, class 2 three times in each of its 2
    assert epoch.draws_by_class.tolist() == [6, 0, 6]
    assert epoch.before == pytest.approx([3 / 9, 0, 6 / 9])
    # tile (0, 0) holds 1 and 3, drawn 2 + 3 times; (0, 1) holds 3, drawn 3; (1, 0) and (1, 1) hold 1, drawn 2 each
    assert epoch.after == pytest.approx([9 / 33, 0, 24 / 33])


def test_whole_image_draws_leave_the_classes_as_they_are():
    epoch = summarise_epoch(Stream([Source(INDEX)]), 0, 10)
    assert epoch.after == pytest.approx(epoch.before)
    assert epoch.draws_by_class.tolist() == [0, 0, 0]


def test_an_epoch_is_told_in_plain_values():
    stream = Stream([Source(INDEX, 0.5, name="a"), Source(INDEX, 0.5, class_uniform=1.0, name="b")])
    told = epoch_as_json(stream, summarise_epoch(stream, 0, 10))
    assert told["sources"] == [
        {"name": "a", "share": "1/2", "draws": 5, "images": 2},
        {"name": "b", "share": "1/2", "draws": 5, "images": 2},
    ]
    assert told["absent"] == ["class 1"]
    assert sum(row["draws"] for row in told["classes"]) == 5
