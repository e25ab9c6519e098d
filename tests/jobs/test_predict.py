"""Many images through the batch runner: kept, redone or refused, and always the same bytes."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from toy_model import OneLayer

from segdata.batch.work import BatchSettings
from segdata.config.steps import EvaluationRecipe
from segdata.errors import SettingsError
from segdata.inference.output_settings import PredictionSettings
from segdata.inference.predictor import Predictor
from segdata.jobs.predict import PredictionPlan, run_predictions
from segdata.jobs.predict_sources import find_images, plan_predictions
from segdata.labels.classes import ClassTable

KINDS = ("labels", "color", "overlay", "probabilities")


@pytest.fixture
def images(tmp_path, rng):
    """Return a folder of three images of noise."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "abc":
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


def plan_of(images, out, kinds=KINDS, **changes):
    settings = PredictionSettings(
        model_digest="0", table=ClassTable.load("cityscapes"), evaluation=EvaluationRecipe(), **changes
    )
    items = plan_predictions(find_images(images, out), out, kinds)
    predictor = Predictor(OneLayer(19), settings.evaluation)
    places = {"source": images, "destination": out}
    return PredictionPlan(tool="predict", **places, items=items, settings=settings, predictor=predictor)


def predict(plan, **batch):
    outcomes = run_predictions(plan, BatchSettings(**batch)).outcomes
    return {outcome.key: outcome.status if outcome.status != "error" else outcome.message for outcome in outcomes}


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_done_and_valid_is_kept(images, tmp_path):
    plan = plan_of(images, tmp_path / "out")
    assert predict(plan) == {"a": "done", "b": "done", "c": "done"}
    before = bytes_of(plan.destination)
    assert len(before) == 3 * len(KINDS) + 1
    assert predict(plan) == {"a": "kept", "b": "kept", "c": "kept"}
    assert bytes_of(plan.destination) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("left", [0, 100, None])
def test_a_missing_or_torn_output_is_made_again_to_the_same_bytes(images, tmp_path, kind, left):
    plan = plan_of(images, tmp_path / "out")
    predict(plan)
    before = bytes_of(plan.destination)
    path = plan.items[1].targets[kind]
    path.unlink() if left is None else path.write_bytes(path.read_bytes()[:left])
    assert predict(plan) == {"a": "kept", "b": "done", "c": "kept"}
    assert bytes_of(plan.destination) == before


def test_shards_and_a_last_run_give_what_one_run_gives(images, tmp_path):
    whole, parts = plan_of(images, tmp_path / "whole", ["labels"]), plan_of(images, tmp_path / "parts", ["labels"])
    predict(whole)
    done = [predict(parts, shard=(part, 2)) for part in (1, 2)]
    assert sorted(key for each in done for key in each) == ["a", "b", "c"]
    assert set(predict(parts).values()) == {"kept"}
    assert bytes_of(parts.destination) == bytes_of(whole.destination)


def test_other_settings_are_refused_naming_the_difference(images, tmp_path):
    predict(plan_of(images, tmp_path / "out"))
    with pytest.raises(SettingsError, match=r"encoding was 'trainIds', is now 'labelIds'\. Choose another DST"):
        predict(plan_of(images, tmp_path / "out", encoding="labelIds"))
    assert set(predict(plan_of(images, tmp_path / "out", encoding="labelIds"), overwrite=True).values()) == {"done"}


def test_an_image_that_has_changed_is_an_error_of_its_own(images, tmp_path):
    plan = plan_of(images, tmp_path / "out", ["labels"])
    predict(plan)
    Image.new("RGB", (30, 20)).save(images / "b.png")
    found = predict(plan)
    assert "was made from other bytes of its source" in found["b"]
    assert (found["a"], found["c"]) == ("kept", "kept")


def test_a_bad_image_costs_no_other(images, tmp_path):
    (images / "b.png").write_bytes(b"no image")
    found = predict(plan_of(images, tmp_path / "out", ["labels"]))
    assert "b.png: is not a valid image" in found["b"]
    assert (found["a"], found["c"]) == ("done", "done")


def test_a_file_of_another_program_is_not_overwritten(images, tmp_path):
    plan = plan_of(images, tmp_path / "out", ["labels"])
    path = plan.items[0].targets["labels"]
    path.parent.mkdir(parents=True)
    Image.new("L", (3, 3)).save(path)
    before = path.read_bytes()
    assert "was not written by this version of segdata" in predict(plan)["a"]
    assert path.read_bytes() == before


def test_a_file_of_another_program_is_kept_by_an_update(images, tmp_path):
    plan = plan_of(images, tmp_path / "out")
    predict(plan)
    overlay, labels = (plan.items[0].targets[kind] for kind in ("overlay", "labels"))
    Image.new("L", (3, 3)).save(overlay)
    Image.new("RGB", (30, 20)).save(images / "a.png")
    before = overlay.read_bytes(), labels.read_bytes()
    assert "was not written by this version of segdata" in predict(plan, update=True)["a"]
    assert (overlay.read_bytes(), labels.read_bytes()) == before
    overlay.unlink()
    assert predict(plan, update=True) == {"a": "done", "b": "kept", "c": "kept"}


def test_a_dry_run_writes_nothing(images, tmp_path):
    plan = plan_of(images, tmp_path / "out")
    assert set(predict(plan, dry_run=True).values()) == {"todo"}
    assert not plan.destination.exists()


def test_two_images_of_one_name_are_refused(images, tmp_path):
    Image.new("RGB", (3, 3)).save(images / "a.jpg")
    with pytest.raises(SettingsError, match="two sources would be written here"):
        predict(plan_of(images, tmp_path / "out"))


def test_the_report_adds_up_the_pixels(images, tmp_path):
    plan = plan_of(images, tmp_path / "out", ["labels"])
    report = run_predictions(plan, BatchSettings()).report
    assert sum(report["totals"]["pixels"].values()) + report["totals"]["ignored"] == 3 * 20 * 30
    assert (report["state"], report["totals"]["tiled"]) == ("complete", 0)
    assert report["files"]["a"]["target"] == "labels/a.png"
    assert dataclasses.asdict(plan.items[0])["source"] == report["files"]["a"]["source"]
