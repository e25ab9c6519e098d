"""`segdata demo`: the whole chain runs, in its own folder alone."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import segdata
from segdata.commands import demo, group
from segdata.errors import SettingsError


@pytest.mark.slow
def test_the_chain_runs_and_runs_again(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    for _ in range(2):
        result = CliRunner().invoke(group, ["demo", "--data-only", str(folder)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    for name in ("pooling.png", "epoch.png", "crops.jpg", "conversion.html"):
        assert (folder / name).stat().st_size > 10_000
        assert f"{folder / name}: " in result.output.split("To look at:")[1]
    stored = sorted((folder / "vistas-cityscapes-cpp").rglob("*.cpp.npz"))
    assert len(stored) == demo.NUM_VISTAS
    assert segdata.load_cpp(stored[0]).counts(8).shape == (20, 64, 128)


@pytest.mark.slow
def test_the_training_ends_with_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = demo.training

    def two_steps(folder: Path) -> list[tuple[str, list[str]]]:
        (title, words), *others = whole(folder)
        return [(title, [*words, "--set", "schedule.iterations=2", "--set", "run.device=cpu"]), *others]

    monkeypatch.setattr(demo, "training", two_steps)
    result = CliRunner().invoke(group, ["demo", str(tmp_path / "demo")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for name in ("run.html", "predictions/overlay"):
        assert f"{tmp_path / 'demo' / name}: " in result.output.split("To look at:")[1]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match="is not empty, and no demo made it"):
        CliRunner().invoke(group, ["demo", str(tmp_path)], catch_exceptions=False)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
