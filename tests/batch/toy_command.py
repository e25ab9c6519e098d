"""A batch command in small, for the tests of the runner: writes every file of SRC to DST in capitals."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import click

from segdata.batch.report import open_run
from segdata.batch.run import BatchSettings, Outcome, run_batch, take_shard
from segdata.commands.options import NumbersCommand, batch_options, conclude, source_and_destination
from segdata.errors import LabelError
from segdata.files import write_atomic


@dataclass(frozen=True)
class Letter:
    """One file to be done."""

    key: str
    source: Path = Path()
    target: Path = Path()


@dataclass(frozen=True)
class Shout:
    """Write a letter in capitals, after the digest of what it was."""

    seconds: float = 0.0
    overwrite: bool = False
    dry_run: bool = False

    def __call__(self, letter: Letter) -> Outcome:
        """Do one letter."""
        text = letter.source.read_bytes()
        time.sleep(self.seconds)
        facts = {"source": letter.source.name, "target": letter.target.name, "letters": len(text)}
        whole = blake2b(text, digest_size=16).hexdigest().encode() + b"\n" + text.upper() * 2000
        if not self.overwrite and letter.target.exists() and letter.target.read_bytes() == whole:
            return Outcome(key=letter.key, status="kept", facts=facts)
        if not self.dry_run:
            write_atomic(letter.target, whole)
        return Outcome(key=letter.key, status="todo" if self.dry_run else "done", facts=facts)


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
            os.kill(os.getpid(), signal.SIGKILL)
        case "threads":
            return Outcome(key=letter.key, status="done", facts={"threads": os.environ["NUMBA_NUM_THREADS"]})
    return Outcome(key=letter.key, status="done", facts={"pid": os.getpid()})


@click.command(cls=NumbersCommand)
@source_and_destination(default=lambda source: source.with_name(f"{source.name}-loud"))
@click.option("--seconds", type=float, default=0.0)
@click.option("--tone", default="plain")
@click.option("--pitches", type=int, multiple=True)
@batch_options
def command(
    source: Path,
    destination: Path,
    seconds: float,
    tone: str,
    pitches: tuple[int, ...],
    batch: BatchSettings,
    as_json: bool,
) -> None:
    """Shout."""
    letters = [Letter(path.name, path, destination / f"{path.name}.loud") for path in sorted(source.iterdir())]
    letters = take_shard(letters, batch.shard)
    work = Shout(seconds, batch.overwrite, batch.dry_run)
    with open_run(
        destination / "shout.json",
        tool="shout",
        source=source,
        settings={"tone": tone, "pitches": pitches},
        batch=batch,
        targets=[letter.target for letter in letters],
    ) as run:
        outcomes = run_batch(work, letters, batch)
        run.finish(outcomes, {"letters": sum(outcome.facts.get("letters", 0) for outcome in outcomes)})
    sys.exit(conclude(outcomes, as_json=as_json))


if __name__ == "__main__":
    command()
