"""`segdata verify`: re-read what a command wrote; name what is damaged, missing or stale."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segdata.commands.options import handle_interrupts, printable

if TYPE_CHECKING:
    from segdata.jobs.verify import Verification


class SampleType(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """A number of outputs, or all of them (None)."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Return the number, or None for all."""
        if str(value).lower() == "all":
            return None
        if not str(value).isdecimal():
            self.fail(f"{value!r} is neither a number of outputs nor 'all'.", param, ctx)
        return int(value)


@click.command("verify", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--deep",
    type=SampleType(),
    default=0,
    help="Make so many outputs again from their labels and compare; an index is always held against all of its labels.",
)
@click.option("--rules", metavar="FILE", help="For --deep: the mapping or class table that was used, if it is a file.")
@click.option("-j", "--jobs", type=int, default=1, show_default=True, help="Processes; -1: one per core.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@handle_interrupts
def command(folder: Path, deep: int | None, rules: str | None, jobs: int, as_json: bool) -> None:
    """Re-read what a command wrote; name what is damaged, missing or stale.

    DIR, by default the current folder, is the DST of convert, convert-mapillary or precompute-cpp, a folder that holds
    indexes (*.index.npz), or an index. Every output that the report there names is read whole; where SRC can be
    reached, its label too. One line per fault, then their number by kind; the exit code is 1 if there is one. Nothing
    is written.

    \b
    Examples:
      segdata verify cityscapes-like
      segdata verify cityscapes-cpp --deep 100 -j 4
    """
    from segdata.jobs.verify import verify

    found = verify(Path(os.path.abspath(folder)), deep=deep, rules=rules, jobs=jobs, progress=True)  # noqa: PTH100
    click.echo(as_text(found) if not as_json else as_json_text(found))
    sys.exit(1 if found.faults else 0)


def as_text(found: "Verification") -> str:
    """Return one line per fault, and the summary as a table."""
    from segdata.jobs.verify_outputs import KINDS

    faults = [printable(f"{fault.kind}: {fault.message}") for fault in found.faults]
    table = [f"  {number:>8}  {kind:<10}  {KINDS[kind]}" for kind, number in found.counts().items() if number]
    num_bad = {0: "no fault", 1: "1 fault"}.get(len(found.faults), f"{len(found.faults)} faults")
    summary = (
        f"{found.num_outputs} outputs read, {found.num_compared} compared with their labels, "
        f"{found.num_recomputed} made again: {num_bad}"
    )
    return "\n".join([*faults, summary, *table])


def as_json_text(found: "Verification") -> str:
    """Return all of it as one JSON object."""
    return json.dumps({"counts": found.counts(), **asdict(found)}, sort_keys=True)
