"""Re-read class indexes: their checksums, and the labels and confidence images they were made from."""

from collections.abc import Iterator
from pathlib import Path

from segdata.codecs.mapped_npz import check_npz
from segdata.errors import StoreError
from segdata.jobs.verify_outputs import Fault
from segdata.sampling.class_index import ClassIndex

ENDING = ".index.npz"


def find_indexes(place: Path) -> list[Path]:
    """Return the index that `place` is, or the finished and unfinished ones that it holds."""
    if place.is_file():
        return [place]
    begun = {path.with_name(path.name.removesuffix(".parts")) for path in place.glob(f"*{ENDING}.parts")}
    return sorted({*place.glob(f"*{ENDING}"), *begun})


def faults_of(path: Path) -> Iterator[Fault]:
    """Yield what is amiss with one index: unfinished, damaged, or stale, a line for each file that differs."""
    if path.with_name(f"{path.name}.parts").is_dir():
        how_to_fix = "Run segdata index again" + (", with --overwrite." if path.exists() else ".")
        yield Fault("unfinished", str(path), f"{path}: the run has not come to its end. {how_to_fix}")
    if not path.exists():
        return
    try:
        check_npz(path)  # also where its labels are out of reach
        index = ClassIndex.load(path, check=False)
        told = list(index.faults(deep=True)) if _has_root(index) else []
    except StoreError as error:
        yield Fault("damaged", str(path), str(error))
        return
    yield from (Fault("stale", str(path), message) for message in told)


def is_reachable(path: Path) -> bool:
    """Tell whether the labels of an index are there to be compared with."""
    try:
        return _has_root(ClassIndex.load(path, check=False))
    except StoreError:
        return False


def _has_root(index: ClassIndex) -> bool:
    return index.root is not None and Path(index.root).is_dir()
