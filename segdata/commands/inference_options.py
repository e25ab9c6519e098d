"""What the commands that apply a model share: how it is applied, and a batch run in the one process that holds it."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from segdata.commands.options import batch_options

Callback = TypeVar("Callback", bound=Callable[..., Any])

checkpoint_argument = click.argument("checkpoint", metavar="CHECKPOINT", type=click.Path(exists=True, path_type=Path))

_INFERENCE_OPTIONS = (
    click.option(
        "--scales",
        type=float,
        multiple=True,
        metavar="S...",
        help="Resize the image by each factor; averaged, or fused by attention.  [default: the recipe's]",
    ),
    click.option("--flip/--no-flip", default=None, help="Average with the mirrored image.  [default: the recipe's]"),
    click.option(
        "--average",
        type=click.Choice(["probabilities", "logits"]),
        help="What is averaged over scales and flips.  [default: the recipe's]",
    ),
    click.option("--window", type=(int, int), metavar="H W", help="Slide a window of H x W pixels over the image."),
    click.option(
        "--stride", type=(int, int), metavar="H W", help="Pixels between windows.  [default: two thirds of the window]"
    ),
    click.option(
        "--windows-at-a-time", type=click.IntRange(min=1), help="Windows in one batch.  [default: the recipe's]"
    ),
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        help="Of the model's arithmetic.  [default: the recipe's]",
    ),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
)


def inference_options(callback: Callback) -> Callback:
    """Add the options of how a model is applied, for a `NumbersCommand`.

    The callback gets ``choices``, a `segdata.inference.choices.Choices`.
    """

    @wraps(callback)
    def run(
        *, scales: tuple[float, ...], windows_at_a_time: int | None, precision: Any, device: str, **others: Any
    ) -> Any:
        from segdata.inference.choices import Choices

        evaluation = {name: others.pop(name) for name in ("flip", "average", "window", "stride")}
        evaluation |= {"scales": scales or None, "batch_size": windows_at_a_time}
        return callback(choices=Choices(evaluation=evaluation, precision=precision, device=device), **others)

    for option in reversed(_INFERENCE_OPTIONS):
        run = option(run)
    return run  # type: ignore[return-value]


def inference_option_names() -> frozenset[str]:
    """Return the names of these options, as click has them."""
    return frozenset(option.name for option in inference_options(lambda: None).__click_params__)  # type: ignore[attr-defined]


def one_process_options(callback: Callback) -> Callback:
    """Add the options of a batch in the one process that holds the model; see `segdata.commands.options`."""
    return batch_options(callback, one_process=True)
