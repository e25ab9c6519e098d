"""`segdata export`: a trained model as an ONNX file."""

import json
from pathlib import Path
from typing import Any

import click

from segdata.commands.inference_options import checkpoint_argument
from segdata.commands.options import NumbersCommand, handle_interrupts, printable


@click.command("export", cls=NumbersCommand, context_settings={"help_option_names": ["-h", "--help"]})
@checkpoint_argument
@click.argument("out", metavar="OUT.onnx", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--size", type=(int, int), metavar="H W", help="Height and width of images.  [default: the training crop]"
)
@click.option("--scales", type=float, multiple=True, metavar="S...", help="As for predict.  [default: the recipe's]")
@click.option("--flip/--no-flip", default=None, help="As for predict.  [default: the recipe's]")
@click.option("--overwrite", is_flag=True, help="Replace OUT if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@handle_interrupts
def command(
    *,
    checkpoint: Path,
    out: Path,
    size: tuple[int, int] | None,
    scales: tuple[float, ...],
    flip: bool | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a model as ONNX, checked with onnxruntime.

    The file takes images as uint8 (N, 3, H, W), red, green, blue, and gives probabilities as float32 (N, K, H, W) and
    class ids as uint8 (N, H, W); N is free, H and W are fixed. Normalizing and resizing are inside. It is written only
    if onnxruntime gives what the model gives.

    \b
    Example:
      segdata export runs/pspnet pspnet.onnx --size 512 1024
    """
    from segdata.errors import SettingsError
    from segdata.inference.choices import Choices
    from segdata.inference.export import export_onnx
    from segdata.inference.loading import open_model

    if out.exists() and not overwrite:
        raise SettingsError(f"{out}: is there already. Choose another OUT, or pass --overwrite.")
    trained = open_model(checkpoint, Choices(evaluation={"scales": scales or None, "flip": flip}))
    about = export_onnx(trained, out, size or trained.recipe.augmentation.crop)
    click.echo(json.dumps(about | {"file": str(out)}, sort_keys=True) if as_json else printable(_as_text(about, out)))


def _as_text(about: dict[str, Any], out: Path) -> str:
    """Return what was written, in two lines."""
    size = "{}, {}".format(*about["size"])
    num_classes = len(about["classes"])
    return (
        f"{out}: images uint8 (N, 3, {size}) -> "
        f"probabilities float32 (N, {num_classes}, {size}), class_ids uint8 (N, {size})\n"
        f"onnxruntime agrees with the model to {about['largest_difference']:.1g}"
    )
