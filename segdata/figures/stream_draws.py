"""The stream as a figure: who is drawn at each position, how far the counts are from the shares, who gets what."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segdata.figures.class_shares import SOURCE_COLORS
from segdata.figures.lettering import font
from segdata.sampling.sampler import MixedClassUniformSampler

_INK, _GRAY, _PALE = (33, 37, 41), (134, 142, 150), (222, 226, 230)
_CELL, _LEFT, _TOP, _BAND = 22, 130, 70, 170


def stream_figure(samplers: list[MixedClassUniformSampler], num_draws: int = 55) -> Image.Image:
    """Draw the beginning of a stream and how it is distributed.

    Parameters
    ----------
    samplers : list of MixedClassUniformSampler
        One per rank, of one stream.
    num_draws : int
        Positions to show, a multiple of the ranks.
    """
    stream = samplers[0].stream
    sources = stream.draws(0, num_draws).sources
    height = _TOP + _CELL + 70 + 2 * _BAND + 60 + (_CELL + 8) * len(samplers) + 40
    figure = Image.new("RGB", (_LEFT + num_draws * _CELL + 40, height), (255, 255, 255))
    pen = ImageDraw.Draw(figure)
    shares = ", ".join(f"{source.name} {share}" for source, share in zip(stream.sources, stream.shares, strict=True))
    pen.text((20, 20), f"One stream: {shares}", _INK, font(22))
    pen.text((_LEFT - 12, _TOP + _CELL // 2), "stream", _INK, font(16), anchor="rm")
    for position, source in enumerate(sources.tolist()):
        _draw_cell(pen, position, _TOP, source)
    middle = _TOP + _CELL + 50 + _BAND
    _draw_errors(pen, sources, [float(share) for share in stream.shares], middle)
    top = middle + _BAND + 60
    pen.text((_LEFT, top - 34), "the same positions, dealt to the ranks", _GRAY, font(16))
    for rank, sampler in enumerate(samplers):
        row = top + (_CELL + 8) * rank
        pen.text((_LEFT - 12, row + _CELL // 2), f"rank {rank}", _INK, font(16), anchor="rm")
        for _, draw in zip(range(num_draws // len(samplers)), sampler, strict=False):
            _draw_cell(pen, draw.position, row, draw.source)
    return figure


def _draw_cell(pen: ImageDraw.ImageDraw, position: int, top: int, source: int) -> None:
    left = _LEFT + position * _CELL
    pen.rectangle((left + 1, top, left + _CELL - 3, top + _CELL - 3), SOURCE_COLORS[source % len(SOURCE_COLORS)])


def _draw_errors(pen: ImageDraw.ImageDraw, sources: NDArray[np.int64], shares: list[float], middle: int) -> None:
    """Draw count minus share times draws, for each source, between the bounds of one draw."""
    right = _LEFT + sources.size * _CELL
    for value, text in ((1, "+1 draw"), (0, "exact"), (-1, "-1 draw")):
        y = middle - value * (_BAND - 20)
        pen.line((_LEFT, y, right, y), _GRAY if value else _PALE, 2)
        pen.text((_LEFT - 12, y), text, _GRAY, font(15), anchor="rm")
    pen.text((_LEFT, middle - _BAND - 10), "count so far minus share x draws so far", _GRAY, font(16))
    for source, share in enumerate(shares):
        error = np.cumsum(sources == source) - share * np.arange(1, sources.size + 1)
        color = SOURCE_COLORS[source % len(SOURCE_COLORS)]
        xs = _LEFT + _CELL // 2 + _CELL * np.arange(sources.size)
        points = list(zip(xs.tolist(), (middle - error * (_BAND - 20)).tolist(), strict=True))
        pen.line(points, color, 3)
        for x, y in points:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), color)
