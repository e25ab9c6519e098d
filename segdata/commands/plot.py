"""`segdata plot`: figures of labels and targets, of two models side by side, and of synthetic scenes."""

from pathlib import Path

import click

from segdata.commands.options import NumbersCommand

_out_option = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; the ending says its form. Replaces figures, nothing else.",
)

_classes_option = click.option(
    "--classes", default="cityscapes", show_default=True, help="Class table: a bundled name or a file."
)
_encoding_option = click.option(
    "--encoding",
    type=click.Choice(["auto", "trainIds", "labelIds"]),
    default="auto",
    show_default=True,
    help="What the ids in LABEL mean.",
)


@click.group("plot")
def command() -> None:
    """Draw the figures: pooling, targets, panels of two models, scenes.

    \b
      segdata plot pooling LABEL -o pooling.png
      segdata plot targets LABEL --stride 8 -o targets.png
      segdata plot panels runs/ce runs/cpp IMAGE -o panels.png
      segdata plot scene --count 4 -o scenes.png
    """


@command.command(cls=NumbersCommand)
@click.argument("label", type=click.Path(path_type=Path))
@_out_option
@click.option(
    "--scales", type=int, multiple=True, default=(2, 4, 8, 16, 32), show_default=True, help="Cells, in pixels."
)
@_classes_option
@_encoding_option
def pooling(label: Path, output: Path | None, scales: tuple[int, ...], classes: str, encoding: str) -> None:
    """Show what nearest loses and CPP pooling keeps of a LABEL image.

    The close view is chosen where nearest loses most of what is thin; there is none where nothing thin is lost.

    \b
      segdata plot pooling gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png
      segdata plot pooling label.png --scales 4 8 16 -o pooling.png
    """
    from segdata.figures.pooling_comparison import pooling_figure
    from segdata.figures.saving import save_figure
    from segdata.labels.classes import ClassTable
    from segdata.labels.reading import read_single_label

    table = ClassTable.load(classes)
    figure = pooling_figure(read_single_label(label, table, encoding), table, scales)
    click.echo(save_figure(figure, output or Path(f"{label.stem}_pooling.png"), drawn_from=label))


@command.command()
@click.argument("label", type=click.Path(path_type=Path))
@_out_option
@click.option("--stride", type=int, default=8, show_default=True, help="Of the head: the side of a cell in pixels.")
@click.option(
    "--class",
    "names",
    multiple=True,
    metavar="NAME",
    help="Classes to show; repeat for more.  [default: those that share most cells]",
)
@_classes_option
@_encoding_option
def targets(label: Path, output: Path | None, stride: int, names: tuple[str, ...], classes: str, encoding: str) -> None:
    """Show what a head at a stride is asked to learn of a LABEL image: entropy, and a map for each class.

    \b
      segdata plot targets label.png --stride 16
      segdata plot targets label.png --stride 8 --class pole --class person -o thin.png
    """
    from segdata.figures.saving import refuse_unusable, save_figure
    from segdata.figures.target_maps import targets_figure
    from segdata.labels.classes import ClassTable
    from segdata.labels.reading import read_single_label

    path = output or Path(f"{label.stem}_targets.png")
    refuse_unusable(path, label if label.exists() else None)
    table = ClassTable.load(classes)
    figure = targets_figure(read_single_label(label, table, encoding), table, stride, names)
    click.echo(save_figure(figure, path, drawn_from=label))


@command.command(cls=NumbersCommand)
@_out_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Names the series of scenes.")
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the first scene.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Scenes to show.")
@click.option("--columns", type=click.IntRange(min=1), default=1, show_default=True, help="Scenes side by side.")
@click.option("--size", nargs=2, type=int, default=(512, 1024), show_default=True, help="Height and width in pixels.")
def scene(output: Path | None, *, seed: int, first: int, count: int, columns: int, size: tuple[int, int]) -> None:
    """Draw synthetic street scenes beside their labels.

    \b
      segdata plot scene --seed 3 --count 4 -o scenes.png
    """
    from segdata.figures.saving import save_figure
    from segdata.figures.scene_sheet import scene_sheet

    sheet = scene_sheet(seed, first, count, size, columns)
    click.echo(save_figure(sheet, output or Path(f"scenes-{seed}-{first}.png"), fewer_colors=True))


@command.command()
@click.argument("without", metavar="RUN_WITHOUT", type=click.Path(exists=True, path_type=Path))
@click.argument("with_", metavar="RUN_WITH", type=click.Path(exists=True, path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@_out_option
@click.option(
    "--name", "names", nargs=2, default=("without", "with"), show_default=True, help="What the runs are called."
)
def panels(without: Path, with_: Path, images: tuple[Path, ...], output: Path | None, names: tuple[str, str]) -> None:
    """Show two models side by side on images, with a close view of where they differ most.

    The truth is shown of images that are in the validation data of RUN_WITH.

    \b
      segdata plot panels runs/ce runs/cpp camvid/val/images/0016E5_07959.jpg -o panels.png
    """
    from segdata.figures.saving import refuse_unusable, save_figure

    path = output or Path("panels.png")
    refuse_unusable(path)
    from segdata.figures.panels import Panel, panels_figure
    from segdata.inference.side_by_side import panels_of

    drawn, table = panels_of(without, with_, images)
    click.echo(save_figure(panels_figure([Panel(*each) for each in drawn], names, table), path))
