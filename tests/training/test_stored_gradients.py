"""Training on stored targets is training on those that the device pools, bit for bit, on the same crops."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

from click.testing import CliRunner
from support.small_runs import differences, small_recipe

from segdata.commands import group
from segdata.config.recipe import Recipe
from segdata.data.loader import Batch
from segdata.distributed.process_group import DistributedContext
from segdata.training.setup import Run

STEPS = 3


def stored_recipe(folder: Path, *changes: str) -> Recipe:
    """Return a recipe that trains on targets which precompute-cpp has just written."""
    recipe = small_recipe(folder, "loss.targets=store", "augmentation.scale=[1.0]", *changes)
    words = ["precompute-cpp", "--scales", "2", "4", "8", str(folder / "city"), str(folder / "city-cpp")]
    assert CliRunner().invoke(group, words).exit_code == 0
    return recipe


def without_counts(batch: Batch) -> Batch:
    return replace(batch, samples=[sample._replace(counts={}) for sample in batch.samples])


def test_weights_after_some_steps_are_equal_to_the_bit(tmp_path):
    recipe = stored_recipe(tmp_path)
    runs = [Run(recipe, tmp_path / name, DistributedContext(), progress=False) for name in ("stored", "pooled")]
    start = {name: value.clone() for name, value in runs[0].model.state_dict().items()}
    for batch, same in islice(zip(runs[0].batches(), runs[1].batches(), strict=True), STEPS):
        counted = [runs[0].stepper.run(batch, [1.0]), runs[1].stepper.run(without_counts(same), [1.0])]
        assert all(sample.counts for sample in batch.samples)
        assert [dict(report.targets) for report in counted] == [{"stored": 8, "pooled": 0}, {"stored": 0, "pooled": 8}]
        assert counted[0].gradient_norm == counted[1].gradient_norm > 0
    assert not differences(*(run.model.state_dict() for run in runs))
    assert differences(start, runs[0].model.state_dict())
