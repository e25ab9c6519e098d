"""What stands on the pavement: poles and lamps, traffic lights, signs, bins, benches, billboards."""

import numpy as np

from segdata.synthetic.camera import Frame, Points
from segdata.synthetic.canvas import Canvas
from segdata.synthetic.light import Color, blend, jittered, scaled

_STEEL: Color = (118, 122, 126)
_WOOD: Color = (104, 84, 66)


def _rectangle(x0: float, x1: float, y0: float, y1: float) -> Points:
    """Return an upright rectangle that faces the camera."""
    return np.array([[x0, y0, 0.0], [x1, y0, 0.0], [x1, y1, 0.0], [x0, y1, 0.0]])


def _regular(x: float, y: float, radius: float, corners: int, turn: float = 0.0) -> Points:
    """Return a regular polygon that faces the camera."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + turn
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles), 0 * angles], axis=-1)


def draw_post(canvas: Canvas, frame: Frame, height: float, radius: float, color: Color, kind: str = "pole") -> None:
    """Draw an upright pole, round: lit on one side."""
    canvas.begin(kind, frame.origin[2])
    lit = canvas.light.lit(color, 0.7)
    canvas.face(frame.world(_rectangle(-radius, radius, 0.0, height)), lit)
    left = 0.0 if canvas.light.side < 0 else -radius
    canvas.detail(frame.world(_rectangle(left, left + radius, 0.0, height)), scaled(lit, 0.7))


def draw_lamp_post(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a street lamp whose arm reaches over the road."""
    flat, height = Frame(frame.origin), float(rng.uniform(5.5, 8.5))
    reach = float(rng.uniform(0.9, 1.8)) * (-1.0 if frame.origin[0] > 0 else 1.0)
    draw_post(canvas, flat, height, 0.075, jittered(rng, _STEEL, 12))
    arm = np.array([[0, height - 0.05, 0], [reach, height + 0.3, 0], [reach, height + 0.38, 0], [0, height + 0.05, 0]])
    canvas.face(flat.world(arm), canvas.light.lit(_STEEL, 0.6))
    canvas.begin("street light", frame.origin[2])
    left, right = sorted((reach * 0.92, reach * 1.4))
    canvas.face(flat.world(_rectangle(left, right, height + 0.22, height + 0.42)), canvas.light.lit((92, 94, 98), 0.6))
    glow = (255, 232, 170) if canvas.light.lamps else (226, 226, 216)
    canvas.detail(flat.world(_rectangle(left, right, height + 0.2, height + 0.28)), glow)


def draw_utility_pole(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a wooden pole with a cross-arm."""
    flat, height = Frame(frame.origin), float(rng.uniform(7.5, 10))
    draw_post(canvas, flat, height, 0.13, jittered(rng, _WOOD, 8), kind="utility pole")
    for y in (height - 0.5, height - 1.2):
        canvas.face(flat.world(_rectangle(-0.9, 0.9, y, y + 0.12)), canvas.light.lit(_WOOD, 0.5))


def draw_wires(canvas: Canvas, ends: Points, rng: np.random.Generator) -> None:
    """Draw sagging wires between the two points of `ends`, shape (2, 3); labels leave wires out, as people do."""
    canvas.distance = float(ends[:, 2].min())
    share = np.linspace(0, 1, 9)[:, None]
    for across, height in ((-0.8, 7.4), (0.8, 7.4), (-0.5, 6.8), (0.5, 6.8)):
        line = ends[0] + (ends[1] - ends[0]) * share + [across, height, 0]
        line[:, 1] -= 4 * share[:, 0] * (1 - share[:, 0]) * rng.uniform(0.3, 0.6)
        canvas.wire(line, 0.02, (40, 40, 44), alpha=170)


def draw_bollard(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a bollard."""
    draw_post(canvas, Frame(frame.origin), 0.95, 0.06, jittered(rng, (90, 92, 94), 14))
    canvas.detail(Frame(frame.origin).world(_rectangle(-0.06, 0.06, 0.78, 0.88)), (224, 224, 220))


def draw_traffic_light(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a traffic light on its pole, often with a second one on an arm over the road and a light for walkers."""
    flat = Frame(frame.origin)
    draw_post(canvas, flat, 3.6, 0.07, _STEEL)
    lit = int(rng.integers(3))
    arm = 3.4 * (-1.0 if frame.origin[0] > 0 else 1.0)
    if rng.random() < 0.45:
        canvas.face(flat.world(_rectangle(-0.08, 0.08, 0.0, 5.7)), canvas.light.lit(_STEEL, 0.7))
        canvas.face(flat.world(_rectangle(min(0.0, arm), max(0.0, arm), 5.5, 5.63)), canvas.light.lit(_STEEL, 0.6))
        _draw_lamps(canvas, flat, arm, 4.9, lit)
    _draw_lamps(canvas, flat, 0.0, 2.6, lit)
    if rng.random() < 0.4:
        canvas.begin("walkers' light", frame.origin[2])
        canvas.face(flat.world(_rectangle(0.1, 0.36, 2.0, 2.55)), (34, 36, 36))
        canvas.detail(flat.world(_regular(0.23, 2.4, 0.09, 10)), (214, 50, 40) if lit else (60, 40, 38))
        canvas.detail(flat.world(_regular(0.23, 2.15, 0.09, 10)), (44, 60, 48) if lit else (70, 210, 120))


def _draw_lamps(canvas: Canvas, frame: Frame, x: float, y: float, lit: int) -> None:
    """Draw the housing with three lamps, one of them lit (0 green, 1 amber, 2 red)."""
    canvas.begin("traffic light", frame.origin[2])
    canvas.face(frame.world(_rectangle(x - 0.2, x + 0.2, y, y + 1.05)), (30, 32, 33))
    for place, color in enumerate(((70, 220, 130), (248, 186, 50), (232, 54, 44))):
        shown = color if place == lit else blend(color, (30, 32, 33), 0.85)
        canvas.detail(frame.world(_regular(x, y + 0.2 + 0.32 * place, 0.12, 14)), shown)


def draw_traffic_sign(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw one or two signs on a pole; some show their back."""
    flat = Frame(frame.origin)
    top = float(rng.uniform(2.5, 3.1))
    draw_post(canvas, flat, top, 0.035, _STEEL)
    if rng.random() < 0.16:
        canvas.begin("sign back", frame.origin[2])
        canvas.face(flat.world(_regular(0, top - 0.1, 0.36, 16)), canvas.light.lit((136, 138, 140), 0.5))
        return
    canvas.begin("traffic sign", frame.origin[2])
    _SIGNS[rng.integers(len(_SIGNS))](canvas, flat, top - 0.1)
    if rng.random() < 0.35:
        canvas.face(flat.world(_rectangle(-0.28, 0.28, top - 0.82, top - 0.56)), (236, 236, 232))
        canvas.detail(flat.world(_rectangle(-0.18, 0.18, top - 0.74, top - 0.66)), (40, 40, 44))


# the strokes of a seven-segment digit about its middle, meters: x0, x1, y0, y1
_STROKES = {
    "a": (-0.07, 0.07, 0.1, 0.14), "b": (0.035, 0.07, 0.0, 0.14), "c": (0.035, 0.07, -0.14, 0.0),
    "d": (-0.07, 0.07, -0.14, -0.1), "e": (-0.07, -0.035, -0.14, 0.0), "f": (-0.07, -0.035, 0.0, 0.14),
    "g": (-0.07, 0.07, -0.02, 0.02),
}  # fmt: skip


def _ring_sign(canvas: Canvas, frame: Frame, y: float) -> None:
    """Draw a speed limit: 30 or 50 in a red ring."""
    canvas.face(frame.world(_regular(0, y, 0.36, 22)), (204, 34, 38))
    canvas.detail(frame.world(_regular(0, y, 0.27, 22)), (238, 238, 234))
    for x, strokes in ((-0.1, "abgcd" if frame.origin[2] % 2 < 1 else "afgcd"), (0.1, "abcdef")):
        for stroke in strokes:
            x0, x1, y0, y1 = _STROKES[stroke]
            canvas.detail(frame.world(_rectangle(x + x0, x + x1, y + y0, y + y1)), (34, 34, 38))


def _triangle_sign(canvas: Canvas, frame: Frame, y: float) -> None:
    """Draw a warning: a red triangle."""
    canvas.face(frame.world(_regular(0, y, 0.44, 3, np.pi / 2)), (204, 34, 38))
    canvas.detail(frame.world(_regular(0, y, 0.29, 3, np.pi / 2)), (240, 240, 234))
    canvas.detail(frame.world(_rectangle(-0.03, 0.03, y - 0.08, y + 0.12)), (34, 34, 38))


def _yield_sign(canvas: Canvas, frame: Frame, y: float) -> None:
    """Draw a triangle on its tip."""
    canvas.face(frame.world(_regular(0, y, 0.46, 3, -np.pi / 2)), (204, 34, 38))
    canvas.detail(frame.world(_regular(0, y, 0.29, 3, -np.pi / 2)), (240, 240, 234))


def _stop_sign(canvas: Canvas, frame: Frame, y: float) -> None:
    """Draw a red octagon."""
    canvas.face(frame.world(_regular(0, y, 0.42, 8, np.pi / 8)), (196, 28, 34))
    canvas.detail(frame.world(_rectangle(-0.27, 0.27, y - 0.07, y + 0.07)), (240, 238, 236))


def _blue_sign(canvas: Canvas, frame: Frame, y: float) -> None:
    """Draw a blue square with a white mark."""
    canvas.face(frame.world(_rectangle(-0.33, 0.33, y - 0.33, y + 0.33)), (34, 88, 168))
    canvas.detail(frame.world(_regular(0, y, 0.24, 3, np.pi / 2)), (238, 240, 242))


def _diamond_sign(canvas: Canvas, frame: Frame, y: float) -> None:
    """Draw the yellow diamond of a priority road."""
    canvas.face(frame.world(_regular(0, y, 0.42, 4)), (236, 236, 232))
    canvas.detail(frame.world(_regular(0, y, 0.32, 4)), (238, 184, 30))


_SIGNS = (_ring_sign, _triangle_sign, _yield_sign, _stop_sign, _blue_sign, _diamond_sign)


def draw_direction_sign(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a large sign with place names on a frame of two legs, or on a gantry over the road."""
    flat, width, low = Frame(frame.origin), float(rng.uniform(2.2, 3.6)), float(rng.uniform(2.0, 2.7))
    canvas.begin("sign frame", frame.origin[2])
    for x in (-width / 2 + 0.3, width / 2 - 0.4):
        canvas.face(flat.world(_rectangle(x, x + 0.1, 0.0, low + 1.2)), canvas.light.lit(_STEEL, 0.6))
    canvas.begin("direction sign", frame.origin[2])
    color = ((30, 84, 160), (30, 104, 66), (238, 200, 60))[rng.integers(3)]
    canvas.face(flat.world(_rectangle(-width / 2, width / 2, low, low + 1.5)), (236, 236, 234))
    canvas.detail(flat.world(_rectangle(-width / 2 + 0.06, width / 2 - 0.06, low + 0.06, low + 1.44)), color)
    ink = (24, 24, 28) if color[0] > 200 else (240, 240, 240)
    for y in (low + 0.25, low + 0.65, low + 1.05):
        for x in np.arange(-width / 2 + 0.3, rng.uniform(0, width / 2 - 0.4), 0.21).tolist():
            canvas.detail(flat.world(_rectangle(x, x + 0.14, y, y + 0.2)), ink)


def draw_billboard(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw an advertisement on legs: a few bold shapes."""
    flat, width, height, low = Frame(frame.origin), rng.uniform(2.4, 4), rng.uniform(1.6, 2.6), rng.uniform(1.2, 2.6)
    draw_post(canvas, flat, low, 0.09, _STEEL)
    canvas.begin("billboard", frame.origin[2])
    canvas.face(flat.world(_rectangle(-width / 2, width / 2, low, low + height)), (222, 222, 220))
    ground = jittered(rng, ((196, 60, 50), (60, 130, 180), (236, 190, 70), (70, 140, 96))[rng.integers(4)], 20)
    inner = (-width / 2 + 0.1, width / 2 - 0.1, low + 0.1, low + height - 0.1)
    canvas.detail(flat.world(_rectangle(*inner)), canvas.light.lit(ground, 0.7))
    canvas.detail(
        flat.world(_regular(-width * 0.2, low + height * 0.5, height * 0.3, 20)), jittered(rng, (240, 232, 214))
    )
    for y in (0.3, 0.5, 0.66):
        end = width / 2 - 0.3 - rng.uniform(0, 0.6)
        canvas.detail(
            flat.world(_rectangle(width * 0.05, end, low + height * y, low + height * y + 0.14)), (250, 248, 240)
        )


def draw_clutter(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a bin, bench, hydrant, cabinet, letter box or rack."""
    kind = str(
        rng.choice(
            ["bin", "bench", "hydrant", "junction box", "mailbox", "bike rack"], p=(0.32, 0.2, 0.08, 0.2, 0.1, 0.1)
        )
    )
    flat = Frame(frame.origin)
    canvas.begin(kind, frame.origin[2])
    for (x0, x1, y0, y1), color in _CLUTTER[kind]:
        shade = canvas.light.lit(color, 0.6)
        canvas.face(flat.world(_rectangle(x0, x1, y0, y1)), shade)
        canvas.detail(flat.world(_rectangle((x0 + 2 * x1) / 3, x1, y0, y1)), scaled(shade, 0.84))


_Parts = tuple[tuple[tuple[float, float, float, float], Color], ...]
_CLUTTER: dict[str, _Parts] = {
    "bin": (((-0.25, 0.25, 0.05, 0.95), (66, 92, 74)), ((-0.28, 0.28, 0.95, 1.05), (46, 60, 52))),
    "bench": (
        ((-0.8, -0.72, 0, 0.45), (60, 60, 62)), ((0.72, 0.8, 0, 0.45), (60, 60, 62)),
        ((-0.9, 0.9, 0.42, 0.5), (134, 96, 62)), ((-0.9, 0.9, 0.6, 0.68), (134, 96, 62)),
        ((-0.9, 0.9, 0.76, 0.84), (134, 96, 62)),
    ),
    "hydrant": (((-0.12, 0.12, 0, 0.6), (196, 44, 38)), ((-0.2, 0.2, 0.38, 0.48), (196, 44, 38))),
    "junction box": (((-0.5, 0.5, 0.08, 1.2), (168, 170, 160)), ((-0.54, 0.54, 1.2, 1.26), (130, 132, 126))),
    "mailbox": (((-0.24, 0.24, 0.5, 1.2), (222, 180, 40)), ((-0.05, 0.05, 0, 0.5), (90, 90, 92))),
    "bike rack": (
        ((-0.9, -0.85, 0, 0.8), (130, 134, 138)), ((-0.3, -0.25, 0, 0.8), (130, 134, 138)),
        ((0.3, 0.35, 0, 0.8), (130, 134, 138)), ((-0.9, 0.9, 0.76, 0.81), (130, 134, 138)),
    ),
}  # fmt: skip
