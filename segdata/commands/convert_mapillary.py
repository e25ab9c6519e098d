"""`segdata convert-mapillary`: Mapillary Vistas labels to Cityscapes ids."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segdata.commands.convert import conversion_options, finish
from segdata.commands.options import batch_options, source_and_destination
from segdata.logs import logger

if TYPE_CHECKING:
    from segdata.batch.work import BatchSettings


def sibling(source: Path) -> Path:
    """Return the folder beside SRC that is written to when no DST is given."""
    return source.with_name(f"{source.name}-cityscapes")


@click.command("convert-mapillary", context_settings={"help_option_names": ["-h", "--help"]})
@source_and_destination(sibling)
@click.option(
    "--labels",
    type=click.Choice(["auto", "v1.2", "v2.0"]),
    default="auto",
    show_default=True,
    help="Which annotation to read; auto takes v1.2 where both are there.",
)
@click.option("--mapping", metavar="NAME|FILE", help="Mapping rules; by default Table 4 for the version of the labels.")
@click.option(
    "--images",
    type=click.Choice(["symlink", "hardlink", "copy", "skip"]),
    default="symlink",
    show_default=True,
    help="How to place the images beside the labels.",
)
@click.option("--trust-config", is_flag=True, help="Take the class list of the data set's config.json as it is.")
@conversion_options
@batch_options
def command(
    *,
    source: Path,
    destination: Path,
    labels: Any,
    mapping: str | None,
    images: Any,
    trust_config: bool,
    batch: "BatchSettings",
    as_json: bool,
    **settings: Any,
) -> None:
    """Convert Mapillary Vistas labels to Cityscapes ids.

    SRC is a Vistas download (v1.0 to v1.2, or v2.0 with either annotation), by default the current folder. DST is by
    default a folder beside it, named SRC-cityscapes. Labels go to DST/gtFine/{train,val}/mapillary, images to
    DST/leftImg8bit/{train,val}/mapillary, and what became of each class and file to DST/convert-mapillary.json. After
    an interruption, the same command continues.

    \b
    Example:
      segdata convert-mapillary mapillary-vistas cityscapes-like -j 4
    """
    from segdata.jobs.convert import plan_vistas, run_convert
    from segdata.jobs.convert_label import ConvertSettings
    from segdata.labels.mapping import LabelMapping
    from segdata.layouts.vistas import VistasRoot

    root = VistasRoot.open(source, labels, trust_config=trust_config)
    rule = LabelMapping.load(
        mapping or f"vistas-{root.version}-to-cityscapes", source=root.class_table if trust_config else None
    )
    plan = plan_vistas(root, destination, ConvertSettings(mapping=rule, **settings), images=images)
    logger.info(f"labels {root.version} (by {root.evidence}), mapping {rule.name}, to {destination}")
    sys.exit(finish(run_convert(plan, batch), as_json=as_json))
