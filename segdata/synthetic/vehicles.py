"""Cars, vans, lorries, buses, trams, trailers and caravans, each a few solids with glass, wheels and lights."""

from dataclasses import dataclass

import numpy as np

from segdata.synthetic.camera import Frame
from segdata.synthetic.canvas import Canvas
from segdata.synthetic.light import Color, blend, jittered, scaled
from segdata.synthetic.solids import (
    Solid,
    disc,
    draw_solid,
    flank_panel,
    panel,
    seen_end,
    seen_flank,
    sees_front,
    shrunk,
)

_PAINTS: tuple[Color, ...] = (
    (226, 226, 226), (188, 190, 194), (128, 132, 138), (44, 46, 50), (30, 44, 84), (60, 94, 150), (150, 32, 36),
    (176, 50, 40), (46, 82, 66), (196, 176, 132), (214, 178, 60), (92, 66, 54),
)  # fmt: skip
_PAINT_SHARES = np.array([16, 15, 16, 17, 7, 7, 7, 4, 3, 4, 2, 2]) / 100
_GLASS: Color = (46, 54, 62)
_TIRE: Color = (30, 30, 32)


@dataclass(frozen=True)
class Shape:
    """Measures of a car in meters: the cabin's corners are shares of the length from the rear."""

    length: float
    width: float
    belt: float
    roof: float
    cabin: tuple[float, float, float, float]
    bonnet: float


_SHAPES: dict[str, Shape] = {
    "saloon": Shape(4.5, 1.78, 0.92, 1.45, (0.1, 0.24, 0.56, 0.74), 0.86),
    "hatchback": Shape(3.9, 1.72, 0.94, 1.5, (0.02, 0.14, 0.58, 0.76), 0.88),
    "estate": Shape(4.6, 1.8, 0.94, 1.5, (0.01, 0.07, 0.58, 0.74), 0.88),
    "off-roader": Shape(4.5, 1.88, 1.05, 1.72, (0.01, 0.08, 0.6, 0.74), 1.02),
    "van": Shape(4.9, 1.92, 1.08, 2.0, (0.0, 0.03, 0.72, 0.88), 1.08),
}
CAR_LENGTH = 4.5


def draw_car(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a car of a drawn shape and paint."""
    shape = _SHAPES[str(rng.choice(list(_SHAPES), p=(0.26, 0.3, 0.16, 0.2, 0.08)))]
    paint = jittered(rng, _PAINTS[rng.choice(len(_PAINTS), p=_PAINT_SHARES)], 5)
    contact_shadow(canvas, frame, shape.length, shape.width)
    canvas.begin("car", frame.origin[2])
    _draw_axles(canvas, frame, shape.width, (-0.31 * shape.length, 0.31 * shape.length), 0.31)
    body, cabin = _car_solids(shape, paint)
    draw_solid(canvas, frame, body)
    draw_solid(canvas, frame, cabin)
    if canvas.camera.pixels(shape.roof, frame.origin[2]) > 7:
        _detail_car(canvas, frame, shape, paint, rng)


def _car_solids(shape: Shape, paint: Color) -> tuple[Solid, Solid]:
    """Return the body up to the belt line and the cabin on it."""
    back, front, half = -shape.length / 2, shape.length / 2, shape.width / 2
    low, belt, bonnet = 0.22, shape.belt, shape.bonnet
    z = [back + share * shape.length for share in shape.cabin]
    body = np.array([
        [back + 0.08, low, half - 0.12], [back, 0.48, half - 0.02], [back + 0.06, belt - 0.04, half - 0.08],
        [z[0] + 0.04, belt, half - 0.06], [z[3], belt, half - 0.06], [front - 0.35, bonnet - 0.1, half - 0.1],
        [front - 0.03, bonnet - 0.26, half - 0.12], [front, 0.45, half - 0.06], [front - 0.08, low, half - 0.14],
    ])  # fmt: skip
    cabin = np.array([
        [z[0], belt - 0.02, half - 0.08], [z[1], shape.roof, half - 0.28],
        [z[2], shape.roof, half - 0.28], [z[3], belt - 0.02, half - 0.1],
    ])  # fmt: skip
    shade = scaled(paint, 0.55)
    body_colors = [shade, paint, paint, paint, paint, paint, scaled(paint, 0.9), shade, shade]
    return Solid(body, body_colors, scaled(paint, 0.92)), Solid(cabin, [_GLASS, paint, _GLASS, paint], paint)


def _detail_car(canvas: Canvas, frame: Frame, shape: Shape, paint: Color, rng: np.random.Generator) -> None:
    """Draw what is on the flank and on the end that the camera sees."""
    flank = seen_flank(frame, shape.width)
    if flank:
        _draw_car_flank(canvas, frame, shape, flank)
    if seen_end(frame, shape.length):
        _draw_ends(canvas, frame, shape, paint, rng)


def _draw_car_flank(canvas: Canvas, frame: Frame, shape: Shape, flank: float) -> None:
    """Draw side windows, sill and wheels."""
    half = shape.width / 2
    back = -shape.length / 2
    z = [back + share * shape.length for share in shape.cabin]
    low, high, lean = shape.belt + 0.03, shape.roof - 0.08, 0.19
    middle = (z[1] + z[2]) / 2 + 0.1
    for start, end in (
        ((z[0] + 0.2, z[1] + 0.06), (middle - 0.05,) * 2),
        ((middle + 0.04,) * 2, (z[3] - 0.2, z[2] - 0.04)),
    ):
        glass = [
            [flank * (half - 0.09), low, start[0]], [flank * (half - 0.09), low, end[0]],
            [flank * (half - 0.09 - lean), high, end[1]], [flank * (half - 0.09 - lean), high, start[1]],
        ]  # fmt: skip
        canvas.detail(frame.world(np.array(glass)), blend(_GLASS, canvas.light.skyline, 0.18))
    canvas.detail(frame.world(flank_panel(flank * half * 0.985, back + 0.5, -back - 0.5, 0.24, 0.36)), (38, 38, 40))
    _draw_wheels(canvas, frame, flank * (half - 0.02), (0.31 * back * 2, -0.31 * back * 2), 0.33)


def _draw_ends(canvas: Canvas, frame: Frame, shape: Shape, paint: Color, rng: np.random.Generator) -> None:
    """Draw what is on the end that faces the camera: lamps, plate, grille or bumper, a gleam on the glass."""
    half, front = shape.width / 2, sees_front(frame)
    z = (shape.length / 2 + 0.01) * (1 if front else -1)
    y = shape.belt - 0.22 if not front else shape.bonnet - 0.3
    lamp: Color = ((238, 236, 220) if canvas.light.lamps else (204, 206, 204)) if front else (156, 26, 26)
    if not front and (canvas.light.lamps or rng.random() < 0.35):
        lamp = (226, 40, 34)
    for sign in (-1, 1):
        inner, outer = sign * (half - 0.42), sign * (half - 0.09)
        canvas.detail(frame.world(panel(z, inner, outer, y - 0.09, y + 0.08)), lamp)
    canvas.detail(frame.world(panel(z, -half + 0.1, half - 0.1, 0.24, 0.44)), scaled(paint, 0.35))
    if front:
        canvas.detail(frame.world(panel(z, -half + 0.46, half - 0.46, y - 0.12, y + 0.06)), (34, 35, 38))
    canvas.detail(frame.world(panel(z * 1.002, -0.26, 0.26, 0.46, 0.57)), (222, 222, 208))
    share = shape.cabin[2:] if front else shape.cabin[1::-1]
    top, foot = (part * shape.length - shape.length / 2 for part in share)
    gleam = np.array([
        [-half * 0.5, shape.roof - 0.06, top], [-half * 0.1, shape.roof - 0.06, top],
        [-half * 0.35, shape.belt + 0.06, foot], [-half * 0.72, shape.belt + 0.06, foot],
    ])  # fmt: skip
    canvas.detail(frame.world(gleam), blend(_GLASS, canvas.light.zenith, 0.6), alpha=110)


def contact_shadow(canvas: Canvas, frame: Frame, length: float, width: float) -> None:
    """Darken the ground below a thing and, in the sun, beside it."""
    half, end = width / 2, length / 2
    below = np.array([[-half, 0, -end], [half, 0, -end], [half, 0, end], [-half, 0, end]])
    canvas.distance = frame.origin[2]
    canvas.detail(frame.world(below * 1.06), (16, 17, 20), alpha=120)
    canvas.detail(frame.world(below * 0.97), (10, 11, 13), alpha=110)
    if canvas.light.shadow > 30:
        thrown = frame.world(below)
        thrown[:, 0] -= canvas.light.side * np.array([0.1, 0.1, 0.1, 0.1]) * 8
        canvas.detail(thrown, (16, 18, 26), alpha=canvas.light.shadow)


def _draw_axles(canvas: Canvas, frame: Frame, width: float, places: tuple[float, ...], radius: float) -> None:
    """Draw the tires as one sees them from the front or behind, below the body."""
    for z in sorted(places, key=lambda place: -frame.world(np.array([0, 0, place]))[2].item()):
        for sign in (-1, 1):
            tire = panel(z, sign * (width / 2 - 0.24), sign * (width / 2 - 0.03), 0.0, radius * 1.5)
            canvas.face(frame.world(tire), _TIRE)


def _draw_wheels(canvas: Canvas, frame: Frame, x: float, places: tuple[float, ...], radius: float) -> None:
    """Draw the wheels on the flank that is seen."""
    for z in places:
        canvas.detail(frame.world(disc(x, z, radius + 0.03, radius + 0.06)), (24, 24, 26))
        canvas.face(frame.world(disc(x, z, radius, radius)), _TIRE)
        canvas.detail(frame.world(disc(x, z, radius, radius * 0.62)), canvas.light.lit((168, 170, 174), 0.6))
        canvas.detail(frame.world(disc(x, z, radius, radius * 0.2)), (70, 72, 76))


def _box(start: float, end: float, low: float, high: float, half: float, round_off: float = 0.12) -> np.ndarray:
    """Return the outline of a box with cut corners."""
    cut = round_off
    return np.array([
        [start, low, half], [start, high - cut, half], [start + cut, high, half - cut],
        [end - cut, high, half - cut], [end, high - cut, half], [end, low, half],
    ])  # fmt: skip


def draw_truck(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a lorry: a cab before a closed box, a tarpaulin or an open bed."""
    length, half, height = rng.uniform(6.5, 10.5), 1.2, rng.uniform(3.0, 3.7)
    cab_paint = jittered(rng, _PAINTS[rng.choice(len(_PAINTS), p=_PAINT_SHARES)], 6)
    box_paint = jittered(
        rng, ((220, 220, 216), (196, 198, 200), (58, 92, 140), (168, 60, 48), (88, 120, 92))[rng.integers(5)]
    )
    contact_shadow(canvas, frame, length, half * 2)
    canvas.begin("truck", frame.origin[2])
    start, end = -length / 2, length / 2
    _draw_axles(canvas, frame, 2.4, (start + 1.3, end - 1.2), 0.48)
    open_bed = rng.random() < 0.25
    bed_top = 1.7 if open_bed else height
    cab = Solid(_box(end - 1.9, end, 0.5, min(height, 2.8), half - 0.08, 0.25), [cab_paint] * 6, cab_paint)
    box = Solid(_box(start, end - 2.1, 0.95, bed_top, half, 0.05), [box_paint] * 6, box_paint)
    chassis = Solid(_box(start + 0.3, end - 0.4, 0.5, 0.95, half - 0.25), [(44, 44, 46)] * 6, (44, 44, 46))
    first, last = (box, cab) if sees_front(frame) else (cab, box)
    for solid in (chassis, first, last):
        draw_solid(canvas, frame, solid)
    flank, front = seen_flank(frame, half * 2), seen_end(frame, length)
    if flank:
        _draw_wheels(canvas, frame, flank * half, (start + 1.3, start + 2.4, end - 1.2), 0.48)
        canvas.detail(frame.world(flank_panel(flank * half * 0.94, end - 1.5, end - 0.35, 1.65, 2.4)), _GLASS)
    if front > 0:
        canvas.detail(frame.world(panel(end + 0.01, -1.0, 1.0, 1.6, 2.4)), _GLASS)
        canvas.detail(frame.world(panel(end + 0.01, -0.8, 0.8, 0.95, 1.35)), (40, 40, 44))
    elif front < 0 and not open_bed:
        canvas.detail(frame.world(panel(start - 0.01, -0.03, 0.03, 1.0, height - 0.15)), scaled(box_paint, 0.6))
    if flank and not open_bed and rng.random() < 0.6:
        stripe = flank_panel(flank * half * 1.003, start + 0.8, end - 2.8, height * 0.52, height * 0.7)
        canvas.detail(frame.world(stripe), jittered(rng, (196, 70, 40), 50))
    _draw_lorry_lamps(canvas, frame, start, end, half, 0.75)


def _draw_lorry_lamps(canvas: Canvas, frame: Frame, start: float, end: float, half: float, y: float) -> None:
    """Draw the lamps on the end of a large vehicle that faces the camera."""
    front = seen_end(frame, end - start) > 0
    if not seen_end(frame, end - start):
        return
    z, color = (end + 0.01, (236, 234, 216)) if front else (start - 0.01, (190, 30, 28))
    for sign in (-1, 1):
        lamp = panel(z, sign * (half - 0.4), sign * (half - 0.1), y - 0.1, y + 0.08)
        canvas.detail(frame.world(lamp), color)
    canvas.detail(frame.world(panel(z, -0.3, 0.3, y - 0.2, y - 0.06)), (224, 214, 150))


def draw_bus(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a city bus with a row of windows and a lit destination."""
    length, half, height = rng.uniform(10, 13), 1.26, 3.05
    paint = jittered(
        rng, ((196, 44, 40), (226, 224, 216), (222, 176, 40), (44, 96, 60), (36, 80, 150))[rng.integers(5)], 7
    )
    contact_shadow(canvas, frame, length, half * 2)
    canvas.begin("bus", frame.origin[2])
    start, end = -length / 2, length / 2
    _draw_axles(canvas, frame, 2.5, (start + 2.6, end - 2.4), 0.46)
    draw_solid(canvas, frame, Solid(_box(start, end, 0.32, height, half, 0.16), [paint] * 6, paint))
    flank = seen_flank(frame, half * 2)
    if flank:
        _draw_window_row(canvas, frame, flank * half * 1.004, (start + 0.3, end - 0.25), (1.25, 2.35), 1.5)
        skirt = flank_panel(flank * half * 1.003, start, end, 0.32, 0.62)
        canvas.detail(frame.world(skirt), scaled(paint, 0.5))
        _draw_wheels(canvas, frame, flank * half * 1.003, (start + 2.6, end - 2.4), 0.47)
    _draw_broad_end(canvas, frame, start, end, half, height)
    _draw_lorry_lamps(canvas, frame, start, end, half, 0.8)


def _draw_broad_end(canvas: Canvas, frame: Frame, start: float, end: float, half: float, height: float) -> None:
    """Draw the windscreen and destination of a bus or tram, or its rear window."""
    if not seen_end(frame, end - start):
        return
    front = sees_front(frame)
    z = end + 0.01 if front else start - 0.01
    low = 1.05 if front else 1.55
    glass = panel(z, -half + 0.12, half - 0.12, low, height - 0.62)
    canvas.detail(frame.world(glass), _GLASS)
    gleam = shrunk(glass, 0.8) * [0.5, 1, 1] + [half * 0.3, 0, 0]
    canvas.detail(frame.world(gleam), blend(_GLASS, canvas.light.skyline, 0.4), alpha=120)
    canvas.detail(frame.world(panel(z, -half + 0.3, half - 0.3, height - 0.52, height - 0.2)), (28, 26, 24))
    for x in np.arange(-0.7, 0.6, 0.22).tolist():
        canvas.detail(frame.world(panel(z * 1.001, x, x + 0.14, height - 0.46, height - 0.27)), (246, 170, 50))


def _draw_window_row(
    canvas: Canvas, frame: Frame, x: float, z: tuple[float, float], y: tuple[float, float], step: float
) -> None:
    """Draw a band of windows along a flank, parted by pillars."""
    canvas.detail(frame.world(flank_panel(x, *z, *y)), (36, 40, 46))
    tint = (238, 206, 140) if canvas.light.lamps else blend(_GLASS, canvas.light.skyline, 0.28)
    starts = np.arange(z[0] + 0.1, z[1] - step * 0.7, step)
    panes = [flank_panel(x * 1.002, start, start + step * 0.88, y[0] + 0.08, y[1] - 0.08) for start in starts]
    canvas.details(frame.world(np.array(panes).reshape(-1, 4, 3)), [tint] * len(panes))


def draw_tram(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a tram of two or three cars with its current collector."""
    half, height, car = 1.2, 3.3, 9.0
    paint = jittered(rng, ((224, 196, 60), (190, 48, 44), (230, 228, 220), (60, 120, 90))[rng.integers(4)], 7)
    cars = int(rng.integers(2, 4))
    contact_shadow(canvas, frame, car * cars, half * 2)
    canvas.begin("tram", frame.origin[2])
    starts = (np.arange(cars) - cars / 2) * car
    depth = [frame.world(np.array([0.0, 0, start + car / 2]))[2] for start in starts]
    for start in starts[np.argsort(depth)[::-1]].tolist():
        draw_solid(canvas, frame, Solid(_box(start, start + car - 0.25, 0.25, height, half, 0.3), [paint] * 6, paint))
        flank = seen_flank(frame, half * 2)
        if flank:
            _draw_window_row(canvas, frame, flank * half * 1.004, (start + 0.4, start + car - 0.6), (1.35, 2.6), 1.7)
            band = flank_panel(flank * half * 1.003, start, start + car - 0.25, 0.25, 0.7)
            canvas.detail(frame.world(band), (54, 56, 60))
    _draw_broad_end(canvas, frame, starts[0], starts[-1] + car - 0.25, half, height)
    _draw_lorry_lamps(canvas, frame, starts[0], starts[-1] + car - 0.25, half, 0.85)
    collector = np.array([[-0.05, height, 0], [0.05, height, 0], [0.05, 4.4, 1.2], [-0.05, 4.4, 1.2]])
    canvas.face(frame.world(collector), (60, 60, 64))


def draw_trailer(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a small trailer."""
    paint = jittered(rng, (128, 130, 132), 20)
    contact_shadow(canvas, frame, 2.4, 1.5)
    canvas.begin("trailer", frame.origin[2])
    _draw_axles(canvas, frame, 1.6, (0.0,), 0.28)
    draw_solid(canvas, frame, Solid(_box(-1.2, 1.2, 0.4, rng.uniform(0.9, 1.7), 0.72), [paint] * 6, paint))


def draw_caravan(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a caravan."""
    paint = jittered(rng, (228, 224, 212), 8)
    contact_shadow(canvas, frame, 5.2, 2.2)
    canvas.begin("caravan", frame.origin[2])
    _draw_axles(canvas, frame, 2.2, (0.0,), 0.3)
    draw_solid(canvas, frame, Solid(_box(-2.6, 2.6, 0.35, 2.5, 1.1, 0.35), [paint] * 6, paint))
    flank, end = seen_flank(frame, 2.2), seen_end(frame, 5.2)
    if flank:
        canvas.detail(frame.world(flank_panel(flank * 1.105, -1.2, 0.6, 1.3, 1.9)), _GLASS)
    if end:
        canvas.detail(frame.world(panel(end * 2.61, -0.7, 0.7, 1.3, 1.95)), _GLASS)
