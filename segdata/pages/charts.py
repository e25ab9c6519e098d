"""Curves as SVG, drawn for light and dark paper, with their numbers below for who cannot see them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from segdata.pages.html import folded, table

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 28, 10, 34
_MOST_POINTS = 400
_COLORS = 8


def line_chart(title: str, curves: Mapping[str, Points], *, pale: Mapping[str, Sequence[Points]] | None = None) -> str:
    """Return curves over the steps of a run as a figure.

    Parameters
    ----------
    title : str
        What is shown, with its unit.
    curves : mapping of str to sequence of (float, float)
        Step and value by name; values that are not finite are left out, and of long curves every n-th point is taken.
    pale : mapping of str to sequence of curves, optional
        Single runs behind a curve of the same name.
    """
    shown = {name: _thinned(points) for name, points in curves.items()}
    behind = {name: [_thinned(points) for points in many] for name, many in (pale or {}).items()}
    every = [point for points in shown.values() for point in points]
    every += [point for many in behind.values() for points in many for point in points]
    if not every:
        return f"<figure><figcaption>{escape(title)}: no value yet</figcaption></figure>"
    rows, columns = ticks(*_range(value for _, value in every), 5), ticks(*_range(step for step, _ in every), 6)
    low, high = min(rows[0], *(value for _, value in every)), max(rows[-1], *(value for _, value in every))
    first, last = min(step for step, _ in every), max(step for step, _ in every)

    def place(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (step - first) / ((last - first) or 1)
        y = _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - low) / ((high - low) or 1)
        return x, y

    def line(points: Points, color: int, kind: str = "") -> str:
        told = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in points)
        return f'<polyline points="{told}" style="stroke:var(--c{color % _COLORS})"{kind}/>'

    grid = ""
    for value in rows:
        _, y = place(first, value)
        grid += f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        grid += f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>'
    for step in (step for step in columns if first <= step <= last):
        x, _ = place(step, low)
        grid += f'<text x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{_short(step)}</text>'
    numbers = {name: number for number, name in enumerate(shown)}
    drawn = "".join(
        line(points, numbers[name], ' class="pale"') for name, many in behind.items() for points in many
    ) + "".join(line(points, numbers[name]) for name, points in shown.items())
    key = "".join(
        f'<li><i style="background:var(--c{number % _COLORS})"></i>{escape(name)}</li>'
        for name, number in numbers.items()
    )
    last_values = "; ".join(f"{name} ends at {points[-1][1]:.4g}" for name, points in shown.items() if points)
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(f"{title}: {last_values}")}">'
        f"{grid}{drawn}</svg>{f'<ul class=key>{key}</ul>' if len(numbers) > 1 else ''}"
        f"{folded('Numbers', _numbers(shown))}</figure>"
    )


def ticks(low: float, high: float, number: int) -> list[float]:
    """Return round values from at most `low` to at least `high`, about so many.

    Examples
    --------
    >>> ticks(0.13, 0.62, 5)
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    """
    span = (high - low) or abs(high) or 1.0
    rough = span / number
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(at * step, 12) for at in range(begin, max(end, begin + 1) + 1)]


def _range(values: Iterable[float]) -> tuple[float, float]:
    found = list(values)
    return min(found), max(found)


def _thinned(points: Points) -> list[tuple[float, float]]:
    finite = [point for point in points if math.isfinite(point[1])]
    every = -(-len(finite) // _MOST_POINTS) or 1
    kept = finite[::every]
    return kept if not finite or kept[-1] == finite[-1] else [*kept, finite[-1]]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _numbers(curves: Mapping[str, Points]) -> str:
    steps = sorted({step for points in curves.values() for step, _ in points})
    by_step = {name: dict(points) for name, points in curves.items()}
    rows = [
        [f"{step:,.0f}", *("" if step not in values else f"{values[step]:.5g}" for values in by_step.values())]
        for step in steps
    ]
    return table(["step", *curves], rows, caption="by step")
