"""Draws and samples, pinned to the bit: a run, a resumed run and a run of another version see the same crops."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import yaml
from golden import check, sha
from indexes import made_index

from segdata import MixedClassUniformSampler, Source

GOLDEN = Path(__file__).parent / "numbers.json"


def sources():
    """Return the mixture of the paper over three small indexes."""
    fine = made_index([[[0, 1], [2]], [[0], [0, 2]], [[1]]], num_classes=3)
    vistas = made_index([[[0], [1], [2]], [[2], [2]], [[0, 1, 2]], [[1]]], num_classes=3)
    coarse = made_index([[[0]], [[0, 1]], [[2, 0]], [[0]], [[0]]], num_classes=3)
    return [
        Source(fine, share=0.4),
        Source(vistas, share=0.4, class_uniform=1.0),
        Source(coarse, share=0.2, class_uniform=0.5, class_weights={"class 2": 2.0}),
    ]


def plain(draws):
    return [[None if value is None else np.array(value).tolist() for value in draw] for draw in draws]


@pytest.mark.parametrize(("rank", "num_ranks"), [(0, 1), (0, 3), (2, 3)])
def test_draws(rank, num_ranks):
    sampler = MixedClassUniformSampler(sources(), epoch_size=300, seed=7, rank=rank, num_ranks=num_ranks)
    first = list(sampler)
    resumed = MixedClassUniformSampler(sources(), epoch_size=300, seed=7, rank=rank, num_ranks=num_ranks)
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(5)
    told = {"first": plain(first[:20]), "epoch": sha(repr(plain(first)).encode()), "later": plain(islice(resumed, 20))}
    check(GOLDEN, f"draws of rank {rank} of {num_ranks}", told)


BOTH = ("--split", "train", "--split", "val")
SETTINGS = {
    "plain": {},
    "scaled and flipped": {"scales": (0.5, 2.0), "flip": True},
    "pooled": {"scales": (0.5, 2.0), "flip": True, "cells": (4, 8)},
}


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    from segdata.synthetic import write_cityscapes

    root = tmp_path_factory.mktemp("numbers")
    write_cityscapes(root / "cityscapes", (96, 192), train=3, val=1, train_extra=1, auto_labels=True)
    write_cityscapes(root / "plain", (96, 192), train=3, val=1)
    return root


@pytest.mark.parametrize("settings", SETTINGS)
def test_crops_of_the_public_data_set(city, tmp_path, settings):
    from click.testing import CliRunner

    from segdata import ClassIndex
    from segdata.commands import group
    from segdata.data.crop_dataset import CropDataset

    words = ["index", str(city / "plain"), "-o", str(tmp_path / "x.npz"), "--tile", "32", *BOTH]
    assert CliRunner().invoke(group, words).exit_code == 0
    mixed = [Source(ClassIndex.load(tmp_path / "x.npz"), class_uniform=0.5)]
    dataset = CropDataset(mixed, (48, 64), seed=3, **SETTINGS[settings])
    told = []
    for draw in islice(MixedClassUniformSampler(mixed, epoch_size=8, seed=3), 8):
        item = dataset[draw]
        arrays = {"image": item["image"], "label": item["label"], **item["counts"]}
        told.append({str(key): sha(np.ascontiguousarray(value).tobytes()) for key, value in arrays.items()})
    check(GOLDEN, f"crops: {settings}", told)


@pytest.mark.parametrize("colors", ["none", "photometric", "jitter"])
def test_samples_of_the_trainer(city, tmp_path, colors):
    pytest.importorskip("torch")
    from segdata.config.recipe import load_recipe
    from segdata.data.loader import PooledTargets, TrainingDataset
    from segdata.data.sources import open_sources
    from segdata.sampling.sampler import MixedClassUniformSampler as Sampler

    changes = [f"data.root={city}", "data.sources.vistas=null", "data.sources.fine.share=0.6"]
    changes += ["data.sources.coarse.share=0.4", f"augmentation.color={colors}", "augmentation.crop=[48,64]"]
    recipe = load_recipe("tiny-seethroughnet-scenes", [*changes, "augmentation.color_on=loader"])
    opened = open_sources(recipe.data, tmp_path)
    targets = PooledTargets(cells=(4, 8), areas=colors == "none")
    dataset = TrainingDataset(opened, recipe.augmentation, seed=3, targets=targets)
    told = []
    for draw in islice(Sampler([source.source for source in opened], epoch_size=8, seed=3), 8):
        sample = dataset[draw]
        counts = {str(cell): sha(value.numpy().tobytes()) for cell, value in sample.counts.items()}
        near = np.round(sample.image.numpy().astype(np.float64).mean(axis=(1, 2)), 0).tolist()
        image = sha(sample.image.numpy().tobytes()) if colors == "none" else near  # colors are floating-point work
        told.append({"image": image, "label": sha(sample.class_ids.numpy().tobytes()), "counts": counts})
    check(GOLDEN, f"samples: {colors}", told)


def test_keys_of_a_recipe():
    from click.testing import CliRunner

    from segdata.commands import group

    shown = CliRunner().invoke(group, ["recipes", "show", "tiny-seethroughnet-scenes"]).stdout
    recipe = yaml.safe_load(shown)
    del recipe["data"]["root"]  # depends on the current folder
    check(GOLDEN, "recipe", recipe)
