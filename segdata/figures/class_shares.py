"""An epoch as a figure: the mixture of its sources, and what class-uniform draws do to the classes."""

from math import log10
from typing import Any

from PIL import Image, ImageDraw

from segdata.figures.lettering import font
from segdata.text import counted

_INK, _GRAY, _PALE = (33, 37, 41), (134, 142, 150), (222, 226, 230)
_BEFORE, _AFTER, _DRAWS = (173, 181, 189), (25, 113, 194), (232, 89, 12)
SOURCE_COLORS = (
    (25, 113, 194),
    (47, 158, 68),
    (232, 89, 12),
    (156, 54, 181),
    (12, 133, 153),
    (201, 42, 42),
    (102, 60, 20),
)
_WIDTH, _MARGIN, _ROW, _NAMES = 1400, 40, 38, 190
_PLOT, _BARS = 760, 250  # widths of the pixel scale and of the draw bars


def epoch_figure(told: dict[str, Any]) -> Image.Image:
    """Draw what `segdata.data.draw_summary.epoch_as_json` tells.

    On top the shares of the sources as one bar. Below, per class, its part of the pixels before (ring) and after (disc)
    on a logarithmic scale, and its class-uniform draws as a bar; above them, how the pixels were counted.
    """
    height = 340 + _ROW * len(told["classes"])
    figure = Image.new("RGB", (_WIDTH, height), (255, 255, 255))
    pen = ImageDraw.Draw(figure)
    pen.text(
        (_MARGIN, 26), f"One epoch: {counted(sum(row['draws'] for row in told['sources']), 'draw')}", _INK, font(30)
    )
    _draw_sources(pen, told["sources"], 84)
    pen.text((_MARGIN, 164), told["measured"]["text"], _GRAY, font(18))
    _draw_classes(pen, told["classes"], 276)
    return figure


def _draw_sources(pen: ImageDraw.ImageDraw, sources: list[dict[str, Any]], top: int) -> None:
    """Draw one bar, cut by the draws of each source, with a line of text under it."""
    total = max(sum(row["draws"] for row in sources), 1)
    left, width = _MARGIN, _WIDTH - 2 * _MARGIN
    at = float(left)
    legend = left
    for number, row in enumerate(sources):
        color = SOURCE_COLORS[number % len(SOURCE_COLORS)]
        end = at + width * row["draws"] / total
        pen.rectangle((round(at), top, round(end) - 3, top + 34), color)
        text = f"{row['name'] or f'source {number}'}: {counted(row['draws'], 'draw')} ({row['share']})"
        pen.ellipse((legend, top + 51, legend + 12, top + 63), color)
        pen.text((legend + 20, top + 46), text, _INK, font(18))
        legend += 50 + int(pen.textlength(text, font(18)))
        at = end


def _draw_classes(pen: ImageDraw.ImageDraw, classes: list[dict[str, Any]], top: int) -> None:
    least = _least_power(classes)
    left = _MARGIN + _NAMES
    bars = left + _PLOT + 70
    most = max((row["draws"] for row in classes), default=0) or 1
    bottom = top + _ROW * len(classes)
    pen.ellipse((left, top - 61, left + 12, top - 49), outline=_GRAY, width=3)
    pen.text((left + 20, top - 66), "part of the pixels, image by image", _GRAY, font(18))
    pen.ellipse((left + 350, top - 61, left + 362, top - 49), _AFTER)
    pen.text((left + 370, top - 66), "as drawn", _AFTER, font(18))
    pen.text((bars, top - 66), "draws by class", _DRAWS, font(18))
    for power in range(least, 1):
        x = _x_of(10.0**power, least, left)
        pen.line((x, top - 6, x, bottom), _PALE, 2)
        pen.text((x, top - 30), _percent(power), _GRAY, font(16), anchor="mt")
    for number, row in enumerate(classes):
        y = top + _ROW * number + _ROW // 2
        pen.text((left - 16, y), row["class"], _INK, font(19), anchor="rm")
        _draw_change(pen, row, y, least, left)
        if row["draws"]:
            end = bars + round(_BARS * row["draws"] / most)
            pen.rectangle((bars, y - 9, end, y + 9), _DRAWS)
            pen.text((end + 8, y), str(row["draws"]), _GRAY, font(16), anchor="lm")


def _draw_change(pen: ImageDraw.ImageDraw, row: dict[str, Any], y: int, least: int, left: int) -> None:
    """Draw ring, disc and the line between them; nothing for a class without a pixel."""
    before, after = row["pixels_before"], row["pixels_after"]
    if not before or not after:
        pen.text((left + 8, y), "no pixel seen", _GRAY, font(16), anchor="lm")
        return
    start, end = _x_of(before, least, left), _x_of(after, least, left)
    pen.line((start, y, end, y), _AFTER if after >= before else _GRAY, 4)
    pen.ellipse((start - 8, y - 8, start + 8, y + 8), (255, 255, 255), _GRAY, 3)
    pen.ellipse((end - 8, y - 8, end + 8, y + 8), _AFTER)


def _least_power(classes: list[dict[str, Any]]) -> int:
    """Return the power of ten at the left end of the scale."""
    parts = [part for row in classes for part in (row["pixels_before"], row["pixels_after"]) if part > 0]
    return min(-2, *(int(log10(part)) - 1 for part in parts)) if parts else -2


def _x_of(part: float, least: int, left: int) -> int:
    return left + round(_PLOT * (1 - log10(part) / least))


def _percent(power: int) -> str:
    return f"{100 * 10.0**power:.{max(0, -power - 2)}f}%"
