"""`segdata report`: a page that shows what a command made."""

from pathlib import Path

import click

from segdata.commands.options import handle_interrupts, printable

_EXISTING = click.Path(exists=True, path_type=Path)


@click.command("report", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="DIR|FILE", type=_EXISTING)
@click.option(
    "--predictions",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Of a run: what `segdata predict` wrote for its validation images; adds confusions and scores by image.",
)
@click.option(
    "--class-uniform",
    type=click.FloatRange(0, 1),
    help="Of an index: the part of the draws by class of which the effect is shown.  [default: 0.5]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="Page to write.",
)
@handle_interrupts
def command(*, source: Path, predictions: Path | None, class_uniform: float | None, output: Path) -> None:
    """Write a page of HTML that shows a converted data set, stored targets, a class index, a run or an experiment.

    The page is one file: it needs no network, and opens from a disk or an e-mail.

    \b
    Examples:
      segdata report city -o city.html
      segdata report fine.index.npz -o fine.html
      segdata report runs/pspnet --predictions predicted -o pspnet.html
      segdata report seeds -o seeds.html
    """
    from segdata.errors import SettingsError
    from segdata.files import write_atomic
    from segdata.pages.page_of import page_of

    if output.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"{output}: a page ends in .html. Choose such a name.")
    if output.exists() and source.is_file() and output.samefile(source):
        raise SettingsError(f"{output}: is what is shown, and would be replaced. Choose another -o.")
    data = page_of(source, predictions=predictions, class_uniform=class_uniform, progress=True).encode()
    write_atomic(output, data)
    click.echo(printable(f"{output} ({len(data) / 2**20:.1f} MiB)"))
