"""Training in one process: it learns, continues where it stopped to the last bit, and says what is wrong."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import differences, small_recipe
from toy_model import OneLayer

from segdata.batch.work import BatchSettings
from segdata.config.recipe import Recipe
from segdata.data.loader import Batch
from segdata.data.sources import plan_source
from segdata.distributed.process_group import DistributedContext
from segdata.errors import LabelError, LayoutError, SegdataError, SettingsError, StoreError
from segdata.losses.criterion import SegmentationCriterion
from segdata.losses.cross_entropy import CrossEntropyLoss, Normalize
from segdata.metrics.scores import Scores
from segdata.models.checkpoint import load_model, read_checkpoint
from segdata.sampling.index_builder import build_index
from segdata.training import loop
from segdata.training.determinism import limited_threads
from segdata.training.loop import train
from segdata.training.setup import Run
from segdata.training.step import Stepper

EVERY_STEP = "checkpoint_every: 1, keep_last: 100, evaluate_every: 4"


def trained(folder: Path, *overrides: str, out: str = "out", resume: bool = False, run: str = EVERY_STEP):
    return train(small_recipe(folder, *overrides, run=run), folder / out, resume=resume, progress=False)


def lines(folder: Path, kind: str = "train") -> list[dict]:
    every = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in every if line["kind"] == kind]


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    """Return the folder of a run with a checkpoint after every step; an epoch is one and a half steps."""
    folder = tmp_path_factory.mktemp("straight")
    trained(folder, "optimizer.ema_decay=0.9")
    return folder


@pytest.mark.parametrize("step", [1, 2, 4])  # mid-epoch in the first and a later epoch, and right after an evaluation
def test_an_interrupted_run_ends_in_the_same_bits(straight, tmp_path, step):
    shutil.copytree(straight / "city", tmp_path / "city")
    kept = f"checkpoints/step-{step:08d}.pt"
    (tmp_path / "out" / "checkpoints").mkdir(parents=True)
    shutil.copy(straight / "out" / kept, tmp_path / "out" / kept)
    trained(tmp_path, "optimizer.ema_decay=0.9", resume=True)
    last = "out/checkpoints/step-00000006.pt"
    one, other = read_checkpoint(straight / last), read_checkpoint(tmp_path / last)
    one.pop("recipe"), other.pop("recipe")  # names the folder
    assert differences(one, other) == []


def test_adamw_goes_on_in_the_same_bits(tmp_path):
    settings = ("optimizer.name=adamw", "optimizer.lr=0.002")
    trained(tmp_path, *settings)
    (tmp_path / "again" / "checkpoints").mkdir(parents=True)
    kept, last = (f"checkpoints/step-{step:08d}.pt" for step in (2, 6))
    shutil.copy(tmp_path / "out" / kept, tmp_path / "again" / kept)
    trained(tmp_path, *settings, out="again", resume=True)
    assert differences(*(read_checkpoint(tmp_path / out / last) for out in ("out", "again"))) == []


def test_the_number_of_loaders_does_not_matter(straight, tmp_path):
    shutil.copytree(straight / "city", tmp_path / "city")
    trained(tmp_path, "optimizer.ema_decay=0.9", "data.workers=2", run="checkpoint_every: 6")
    assert [line["loss"] for line in lines(tmp_path / "out")] == [line["loss"] for line in lines(straight / "out")]


def test_the_log_tells_what_happened(straight):
    record = lines(straight / "out")[-1]
    assert record["step"] == 6
    assert set(record["parts"]) == {"main", "stage1", "stage2"}
    assert record["targets"] == {"stored": 0, "measured": 0, "pooled": 48}
    assert record["speed"]["images_per_second"] > 0
    assert [line["weights"] for line in lines(straight / "out", "evaluation")] == ["model", "average"] * 2


def test_measured_targets_are_counted_as_such(tmp_path):
    trained(tmp_path, "loss.areas=image", "schedule.iterations=2")
    assert lines(tmp_path / "out")[-1]["targets"] == {"stored": 0, "measured": 16, "pooled": 0}


def test_load_model_gives_the_average_in_evaluation_mode(straight):
    model, recipe = load_model(straight / "out")
    state = read_checkpoint(straight / "out" / "best.pt")
    assert not model.training
    assert recipe.model.name == "fcn"
    assert differences(dict(model.state_dict()), dict(state["average"])) == []


def test_it_learns(tmp_path):
    trained(tmp_path, "schedule.iterations=40", "augmentation.color=none", run="checkpoint_every: 100")
    losses = [line["parts"]["main"] for line in lines(tmp_path / "out")]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def step_of(recipe: Recipe, batch: Batch, normalize: Normalize) -> torch.Tensor:
    """Return the weights of a model without statistics after one step on a batch."""
    model, world = OneLayer(19), DistributedContext()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    criterion = SegmentationCriterion(CrossEntropyLoss(normalize=normalize))
    stepper = Stepper(model, criterion, optimizer, recipe, world)
    parts = batch.parts(stepper.images_per_pass)
    stepper.run(batch, [part.num_valid / batch.num_valid for part in parts])
    return torch.cat([weights.detach().flatten() for weights in model.parameters()])


@pytest.mark.parametrize("normalize", get_args(Normalize))
def test_accumulated_passes_add_up_to_the_loss_of_the_whole_batch(tmp_path, normalize):
    recipe = small_recipe(tmp_path)
    batch = next(Run(recipe, tmp_path / "out", DistributedContext(), progress=False).batches())
    batch.class_ids[1:, :20] = 255  # most of three of the four crops
    valid = [int((ids != 255).sum()) for ids in batch.class_ids]
    batch = replace(batch, samples=[one._replace(num_valid=n) for one, n in zip(batch.samples, valid, strict=True)])
    one_by_one = small_recipe(tmp_path, "schedule.images_per_rank=1")
    in_one, in_four = (step_of(each, batch, normalize) for each in (recipe, one_by_one))
    torch.testing.assert_close(in_four, in_one, rtol=1e-4, atol=1e-6)


def test_the_best_is_that_of_the_weights_that_load_model_takes(tmp_path, monkeypatch):
    """Every evaluation of the model is better than every one of the average, in another order."""
    mious = iter([0.75, 0.3, 0.76, 0.2, 0.74, 0.4])
    evaluate = loop.evaluate

    def scored(*args, **kwargs):
        miou = next(mious)
        monkeypatch.setattr(Scores, "miou", property(lambda _: miou))
        return evaluate(*args, **kwargs)

    monkeypatch.setattr(loop, "evaluate", scored)
    result = trained(tmp_path, "optimizer.ema_decay=0.9", run="checkpoint_every: 100, evaluate_every: 2")
    assert (result.best_miou, result.best_step) == (0.4, 6)
    assert read_checkpoint(tmp_path / "out/best.pt")["progress"]["step"] == 6


def test_where_no_newer_one_is_whole_a_run_goes_on_from_its_best(tmp_path, caplog):
    trained(tmp_path, run="checkpoint_every: 1, keep_last: 2, evaluate_every: 4")
    out = tmp_path / "out"
    (out / "best.pt").unlink()
    shutil.copy(out / "checkpoints/step-00000005.pt", out / "best.pt")
    for path in (out / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    trained(tmp_path, resume=True, run="checkpoint_every: 1, keep_last: 1, evaluate_every: 4")
    assert [line["step"] for line in lines(out)] == [1, 2, 3, 4, 5, 6]
    assert {path.name for path in (out / "checkpoints").iterdir()} == {
        "step-00000006.pt",
        "step-00000006.pt.damaged",
        "step-00000005.pt.damaged",
    }


def test_a_pattern_that_fits_no_map_is_one_line(tmp_path):
    with pytest.raises(SettingsError, match="no rule for the auxiliary map 'stage2'"):
        trained(tmp_path, "loss.auxiliary_weight={stage1: 0.4}")


def test_a_folder_with_a_run_is_refused_without_resume(straight):
    with pytest.raises(SettingsError, match=r"holds a training run already\. Pass --resume"):
        trained(straight)


def test_another_recipe_is_refused(straight):
    with pytest.raises(SettingsError, match=r"was trained by another recipe .*optimizer.lr was 0.05, is now 0.1"):
        trained(straight, "optimizer.ema_decay=0.9", "optimizer.lr=0.1", resume=True)


def test_numbers_that_are_not_finite_end_the_run_and_name_the_images(tmp_path):
    settings = ("optimizer.lr=1.0e+30", "schedule.warmup_iterations=0", "optimizer.non_finite_limit=1")
    with pytest.raises(
        SegdataError, match=r"not finite, 2 steps in a row, here with .*town_\d+_000019_leftImg8bit.png"
    ):
        trained(tmp_path, *settings)
    faults = lines(tmp_path / "out", "fault")
    assert [fault["step"] for fault in faults] == [2, 3]


def test_a_skipped_step_leaves_no_trace(tmp_path):
    settings = ("optimizer.lr=1.0e+30", "schedule.warmup_iterations=0", "schedule.iterations=4")
    trained(tmp_path, *settings)
    before, after = (read_checkpoint(tmp_path / f"out/checkpoints/step-{step:08d}.pt") for step in (1, 3))
    assert after["progress"]["skipped"] == 2
    assert differences(dict(before["model"]), dict(after["model"])) == []
    assert all(torch.isfinite(value).all() for value in after["model"].values())


def test_a_bad_image_ends_the_run_naming_the_file(tmp_path):
    recipe = small_recipe(tmp_path)
    bad = sorted((tmp_path / "city/leftImg8bit/train/town").iterdir())[0]
    bad.write_bytes(bad.read_bytes()[:-200])  # its header is whole
    with pytest.raises(SegdataError, match=rf"{bad.name}.* Set data.bad_images to skip"):
        train(recipe, tmp_path / "out", progress=False)


def no_image(folder):
    """Damage an image that is trained on."""
    (folder / "city/leftImg8bit/train/town/town_000000_000019_leftImg8bit.png").write_bytes(b"none")


def smaller_image(folder):
    """Give a validation label an image of another size."""
    path = sorted((folder / "city/leftImg8bit/val/town").iterdir())[0]
    Image.open(path).resize((16, 16)).save(path)


def unknown_id(folder):
    """Put an id into a validation label that no class has."""
    path = sorted((folder / "city/gtFine/val/town").glob("*labelTrainIds.png"))[0]
    ids = np.asarray(Image.open(path)).copy()
    ids[0, 0] = 77
    Image.fromarray(ids).save(path)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            no_image,
            r"_000019_leftImg8bit.png: is not an image .*datasets check.* tells of all, and data.bad_images=skip",
        ),
        (smaller_image, r"its image 16x16"),
        (unknown_id, r"77"),
    ],
)
def test_a_few_images_of_all_sources_are_looked_at_before_anything_is_made(tmp_path, damage, told):
    recipe = small_recipe(tmp_path, "model.weights=there-is-no-such-file.pth")
    damage(tmp_path)
    with pytest.raises(LayoutError, match=told):
        train(recipe, tmp_path / "out", progress=False)
    assert not (tmp_path / "indexes").exists()


def test_a_bad_image_can_be_left_out_and_is_counted(tmp_path):
    recipe = small_recipe(tmp_path, "data.bad_images=skip")
    bad = sorted((tmp_path / "city/leftImg8bit/train/town").iterdir())[0]
    bad.write_bytes(b"no image")
    result = train(recipe, tmp_path / "out", progress=False)
    told = [fault for line in lines(tmp_path / "out", "fault") for fault in line["left_out"]]
    assert result.left_out_images == len(told) > 0
    assert all(bad.name in fault for fault in told)


def test_a_run_that_leaves_out_most_images_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_ENOUGH_TO_JUDGE", 2)
    recipe = small_recipe(tmp_path, "data.bad_images=skip")
    for path in (tmp_path / "city/leftImg8bit/train/town").iterdir():
        path.write_bytes(path.read_bytes()[:-200])  # its header is whole
    with pytest.raises(LabelError, match=r"(\d+) of the first \1 images were left out, the last: .* Repair the data"):
        train(recipe, tmp_path / "out", progress=False)


def test_stored_targets_that_do_not_fit_are_no_bad_images(tmp_path):
    (tmp_path / "store").mkdir()
    settings = ("data.bad_images=skip", "loss.targets=store", "augmentation.scale=[1.0,1.0]")
    stores = (f"data.sources.{name}.cpp={tmp_path}/store" for name in ("whole", "uniform"))
    recipe = small_recipe(tmp_path, *settings, *stores)
    with pytest.raises(StoreError, match=r"\.cpp\.npz: cannot be read"):
        train(recipe, tmp_path / "out", progress=False)


def test_a_run_goes_on_in_another_precision(straight, tmp_path):
    shutil.copytree(straight / "city", tmp_path / "city")
    kept = "checkpoints/step-00000004.pt"
    (tmp_path / "out" / "checkpoints").mkdir(parents=True)
    shutil.copy(straight / "out" / kept, tmp_path / "out" / kept)
    assert trained(tmp_path, "optimizer.ema_decay=0.9", "run.precision=float16", resume=True).step == 6


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_stays_near(straight, tmp_path, precision):
    shutil.copytree(straight / "city", tmp_path / "city")
    trained(tmp_path, f"run.precision={precision}", "schedule.iterations=2", "optimizer.ema_decay=0.9")
    here, there = lines(tmp_path / "out")[0]["loss"], lines(straight / "out")[0]["loss"]
    assert here != there
    assert here == pytest.approx(there, rel=0.02)


def test_a_scaled_gradient_that_overflows_is_skipped_and_the_scale_halved(tmp_path, monkeypatch):
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(
        torch.amp, "GradScaler", lambda device, enabled: scaler(device, init_scale=2.0**30, enabled=enabled)
    )
    trained(tmp_path, "run.precision=float16", "schedule.iterations=20", "optimizer.non_finite_limit=19")
    state = read_checkpoint(tmp_path / "out/checkpoints/step-00000020.pt")
    skipped = state["progress"]["skipped"]
    assert 1 < skipped < 20
    assert state["scaler"]["scale"] == 2.0**30 / 2**skipped
    assert lines(tmp_path / "out")[-1]["skipped_steps"] == skipped
    assert all(torch.isfinite(value).all() for value in state["model"].values())


@pytest.mark.parametrize("part", ["blocks", "model"])
def test_a_compiled_run_trains_alike_and_its_checkpoints_are_those_of_the_plain_model(tmp_path, monkeypatch, part):
    # Inductor takes half a minute for this model; without its code generation the same graph is traced and run.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    trained(tmp_path, "schedule.iterations=2")
    (tmp_path / "out").rename(tmp_path / "plain")
    trained(tmp_path, "schedule.iterations=2", f"run.compile={part}")
    plain, compiled = lines(tmp_path / "plain"), lines(tmp_path / "out")
    assert [line["loss"] for line in compiled] == pytest.approx([line["loss"] for line in plain], rel=1e-5)
    states = [read_checkpoint(tmp_path / f"{out}/checkpoints/step-00000002.pt")["model"] for out in ("plain", "out")]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-3, atol=1e-5)


def test_threads_are_limited_and_put_back():
    before = torch.get_num_threads()
    with limited_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_pixels_that_mutual_information_leaves_out_are_in_the_log(tmp_path):
    trained(tmp_path, "loss.main=rmi", "schedule.iterations=2")
    assert [line["rmi_left_out"] for line in lines(tmp_path / "out")] == [0, 0]


def test_deterministic_runs_go_through_and_put_the_setting_back(tmp_path):
    trained(tmp_path, "deterministic=true", "schedule.iterations=1")
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_validation_image_that_is_trained_on_is_refused(tmp_path):
    recipe = small_recipe(tmp_path, "data.sources.whole.splits=[train,val]")
    with pytest.raises(
        LayoutError,
        match=r"is trained on in source 'whole' and evaluated on. Take .*whole.splits.*first of 2 faults",
    ):
        train(recipe, tmp_path / "out", progress=False)


def test_a_validation_label_in_an_index_that_is_trained_on_is_refused(tmp_path):
    both = small_recipe(tmp_path, "data.sources.whole.splits=[train,val]")
    whole = both.data.located_sources[0]
    plan = plan_source(whole, both.data, tmp_path / "made")
    build_index(plan, BatchSettings())
    recipe = small_recipe(tmp_path, f"data.sources.whole.index={plan.output}")
    with pytest.raises(
        SettingsError, match=r"2 of the 2 validation labels are trained on in source 'whole', first .*png"
    ):
        train(recipe, tmp_path / "out", progress=False)


def test_an_index_without_the_labels_that_were_left_out_is_trained_on(tmp_path):
    recipe = small_recipe(tmp_path, "schedule.iterations=1")
    whole = recipe.data.located_sources[0]
    plan = plan_source(whole, recipe.data, tmp_path / "made")
    build_index(replace(plan, items=plan.items[1:]), BatchSettings())
    fewer = small_recipe(tmp_path, "schedule.iterations=1", f"data.sources.whole.index={plan.output}")
    assert train(fewer, tmp_path / "out", progress=False).step == 1


def test_a_validation_image_that_is_trained_on_through_a_link_is_refused(tmp_path):
    small_recipe(tmp_path)
    for folder in ("gtFine", "leftImg8bit"):
        (tmp_path / "linked" / folder).mkdir(parents=True)
        (tmp_path / "linked" / folder / "val").symlink_to(tmp_path / "city" / folder / "train")
    recipe = small_recipe(tmp_path, f"data.validation.root={tmp_path}/linked")
    with pytest.raises(LayoutError, match=r"is trained on in source 'uniform' and evaluated on.*4 faults"):
        train(recipe, tmp_path / "out", progress=False)


def test_a_run_says_at_its_start_where_and_on_what_it_trains(tmp_path, caplog):
    with caplog.at_level("INFO", logger="segdata"):
        train(small_recipe(tmp_path, "schedule.iterations=1"), tmp_path / "out", progress=False)
    told = "\n".join(caplog.messages)
    assert "cpu (1 thread, " in told
    assert "1 rank, float32" in told
    assert "fcn on resnet_tiny: 0.17 million parameters" in told
    assert "uniform: 4 images, 50.0% of the draws, 100% of them by class" in told
    assert f"1 step of 4 crops of 32x32, to {tmp_path / 'out'}" in told
    assert "days" not in told


def test_a_model_that_is_too_large_for_a_cpu_is_warned_of(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("segdata.training.start.CPU_FLOPS_PER_THREAD", 1.0)
    train(small_recipe(tmp_path, "schedule.iterations=1"), tmp_path / "out", progress=False)
    assert "days. For a CPU there are the recipes" in caplog.text


@pytest.mark.parametrize(("kept", "warned"), [("1024", True), ("1023", False)])
def test_hard_pixels_that_are_all_pixels_are_warned_of(tmp_path, caplog, kept, warned):
    changes = ("schedule.iterations=1", "loss.main=ohem", f"loss.main_settings.min_kept={kept}")
    train(small_recipe(tmp_path, *changes), tmp_path / "out", progress=False)
    assert ("none is left out, and the loss is plain cross entropy" in caplog.text) == warned


def test_one_image_behind_a_global_pool_is_refused_in_one_line(tmp_path):
    recipe = small_recipe(tmp_path, "model.name=pspnet", "schedule.batch_size=1")
    with pytest.raises(SettingsError, match=r"^schedule\.images_per_rank: with 1 image at a time"):
        train(recipe, tmp_path / "out", progress=False)


def test_running_out_of_memory_is_one_line_with_what_to_lower(tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore")

    monkeypatch.setattr("segdata.training.step.Stepper.run", full)
    with pytest.raises(SegdataError, match="step 1: cpu is out of memory with 4 images of 32x32") as error:
        train(small_recipe(tmp_path), tmp_path / "out", progress=False)
    assert "schedule.images_per_rank" in str(error.value)
    assert "\n" not in str(error.value)
