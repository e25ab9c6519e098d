"""``python -m tests.fuzz --seconds 600 [TARGET ...]``: fuzz every reader for its share of the time.

What breaks a reader is kept as a file in ``corpus/<target>``, which the tests read again each time.
"""

import argparse
import hashlib
import math
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from .targets import Target, make_targets

CORPUS = Path(__file__).parent / "corpus"


def fuzz(
    name: str,
    target: Target,
    *,
    seed: int,
    folder: Path,
    seconds: float = math.inf,
    inputs: float = math.inf,
) -> tuple[int, int]:
    """Return how many inputs a reader was given, in a time or up to a number, and how many broke it; these are kept."""
    rng, end = np.random.default_rng(seed), time.monotonic() + seconds
    given = faults = 0
    while given < inputs and time.monotonic() < end:
        data = target.mutate(target.seeds[rng.integers(len(target.seeds))], rng)
        given += 1
        try:
            target.check(data, folder)
        except Exception:
            faults += 1
            if faults <= 5:
                kept = CORPUS / name / hashlib.blake2b(data, digest_size=6).hexdigest()
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(data)
                print(f"{kept}:\n{traceback.format_exc()}", file=sys.stderr)
    return given, faults


def main() -> int:
    """Fuzz and print a line for each target; 1 if any broke."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("targets", nargs="*")
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--seed", type=int, default=int(time.time()))
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        targets = make_targets(Path(folder))
        names = chosen.targets or list(targets)
        broken = 0
        for name in names:
            inputs, faults = fuzz(
                name, targets[name], seconds=chosen.seconds / len(names), seed=chosen.seed, folder=Path(folder)
            )
            print(f"{name:<12} {inputs:>9,} inputs {faults:>4} faults")
            broken += faults
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
