"""The direction of imports, read from the source; what `--help` may load, read from a process."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "segdata"

# A package may import the packages named before it, and itself.
ORDER = (
    *("errors", "text", "logs", "compiled", "files"),
    *("codecs", "labels", "cpp", "metrics"),
    *("batch", "layouts", "sampling", "config"),
    *("distributed", "data", "models", "losses", "inference"),
    *("jobs", "training", "experiments", "synthetic", "figures", "pages", "commands"),
)
TORCH_ROOMS = ("distributed", "models", "losses", "inference", "training")
TORCH_MODULES = ("cpp/tensors", "data/loader", "data/color", "data/normalization", "data/index_sources")


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in ORDER)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_package_has_a_place_in_the_order() -> None:
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert rooms == set(ORDER)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_down_only(path: Path) -> None:
    here = room_of(path)
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "segdata" and len(parts) > 1 and parts[1] in ORDER and parts[1] != here:
            assert ORDER.index(parts[1]) < ORDER.index(here), f"{here} imports {name}, which comes after it"


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_torch_stays_in_its_rooms(path: Path) -> None:
    here = path.relative_to(PACKAGE).as_posix()
    if room_of(path) in TORCH_ROOMS or here.startswith(TORCH_MODULES):
        return
    top_level = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in top_level for alias in node.names] + [
        node.module or "" for node in top_level if isinstance(node, ast.ImportFrom)
    ]
    assert not [name for name in names if name.split(".")[0] == "torch"]


@pytest.mark.parametrize("arguments", [["--help"], ["convert-mapillary", "--help"], ["precompute-cpp", "--help"]])
def test_help_imports_neither_torch_nor_numba(arguments: list[str]) -> None:
    program = (
        "import sys; sys.argv = ['segdata', *%r]\n"
        "from segdata.commands import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'torch', 'numba', 'joblib', 'distributed'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program % arguments], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_a_command_that_needs_torch_says_so_where_there_is_none() -> None:
    program = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['segdata', 'train', '--config', 'tiny-pspnet-scenes']\n"
        "from segdata.commands import main\n"
        "main()"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    told = "segdata: this command needs torch. Install it with: pip install 'segdata[train]'.\n"
    assert (run.returncode, run.stderr) == (1, told)
