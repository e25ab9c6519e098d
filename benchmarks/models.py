"""Parameters, GFLOPs at the recipe's crop and auxiliary strides of every model, as the table of docs/models.md.

    python benchmarks/models.py            # prints the table
    python benchmarks/models.py --write    # and puts it into docs/models.md

Nothing is computed: the models stand on torch's meta device, where shapes are known and operations are counted.
A multiplication and an addition are two operations. In training HMSA and SeeThroughNet see the image at two scales,
which their figure includes.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from segdata.models import MODELS, build_model
from segdata.models.segmenter import Segmenter

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
START, END = "<!-- table: benchmarks/models.py -->", "<!-- end of table -->"

CPP_CROP = (512, 1024)
"""Height and width of the CPP experiments' Cityscapes crop."""

SEE_THROUGH_CROP = (1024, 2048)
"""Height and width of SeeThroughNet's and HMSA's crop."""

FOUR = {"aux_stages": (1, 2, 3, 4)}
LITE = {"head_channels": 128, "aux_channels": 64}
"""Of the recipes `*-lite0-*`."""

ROWS: list[tuple[str, str, dict[str, Any], tuple[int, int]]] = [
    *((name, MODELS[name].backbone, FOUR, CPP_CROP) for name in ("fcn", "pspnet", "deeplabv3", "deeplabv3plus")),
    ("pspnet", "efficientnet_lite0", FOUR | {"output_stride": 16} | LITE, CPP_CROP),
    ("deeplabv3plus", "efficientnet_lite0", FOUR | {"output_stride": 16} | LITE, CPP_CROP),
    ("upernet", "resnet101_v1c", FOUR, CPP_CROP),
    ("ocrnet", "hrnet_w48", FOUR, CPP_CROP),
    ("ocrnet", "resnet101_v1c", FOUR, CPP_CROP),
    *(("hrnet", backbone, FOUR, CPP_CROP) for backbone in ("hrnet_w18", "hrnet_w32", "hrnet_w48")),
    ("hmsa", "hrnet_w48", {}, SEE_THROUGH_CROP),
    ("seethroughnet", "hrnet_w48", {}, SEE_THROUGH_CROP),
]
"""Model, backbone, further settings, crop."""


def gflops(model: Segmenter, crop: tuple[int, int]) -> float:
    """Return the operations of one forward pass on one crop, in thousand millions."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, *crop, device="meta"))
    return counter.get_total_flops() / 1e9


def auxiliary_strides(model: Segmenter, crop: tuple[int, int]) -> str:
    """Return the strides of the maps that CPP targets train, finest first."""
    with torch.no_grad():
        outputs = model(torch.empty(2, 3, *crop, device="meta")).auxiliary
    return ", ".join(str(each.stride) for each in outputs if each.name != "regions") or "none"


def row(name: str, backbone: str, settings: dict[str, Any], crop: tuple[int, int]) -> str:
    """Return one line of the table."""
    with torch.device("meta"):
        model = build_model(name, 19, backbone=backbone, **settings)
    strides = auxiliary_strides(model, crop)
    inference, training = gflops(model.eval(), crop), gflops(_bare(model), crop)
    parameters = sum(weight.numel() for weight in model.parameters()) / 1e6
    return (
        f"| {name} | {backbone} | {crop[1]}x{crop[0]} | {parameters:.2f} | {inference:,.0f} | {training:,.0f} "
        f"| {strides} |"
    )


def _bare(model: Segmenter) -> Segmenter:
    """Return the model in training mode with batch norm as in evaluation: no norm minds a batch of one image then."""
    model.train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval()
    return model


def table() -> str:
    """Return the whole table."""
    head = (
        "| model | backbone | crop | parameters, millions | GFLOPs, evaluation | with auxiliary heads | their strides |"
    )
    return "\n".join([head, "|---|---|---|--:|--:|--:|---|", *(row(*settings) for settings in ROWS)])


def main() -> None:
    """Print the table, and write it into the page on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    lines = table()
    print(lines)
    if parser.parse_args().write:
        before, rest = PAGE.read_text().split(START)
        after = rest.split(END)[1]
        PAGE.write_text(f"{before}{START}\n{lines}\n{END}{after}")


if __name__ == "__main__":
    main()
