"""Buildings with windows, and what else closes a street off: walls, fences, guard rails."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segdata.synthetic.camera import Points
from segdata.synthetic.canvas import Canvas
from segdata.synthetic.light import Color, blend, jittered, scaled
from segdata.synthetic.street import Street

_PLASTER: tuple[Color, ...] = (
    (214, 199, 168), (205, 184, 150), (224, 214, 195), (190, 166, 140), (198, 150, 118), (180, 186, 182),
    (212, 190, 110), (176, 128, 108), (226, 224, 218), (166, 174, 186),
)  # fmt: skip
_BRICK: tuple[Color, ...] = ((142, 84, 66), (156, 100, 78), (122, 76, 64), (168, 124, 96))
_CONCRETE: tuple[Color, ...] = ((164, 160, 154), (146, 148, 150), (184, 178, 168), (120, 126, 134))
_ROOF: tuple[Color, ...] = ((140, 74, 56), (118, 66, 54), (92, 82, 80), (78, 78, 84), (150, 92, 70))
_AWNING: tuple[Color, ...] = ((168, 44, 40), (38, 92, 66), (44, 74, 128), (210, 200, 180), (190, 130, 40))


@dataclass(frozen=True)
class Facade:
    """A vertical plane: a point p on it lies at origin + a * along + b * up, a and b in meters.

    Attributes
    ----------
    origin, along : ndarray, shape (3,)
        Lower corner, and the unit vector along the ground.
    width, height : float
        Meters.
    """

    origin: Points
    along: Points
    width: float
    height: float

    def rectangles(self, boxes: Points) -> Points:
        """Return the (N, 4, 3) world corners of (N, 4) boxes (a0, a1, b0, b1)."""
        a = boxes[:, [0, 1, 1, 0]]
        b = boxes[:, [2, 2, 3, 3]]
        up = np.array([0.0, 1.0, 0.0])
        corners: Points = self.origin + a[..., None] * self.along + b[..., None] * up
        return corners

    def box(self, a0: float, a1: float, b0: float, b1: float) -> Points:
        """Return the (4, 3) corners of one box."""
        corners: Points = self.rectangles(np.array([[a0, a1, b0, b1]]))[0]
        return corners


def street_facade(street: Street, sign: int, out: float, z0: float, z1: float, height: float) -> Facade:
    """Return the plane along the street, `out` meters from its middle line."""
    ends = street.along(sign * out, np.array([z0, z1]))
    along = ends[1] - ends[0]
    width = float(np.linalg.norm(along))
    return Facade(ends[0], along / width, width, height)


def draw_building(canvas: Canvas, street: Street, sign: int, z0: float, z1: float, rng: np.random.Generator) -> None:
    """Draw a house or block between z0 and z1 on one side: the gable towards the camera, then the street's face."""
    tall = street.side(sign).border == "blocks"
    floors = int(rng.integers(3, 9) if tall else rng.integers(1, 5))
    storey = rng.uniform(2.9, 3.5)
    height = floors * storey + 0.8
    out = street.border(sign) + (0.0 if tall else max(0.0, rng.normal(0.5, 1.2)))
    material = rng.choice(3, p=(0.4, 0.15, 0.45) if tall else (0.62, 0.33, 0.05))
    palette = (_PLASTER, _BRICK, _CONCRETE)[material]
    color = jittered(rng, palette[rng.integers(len(palette))], 8)
    front = street_facade(street, sign, out, z0, z1, height)
    depth = rng.uniform(8, 14)
    inward = np.array([float(sign), 0.0, 0.0])
    gable = Facade(front.origin, inward, depth, height)
    canvas.begin("building", z0)
    lit = canvas.light.side * -sign  # a face that looks towards the sun is bright
    _draw_gable(canvas, gable, color, rng, pitched=not tall or rng.random() < 0.3, ridge_to=z1)
    face = canvas.light.lit(color, 0.25 + 0.75 * lit)
    canvas.face(front.box(0, front.width, 0, height), face)
    glassy = material == 2 and rng.random() < 0.6
    _draw_windows(canvas, front, floors, storey, face, rng, glassy=glassy)
    _draw_ground_floor(canvas, front, storey, face, rng, shops=rng.random() < 0.55)
    trim = front.rectangles(np.array([[0, front.width, height - 0.45, height], [0, front.width, 0, 0.5]]))
    canvas.details(trim, [scaled(face, 1.08), scaled(face, 0.72)])


def _draw_gable(
    canvas: Canvas, gable: Facade, color: Color, rng: np.random.Generator, *, pitched: bool, ridge_to: float
) -> None:
    """Draw the wall that faces the camera, with the roof's slope towards the street where it has one."""
    wall = canvas.light.lit(color, 0.35)
    outline = gable.box(0, gable.width, 0, gable.height)
    if pitched:
        rise = gable.width * rng.uniform(0.25, 0.45)
        peak = gable.origin + gable.along * gable.width / 2 + np.array([0, gable.height + rise, 0])
        back = np.array([0.0, 0.0, ridge_to - gable.origin[2]])
        eaves = outline[0] + np.array([0, gable.height, 0]) - gable.along * 0.4
        tiles = canvas.light.lit(jittered(rng, _ROOF[rng.integers(len(_ROOF))], 8), 0.7)
        # the slope is seen only from above its plane, which comes down to the street before low houses alone
        level_here = gable.height - abs(float(gable.origin[0])) * rise / (gable.width / 2)
        if canvas.camera.eye > level_here:
            canvas.face(np.stack([eaves, peak, peak + back, eaves + back]), tiles)
        outline = np.stack([outline[0], outline[1], outline[2], peak, outline[3]])
    canvas.face(outline, wall)
    rows = np.arange(1.2, gable.height - 2.0, 3.2)
    for across in (gable.width * 0.25, gable.width * 0.6):
        boxes = np.array([[across, across + 1.1, low, low + 1.5] for low in rows]).reshape(-1, 4)
        canvas.details(gable.rectangles(boxes), [blend(wall, (52, 60, 72), 0.8)] * len(boxes))


def _draw_windows(
    canvas: Canvas, front: Facade, floors: int, storey: float, face: Color, rng: np.random.Generator, *, glassy: bool
) -> None:
    """Draw the windows of all floors but the lowest: frame, glass, sill."""
    pitch = rng.uniform(2.0, 2.6) if glassy else rng.uniform(2.3, 3.6)
    bays = max(1, int(front.width / pitch))
    width, height = (pitch * 0.86, storey * 0.72) if glassy else (rng.uniform(0.9, 1.4), rng.uniform(1.4, 1.9))
    centers = (np.arange(bays) + 0.5) * front.width / bays
    grid = np.array([[a, floor * storey + 0.9] for floor in range(1, floors) for a in centers]).reshape(-1, 2)
    if not len(grid):
        return
    glass = _boxes(grid, width, height)
    frame = _boxes(grid - [0, 0.08], width + 0.2, height + 0.16)
    frame_color = blend(face, (240, 238, 230), 0.55) if not glassy else scaled(face, 0.8)
    canvas.details(front.rectangles(frame), [frame_color] * len(frame))
    canvas.details(front.rectangles(glass), [_glass(canvas, rng) for _ in glass])
    if not glassy:
        bar = _boxes(grid, 0.07, height)
        canvas.details(front.rectangles(bar), [frame_color] * len(bar))
        sill = _boxes(grid - [0, 0.22], width + 0.35, 0.14)
        canvas.details(front.rectangles(sill), [scaled(face, 0.7)] * len(sill))


def _boxes(grid: Points, width: float, height: float) -> Points:
    """Return (N, 4) boxes of one size, centered across and standing on (N, 2) points."""
    left = grid[:, 0] - width / 2
    return np.stack([left, left + width, grid[:, 1], grid[:, 1] + height], axis=-1)


def _glass(canvas: Canvas, rng: np.random.Generator) -> Color:
    """Return the color of one pane: dark, a mirrored sky, a curtain, or a lamp behind it."""
    if canvas.light.lamps and rng.random() < 0.35:
        return jittered(rng, (244, 206, 132), 14)
    dark = jittered(rng, (52, 60, 70), 9)
    mirrored = rng.random() ** 2.2
    pane = blend(dark, canvas.light.skyline, 0.75 * mirrored)
    return blend(pane, (214, 206, 192), 0.6) if rng.random() < 0.14 else pane


def _draw_ground_floor(
    canvas: Canvas, front: Facade, storey: float, face: Color, rng: np.random.Generator, *, shops: bool
) -> None:
    """Draw the lowest floor: doors with windows, or shops with their signs and awnings."""
    step = rng.uniform(3.6, 5.2) if shops else rng.uniform(2.6, 3.8)
    for start in np.arange(0.6, front.width - step * 0.8, step).tolist():
        end = start + step * 0.82
        if not shops:
            low, high, width = (0.1, 2.3, 1.1) if rng.random() < 0.25 else (1.0, 2.4, 1.2)
            color = jittered(rng, (92, 62, 46), 16) if low < 0.5 else _glass(canvas, rng)
            canvas.detail(front.box(start, start + width, low, high), color)
            continue
        canvas.detail(front.box(start, end, 0.1, storey - 0.55), scaled(face, 0.5))
        canvas.detail(front.box(start + 0.15, end - 0.15, 0.45, storey - 0.75), _glass(canvas, rng))
        canvas.detail(front.box(start + 0.2, end - 0.9, 0.5, 1.3), jittered(rng, (128, 96, 76), 40), alpha=170)
        if rng.random() < 0.6:
            _draw_shop_sign(canvas, front, start, end, storey, rng)
            canvas.begin("building", canvas.distance)


def _draw_shop_sign(
    canvas: Canvas, front: Facade, start: float, end: float, storey: float, rng: np.random.Generator
) -> None:
    """Draw a sign above a shop, with a bar where the letters are."""
    color = jittered(rng, _AWNING[rng.integers(len(_AWNING))], 14)
    canvas.begin("shop sign", canvas.distance)
    canvas.face(front.box(start, end, storey - 0.6, storey + 0.1), canvas.light.lit(color, 0.6))
    letters = np.arange(start + 0.5, end - 0.6, 0.34)
    boxes = np.array([[a, a + 0.22, storey - 0.42, storey - 0.08] for a in letters]).reshape(-1, 4)
    canvas.details(front.rectangles(boxes), [blend(color, (250, 246, 236), 0.85)] * len(boxes))


def draw_wall(canvas: Canvas, street: Street, sign: int, z0: float, z1: float, rng: np.random.Generator) -> None:
    """Draw a garden wall or a noise barrier, with courses and a coping."""
    height = float(rng.uniform(1.5, 3.2))
    color = jittered(rng, ((146, 120, 100), (160, 156, 148), (134, 88, 70))[rng.integers(3)], 9)
    front = street_facade(street, sign, street.border(sign), z0, z1, height)
    canvas.begin("wall", z0)
    face = canvas.light.lit(color, 0.3 - 0.7 * canvas.light.side * sign)
    canvas.face(front.box(0, front.width, 0, height), face)
    courses = np.arange(0.3, height - 0.1, 0.3)
    boxes = np.array([[0, front.width, b, b + 0.035] for b in courses])
    canvas.details(front.rectangles(boxes), [scaled(face, 0.8)] * len(boxes))
    canvas.detail(front.box(0, front.width, height - 0.14, height), scaled(face, 1.2))


def draw_fence(canvas: Canvas, street: Street, sign: int, z0: float, z1: float, rng: np.random.Generator) -> None:
    """Draw a fence of pickets one can look through, with rails and posts."""
    height = float(rng.uniform(1.0, 1.9))
    color = ((222, 220, 212), (108, 84, 62), (58, 64, 62), (88, 104, 88))[rng.integers(4)]
    front = street_facade(street, sign, street.border(sign), z0, z1, height)
    canvas.begin("fence", z0)
    face = canvas.light.lit(jittered(rng, color, 6), 0.7)
    # nearby each picket is drawn; where they merge for the eye, a see-through band
    if canvas.camera.pixels(0.14, z0) < 1.5:
        canvas.face(front.box(0, front.width, 0.05, height), face)
        return
    pickets = np.arange(0.0, front.width, 0.22)
    for box in front.rectangles(np.array([[a, a + 0.1, 0.08, height] for a in pickets])):
        canvas.face(box, face)
    for rail in (0.25, height - 0.25):
        canvas.face(front.box(0, front.width, rail, rail + 0.09), scaled(face, 0.86))


def draw_guard_rail(canvas: Canvas, street: Street, sign: int, z0: float, z1: float, rng: np.random.Generator) -> None:
    """Draw a steel guard rail on posts."""
    front = street_facade(street, sign, street.curb(sign) + 0.5, z0, z1, 0.8)
    steel = canvas.light.lit(jittered(rng, (158, 162, 166), 5), 0.8)
    canvas.begin("guard rail", z0)
    for a in np.arange(0.3, front.width, 2.0).tolist():
        canvas.face(front.box(a, a + 0.14, 0.0, 0.75), scaled(steel, 0.68))
    canvas.face(front.box(0, front.width, 0.42, 0.76), steel)
    shades = front.rectangles(np.array([[0, front.width, 0.55, 0.63], [0, front.width, 0.42, 0.47]]))
    canvas.details(shades, [scaled(steel, 0.66), scaled(steel, 0.75)])


def facade_shadow(canvas: Canvas, street: Street, sign: int, spans: Sequence[tuple[float, float, float]]) -> None:
    """Darken the ground where buildings of one side stand in the sun; spans are (z0, z1, meters of shadow)."""
    for z0, z1, length in spans:
        edge = sign * (street.border(sign) + 0.2)
        far_edge = edge - sign * length
        corners = np.concatenate([street.along(edge, np.array([z0, z1])), street.along(far_edge, np.array([z1, z0]))])
        canvas.detail(corners, (24, 28, 44), alpha=canvas.light.shadow)
