"""`segdata explain`: what of an image speaks for a class."""

from pathlib import Path

import click

from segdata.commands.options import handle_interrupts, printable

_EXISTING = click.Path(exists=True, path_type=Path)


@click.command("explain", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("checkpoint", metavar="CHECKPOINT", type=_EXISTING)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=_EXISTING)
@click.option("--class", "class_name", required=True, metavar="NAME", help="Class, by its name in the model's table.")
@click.option("--beside", type=_EXISTING, metavar="CHECKPOINT", help="A second model, side by side.")
@click.option("--layer", metavar="NAME", help="stageN of the backbone, or any module.  [default: its last stage]")
@click.option("--head", default="main", show_default=True, help="main, or an auxiliary map by name, as stage3.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=Path("explained.png"),
              show_default=True, help="Figure to write; the ending says its form.")  # fmt: skip
@handle_interrupts
def command(
    *,
    checkpoint: Path,
    images: tuple[Path, ...],
    class_name: str,
    beside: Path | None,
    layer: str | None,
    head: str,
    device: str,
    output: Path,
) -> None:
    """Show which places of images speak for a class, by Grad-CAM.

    CHECKPOINT is a file, or the folder of a run. Bright places of the layer raise the score of the class, summed over
    the whole map; dark ones do not. With --beside two models are drawn side by side, as the paper's Figure 5.

    \b
    Examples:
      segdata explain runs/cpp street.jpg --class pole -o pole.png
      segdata explain runs/ce street.jpg --beside runs/cpp --class pole --layer stage2
    """
    import torch

    from segdata.codecs.photos import read_image
    from segdata.errors import SettingsError
    from segdata.figures.heat import heat_figure
    from segdata.figures.saving import refuse_unusable, save_figure
    from segdata.inference.choices import Choices
    from segdata.inference.grad_cam import grad_cam
    from segdata.inference.loading import open_model
    from segdata.labels.names import did_you_mean

    refuse_unusable(output)
    models = [open_model(path, Choices(evaluation={})) for path in (checkpoint, beside) if path is not None]
    chosen = "cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu"
    class_ids = []
    for trained in models:
        known = trained.table.train_names
        if class_name not in known:
            raise SettingsError(
                f"--class {class_name}: '{trained.table.name}' has no such class.{did_you_mean(class_name, known)}"
            )
        class_ids.append(known.index(class_name))
    pixels = [read_image(path) for path in images]
    heats = [
        [
            grad_cam(
                trained.model,
                image,
                class_id,
                layer=layer,
                head=head,
                device=chosen,
                mean=trained.recipe.augmentation.mean,
                std=trained.recipe.augmentation.std,
            )
            for trained, class_id in zip(models, class_ids, strict=True)
        ]
        for image in pixels
    ]
    paths = [path for path in (checkpoint, beside) if path is not None]
    names = [path.name for path in paths] if len({path.name for path in paths}) == len(paths) else [*map(str, paths)]
    title = f"What speaks for {class_name}: {layer or 'last stage'}, map {head}"
    click.echo(printable(str(save_figure(heat_figure(pixels, heats, names, title), output))))
