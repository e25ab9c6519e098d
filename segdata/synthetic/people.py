"""People on foot, on bicycles and on motorcycles, and the animals beside them."""

from collections.abc import Sequence

import numpy as np

from segdata.synthetic.camera import Frame, Points
from segdata.synthetic.canvas import Canvas
from segdata.synthetic.light import Color, jittered, scaled
from segdata.synthetic.plants import limb
from segdata.synthetic.solids import disc

_CLOTHES: tuple[Color, ...] = (
    (48, 52, 60), (92, 98, 108), (168, 58, 52), (58, 88, 138), (206, 200, 188), (108, 84, 62), (74, 108, 78),
    (212, 164, 60), (132, 72, 112), (226, 226, 226),
)  # fmt: skip
_TROUSERS: tuple[Color, ...] = ((40, 44, 58), (56, 66, 96), (74, 72, 70), (122, 108, 88), (30, 30, 34))
_SKIN: tuple[Color, ...] = ((224, 184, 154), (198, 152, 120), (150, 106, 78), (104, 70, 52))
_HAIR: tuple[Color, ...] = ((44, 34, 28), (86, 60, 40), (26, 24, 24), (160, 128, 84), (150, 148, 146))

_Joints = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]  # across and up, shares of the height


def draw_person(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a person who walks or stands, now and then with a bag."""
    height = rng.uniform(1.55, 1.9) if rng.random() < 0.88 else rng.uniform(1.0, 1.4)
    flat = Frame(frame.origin)
    _blob_shadow(canvas, flat, 0.4)
    canvas.begin("person", frame.origin[2])
    stride, sway = rng.uniform(0.03, 0.3), rng.choice([-1.0, 1.0])
    legs = [((0.0, 0.5), (part, 0.26), (part * rng.uniform(0.9, 1.9), 0.02)) for part in (-stride / 2, stride / 2)]
    hands = [((sign * 0.11, 0.8), (sign * 0.15 + part, 0.62), (sign * 0.13 + part * 2, 0.48))
             for sign, part in ((-1, stride / 3), (1, -stride / 3))]  # fmt: skip
    figure = _Figure(canvas, flat, height, float(sway), rng)
    figure.dress(legs, hands, lean=0.0)
    if rng.random() < 0.3:
        side = rng.choice([-1.0, 1.0])
        figure.part([(side * 0.13, 0.42), (side * 0.24, 0.42), (side * 0.24, 0.56), (side * 0.13, 0.56)],
                    jittered(rng, (92, 60, 44), 24))  # fmt: skip


class _Figure:
    """A person of a height, drawn in shares of it, facing the camera or half turned."""

    def __init__(self, canvas: Canvas, frame: Frame, height: float, sway: float, rng: np.random.Generator) -> None:
        self.canvas, self.frame, self.height, self.sway = canvas, frame, height, sway
        self.coat = canvas.light.lit(jittered(rng, _CLOTHES[rng.integers(len(_CLOTHES))], 12), 0.6)
        self.trousers = canvas.light.lit(jittered(rng, _TROUSERS[rng.integers(len(_TROUSERS))], 8), 0.6)
        self.skin = canvas.light.lit(_SKIN[rng.integers(len(_SKIN))], 0.6)
        self.hair = canvas.light.lit(_HAIR[rng.integers(len(_HAIR))], 0.6)
        self.build = rng.uniform(0.85, 1.2)
        self.from_behind = rng.random() < 0.5

    def dress(self, legs: Sequence[_Joints], hands: Sequence[_Joints],
              lean: float) -> None:  # fmt: skip
        """Draw the parts from back to front; each limb is three joints, in shares of the height."""
        for hip, knee, foot in legs:
            self.limb(hip, knee, 0.052 * self.build, self.trousers)
            self.limb(knee, foot, 0.042, self.trousers)
            self.limb(foot, (foot[0] + 0.04, 0.015), 0.022, (34, 30, 30))
        self.joints(hands[0], scaled(self.coat, 0.82))
        wide = 0.105 * self.build
        torso = [(-wide * 0.85, 0.46), (wide * 0.85, 0.46), (wide * 1.05 + lean, 0.78), (0.05 + lean, 0.845),
                 (-0.05 + lean, 0.845), (-wide * 1.05 + lean, 0.78)]  # fmt: skip
        self.part(torso, self.coat)
        self.part([(wide * 0.1, 0.47), (wide * 0.85, 0.46), (wide * 1.05 + lean, 0.78), (0.04 + lean, 0.84)],
                  scaled(self.coat, 0.88))  # fmt: skip
        self.joints(hands[1], scaled(self.coat, 0.92))
        self.limb((lean, 0.82), (lean * 1.2, 0.9), 0.028, self.skin)
        self.part(_oval(lean * 1.25, 0.93, 0.05, 0.066), self.skin)
        away = (0.945, 0.058) if self.from_behind else (0.972, 0.034)
        self.part(_oval(lean * 1.25 - 0.006, away[0], 0.053, away[1]), self.hair)

    def joints(self, places: _Joints, color: Color) -> None:
        """Draw an arm with its hand."""
        shoulder, elbow, hand = places
        self.limb(shoulder, elbow, 0.032 * self.build, color)
        self.limb(elbow, hand, 0.026, color)
        self.part(_oval(*hand, 0.02, 0.024), self.skin)

    def limb(self, start: tuple[float, float], end: tuple[float, float], radius: float, color: Color) -> None:
        """Draw one straight limb."""
        flat = limb(start, end, radius, taper=0.85)
        self.part([(x, y) for x, y, _ in flat.tolist()], color)

    def part(self, outline: list[tuple[float, float]], color: Color) -> None:
        """Draw an outline given in shares of the height."""
        points = np.array([(x * self.sway, y, 0.0) for x, y in outline]) * self.height
        self.canvas.face(self.frame.world(points), color)


def _oval(x: float, y: float, across: float, up: float) -> list[tuple[float, float]]:
    """Return an ellipse's outline."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    return [(x + across * float(np.cos(angle)), y + up * float(np.sin(angle))) for angle in angles]


def _blob_shadow(canvas: Canvas, frame: Frame, radius: float) -> None:
    """Darken the ground around the feet, and in the sun away from it."""
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    circle = np.stack([radius * np.cos(angles), 0 * angles, radius * 0.7 * np.sin(angles)], axis=-1)
    canvas.distance = frame.origin[2]
    canvas.detail(frame.world(circle), (16, 17, 20), alpha=70)
    if canvas.light.shadow > 30:
        reach = -canvas.light.side
        thrown = np.array([[-0.12, 0, 0], [0.12, 0, 0], [0.2 + reach * 1.5, 0, 0.7], [-0.1 + reach * 1.5, 0, 0.9]])
        canvas.detail(frame.world(thrown), (16, 18, 26), alpha=canvas.light.shadow)


def draw_bicycle(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a bicycle without a rider, leaning at the curb."""
    _blob_shadow(canvas, frame, 0.5)
    canvas.begin("bicycle", frame.origin[2])
    _draw_bicycle_parts(canvas, frame, rng)


def draw_cyclist(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a bicycle and the one who rides it, as two things."""
    draw_bicycle(canvas, frame, rng)
    _draw_rider(canvas, frame, "cyclist", rng, seat=0.3)


def _draw_bicycle_parts(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw wheels, frame, saddle and bars; each tube has a width across, so that it shows from behind too."""
    paint = canvas.light.lit(jittered(rng, _CLOTHES[rng.integers(len(_CLOTHES))], 20), 0.6)
    for z in (-0.52, 0.52):
        _draw_ring(canvas, frame, z, 0.34, 0.022, _dark(canvas))
    tubes = [((-0.52, 0.34), (-0.08, 0.32)), ((-0.08, 0.32), (-0.2, 0.85)), ((-0.2, 0.78), (0.36, 0.8)),
             ((-0.08, 0.32), (0.38, 0.74)), ((-0.52, 0.34), (-0.19, 0.76)), ((0.52, 0.34), (0.34, 0.95))]  # fmt: skip
    for start, end in tubes:
        _draw_tube(canvas, frame, start, end, 0.02, paint)
    canvas.face(frame.world(_bar(-0.22, 0.88, 0.08, 0.05)), _dark(canvas))
    canvas.face(frame.world(_bar(0.36, 0.99, 0.28, 0.025)), _dark(canvas))
    if rng.random() < 0.6:
        canvas.detail(frame.world(_bar(-0.72, 0.6, 0.04, 0.06)), (190, 40, 34))


def _dark(canvas: Canvas) -> Color:
    """Return the color of rubber in this light."""
    return canvas.light.lit((38, 38, 40), 0.5)


def _draw_ring(canvas: Canvas, frame: Frame, z: float, radius: float, thick: float, color: Color) -> None:
    """Draw a tire: a ring seen from the side that has a width seen from behind."""
    outer, inner = disc(0.0, z, radius, radius), disc(0.0, z, radius, radius - 2 * thick)
    for i in range(len(outer)):
        j = (i + 1) % len(outer)
        part = np.stack([outer[i], outer[j], inner[j], inner[i]])
        canvas.face(frame.world(part), color)
    canvas.face(frame.world(_bar(z, radius, thick, radius)), color)


def _draw_tube(
    canvas: Canvas, frame: Frame, start: tuple[float, float], end: tuple[float, float], radius: float, color: Color
) -> None:
    """Draw a tube in the plane of the wheels, with the same width across."""
    flat = limb(start, end, radius, taper=1.0)  # (z, y, 0)
    canvas.face(frame.world(flat[:, [2, 1, 0]]), color)
    (z0, y0), (z1, y1) = start, end
    across = np.array([[-radius, y0, z0], [radius, y0, z0], [radius, y1, z1], [-radius, y1, z1]])
    canvas.face(frame.world(across), color)


def _bar(z: float, y: float, half: float, up: float) -> Points:
    """Return an upright bar across a vehicle."""
    return np.array([[-half, y - up, z], [half, y - up, z], [half, y + up, z], [-half, y + up, z]])


def _draw_rider(canvas: Canvas, frame: Frame, kind: str, rng: np.random.Generator, *, seat: float) -> None:
    """Draw a person who sits astride; `seat` is the seat's height as a share of the body's."""
    canvas.begin(kind, frame.origin[2])
    across = abs(np.sin(frame.heading))  # how much of the ride one sees from the side
    towards = float(np.sign(np.sin(frame.heading)) or 1.0)
    lift = seat + 0.18
    figure = _Figure(
        canvas, Frame((frame.origin[0], lift * 0.42, frame.origin[2])), rng.uniform(1.6, 1.85), towards, rng
    )
    lean = 0.16 * across
    legs = [((0.0, 0.46), (0.05 + 0.1 * across + part * 0.06, 0.28 + part * 0.05), (part * 0.075 + 0.05 * across, 0.05))
            for part in (-1, 1)]  # fmt: skip
    hands = [((sign * 0.1 + lean * 0.8, 0.78), (sign * 0.15 + lean * 1.3, 0.66),
              (sign * 0.14 * (1 - across) + 0.33 * across, 0.57)) for sign in (-1, 1)]  # fmt: skip
    figure.dress(legs, hands, lean=lean)
    if kind == "motorcyclist" or rng.random() < 0.5:
        color = jittered(rng, _CLOTHES[rng.integers(len(_CLOTHES))], 15)
        tall = 0.075 if kind == "motorcyclist" else 0.045
        figure.part(_oval(lean * 1.25, 0.945, 0.066, tall), canvas.light.lit(color, 0.7))


def draw_motorcycle(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a parked motorcycle or scooter."""
    _blob_shadow(canvas, frame, 0.6)
    canvas.begin("motorcycle", frame.origin[2])
    paint = canvas.light.lit(jittered(rng, _CLOTHES[rng.integers(len(_CLOTHES))], 20), 0.7)
    for z in (-0.65, 0.68):
        _draw_ring(canvas, frame, z, 0.31, 0.06, _dark(canvas))
    body = [(-0.85, 0.72), (-0.2, 0.45), (0.3, 0.42), (0.62, 0.62), (0.5, 1.0), (0.3, 0.98), (0.1, 0.82), (-0.75, 0.84)]
    canvas.face(frame.world(np.array([[0.0, y, z] for z, y in body])), paint)
    engine = [(-0.3, 0.25), (0.3, 0.25), (0.35, 0.5), (-0.3, 0.5)]
    canvas.face(frame.world(np.array([[0.0, y, z] for z, y in engine])), (62, 62, 66))
    for z, y, half, up in ((-0.8, 0.72, 0.13, 0.12), (0.0, 0.55, 0.16, 0.24), (0.6, 0.85, 0.17, 0.2)):
        canvas.face(frame.world(_bar(z, y, half, up)), paint)
    _draw_tube(canvas, frame, (0.68, 0.31), (0.46, 1.05), 0.04, (130, 132, 136))
    canvas.face(frame.world(_bar(0.42, 1.08, 0.36, 0.03)), _dark(canvas))
    canvas.detail(frame.world(_bar(-0.9, 0.74, 0.07, 0.05)), (206, 40, 34))
    canvas.detail(frame.world(_bar(0.66, 0.9, 0.09, 0.09)), (240, 238, 222))


def draw_motorcyclist(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a motorcycle and the one who rides it, as two things."""
    draw_motorcycle(canvas, frame, rng)
    _draw_rider(canvas, frame, "motorcyclist", rng, seat=0.22)


def draw_dog(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a dog."""
    flat, coat = Frame(frame.origin), canvas.light.lit(jittered(rng, (120, 88, 58), 30), 0.6)
    canvas.begin("dog", frame.origin[2])
    for x in (-0.25, -0.17, 0.2, 0.28):
        canvas.face(flat.world(limb((x, 0.3), (x + 0.03, 0.0), 0.035)), coat)
    for outline in (_oval(0.0, 0.38, 0.36, 0.13), _oval(0.4, 0.52, 0.11, 0.09)):
        canvas.face(flat.world(np.array([(x, y, 0.0) for x, y in outline])), coat)
    canvas.face(flat.world(limb((-0.33, 0.42), (-0.52, 0.6), 0.03)), coat)


def draw_bird(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a bird on the wing."""
    x, _, z = frame.origin
    above = Frame((x, float(rng.uniform(4, 14)), z))
    canvas.begin("bird", z)
    spread = rng.uniform(0.3, 0.55)
    wings = [(-spread, 0.2), (-0.08, 0.04), (0.0, 0.07), (0.08, 0.04), (spread, 0.22), (0.07, -0.05), (-0.07, -0.05)]
    canvas.face(above.world(np.array([(x, y, 0.0) for x, y in wings])), (52, 52, 58))
