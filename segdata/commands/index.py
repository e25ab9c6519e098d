"""`segdata index`: where each class occurs."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segdata.commands.options import batch_options, conclude, printable, read_as
from segdata.logs import logger
from segdata.text import counted

if TYPE_CHECKING:
    from segdata.batch.work import BatchSettings
    from segdata.sampling.index_builder import IndexPlan

MOST_ERRORS = 20  # lines of errors on the terminal


@click.command("index", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="[SRC]", default=".", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="The index.  [default: SRC.index.npz]"
)
@click.option(
    "--classes", metavar="NAME|FILE", default="cityscapes", show_default=True, help="Class table of the labels."
)
@click.option(
    "--encoding",
    type=click.Choice(["auto", "trainIds", "labelIds"]),
    default="auto",
    show_default=True,
    help="What the ids in the labels are; auto goes by the file names.",
)
@click.option("--tile", type=int, default=1024, show_default=True, help="Side of a tile in pixels.")
@click.option(
    "--confidence",
    type=float,
    default=0.5,
    show_default=True,
    metavar="0..1",
    help="Ignore pixels of auto-labels that are less sure.",
)
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the images of a plain folder of labels lie.",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME",
    help="Only labels of this split of a Cityscapes root; repeat for more.",
)
@click.option(
    "--annotation",
    type=click.Choice(["gtFine", "gtCoarse", "auto"]),
    help="Only this kind of labels of a Cityscapes root.",
)
@click.option("--show", is_flag=True, help="Only show what the index SRC or FILE holds.")
@batch_options
def command(
    source: Path, output: Path | None, show: bool, batch: "BatchSettings", as_json: bool, **settings: Any
) -> None:
    """Write the class index: where each class occurs.

    SRC, by default the current folder, is a Cityscapes root, a folder of PNG label images, or one of pooled targets
    (.cpp.npz). The index tells per tile and class how many pixels there are, and pixels to center a crop on. Run it
    again to continue after an interruption.

    \b
    Examples:
      segdata index cityscapes --annotation gtFine --split train -o fine.index.npz
      segdata index --show fine.index.npz
    """
    source = Path(os.path.abspath(source))  # noqa: PTH100 - links stay, "." and ".." go
    if show:
        _show(output or source, as_json)
        return
    if not source.is_dir():
        raise click.BadParameter(f"'{source}' is a file. Expected a folder, or --show.", param_hint="SRC")
    from segdata.data.draw_summary import summarize_index
    from segdata.jobs.index import count_labels, plan_index
    from segdata.layouts.cityscapes import is_root
    from segdata.sampling.index_builder import run_index

    if output is None and not source.name:
        raise click.UsageError(f"-o: not given, and {source} has no file beside it. Give one.")
    chosen = output or source.with_name(f"{source.name}.index.npz")
    plan = plan_index(source, Path(os.path.abspath(chosen)), **settings)  # noqa: PTH100
    held = f" ({count_labels(plan.items)})" if plan.settings.kind == "labels" and is_root(source) else ""
    read: str = plan.settings.encoding
    if plan.settings.kind == "labels":
        read = read_as(plan.items[0].path, settings["classes"], settings["encoding"], read)
    logger.info(f"{len(plan.items):,} {plan.settings.kind} of {read}{held} to {plan.output}")
    _tell_lacking_images(plan)
    outcomes, index = run_index(plan, batch)
    result: dict[str, Any] = {"output": str(plan.output)}
    if index is not None:
        result["index"] = summarize_index(index)
        if not as_json:
            click.echo(printable(format_index(result["index"])))
    code = conclude(outcomes, as_json=as_json, result=result, most_errors=MOST_ERRORS)
    if code:
        logger.info(f"{plan.output}: not written. Fix or remove the files above and run it again; done work is kept.")
    sys.exit(code)


def _tell_lacking_images(plan: "IndexPlan") -> None:
    """Say how many labels have no image, where others have one: these cannot be trained on."""
    lacking = [item for item in plan.items if not item.image]
    if 0 < len(lacking) < len(plan.items):
        logger.info(
            f"{len(lacking):,} of {len(plan.items):,} {plan.settings.kind} have no image, first {lacking[0].path}"
        )


def format_index(summary: Mapping[str, Any]) -> str:
    """Return what an index holds as a table."""
    lines = [f"{'class':<20} {'images':>8} {'tiles':>9} {'pixels':>15} {'share':>8}"]
    total = sum(row["pixels"] for row in summary["classes"])
    for row in summary["classes"]:
        share = f"{row['pixels'] / total:8.3%}" if total else f"{'-':>8}"
        lines.append(f"{row['class']:<20} {row['images']:>8,} {row['tiles']:>9,} {row['pixels']:>15,} {share}")
    everything = total + summary["ignored"]
    of_all = f"{summary['ignored'] / everything:8.3%} of all" if everything else f"{'-':>8}"
    lines.append(f"{'ignored':<20} {'':>8} {'':>9} {summary['ignored']:>15,} {of_all}")
    lines.append(f"{counted(summary['images'], 'image')} in tiles of {summary['tile']}, digest {summary['digest']}")
    if summary["absent"]:
        lines.append(f"classes without a pixel: {', '.join(summary['absent'])}")
    return "\n".join(lines)


def _show(path: Path, as_json: bool) -> None:
    from segdata.data.draw_summary import summarize_index
    from segdata.sampling.class_index import ClassIndex

    index = ClassIndex.load(path, check=False)
    if index.has_labels():
        index.refuse_stale()
    else:
        logger.info(f"{path}: its labels are not in {index.root}. Not compared with them.")
    summary = summarize_index(index)
    click.echo(json.dumps(summary, sort_keys=True) if as_json else printable(format_index(summary)))
