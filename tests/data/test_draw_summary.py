"""What an index holds and what an epoch draws, counted by hand."""

from fractions import Fraction

import numpy as np
import pytest
from indexes import even_index, made_index
from PIL import Image

from segdata.batch.work import BatchSettings
from segdata.codecs.png import encode_label
from segdata.config.recipe import AugmentationRecipe
from segdata.data.crop_dataset import CropDataset
from segdata.data.crops import CropReader
from segdata.data.draw_summary import epoch_as_json, summarize_epoch, summarize_index
from segdata.errors import LabelError
from segdata.jobs.index import plan_index
from segdata.sampling.index_builder import run_index
from segdata.sampling.stream import Source, Stream

# class c has c + 1 pixels in each tile of 64 where it stands
INDEX = made_index([[[0, 2], [2]], [[0], [0]]])


def test_an_index_is_summed_by_class():
    summary = summarize_index(INDEX)
    assert [(row["images"], row["tiles"], row["pixels"]) for row in summary["classes"]] == [
        (2, 3, 3),
        (0, 0, 0),
        (1, 2, 6),
    ]
    assert summary["absent"] == ["class 1"]
    assert summary["images"] == 2


def test_before_is_the_mean_over_images_and_after_counts_the_drawn_tiles():
    stream = Stream([Source(INDEX, class_uniform=1.0)])
    epoch = summarize_epoch(stream, 0, 12)  # class 0 twice in each of its 3 tiles, class 2 three times in each of its 2
    assert epoch.draws_by_class.tolist() == [6, 0, 6]
    assert epoch.before == pytest.approx([3 / 9, 0, 6 / 9])
    # tile (0, 0) holds 1 and 3, drawn 2 + 3 times; (0, 1) holds 3, drawn 3; (1, 0) and (1, 1) hold 1, drawn 2 each
    assert epoch.after == pytest.approx([9 / 33, 0, 24 / 33])


def test_whole_image_draws_leave_the_classes_as_they_are():
    epoch = summarize_epoch(Stream([Source(INDEX)]), 0, 10)
    assert epoch.after == pytest.approx(epoch.before)
    assert epoch.draws_by_class.tolist() == [0, 0, 0]


def test_an_epoch_is_told_in_plain_values():
    stream = Stream([Source(INDEX, 0.5, name="a"), Source(INDEX, 0.5, class_uniform=1.0, name="b")])
    told = epoch_as_json(stream, summarize_epoch(stream, 0, 10))
    shares = {"share": "1/2", "share_given": "1/2", "draws": 5, "images": 2}
    parts = [{"class_uniform": part, "class_uniform_given": part} for part in ("0", "1")]
    halves = [{"class": f"class {at}", "share": "1/2", "share_given": "1/2"} for at in (0, 2)]
    assert told["sources"] == [
        {"name": "a", **shares, **parts[0], "class_shares": []},
        {"name": "b", **shares, **parts[1], "class_shares": halves},
    ]
    assert told["absent"] == ["class 1"]
    assert sum(row["draws"] for row in told["classes"]) == 5


def test_shares_that_are_used_as_others_are_told():
    small = {"class 0": 1e-5, "class 2": 0}
    sources = [Source(even_index(3), 1e-5, name="tiny"), Source(even_index(3), 1 - 1e-5, 1.0, small, name="rest")]
    told = epoch_as_json(stream := Stream(sources), summarize_epoch(stream, 0, 10))
    assert [(row["share_given"], row["share"]) for row in told["sources"]] == [
        ("0.00001", "1/10000"),
        ("0.99999", "9999/10000"),
    ]
    assert told["sources"][1]["class_shares"][0] == {
        "class": "class 0", "share": "1/10000", "share_given": "0.0000099999"
    }  # fmt: skip
    assert told["changed_shares"][0] == "source 'tiny': share 0.00001 is used as 1/10000 (10 times)"
    assert len(told["changed_shares"]) == 4


def test_sources_without_a_name_are_told_apart():
    stream = Stream([Source(INDEX, Fraction(1, 2)), Source(INDEX, Fraction(1, 2))])
    told = epoch_as_json(stream, summarize_epoch(stream, 0, 2))
    assert [row["name"] for row in told["sources"]] == ["source 0", "source 1"]


@pytest.fixture
def labels(tmp_path):
    """Return a source of labels smaller than a tile: class 1 in a corner, each of two labels with its own corner."""
    for number, corner in enumerate((np.s_[:4, :4], np.s_[-4:, -4:])):
        ids = np.zeros((32, 48), np.uint8)
        ids[corner] = 1
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "images").mkdir(exist_ok=True)
        for kind in ("labels", "images"):
            (tmp_path / kind / f"{number}.png").write_bytes(encode_label(ids))
    plan = plan_index(tmp_path / "labels", tmp_path / "x.npz", images=tmp_path / "images")
    return Source(run_index(plan, BatchSettings())[1], class_uniform=1.0, name="a")


def cut(*sources, size=(8, 8), reader=CropReader):
    augmentation = AugmentationRecipe(crop=size, scale=(1.0, 1.0), flip=0.0, color="none")
    return reader(sources=sources, augmentation=augmentation)


def test_crops_tell_what_whole_tiles_hide(labels):
    stream = Stream([labels])
    by_tiles, by_crops = summarize_epoch(stream, 0, 100), summarize_epoch(stream, 0, 100, cut(labels))
    assert by_tiles.after == pytest.approx(by_tiles.before)  # a tile is the whole image, whatever is drawn
    assert by_crops.after[1] > 4 * by_crops.before[1]
    assert (by_crops.measured.by, by_crops.measured.num_crops) == ("crops", 100)


def test_the_measured_crops_are_those_that_are_trained_on(labels):
    stream, dataset = Stream([labels]), CropDataset([labels], (8, 8))
    crops = np.stack([dataset.crop(draw).label for draw in stream.draws(0, 30).to_draws()])
    after = summarize_epoch(stream, 0, 30, cut(labels)).after
    assert after[:2] == pytest.approx(np.bincount(crops.reshape(-1), minlength=2) / crops.size)


def test_sources_that_draw_nothing_by_class_have_the_same_crops_before_and_after(labels):
    source = Source(labels.index)
    epoch = summarize_epoch(Stream([source]), 0, 50, cut(source))
    assert epoch.after.tolist() == epoch.before.tolist()


def test_a_sample_of_the_epoch_is_spread_over_its_sources_and_classes(labels):
    sources = [Source(labels.index, 0.6, name="a"), Source(labels.index, 0.4, 1.0, name="b")]
    stream, seen = Stream(sources), []

    class Watching(CropReader):
        def place(self, draw, size, random=None):
            seen.append(draw)
            return super().place(draw, size, random)

    assert summarize_epoch(stream, 500, 1500, cut(*sources, reader=Watching), num_crops=50).measured.num_crops == 50
    by_class = [draw.class_id for draw in seen if draw.class_id is not None]
    assert sorted(draw.source for draw in seen) == [0] * 60 + [1] * 40  # before and after
    assert sorted(by_class) == [0] * 10 + [1] * 10
    assert np.histogram([draw.position for draw in seen], 5, (500, 1500))[0].min() > 10


def test_more_crops_are_measured_where_labels_are_small_and_500_where_they_are_large(labels):
    stream = Stream([labels])
    few = [
        summarize_epoch(stream, 0, 900, cut(labels, size=size)).measured.num_crops for size in ((8, 8), (2000, 2000))
    ]
    assert few == [900, 500]


def test_labels_that_cannot_be_read_leave_the_count_by_tiles_and_say_why(labels):
    class Failing(CropReader):
        def read_label(self, source, image_id):
            raise LabelError("x.png: cannot be read")

    epoch = summarize_epoch(Stream([labels]), 0, 10, cut(labels, reader=Failing))
    assert (epoch.measured.by, epoch.measured.why) == ("tiles", "x.png: cannot be read")
    assert epoch.after.tolist() == summarize_epoch(Stream([labels]), 0, 10).after.tolist()


def test_shares_are_those_of_crops_that_are_placed_anew(tmp_path):
    stream, crops, dataset = crops_of_stripes(tmp_path, cat_max_ratio=0.75)
    epoch = summarize_epoch(stream, 0, 40, crops)
    labels = [dataset.crop(draw).label for draw in stream.draws(0, 40).to_draws()]
    counts = np.sum([np.bincount(label[label != 255], minlength=19)[:19] for label in labels], axis=0)
    assert epoch.measured.num_crops == 40
    assert epoch.after == pytest.approx(counts / counts.sum())


def crops_of_stripes(folder, **settings):
    """Return a stream over one striped label, and two readers of its crops."""
    ids = np.zeros((96, 96), np.uint8)
    ids[:, 40:56] = 1
    for kind, pixels in (("labels", ids), ("images", np.stack([ids] * 3, -1))):
        (folder / kind).mkdir()
        Image.fromarray(pixels).save(folder / kind / "0.png")
    plan = plan_index(folder / "labels", folder / "x.npz", tile=16, images=folder / "images")
    source = Source(run_index(plan, BatchSettings())[1], class_uniform=0.5, name="stripes")
    augmentation = AugmentationRecipe(crop=(16, 16), scale=(1.0, 1.0), flip=0.0, color="none", **settings)
    dataset = CropDataset([source], (16, 16), **settings)
    return Stream([source]), CropReader(sources=(source,), augmentation=augmentation), dataset
