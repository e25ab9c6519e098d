"""Draw docs/images/cpp-pooling.png and aux-heads.png, after the paper's Figures 2 and 3.

The numbers are those of `segdata.cpp_counts`, the strides and channels those of the models.

python docs/draw_cpp.py
"""

import numpy as np
from numpy.typing import NDArray
from sheet import FAINT, INK, Sheet

import segdata
from segdata.models import build_model

NAMES = ("road", "car", "sky")
COLORS = ("#b39bc8", "#8fa8e0", "#9fd0ee", "#c9ced4")  # the last is ignored
LABEL = np.array([[2, 2, 2, 1], [2, 2, 1, 1], [0, 1, 1, 1], [0, 0, 0, 255]], np.uint8)


def draw_pooling() -> Sheet:
    """Draw a label of 4 x 4 pixels, pooled by 2 and by 4, a map for each class with its numbers."""
    sheet = Sheet((1500, 560))
    sheet.words((750, 28), "Class-probability-preserving pooling of a label of 4 x 4 pixels", size=26)
    sheet.words((150, 76), "label", size=19)
    _grid(sheet, (50, 100), 50, LABEL)
    for number, (text, color) in enumerate(zip((*NAMES, "ignored"), COLORS, strict=True)):
        sheet.pen.rectangle((50, 330 + 34 * number, 76, 356 + 34 * number), fill=color, outline=INK)
        sheet.words((88, 343 + 34 * number), text, size=17, anchor="lm")
    for cell, left, side in ((2, 330, 100), (4, 960, 150)):
        _pooled(sheet, cell, left, side)
    told = "Each map holds the class's part of the cell's pixels. Nothing is lost: the maps of a cell sum to 1."
    sheet.words((750, 530), told, size=17, color=FAINT)
    return sheet


def _grid(sheet: Sheet, place: tuple[int, int], side: int, ids: NDArray[np.uint8]) -> None:
    for (row, column), value in np.ndenumerate(ids):
        left, top = place[0] + column * side, place[1] + row * side
        sheet.pen.rectangle((left, top, left + side, top + side), fill=COLORS[min(value, 3)], outline=INK, width=2)


def _pooled(sheet: Sheet, cell: int, left: int, side: int) -> None:
    """Draw the maps of all classes, two by two."""
    shares = segdata.cpp_counts(LABEL, cell, num_classes=3) / cell**2
    sheet.words((left + 260, 76), f"1/{cell}: cells of {cell} x {cell} pixels", size=19)
    size = side if cell == 4 else 2 * side
    for channel, name in enumerate((*NAMES, "ignored")):
        x, y = left + channel % 2 * 270, 104 + channel // 2 * 206
        length = min(size, 150)
        step = length // shares.shape[1]
        for (row, column), share in np.ndenumerate(shares[channel]):
            box = (x + column * step, y + row * step, x + (column + 1) * step, y + (row + 1) * step)
            sheet.pen.rectangle(box, fill=_mixed(COLORS[channel], share), outline=INK, width=2)
            text = f"{round(share * cell**2)}/{cell**2}" if share else "0"
            sheet.words(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), text, size=18)
        sheet.words((x + length / 2, y + length + 16), name, size=16, color=FAINT)


def _mixed(color: str, share: float) -> str:
    """Return a color as much as the share says, else white."""
    parts = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (part - 255) * share):02x}" for part in parts)


def draw_heads() -> Sheet:
    """Draw the four auxiliary heads on ResNet-101 and on HRNetV2-W48."""
    sheet = Sheet((1500, 760))
    sheet.words((750, 28), "An auxiliary head on each of four stages, its target pooled at its own stride", size=26)
    _heads(sheet, 70, "ResNet-101 (v1c), dilated", "pspnet", "resnet101_v1c", chained=True)
    _heads(sheet, 420, "HRNetV2-W48", "hrnet", "hrnet_w48", chained=False)
    return sheet


def _heads(sheet: Sheet, top: int, title: str, model: str, backbone: str, *, chained: bool) -> None:
    import torch

    with torch.device("meta"):
        built = build_model(model, 19, backbone=backbone).backbone
    part = "stage" if chained else "branch"
    sheet.words((40, top + 18), title, size=20, anchor="lm")
    sheet.box((40, top + 60, 170, top + 130), "image\nH x W", "white")
    for number, (stride, channels) in enumerate(zip(built.strides, built.channels, strict=True)):
        left = 220 + number * 310
        sheet.box(
            (left, top + 60, left + 250, top + 130), f"{part} {number + 1}: 1/{stride}\n{channels} channels", "#dbe7f5"
        )
        if chained or number == 0:
            sheet.arrow((left - (50 if number == 0 else 60), top + 95), (left, top + 95))
        sheet.arrow((left + 125, top + 130), (left + 125, top + 165))
        sheet.box((left, top + 165, left + 250, top + 225), "head: 3x3, BN, ReLU, 1x1", "#d9efdd", size=17)
        sheet.arrow((left + 125, top + 225), (left + 125, top + 260))
        sheet.box(
            (left, top + 260, left + 250, top + 310), f"CPP loss, cells of {stride} x {stride}", "#f6ead2", size=17
        )
    if not chained:
        sheet.words((785, top + 340 - 16), "the branches exchange their features in every stage", size=16, color=FAINT)


def main() -> None:
    """Draw both and save them."""
    draw_pooling().save("cpp-pooling.png")
    draw_heads().save("aux-heads.png")


if __name__ == "__main__":
    main()
