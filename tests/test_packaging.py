"""The three ways to have segdata, a wheel, an editable install and a bare checkout, and what the sdist holds."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOT_SHIPPED = (".gitignore",)  # hatchling reads it and ships it under its own rules


def run(*command: str | Path, cwd: Path, path: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": path}
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    return run("git", "ls-files", cwd=ROOT).split("\n")[:-1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, tracked: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked:
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(checkout: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-d", checkout / "dist", cwd=checkout)
    return checkout / "dist"


def origin_and_mappings(python: list[str | Path], cwd: Path, path: str = "") -> tuple[str, str]:
    origin = run(*python, "-c", "import segdata; print(segdata.__file__)", cwd=cwd, path=path)
    return origin.strip(), run(*python, "-m", "segdata", "mappings", "list", cwd=cwd, path=path)


def test_wheel_brings_its_mappings(built: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    wheel = next(built.glob("*.whl"))
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, "--target", target, wheel, cwd=tmp_path)
    origin, mappings = origin_and_mappings([sys.executable], tmp_path, str(target))
    assert origin == str(target / "segdata" / "__init__.py")
    assert "vistas-v1.2-to-cityscapes" in mappings
    assert not (target / "cli.py").exists()
    assert "convert-mapillary" in run(target / "bin" / "segdata", "--help", cwd=tmp_path, path=str(target))


def test_editable_install_runs_from_anywhere(tmp_path: Path) -> None:
    origin, mappings = origin_and_mappings([sys.executable], tmp_path)
    assert origin == str(ROOT / "segdata" / "__init__.py")
    assert "vistas-v1.2-to-cityscapes" in mappings


def test_bare_checkout_has_a_door(checkout: Path) -> None:
    assert "vistas-v1.2-to-cityscapes" in run(sys.executable, "cli.py", "mappings", "list", cwd=checkout)


def test_sdist_holds_everything(built: Path, tracked: list[str]) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames()}
    present = {name for name in tracked if (ROOT / name).exists()}
    assert present - held <= set(NOT_SHIPPED)
