"""A model measured on labeled images: counted right, and the same by any number of processes."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing
from toy_model import OneLayer

from segdata.codecs.photos import read_image
from segdata.config.data import SourceRecipe
from segdata.config.steps import EvaluationRecipe
from segdata.data.samples import find_samples, read_sample, take_evenly
from segdata.errors import SegdataError
from segdata.inference.evaluate import evaluate, read_ahead
from segdata.inference.predictor import Predictor
from segdata.labels.classes import ClassTable
from segdata.synthetic import write_cityscapes

TABLE = ClassTable.load("cityscapes")
SETTINGS = EvaluationRecipe(boundary=True, flip=True)
ONE_IMAGE = EvaluationRecipe(limit=1)


def samples_of(root):
    return find_samples(SourceRecipe(name="val", layout="cityscapes", root=root, splits=("val",), encoding="trainIds"))


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """Return a Cityscapes root with five validation scenes, which neither 2 nor 3 ranks divide."""
    root = tmp_path_factory.mktemp("city")
    write_cityscapes(root, (64, 128), train=0, val=5)
    return root


@pytest.fixture(scope="module")
def by_one_process(city):
    """Return the scores of one process."""
    return evaluate(OneLayer(19), samples_of(city), TABLE, SETTINGS, "cpu").as_dict()


def evaluate_on_ranks(rank, root, folder):
    """Evaluate as one of three ranks, then the first two as one of two; save what this rank got."""
    torch.set_num_threads(1)
    for num_ranks in range(3, max(rank, 1), -1):
        meet = f"file://{folder}/meet-{num_ranks}"
        distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=num_ranks)
        torch.save(evaluate_three_times(samples_of(root), root), f"{folder}/{rank}-of-{num_ranks}.pt")
        distributed.destroy_process_group()


def evaluate_three_times(samples, root):
    """Return the scores of all images and of one, and the error where one is missing."""
    found = [evaluate(OneLayer(19), samples, TABLE, settings, "cpu").as_dict() for settings in (SETTINGS, ONE_IMAGE)]
    samples[1] = dataclasses.replace(samples[1], image=root / "missing.png")
    with pytest.raises(SegdataError) as caught:  # its text is what the tests look at
        evaluate(OneLayer(19), samples, TABLE, SETTINGS, "cpu")
    return [*found, str(caught.value)]


@pytest.fixture(scope="module")
def ranks_folder(city, tmp_path_factory):
    """Return a folder of what every rank got, of two and of three."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(evaluate_on_ranks, (city, str(folder)), nprocs=3)
    return folder


@pytest.fixture(params=[2, 3])
def on_ranks(request, ranks_folder):
    """Return what each of several ranks got."""
    return [torch.load(ranks_folder / f"{rank}-of-{request.param}.pt") for rank in range(request.param)]


def test_every_rank_has_the_scores_of_one_process(on_ranks, by_one_process):
    assert by_one_process["num_images"] == 5
    assert [found[0] for found in on_ranks] == [by_one_process] * len(on_ranks)


def test_ranks_without_an_image_have_the_scores_of_the_others(on_ranks, city):
    expected = evaluate(OneLayer(19), samples_of(city), TABLE, ONE_IMAGE, "cpu").as_dict()
    assert expected["num_images"] == 1
    assert [found[1] for found in on_ranks] == [expected] * len(on_ranks)


def test_an_image_that_cannot_be_read_is_the_same_error_on_every_rank(on_ranks):
    errors = {found[2] for found in on_ranks}
    assert len(errors) == 1
    assert "missing.png: cannot be read" in errors.pop()


def test_counts_are_those_of_prediction_and_label(city, by_one_process):
    predictor = Predictor(OneLayer(19), SETTINGS)
    expected = np.zeros((256, 256), np.int64)
    for sample in samples_of(city):
        found = predictor.predict(read_image(sample.image)).class_ids
        np.add.at(expected, (read_sample(sample, TABLE, "trainIds"), found), 1)
    assert by_one_process["confusion"] == expected[:19, :19].tolist()
    assert by_one_process["mean_boundary_iou"] is not None


def test_the_model_stays_in_training_mode_if_it_was(city):
    for training in (True, False):
        model = OneLayer(19).train(training)
        evaluate(model, samples_of(city), TABLE, EvaluationRecipe(limit=1), "cpu")
        assert model.training is training


def test_all_bad_images_are_named_after_the_others_are_done(city):
    samples = [dataclasses.replace(sample, image=None) for sample in samples_of(city)]
    with pytest.raises(SegdataError, match=r"^5 images cannot be evaluated: .* has no image.*; and 2 more$"):
        evaluate(OneLayer(19), samples, TABLE, SETTINGS, "cpu")


def test_an_image_of_another_size_than_its_label_is_refused(city, tmp_path):
    write_cityscapes(tmp_path, (32, 64), train=0, val=1)
    (other,) = samples_of(tmp_path)
    sample = dataclasses.replace(samples_of(city)[0], image=other.image)
    with pytest.raises(SegdataError, match=r"has 32x64 pixels, its label .* 64x128"):
        evaluate(OneLayer(19), [sample], TABLE, SETTINGS, "cpu")


@pytest.mark.parametrize(("limit", "expected"), [(None, "abcde"), (9, "abcde"), (5, "abcde"), (2, "ac"), (1, "a")])
def test_a_limit_takes_images_evenly(limit, expected):
    assert "".join(take_evenly("abcde", limit)) == expected


@pytest.mark.parametrize("num_ahead", [1, 2, 10])
def test_reading_ahead_keeps_the_order_and_hands_errors_on(num_ahead):
    found = [
        future.exception() or future.result() for _, future in read_ahead(int, ["1", "x", "3"], num_ahead=num_ahead)
    ]
    assert (found[0], type(found[1]), found[2]) == (1, ValueError, 3)
