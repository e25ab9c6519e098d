"""An experiment as a figure: every run of every arm, and how the arms come to their scores."""

import math

from PIL import Image, ImageDraw

from segdata.experiments.statistics import Summary
from segdata.figures.lettering import font

_INK, _GRAY, _PALE, _PAPER = (33, 37, 41), (134, 142, 150), (222, 226, 230), (255, 255, 255)
_COLORS = ((134, 142, 150), (25, 113, 194), (232, 89, 12), (47, 158, 68), (156, 54, 181), (12, 133, 153), (201, 42, 42))
_WAY = ((25, 113, 194), (156, 54, 181), (232, 89, 12))
_WIDTH, _HEIGHT, _MARGIN, _TOP, _BOTTOM = 1400, 640, 90, 110, 90
_PLOT = 580  # width of each of the two plots
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


def experiment_figure(summary: Summary) -> Image.Image:
    """Draw the runs of each arm as dots with their mean and standard deviation, beside the mean curves of training."""
    figure = Image.new("RGB", (_WIDTH, _HEIGHT), _PAPER)
    pen = ImageDraw.Draw(figure)
    pen.text((40, 24), summary.grid.about or f"{summary.measure} by arm", _INK, font(26))
    pen.text((40, 62), f"{summary.measure} in percent", _GRAY, font(18))
    _draw_runs(pen, summary, _MARGIN)
    _draw_curves(pen, summary, _MARGIN + _PLOT + 120)
    return figure


def _draw_runs(pen: ImageDraw.ImageDraw, summary: Summary, left: int) -> None:
    values = [value for arm in summary.arms for value in arm.values]
    spread = [arm for arm in summary.arms if not math.isnan(arm.std)]
    scale = _Scale.over(values + [arm.mean + side * arm.std for arm in spread for side in (-1, 1)])
    _draw_grid(pen, scale, left)
    column = _PLOT / len(summary.arms)
    for number, arm in enumerate(summary.arms):
        x = left + column * (number + 0.5)
        color = _color(number, len(summary.arms))
        pen.text((x, _HEIGHT - _BOTTOM + 14), arm.name, _INK, font(18 if len(summary.arms) < 6 else 14), anchor="ma")
        for run, value in enumerate(arm.values):
            at = x + (run - (len(arm.values) - 1) / 2) * min(14.0, column / (len(arm.values) + 1))
            y = scale.y(value)
            pen.ellipse((at - 5, y - 5, at + 5, y + 5), color)
        if arm.values:
            reach = min(60.0, 0.45 * column)
            pen.line((x - reach, scale.y(arm.mean), x + reach, scale.y(arm.mean)), color, 3)
        if not math.isnan(arm.std):
            pen.line((x, scale.y(arm.mean - arm.std), x, scale.y(arm.mean + arm.std)), color, 2)


def _draw_curves(pen: ImageDraw.ImageDraw, summary: Summary, left: int) -> None:
    points = [point for curve in summary.curves.values() for point in curve]
    if not points:
        return
    scale = _Scale.over([value for _, value in points])
    _draw_grid(pen, scale, left)
    last = max(step for step, _ in points)
    for number, (name, curve) in enumerate(summary.curves.items()):
        color = _color(number, len(summary.curves))
        line = [(left + _PLOT * step / last, scale.y(value)) for step, value in curve]
        if len(line) > 1:
            pen.line(line, color, 3, joint="curve")
        for x, y in line:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), color)
        size = 18 if len(summary.curves) <= len(_COLORS) else 14
        pen.text((left + 16, _TOP + 6 + 1.4 * size * number), name, color, font(size))
    for step in sorted({step for step, _ in points}):
        pen.text((left + _PLOT * step / last, _HEIGHT - _BOTTOM + 14), f"{step:,}", _GRAY, font(16), anchor="mt")
    pen.text((left + _PLOT / 2, _HEIGHT - 30), "steps, mean over the runs", _GRAY, font(16), anchor="mm")


def _color(number: int, of: int) -> tuple[int, int, int]:
    """Return the color of an arm: of many, a place on a way from blue over violet to orange."""
    if of <= len(_COLORS):
        return _COLORS[number]
    place = number / (of - 1) * (len(_WAY) - 1)
    start = min(int(place), len(_WAY) - 2)
    red, green, blue = (round(a + (place - start) * (b - a)) for a, b in zip(_WAY[start], _WAY[start + 1], strict=True))
    return red, green, blue


class _Scale:
    """A vertical axis of round numbers."""

    def __init__(self, low: float, high: float, step: float) -> None:
        self.low, self.high, self.step = low, high, step

    @classmethod
    def over(cls, values: list[float]) -> "_Scale":
        low, high = min(values), max(values)
        step = next((step for step in _STEPS if (high - low) / step <= 6), _STEPS[-1])
        return cls(math.floor(low / step) * step, math.ceil(high / step + 0.01) * step, step)

    def y(self, value: float) -> float:
        """Return where a value stands."""
        height = _HEIGHT - _TOP - _BOTTOM
        return _TOP + height * (self.high - value) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """The round numbers."""
        return [self.low + number * self.step for number in range(round((self.high - self.low) / self.step) + 1)]


def _draw_grid(pen: ImageDraw.ImageDraw, scale: _Scale, left: int) -> None:
    for tick in scale.ticks:
        y = scale.y(tick)
        pen.line((left, y, left + _PLOT, y), _PALE, 1)
        pen.text((left - 10, y), f"{tick:.{1 if scale.step < 1 else 0}f}", _GRAY, font(16), anchor="rm")
