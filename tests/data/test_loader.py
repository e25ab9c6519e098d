"""From a draw to a sample: the same everywhere, with exact targets where they are at hand."""

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import small_recipe

from segdata.batch.work import BatchSettings
from segdata.codecs.png import encode_label, read_label
from segdata.config.recipe import load_recipe
from segdata.cpp.store import encode_cpp
from segdata.cpp.targets import pool_targets
from segdata.cpp.tensors import cpp_counts
from segdata.data.crop_box import place_crop
from segdata.data.loader import Batch, BatchLoader, PooledTargets, Sample, TrainingDataset, collate, prepare_images
from segdata.data.sources import open_sources, plan_source
from segdata.data.stored_targets import image_areas
from segdata.errors import LabelError, SegdataError, SettingsError
from segdata.files import digest_of_bytes
from segdata.sampling.index_builder import build_index
from segdata.sampling.sampler import MixedClassUniformSampler
from segdata.sampling.stream import Draw, Stream
from segdata.training.step import batch_targets, count_targets


def dataset(folder: Path, *overrides: str, **targets) -> TrainingDataset:
    recipe = small_recipe(folder, *overrides)
    sources = open_sources(recipe.data, folder / "indexes")
    return TrainingDataset(sources, recipe.augmentation, seed=3, targets=PooledTargets(**targets))


def draws(found: TrainingDataset, number: int = 12) -> list[Draw]:
    return Stream([source.source for source in found.sources], 3).draws(0, number).to_draws()


def write_store(found: TrainingDataset, folder: Path, **more: object) -> None:
    """Write the pooled targets of every label of the first source."""
    index = found.sources[0].source.index
    for image in range(index.num_images):
        path = index.label_path(image)
        about = {"label_digest": digest_of_bytes(path.read_bytes()), **more}
        target = folder / index.label_name(image).with_suffix(".cpp.npz")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode_cpp(pool_targets(read_label(path), [4, 8]), about))


def test_a_sample_is_the_same_whenever_it_is_made(tmp_path):
    found = dataset(tmp_path)
    for draw in draws(found, 4):
        one, other = found[draw], found[draw]
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.class_ids, other.class_ids)
        assert one.num_valid == int((one.class_ids != 255).sum())


def test_a_class_uniform_crop_shows_its_class(tmp_path):
    found = dataset(tmp_path)
    drawn = [draw for draw in draws(found, 40) if draw.class_id is not None]
    assert len(drawn) == 20
    assert all((found[draw].class_ids == draw.class_id).any() for draw in drawn)


def test_padding_is_ignored_and_fed_as_zero(tmp_path):
    found = dataset(tmp_path, "augmentation.crop=[64,64]", "augmentation.scale=[1.0,1.0]")
    batch = collate([found[draw] for draw in draws(found, 4)])
    images = prepare_images(batch, torch.device("cpu"), found.augmentation)
    for image, sample in zip(images, batch.samples, strict=True):
        top, bottom, left, right = sample.inside
        assert (bottom - top, right - left) == (40, 56)
        outside = torch.ones(64, 64, dtype=torch.bool)
        outside[top:bottom, left:right] = False
        assert (sample.class_ids[outside] == 255).all()
        assert not image[:, outside].any()
        assert image[:, ~outside].any()


def test_colors_on_the_device_are_those_of_the_loader_but_for_rounding(tmp_path):
    in_loader = dataset(tmp_path)
    on_device = dataset(tmp_path, "augmentation.color_on=device")
    for draw in draws(in_loader, 6):
        one, other = collate([in_loader[draw]]), collate([on_device[draw]])
        cpu = torch.device("cpu")
        found = [prepare_images(batch, cpu, in_loader.augmentation) for batch in (one, other)]
        assert (found[0] - found[1]).abs().max() < 0.5 / 255 / 0.224 + 1e-5


def test_a_bad_image_becomes_a_line_and_counts_for_nothing(tmp_path):
    found = dataset(tmp_path)
    draw = draws(found, 1)[0]
    Path(found[draw].name).write_bytes(b"no image")
    sample = found[draw]
    assert sample.name in sample.fault
    assert "\n" not in sample.fault
    assert (sample.class_ids == 255).all()
    assert sample.num_valid == 0


def test_stored_targets_are_those_of_the_crop(tmp_path):
    settings = ("augmentation.scale=[1.0,1.0]", f"data.sources.whole.cpp={tmp_path}/store")
    found = dataset(tmp_path, *settings, cells=(4, 8, 16), stored=True, align=True)
    write_store(found, tmp_path / "store")
    samples = [found[draw] for draw in draws(found, 12) if draw.source == 0]
    assert {sample.counts.keys() == {4, 8, 16} for sample in samples} == {True}
    for sample in samples:
        for cell, counts in sample.counts.items():
            assert counts.tolist() == cpp_counts(sample.class_ids, cell).tolist()


def test_scaled_crops_have_no_stored_targets(tmp_path):
    found = dataset(tmp_path, f"data.sources.whole.cpp={tmp_path}/store", cells=(4, 8), stored=True)
    write_store(found, tmp_path / "store")
    assert not any(found[draw].counts for draw in draws(found))


def test_no_store_is_read_for_crops_that_it_cannot_serve(tmp_path):
    settings = ("augmentation.scale=[0.6,0.7]", f"data.sources.whole.cpp={tmp_path}/nowhere")
    found = dataset(tmp_path, *settings, cells=(4, 8), stored=True, align=True)
    samples = [found[draw] for draw in draws(found)]
    assert not any(sample.fault or sample.counts for sample in samples)


def test_stored_targets_at_discrete_scales_have_the_areas_of_the_label(tmp_path):
    settings = ("augmentation.scale=[0.5,1,2]", f"data.sources.whole.cpp={tmp_path}/store")
    found = dataset(tmp_path, *settings, cells=(8, 16), stored=True, align=True)
    write_store(found, tmp_path / "store")
    chosen = [draw for draw in draws(found, 40) if draw.source == 0]
    assert {found.reader.read(draw).box.scale for draw in chosen} == {0.5, 1.0, 2.0}
    for draw in chosen:  # padded and flipped ones among them
        sample, crop = found[draw], found.reader.read(draw)
        label = found.reader.read_label(draw.source, draw.image_id)
        areas = image_areas(label, crop.box, (8, 16), flip=crop.flipped, num_classes=19)
        assert sample.counts.keys() == {8, 16}
        for cell, counts in sample.counts.items():
            side = int(cell / crop.box.scale)
            assert (counts.numpy() / side**2).tolist() == (areas[cell] / areas[cell].sum(0)).tolist()


def test_stored_targets_at_scales_of_1_and_above_are_those_that_the_device_pools(tmp_path):
    settings = ("augmentation.scale=[1,2,4]", f"data.sources.whole.cpp={tmp_path}/store")
    found = dataset(tmp_path, *settings, cells=(16,), stored=True, align=True)
    write_store(found, tmp_path / "store")
    for draw in [draw for draw in draws(found, 20) if draw.source == 0]:
        sample, scale = found[draw], found.reader.read(draw).box.scale
        pooled = cpp_counts(sample.class_ids, 16)
        assert (sample.counts[16].to(torch.int64) * int(scale**2)).tolist() == pooled.tolist()


def test_a_store_of_another_class_table_is_refused(tmp_path):
    settings = ("augmentation.scale=[1.0,1.0]", f"data.sources.whole.cpp={tmp_path}/store")
    found = dataset(tmp_path, *settings, cells=(4, 8), stored=True, align=True)
    write_store(found, tmp_path / "store", settings={"classes_digest": "0" * 32})
    assert all("by another class table" in found[draw].fault for draw in draws(found, 12) if draw.source == 0)


def test_a_missing_store_is_named_with_the_command_that_makes_it(tmp_path):
    recipe = small_recipe(tmp_path)
    with pytest.raises(SettingsError, match=r"city-cpp: there are no stored targets of source 'whole'\. Make them"):
        open_sources(recipe.data, tmp_path / "indexes", stored=True)


def test_the_command_says_what_the_labels_are_where_their_names_do_not(tmp_path):
    for kind in ("images", "labels"):
        folder = tmp_path / "camvid" / "train" / kind
        folder.mkdir(parents=True)
        Image.fromarray(np.full((8, 8) if kind == "labels" else (8, 8, 3), 3, np.uint8)).save(folder / "a.png")
    settings = ["data.classes=camvid", f"data.root={tmp_path / 'camvid'}", "data.validation=null"]
    recipe = load_recipe("camvid-pspnet-lite0-cpp-stored", settings)
    wanted = r"precompute-cpp --classes camvid --encoding labelIds \S+/camvid \S+/camvid-cpp, or"
    with pytest.raises(SettingsError, match=wanted):
        open_sources(recipe.data, tmp_path / "indexes", stored=True)


@pytest.mark.parametrize("class_uniform", [0, 0.5])  # without and with an index that has read the labels
def test_targets_of_another_label_are_refused(tmp_path, class_uniform):
    uniform = f"data.sources.whole.class_uniform={class_uniform}"
    settings = ("augmentation.scale=[1.0,1.0]", "data.sources.whole.cpp=store", uniform)
    found = dataset(tmp_path, *settings, cells=(4, 8), stored=True, align=True)
    for number in range(4):
        target = tmp_path / f"city/store/gtFine/train/town/town_{number:06d}_000019_gtFine_labelTrainIds.cpp.npz"
        target.parent.mkdir(parents=True, exist_ok=True)
        about = {"label_digest": "0" * 32}
        target.write_bytes(encode_cpp(pool_targets(np.zeros((40, 56), np.uint8), [4, 8]), about))
    faults = {found[draw].fault for draw in draws(found, 12) if draw.source == 0}
    assert faults
    assert all("was made from another content of" in fault for fault in faults)


def test_targets_of_ids_read_otherwise_are_refused(tmp_path):
    settings = ("augmentation.scale=[1.0,1.0]", f"data.sources.whole.cpp={tmp_path}/store")
    found = dataset(tmp_path, *settings, cells=(4, 8), stored=True, align=True)
    write_store(found, tmp_path / "store", settings={"encoding": "labelIds"})
    draw = next(draw for draw in draws(found, 12) if draw.source == 0)
    assert re.search(r"was made from labelIds, and \S+ is read as trainIds", found[draw].fault)
    assert not found[draw].skippable


def test_stored_and_pooled_targets_are_mixed_and_counted(tmp_path):
    settings = ("augmentation.scale=[1.0,1.0]", f"data.sources.whole.cpp={tmp_path}/store")
    found = dataset(tmp_path, *settings, cells=(4, 8), stored=True, align=True)
    write_store(found, tmp_path / "store")
    chosen = draws(found, 12)
    batch = collate([found[draw] for draw in chosen])
    targets = batch_targets(batch, torch.device("cpu"), 19)
    assert targets.counts(8).tolist() == cpp_counts(batch.class_ids, 8).tolist()
    num_stored = 2 * sum(draw.source == 0 for draw in chosen)
    assert count_targets(batch, targets) == {"stored": num_stored, "pooled": 24 - num_stored}


def test_areas_at_scale_one_are_counts(rng):
    label = rng.integers(0, 19, (40, 56)).astype(np.uint8)
    box = place_crop((40, 56), (16, 24), center=(20, 30), where=(0.3, 0.6))
    crop = label[int(box.top) : int(box.top) + 16, int(box.left) : int(box.left) + 24]
    for flip, shown in ((False, crop), (True, crop[:, ::-1].copy())):
        areas = image_areas(label, box, (4,), flip=flip, num_classes=19)[4]
        assert (areas / areas.sum(0)).tolist() == (cpp_counts(torch.from_numpy(shown), 4).numpy() / 16).tolist()


@pytest.mark.parametrize("center", [None, (11, 7)])
def test_areas_of_a_halved_crop_are_counts_of_larger_cells(rng, center):
    label = rng.integers(0, 3, (32, 32)).astype(np.uint8)
    box = place_crop((32, 32), (8, 8), scale=0.5, center=center, where=(0.5, 0.5))
    areas = image_areas(label, box, (4,), flip=False, num_classes=3)[4]
    fine = np.kron(label, np.ones((2, 2), np.uint8))  # corners lie on halves of a pixel
    top, left = round(2 * box.top), round(2 * box.left)
    padded = np.pad(fine, 64, constant_values=255)[top + 64 : top + 96, left + 64 : left + 96].copy()
    assert (areas / areas.sum(0)).tolist() == (cpp_counts(torch.from_numpy(padded), 16, num_classes=3) / 256).tolist()


def test_an_index_that_is_kept_is_made_again_when_a_label_changes(tmp_path):
    recipe = small_recipe(tmp_path)
    first = open_sources(recipe.data, tmp_path / "indexes")[1].source.index
    label = first.label_path(0)
    label.write_bytes(first.label_path(1).read_bytes())
    second = open_sources(recipe.data, tmp_path / "indexes")[1].source.index
    assert first.digest != second.digest


def auto_labels(folder: Path):
    """Write auto-labels with their confidence, and return a recipe that draws from them by class."""
    city = small_recipe(folder, "data.sources.uniform.annotation=auto", "data.sources.uniform.confidence=0.9")
    for path in sorted((folder / "city/leftImg8bit/train/town").glob("*_leftImg8bit.png")):
        target = folder / "city/train/town" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode_label(np.full((40, 56), 7, np.uint8)))
        target.with_name(f"{path.stem}_prob.png").write_bytes(encode_label(np.full((40, 56), 255, np.uint8)))
    return city


@pytest.mark.parametrize(
    "change", [lambda path: path.write_bytes(encode_label(np.eye(40, 56, dtype=np.uint8))), Path.unlink]
)
def test_an_index_that_is_kept_is_made_again_when_a_confidence_image_changes(tmp_path, change):
    recipe = auto_labels(tmp_path)
    first = open_sources(recipe.data, tmp_path / "indexes")[1].source.index
    change(first.confidence_path(0))
    second = open_sources(recipe.data, tmp_path / "indexes")[1].source.index
    assert first.digest != second.digest


def test_an_index_that_is_kept_is_made_again_when_a_confidence_image_comes(tmp_path):
    recipe = auto_labels(tmp_path)
    confidence = min((tmp_path / "city/train/town").glob("*_prob.png"))
    confidence.rename(tmp_path / "kept.png")
    first = open_sources(recipe.data, tmp_path / "indexes")[1].source.index
    (tmp_path / "kept.png").rename(confidence)
    second = open_sources(recipe.data, tmp_path / "indexes")[1].source.index
    assert (first.confidence_path(0), second.confidence_path(0)) == (None, confidence)


@pytest.mark.parametrize(
    ("key", "made", "told"),
    [("confidence", "0.5", "0.9"), ("confidence", "0", "0.9"), ("encoding", "labelIds", "trainIds")],
)
def test_an_index_of_labels_that_were_read_otherwise_is_refused(tmp_path, key, made, told):
    auto_labels(tmp_path)
    choice = ("data.sources.uniform.annotation=auto", f"data.sources.uniform.{key}={made}")
    recipe = small_recipe(tmp_path, *choice)
    plan = plan_source(recipe.data.located_sources[1], recipe.data, tmp_path)
    build_index(plan, BatchSettings())
    named = f"data.sources.uniform.index={plan.output}"
    open_sources(small_recipe(tmp_path, *choice, named).data, tmp_path / "indexes")
    other = small_recipe(tmp_path, *choice, f"data.sources.uniform.{key}={told}", named)
    with pytest.raises(
        SettingsError, match=rf"was made with --{key} {made}.*, source 'uniform' has {told}\. Index again"
    ):
        open_sources(other.data, tmp_path / "indexes")


def test_an_index_that_is_kept_gets_the_times_of_a_copied_data_set(tmp_path):
    recipe = small_recipe(tmp_path)
    first = open_sources(recipe.data, tmp_path / "indexes")[1].source.index
    os.utime(first.label_path(0), ns=(5, 5))
    second = open_sources(recipe.data, tmp_path / "indexes")[1].source.index
    assert second.arrays["label_times"][0] == 5
    assert second.digest == first.digest


def test_a_pipe_among_the_labels_is_named_and_not_waited_for(tmp_path):
    recipe = small_recipe(tmp_path)
    label = next((tmp_path / "city/gtFine/train/town").glob("*.png"))
    label.unlink()
    os.mkfifo(label)
    with pytest.raises(LabelError, match=f"{label.name}: cannot be read .Not a regular file"):
        open_sources(recipe.data, tmp_path / "indexes")


def test_an_index_of_other_classes_is_refused(tmp_path):
    recipe = small_recipe(tmp_path)
    open_sources(recipe.data, tmp_path / "indexes")
    other = small_recipe(
        tmp_path,
        "data.classes=camvid",
        f"data.sources.uniform.index={next((tmp_path / 'indexes').glob('uniform-*.index.npz'))}",
    )
    with pytest.raises(SettingsError, match="is of another class table than 'camvid'"):
        open_sources(other.data, tmp_path / "indexes")


def batches(found: TrainingDataset, workers: int = 1, timeout: float = 60.0) -> list[Batch]:
    sources = [source.source for source in found.sources]
    sampler = MixedClassUniformSampler(sources, epoch_size=8, seed=3, batch_size=4)
    return list(BatchLoader(found, sampler, workers=workers, timeout=timeout))


def test_batches_through_pipes_are_those_through_shared_memory(tmp_path, monkeypatch, caplog):
    found = dataset(tmp_path, "augmentation.color_on=device", cells=(4,), areas=True)
    shared = batches(found)
    monkeypatch.setattr("segdata.data.loader._free_shared_memory", lambda: 1e3)
    piped = batches(found)
    assert "so batches go through pipes" in caplog.text
    for one, other in zip(shared, piped, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.class_ids, other.class_ids)
        for left, right in zip(one.samples, other.samples, strict=True):
            assert (left.colors, left.name, left.num_valid) == (right.colors, right.name, right.num_valid)
            assert torch.equal(left.counts[4], right.counts[4])


class Dying(TrainingDataset):
    """Its process is killed when it reads."""

    def __getitem__(self, draw: Draw) -> Sample:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(draw)


class Hanging(TrainingDataset):
    """It never comes to an end."""

    def __getitem__(self, draw: Draw) -> Sample:
        time.sleep(60)
        return super().__getitem__(draw)


@pytest.mark.parametrize(
    ("kind", "told"),
    [(Dying, "(is killed by signal: Killed|exited unexpectedly)"), (Hanging, "timed out after 1")],
)
def test_a_loader_without_a_batch_ends_in_one_line_that_names_shared_memory(tmp_path, kind, told):
    found = dataset(tmp_path)
    with pytest.raises(
        SegdataError, match=rf"no batch from the loader's processes: .*{told}.*/dev/shm has .* MiB free"
    ):
        batches(kind(found.sources, found.augmentation), timeout=1)


def test_a_pinned_batch_is_pinned_once(tmp_path, monkeypatch):
    settings = ("augmentation.scale=[1.0,1.0]", f"data.sources.whole.cpp={tmp_path}/store")
    found = dataset(tmp_path, *settings, cells=(4, 8), stored=True, align=True)
    write_store(found, tmp_path / "store")
    batch = collate([found[draw] for draw in draws(found, 4)])
    copied = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda held: (copied.append(held), held.clone())[1])
    pinned = batch.pin_memory()
    num_counts = sum(len(sample.counts) for sample in batch.samples)
    assert num_counts > 0
    assert len(copied) == 2 + num_counts
    for number, (sample, before) in enumerate(zip(pinned.samples, batch.samples, strict=True)):
        assert sample.image.data_ptr() == pinned.images[number].data_ptr()
        assert torch.equal(sample.class_ids, before.class_ids)
        assert all(torch.equal(sample.counts[cell], held) for cell, held in before.counts.items())
