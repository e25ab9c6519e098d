"""What an experiment plans, and what it refuses."""

import pytest
from pydantic import ValidationError
from small_runs import write_recipe

from segdata.config.recipe import load_recipe
from segdata.errors import SettingsError
from segdata.experiments.grid import (
    RECIPES,
    Arm,
    Grid,
    auxiliary_weight_grid,
    plan,
    planned_grid,
    read_grid,
    seeds_grid,
    write_plan,
)


@pytest.fixture
def recipe(tmp_path):
    return write_recipe(tmp_path)


def grid_file(folder, text):
    path = folder / "grid.yaml"
    path.write_text(text)
    return path


def test_runs_are_planned_seed_by_seed_with_the_settings_of_grid_and_arm(tmp_path, recipe):
    text = """
    config: small.yaml
    set: {optimizer.lr: 0.1, data.root: other}
    arms:
      plain: {set: {loss.auxiliary: ce}}
      pooled:
    seeds: [3, 7]
    """
    runs = plan(read_grid(grid_file(tmp_path, text)), tmp_path)
    assert [run.name for run in runs] == ["plain-seed3", "pooled-seed3", "plain-seed7", "pooled-seed7"]
    assert {run.recipe.optimizer.lr for run in runs} == {0.1}
    assert [run.recipe.loss.auxiliary for run in runs] == ["ce", "cpp", "ce", "cpp"]
    assert [run.recipe.seed for run in runs] == [3, 3, 7, 7]
    assert runs[0].recipe.data.root == tmp_path / "other"  # relative to the grid, wherever the command is run


def test_paths_of_the_command_are_relative_to_where_it_is_run(tmp_path, recipe, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    grid = Grid(config="small.yaml", arms={"a": Arm()}, seeds=(0,))
    (run,) = plan(grid, tmp_path, ["data.root=city"])
    assert run.recipe.data.root == tmp_path / "elsewhere" / "city"


def test_overrides_win_and_reproducible_fixes_algorithms_and_threads(tmp_path, recipe):
    grid = Grid(config="small.yaml", arms={"a": Arm(set={"optimizer.lr": 0.1})}, seeds=(0,), reproducible=True)
    (run,) = plan(grid, tmp_path, ["optimizer.lr=0.2"])
    assert (run.recipe.optimizer.lr, run.recipe.deterministic, run.recipe.run.threads) == (0.2, True, 1)


def test_a_seed_that_recurs_is_run_as_often(tmp_path, recipe):
    runs = plan(seeds_grid([str(recipe)], [9802, 9802], False), tmp_path)
    assert [run.name for run in runs] == ["small-seed9802-1", "small-seed9802-2"]
    assert runs[0].recipe == runs[1].recipe


def test_table_1_has_an_arm_for_each_weight(tmp_path):
    grid = auxiliary_weight_grid("camvid-pspnet-cpp", [0.1, 0.6, 1.0], [0], False)
    runs = plan(grid, tmp_path)
    assert [(run.arm, run.recipe.loss.auxiliary_weight) for run in runs] == [("0.1", 0.1), ("0.6", 0.6), ("1", 1.0)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arms: {a: }\nseeds: [0]", "names no recipe"),
        ("config: small.yaml\narms: {a/b: }\nseeds: [0]", "cannot name a folder"),
        ("config: small.yaml\narms: {}\nseeds: [0]", "arms"),
        ("config: small.yaml\narms: {a: }\nseeds: []", "seeds"),
        ("config: small.yaml\narms: {a: {set: {seed: 1}}}\nseeds: [0]", "names a seed"),
        ("config: small.yaml\narm: {a: }\nseeds: [0]", "Did you mean 'arms'"),
        ("config: small.yaml\narms: {a: {sets: {}}}\nseeds: [0]", "sets"),
    ],
)
def test_a_grid_at_fault_is_refused_in_one_line(tmp_path, text, words):
    with pytest.raises(SettingsError, match=r"grid\.yaml") as error:
        read_grid(grid_file(tmp_path, text))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_setting_that_does_not_exist_is_named(tmp_path, recipe):
    grid = Grid(config="small.yaml", arms={"a": Arm(set={"optimizer.rate": 1})}, seeds=(0,))
    with pytest.raises(SettingsError, match=r"optimizer\.rate"):
        plan(grid, tmp_path)


def test_recipes_of_one_name_and_weights_given_twice_are_refused():
    with pytest.raises(SettingsError, match="two recipes are called 'small'"):
        seeds_grid(["a/small.yaml", "b/small.yaml"], [0], False)
    with pytest.raises(SettingsError, match="names a weight twice"):
        auxiliary_weight_grid("camvid-pspnet-cpp", [0.5, 0.5], [0], False)


def test_a_folder_takes_more_seeds_and_refuses_other_settings_and_lost_runs(tmp_path, recipe):
    def grid(seeds, lr=0.1):
        return Grid(config="small.yaml", set={"optimizer.lr": lr}, arms={"a": Arm(), "b": Arm()}, seeds=seeds)

    out = tmp_path / "out"
    write_plan(out, grid([0]), plan(grid([0]), tmp_path))
    write_plan(out, grid([0, 1]), plan(grid([0, 1]), tmp_path))
    assert sorted(path.stem for path in (out / RECIPES).iterdir()) == ["a-seed0", "a-seed1", "b-seed0", "b-seed1"]
    assert planned_grid(out).seeds == (0, 1)
    with pytest.raises(SettingsError, match=r"a-seed0 is another run there: optimizer\.lr was 0\.1, is now 0\.3"):
        write_plan(out, grid([0, 1], lr=0.3), plan(grid([0, 1], lr=0.3), tmp_path))
    with pytest.raises(SettingsError, match="holds the run a-seed1"):
        write_plan(out, grid([0]), plan(grid([0]), tmp_path))


def test_how_a_run_is_watched_may_change(tmp_path, recipe):
    grid = Grid(config="small.yaml", arms={"a": Arm()}, seeds=(0,))
    write_plan(tmp_path / "out", grid, plan(grid, tmp_path))
    write_plan(tmp_path / "out", grid, plan(grid, tmp_path, ["run.log_every=7"]))


@pytest.mark.parametrize("changed", ["run.precision=bfloat16", "run.sync_batch_norm=false"])
def test_how_a_run_is_calculated_may_not(tmp_path, recipe, changed):
    grid = Grid(config="small.yaml", arms={"a": Arm()}, seeds=(0,))
    write_plan(tmp_path / "out", grid, plan(grid, tmp_path))
    with pytest.raises(SettingsError, match=rf"a-seed0 is another run there: {changed.split('=')[0]} was "):
        write_plan(tmp_path / "out", grid, plan(grid, tmp_path, [changed]))


def test_a_seed_beside_those_of_the_experiment_is_refused(tmp_path, recipe):
    with pytest.raises(ValidationError, match="List the seeds under seeds"):
        Grid(config="small.yaml", set={"seed": 5}, arms={"a": Arm()}, seeds=(0,))
    grid = Grid(config="small.yaml", arms={"a": Arm()}, seeds=(0, 5))
    with pytest.raises(SettingsError, match="--set seed=5: every run of an experiment has a seed of its own"):
        plan(grid, tmp_path, ["seed=5"])


def test_a_folder_that_is_no_experiment_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="is no experiment"):
        planned_grid(tmp_path)


def test_the_recipe_of_a_run_is_kept_whole(tmp_path, recipe):
    grid = Grid(config="small.yaml", arms={"a": Arm()}, seeds=(5,))
    (run,) = plan(grid, tmp_path)
    write_plan(tmp_path / "out", grid, [run])
    again = load_recipe(tmp_path / "out" / RECIPES / "a-seed5.yaml")
    assert again.model_dump(exclude={"name"}) == run.recipe.model_dump(exclude={"name"})
