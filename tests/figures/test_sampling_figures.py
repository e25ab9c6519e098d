"""Figures of a stream, an epoch and its crops: drawn where the numbers say."""

import numpy as np
import pytest
from PIL import Image

from segdata.batch.work import BatchSettings
from segdata.data.crop_dataset import CropDataset
from segdata.figures.class_shares import SOURCE_COLORS, epoch_figure
from segdata.figures.drawn_crops import contact_sheet
from segdata.figures.stream_draws import stream_figure
from segdata.jobs.index import plan_index
from segdata.sampling.index_builder import run_index
from segdata.sampling.sampler import MixedClassUniformSampler
from segdata.sampling.stream import Draw, Source

MEASURED = {"text": "pixels by tiles"}
ROW = {"class": "car", "draws": 0, "pixels_before": 0.5, "pixels_after": 0.5}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Return the index of a gray figure, half road and half car."""
    root = tmp_path_factory.mktemp("data")
    for kind, figure in (("labels", np.zeros((40, 80), np.uint8)), ("figures", np.full((40, 80, 3), 99, np.uint8))):
        if kind == "labels":
            figure[:, 40:] = 13
        (root / kind).mkdir()
        Image.fromarray(figure).save(root / kind / "0.png")
    _, made = run_index(plan_index(root / "labels", root / "x.npz", images=root / "figures"), BatchSettings())
    return made


def count(figure, color):
    """Return how many pixels of a figure have exactly a color."""
    return int((np.asarray(figure) == color).all(axis=-1).sum())


def test_the_bar_of_sources_is_cut_by_their_draws():
    sources = [{"name": name, "draws": draws, "share": "-"} for name, draws in (("a", 3), ("b", 1))]
    figure = epoch_figure({"sources": sources, "classes": [ROW], "measured": MEASURED}).crop((0, 84, 1400, 118))
    first, second = (count(figure, color) for color in SOURCE_COLORS[:2])
    assert first / second == pytest.approx(3, rel=0.02)


def test_a_class_drawn_twice_as_often_has_a_bar_twice_as_long():
    rows = [ROW | {"draws": 10}, ROW | {"draws": 20}]
    told = {"sources": [{"name": "a", "draws": 30, "share": "1"}], "classes": rows, "measured": MEASURED}
    figure = np.asarray(epoch_figure(told))
    bars = (figure[276:, 900:] == (232, 89, 12)).all(axis=-1)
    assert bars[:38].sum() * 2 == pytest.approx(bars[38:].sum(), rel=0.03)


def test_a_class_without_a_pixel_has_no_disc():
    sources = [{"name": "a", "draws": 1, "share": "1"}]
    told = {"sources": sources, "classes": [ROW | {"pixels_before": 0.0}], "measured": MEASURED}
    assert count(epoch_figure(told).crop((0, 276, 1400, 320)), (25, 113, 194)) == 0


def test_the_figure_says_how_the_pixels_were_counted():
    sources = [{"name": "a", "draws": 1, "share": "1"}]
    texts = ("pixels by tiles", "pixels in 8 crops")
    said = [epoch_figure({"sources": sources, "classes": [ROW], "measured": {"text": text}}) for text in texts]
    strips = [np.asarray(figure.crop((0, 160, 1400, 200))) for figure in said]
    assert all((strip == (134, 142, 150)).all(axis=-1).any() for strip in strips)
    assert (strips[0] != strips[1]).any()


def sheet_of(dataset, draw):
    return contact_sheet([dataset.crop(draw)], [draw], dataset.sources)


def test_the_drawn_class_is_outlined_and_a_whole_image_is_not(index):
    dataset = CropDataset([Source(index, name="a")], (40, 80))
    outlined = sheet_of(dataset, Draw(0, 0, 0, 13, (20, 60)))
    plain = sheet_of(dataset, Draw(0, 0, 0, None, None))
    assert count(plain, (255, 64, 64)) == 0
    rows, columns = np.nonzero((np.asarray(outlined) == (255, 64, 64)).all(axis=-1))
    assert columns.min() >= 12 + 300 // 2 - 2
    assert rows.max() <= 12 + 150


def test_the_stream_shows_each_draw_once_above_and_once_with_its_rank(index):
    sources = [Source(index, 0.4, name="a"), Source(index, 0.6, name="b")]
    ranks = [MixedClassUniformSampler(sources, epoch_size=50, rank=rank, num_ranks=5) for rank in range(5)]
    figure = stream_figure(ranks, 25)
    cell = 19 * 20
    assert count(figure.crop((0, 60, 2000, 100)), SOURCE_COLORS[0]) == 10 * cell
    assert count(figure.crop((0, figure.height - 210, 2000, figure.height)), SOURCE_COLORS[1]) == 15 * cell
