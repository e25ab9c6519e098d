"""Mutation testing of the rooms that determine numbers: would a test notice, if a line said something else?

Run: python -m tests.mutants [ROOM ...] [--sample 200] [--seed 0] [-j 2]   (make mutants)

cosmic-ray knows how a line can be changed. A sample of all changes is tried, each in a copy of the project, by the
tests that `make coverage` saw take that line; a change that none of them notices has survived. Survivors are written to
build/mutants.diff. Those that tests/mutants_accepted.txt names, with the reason, are left out of the count. Ends with
exit code 1 where less than 95% of the others were noticed.
"""

import argparse
import ast
import difflib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("labels", "codecs", "cpp", "sampling", "batch", "losses")
COVERAGE = ROOT / "build" / "coverage" / "data"
SURVIVORS = ROOT / "build" / "mutants.diff"
ACCEPTED = Path(__file__).with_name("mutants_accepted.txt")
WANTED = 0.95
SECONDS = 300.0  # for all tests of one mutant; one that hangs is noticed
COPIED = ("segdata", "mappings", "tests", "docs", "benchmarks", "cli.py", "pyproject.toml", "README.md")
LOADED_ONCE = ("numpy", "numba", "torch", "scipy.io", "scipy.ndimage", "joblib", "PIL.Image", "pytest")
KERNELS = {"compiled", "inlined"}
BROKEN = 9
SPEED_ALONE = KERNELS | {"cache", "lru_cache", "cached_property"}  # a function without them does the same, slowly


@dataclass(frozen=True)
class Change:
    """One way to change one line.

    Attributes
    ----------
    path : str
        The file, below the project.
    line : int
        From 1.
    operator, number
        cosmic-ray's, and which of the places in the file where it applies.
    kernel : bool
        Whether the line is compiled, so that its tests run without the compiler.
    """

    path: str
    line: int
    operator: str
    number: int
    kernel: bool

    @property
    def room(self) -> str:
        """The folder below `segdata`."""
        return Path(self.path).parts[1]

    def code(self) -> str:
        """Return the whole file with the change."""
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator

        return str(mutate_code(_text(self.path), get_operator(self.operator)(), self.number))

    def told(self, code: str) -> str:
        """Describe the change by what it makes of its line, which stays true when other lines move."""
        before, after = (text.splitlines()[self.line - 1].strip() for text in (_text(self.path), code))
        return f"{self.path}: {before} -> {after}"


@cache
def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def changes_of(path: str) -> Iterator[Change]:
    """Yield the changes of a file that can make a difference: not in annotations, nor what only makes it slower."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    lines = _text(path).splitlines()
    kernels: set[int] = set()
    without: set[int] = {at for at, line in enumerate(lines, 1) if "TypeVar(" in line or line.startswith("from ")}
    annotations: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for node in ast.walk(ast.parse(_text(path))):
        if isinstance(node, ast.FunctionDef):
            body = set(range(node.lineno, (node.end_lineno or 0) + 1))
            if KERNELS & {_name(each) for each in node.decorator_list}:
                kernels |= body
            without |= {each.lineno for each in node.decorator_list if _name(each) in SPEED_ALONE}
            if "pragma: no cover" in lines[node.lineno - 1]:
                without |= body
        for each in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(each, ast.expr):
                annotations.append(((each.lineno, each.col_offset), (each.end_lineno or 0, each.end_col_offset or 0)))
    nodes = list(ast_nodes(get_ast(_text(path))))
    for name in operator_names():
        if get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        places = [place for node in nodes for place, _ in operator.mutation_positions(node)]
        for number, place in enumerate(places):
            if place[0] not in without and not any(begin <= place < end for begin, end in annotations):
                yield Change(path, place[0], name, number, place[0] in kernels)


def _name(decorator: ast.expr) -> str:
    found = decorator.func if isinstance(decorator, ast.Call) else decorator
    return found.id if isinstance(found, ast.Name) else str(getattr(found, "attr", ""))


class Tests:
    """Which tests take which line, as `make coverage` saw it."""

    def __init__(self) -> None:
        from coverage import CoverageData

        if not COVERAGE.exists():
            sys.exit("build/coverage/data is missing. Run make coverage first.")
        self._data = CoverageData(str(COVERAGE))
        self._data.read()

    def of(self, change: Change) -> list[str]:
        """Return the tests of a line, those that are named as its file first; all of the room for one of an import."""
        stem = Path(change.path).stem
        contexts = self._data.contexts_by_lineno(str(ROOT / change.path)).get(change.line, [])
        named = sorted(context for context in contexts if self._is_there(*context.partition("::")[::2]))
        if named:
            return sorted(named, key=lambda test: stem not in Path(test.partition("::")[0]).stem)
        files = sorted((ROOT / "tests" / change.room).glob("test_*.py"), key=lambda file: stem not in file.stem)
        return [change.path, *(str(file.relative_to(ROOT)) for file in files)]

    @staticmethod
    def _is_there(file: str, test: str) -> bool:
        """Say whether a test is one still; what no test takes alone has an empty context."""
        if not test or not (ROOT / file).exists():
            return False
        return file.startswith("segdata/") or f"def {test}(" in _text(file)  # an example in a docstring, or a test


class Bench:
    """A copy of the project in which one change is tried at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, folder / name)
        self.change: Change | None = None
        self.outlasted = 0  # changes that were noticed by nothing but the time
        self._process = 0
        self._begun = 0.0

    def begin(self, change: Change, code: str, tests: Sequence[str]) -> None:
        """Make a change and start its tests."""
        self.change = change
        (self.folder / change.path).write_text(code, encoding="utf-8")
        self._begun = time.monotonic()
        self._process = os.fork()
        if not self._process:
            self._test(change, tests)

    def noticed(self) -> bool | None:
        """Tell whether the tests noticed, None while they run; a change that was decided is undone."""
        assert self.change is not None
        ended, status = os.waitpid(self._process, os.WNOHANG)
        if not ended:
            if time.monotonic() - self._begun < SECONDS:
                return None
            os.killpg(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
            status, self.outlasted = 1 << 8, self.outlasted + 1
        code = os.waitstatus_to_exitcode(status)
        if code > 2:  # of pytest: 1 for a test that failed, 2 for a file that cannot be imported
            sys.exit(f"{self.change}: its tests could not be run\n{(self.folder / 'output.txt').read_text()}")
        shutil.copy2(ROOT / self.change.path, self.folder / self.change.path)
        self.change = None
        return code != 0

    def _test(self, change: Change, tests: Sequence[str]) -> None:
        """Run the tests in this process, a child that has the libraries loaded already, and end it."""
        code = BROKEN
        try:
            os.setsid()
            os.chdir(self.folder)
            with (self.folder / "output.txt").open("w") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            code = int(self._pytest(change, tests))
        except Exception:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _pytest(self, change: Change, tests: Sequence[str]) -> int:
        sys.path[:] = [str(self.folder), *(place for place in sys.path if place not in ("", str(ROOT)))]
        sys.dont_write_bytecode = True
        os.environ |= {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        if "segdata.compiled" in (self.folder / change.path).read_text(encoding="utf-8"):
            os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(dir=self.folder)  # for the kernels of a changed file
        if change.kernel:
            os.environ["NUMBA_DISABLE_JIT"] = "1"
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "segdata", "cosmic_ray")]:
            del sys.modules[name]
        import numba.core.config
        import pytest

        numba.core.config.reload_config()  # type: ignore[no-untyped-call]
        plain = ["-W", "ignore::RuntimeWarning"] if change.kernel else []  # NumPy's whole numbers that overflow
        return pytest.main(["-x", "-q", "-p", "no:cacheprovider", *plain, *tests])


def accepted() -> set[str]:
    """Return the changes that make no difference, as tests/mutants_accepted.txt has them."""
    lines = ACCEPTED.read_text(encoding="utf-8").splitlines()
    return {line.rpartition("  # ")[0].strip() for line in lines if line and not line.startswith("#")}


def main() -> int:
    """Try a sample and print a line for each room."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", default=ROOMS)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    for name in LOADED_ONCE:
        importlib.import_module(name)
    tests, known = Tests(), accepted()
    paths = [
        path.relative_to(ROOT) for room in chosen.rooms for path in sorted((ROOT / "segdata" / room).rglob("*.py"))
    ]
    all_changes = [change for path in paths for change in changes_of(str(path))]
    dice = random.Random(chosen.seed)
    waiting = dice.sample(all_changes, min(chosen.sample, len(all_changes)))
    print(f"{len(waiting)} of {len(all_changes):,} changes", flush=True)
    begun, counts, survivors = time.monotonic(), Counter[tuple[str, str]](), list[str]()

    def settle(change: Change, code: str, noticed: bool) -> None:
        told = change.told(code)
        fate = "noticed" if noticed else "accepted" if told in known else "survived"
        counts[change.room, fate] += 1
        if fate == "survived":
            print(told, flush=True)
            lines = _text(change.path).splitlines(keepends=True), code.splitlines(keepends=True)
            survivors.extend(difflib.unified_diff(*lines, change.path, f"{change.operator} {change.number}", n=2))
            SURVIVORS.write_text("".join(survivors), encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder:
        benches = [Bench(Path(folder, str(number))) for number in range(chosen.j)]
        for change in {change.room: change for change in waiting}.values():  # what is unchanged must pass
            benches[0].begin(change, _text(change.path), tests.of(change))
            while (noticed := benches[0].noticed()) is None:
                time.sleep(0.02)
            if noticed:
                told = (benches[0].folder / "output.txt").read_text(encoding="utf-8")
                sys.exit(f"the tests of {change.path}, line {change.line}, fail without any change\n{told}")
        codes: dict[Change, str] = {}
        while waiting or any(bench.change for bench in benches):
            for bench in benches:
                change = bench.change
                if change is not None and (noticed := bench.noticed()) is not None:
                    settle(change, codes.pop(change), noticed)
                if bench.change is None and waiting:
                    change = waiting.pop()
                    codes[change] = change.code()
                    bench.begin(change, codes[change], tests.of(change))
            time.sleep(0.02)
        outlasted = sum(bench.outlasted for bench in benches)
    for room in chosen.rooms:
        of_room = {fate: counts[room, fate] for fate in ("noticed", "survived", "accepted")}
        print(f"{room:<9} " + ", ".join(f"{number} {fate}" for fate, number in of_room.items()))
    total = Counter[str]()
    for (_, fate), number in counts.items():
        total[fate] += number
    share = total["noticed"] / max(1, total["noticed"] + total["survived"])
    by_time = f"{outlasted} of them because the tests took over {SECONDS:.0f} s"
    print(f"{share:.1%} noticed, {by_time}; {total['accepted']} make no difference; {time.monotonic() - begun:.0f} s")
    return int(share < WANTED)


if __name__ == "__main__":
    sys.exit(main())
