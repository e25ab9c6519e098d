"""A batch command in small, for the tests of the runner: writes every file of SRC to DST in capitals."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import click

from segdata.batch.run import Job, Plan, exit_code, run_plan
from segdata.batch.work import BatchSettings, Outcome
from segdata.commands.options import NumbersCommand, batch_options, conclude, source_and_destination
from segdata.errors import LabelError
from segdata.files import write_atomic


@dataclass(frozen=True)
class Letter:
    """One file to be done."""

    key: str
    path: Path = Path()

    @property
    def source(self) -> str:
        return self.path.name

    @property
    def target(self) -> str:
        return f"{self.key}.loud"


@dataclass(frozen=True)
class Shout(Job[Letter]):
    """Write a letter in capitals, after the digest of what it was."""

    destination: Path
    seconds: float = 0.0

    def read(self, item: Letter) -> bytes:
        text = item.path.read_bytes()
        time.sleep(self.seconds)
        return text

    def match(self, item: Letter, source: bytes) -> dict[str, Any] | None:
        target = self.destination / item.target
        return {"letters": len(source)} if target.exists() and target.read_bytes() == loud(source) else None

    def make(self, item: Letter, source: bytes) -> dict[str, Any]:
        write_atomic(self.destination / item.target, loud(source))
        return {"letters": len(source)}


def loud(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).hexdigest().encode() + b"\n" + text.upper() * 2000


@dataclass(frozen=True, kw_only=True)
class ShoutPlan(Plan[Letter]):
    """All letters of a folder."""

    tool: str = "shout"
    seconds: float
    settings: dict[str, Any]

    @property
    def recorded(self) -> dict[str, Any]:
        return self.settings

    @property
    def job(self) -> Shout:
        return Shout(self.destination, self.seconds)

    def targets(self, item: Letter) -> list[Path]:
        return [self.destination / item.target]

    def totals(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        return {"letters": sum(outcome.facts.get("letters", 0) for outcome in outcomes)}


def misbehave(letter: Letter) -> Outcome:
    """Do nothing, or what the key says."""
    match letter.key.partition("-")[0]:
        case "sleep":
            time.sleep(0.02)
        case "bad":
            raise LabelError(f"{letter.key}: holds nothing.\nTwo lines.")
        case "missing":
            Path("nowhere", letter.key).read_bytes()
        case "hungry":
            raise MemoryError
        case "broken":
            raise ZeroDivisionError("by nought")
        case "deadly":
            time.sleep(0.5)  # a Dask worker that dies before its nanny has noted its start is not started again
            os.kill(os.getpid(), signal.SIGKILL)
        case "threads":
            return Outcome(key=letter.key, status="done", facts={"threads": os.environ["NUMBA_NUM_THREADS"]})
    return Outcome(key=letter.key, status="done", facts={"pid": os.getpid()})


@click.command(cls=NumbersCommand)
@source_and_destination(default=lambda source: source.with_name(f"{source.name}-loud"))
@click.option("--seconds", type=float, default=0.0)
@click.option("--tone", default="plain")
@click.option("--pitches", type=int, multiple=True)
@click.option("--many", type=int, default=0)
@batch_options
def command(
    source: Path,
    destination: Path,
    seconds: float,
    tone: str,
    pitches: tuple[int, ...],
    many: int,
    batch: BatchSettings,
    as_json: bool,
) -> None:
    """Shout."""
    plan = ShoutPlan(
        source=source,
        destination=destination,
        items=[Letter(path.name, path) for path in sorted(source.iterdir())],
        seconds=seconds,
        settings={"tone": tone, "pitches": pitches},
    )
    if many:
        sys.exit(shout_in_shards(plan, many))
    sys.exit(conclude(run_plan(plan, batch).outcomes, as_json=as_json))


def shout_in_shards(plan: ShoutPlan, many: int) -> int:
    """Run so many shards at once, all of them let go at the same moment; return how many failed."""
    barrier = multiprocessing.get_context("fork").Barrier(many)

    def shard(number: int) -> None:
        barrier.wait()
        sys.exit(exit_code(run_plan(plan, BatchSettings(shard=(number + 1, many))).outcomes))

    started = [multiprocessing.get_context("fork").Process(target=shard, args=(number,)) for number in range(many)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return sum(process.exitcode != 0 for process in started)


if __name__ == "__main__":
    command()
