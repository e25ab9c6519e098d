"""`segdata demo`: synthetic scenes, and the whole chain on them, each step shown as the command a user would type."""

import shlex
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import click

from segdata.errors import SettingsError

SIZE = (512, 1024)
RECIPE = "tiny-deeplabv3plus-scenes"
PEOPLE = 4.0
"""Times as many as in a usual scene: a model that learns for a few minutes finds them."""
NUM_VISTAS, NUM_TRAIN, NUM_VAL, NUM_COARSE = 24, 16, 4, 8
MARK = "made-by-segdata-demo.txt"


def chain(folder: Path) -> list[tuple[str, list[str]]]:
    """Return the steps after the scenes are made: what each is for, and its words after `segdata`."""

    def at(*names: str) -> str:
        return str(folder.joinpath(*names))

    label = next(folder.glob("cityscapes/gtFine/val/*/*_labelTrainIds.png"))
    both = ("--split", "train", "--split", "val")  # fine + val, as the paper draws them
    indexes: dict[str, tuple[str, tuple[str, ...]]] = {
        "fine": ("cityscapes/gtFine", both),
        "vistas": ("vistas-cityscapes", both),
        "coarse": ("cityscapes/autolabeled", ()),
    }
    mixture = [("fine", "0.4"), ("vistas", "0.4:1"), ("coarse", "0.2:1")]
    return [
        (
            "Vistas labels become Cityscapes trainIds, by Table 4",
            ["convert-mapillary", at("vistas"), at("vistas-cityscapes")],
        ),
        (
            "Soft targets of every label, three scales in a file",
            ["precompute-cpp", "--scales", "2", "4", "8", at("vistas-cityscapes"), at("vistas-cityscapes-cpp")],
        ),
        ("", ["precompute-cpp", "--scales", "2", "4", "8", at("cityscapes"), at("cityscapes-cpp")]),
        ("Both outputs are read again and held against their labels", ["verify", at("vistas-cityscapes")]),
        ("", ["verify", at("vistas-cityscapes-cpp")]),
        ("What nearest-neighbor down-sampling loses", ["plot", "pooling", str(label), "-o", at("pooling.png")]),
        ("What became of each class, as a page", ["report", at("vistas-cityscapes"), "-o", at("conversion.html")]),
        *(
            (
                "Where each class occurs" if name == "fine" else "",
                index_words(at(place), at(f"{name}.index.npz"), *choice),
            )
            for name, (place, choice) in indexes.items()
        ),
        (
            "What an epoch of the paper's mixture will draw",
            [
                "sample",
                *(
                    word
                    for name, share in mixture
                    for word in ("--source", f"{name}={at(f'{name}.index.npz')}:{share}")
                ),
                *("--plot", at("epoch.png"), "--crops", at("crops.jpg"), "--crop-size", "64", "64"),
            ],
        ),
    ]


def training(folder: Path) -> list[tuple[str, list[str]]]:
    """Return the steps that need torch: train a tiny DeepLabV3+, measure it, look at what it makes of an image."""
    run, images = str(folder / "run"), str(folder / "cityscapes" / "leftImg8bit" / "val")
    predictions = str(folder / "predictions")
    settings = ("--set", f"data.root={folder}")
    return [
        (
            "A tiny DeepLabV3+, trained on that mixture and on the stored targets",
            ["train", "--config", RECIPE, *settings, "--out", run],
        ),
        ("How good it is on scenes that it has not seen", ["evaluate", run]),
        ("What it makes of them", ["predict", run, images, predictions, "--write", "labels", "--write", "overlay"]),
        ("All of it on a page", ["report", run, "--predictions", predictions, "-o", str(folder / "run.html")]),
    ]


def index_words(labels: str, index: str, *choice: str) -> list[str]:
    """Return the words of an index command; the tiles are small, as the scenes are."""
    return ["index", labels, "-o", index, "--tile", "256", *choice]


def make_scenes(folder: Path) -> None:
    """Write the made data sets; on a second run they come out the same."""
    from segdata.synthetic import write_cityscapes, write_vistas

    write_vistas(folder / "vistas", NUM_VISTAS, SIZE, seed=1, people_factor=PEOPLE, jobs=-1)
    write_cityscapes(
        folder / "cityscapes",
        SIZE,
        train=NUM_TRAIN,
        val=NUM_VAL,
        train_extra=NUM_COARSE,
        auto_labels=True,
        people_factor=PEOPLE,
        jobs=-1,
    )


def empty_own_folder(folder: Path) -> None:
    """Empty the folder of an earlier demo, and touch no other.

    Raises
    ------
    SettingsError
        If the folder holds something else.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / MARK).is_file():
            raise SettingsError(f"{folder}: is not empty, and no demo made it. Give a new folder: segdata demo DIR.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("Made by `segdata demo`, which empties this folder when it runs again.\n")


def left_to_see(folder: Path) -> list[str]:
    """Return a line for each figure and page that is there, with what it shows."""
    shown = {
        "conversion.html": "what became of each Vistas class",
        "pooling.png": "what nearest-neighbor down-sampling loses, and pooling keeps",
        "epoch.png": "how much more often rare classes are drawn",
        "crops.jpg": "crops, the drawn class outlined",
        "predictions/overlay": "what the model makes of scenes it has not seen",
        "run.html": "curves, classes, confusions and images of the run",
    }
    return [f"  {folder / name}: {what}" for name, what in shown.items() if (folder / name).exists()]


def run_step(title: str, words: list[str]) -> None:
    """Show a command as a user would type it, and run it."""
    from segdata.commands import group

    if title:
        click.secho(f"\n# {title}", bold=True)
    click.secho(f"$ segdata {shlex.join(words)}", fg="cyan")
    sys.stdout.flush()
    try:
        code = group.main(words, prog_name="segdata", standalone_mode=False)
    except SystemExit as end:
        code = end.code
    if code:
        raise SettingsError(f"segdata {shlex.join(words)}: ended with status {code}; see above. Please report it.")


@click.command("demo")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default="demo")
@click.option("--data-only", is_flag=True, help="Stop before the training.")
def command(folder: Path, data_only: bool) -> None:
    """Make small street scenes and run the whole chain on them.

    DIR (by default ./demo) gets scenes in the Vistas and Cityscapes layouts and all that is made of them. Each step is
    shown as the command you would type for your own data. On two cores the data take up to a minute and the training,
    where torch is installed, three to eight; nothing is downloaded.

    \b
    Example:
      segdata demo my-demo
    """
    start = time.monotonic()
    empty_own_folder(folder)
    click.secho("# Synthetic street scenes, in the layouts of Mapillary Vistas and Cityscapes", bold=True)
    make_scenes(folder)
    click.echo(
        f"{NUM_VISTAS} scenes in {folder / 'vistas'}, {NUM_TRAIN + NUM_VAL + NUM_COARSE} in {folder / 'cityscapes'}"
    )
    for title, words in chain(folder):
        run_step(title, words)
    click.echo(f"\nThe data are ready after {time.monotonic() - start:.0f} s. To look at meanwhile:")
    click.echo("\n".join(left_to_see(folder)))
    if not data_only and find_spec("torch") is None:
        click.echo("\nTraining needs torch: pip install 'segdata[train]', and run the demo again to see it.")
    elif not data_only:
        for title, words in training(folder):
            run_step(title, words)
    click.echo(f"\nDone in {time.monotonic() - start:.0f} s. To look at:")
    click.echo("\n".join(left_to_see(folder)))
