"""Trees, bushes and hedges: trunks that are thin, crowns that are ragged and let the sky through."""

import numpy as np

from segdata.synthetic.camera import Frame, Points
from segdata.synthetic.canvas import Canvas
from segdata.synthetic.light import Color, jittered, scaled

_GREENS: tuple[Color, ...] = (
    (98, 134, 56), (84, 122, 58), (118, 144, 64), (80, 116, 72), (112, 136, 84), (146, 142, 62), (176, 132, 58),
)  # fmt: skip
_GREEN_SHARES = np.array([24, 22, 18, 14, 12, 7, 3]) / 100
_BARK: Color = (82, 68, 56)
_EDGES = np.linspace(0, 2 * np.pi, 13, endpoint=False)


def draw_tree(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a tree: broad, slender like a poplar, or bare as in winter."""
    height = float(rng.uniform(4.5, 11))
    distance = frame.origin[2]
    canvas.begin("vegetation", distance)
    shape = rng.choice(3, p=(0.68, 0.2, 0.12))
    trunk = height * (0.32, 0.15, 0.3)[shape]
    _draw_trunk(canvas, frame, trunk * 1.35, 0.014 * height + 0.05)
    if shape == 2:
        _draw_branches(canvas, frame, trunk, height, rng)
        return
    radius = height * (rng.uniform(0.26, 0.36), rng.uniform(0.1, 0.15))[shape]
    center = np.array([0.0, (trunk + height) / 2, 0.0])
    draw_foliage(canvas, frame, center, np.array([radius, (height - trunk) / 2 + 0.3, radius]), rng)


def draw_bush(canvas: Canvas, frame: Frame, rng: np.random.Generator) -> None:
    """Draw a low bush."""
    radius, height = rng.uniform(0.5, 1.3), rng.uniform(0.5, 1.2)
    canvas.begin("vegetation", frame.origin[2])
    draw_foliage(canvas, frame, np.array([0.0, height * 0.55, 0.0]), np.array([radius, height * 0.6, radius]), rng)


def draw_hedge(canvas: Canvas, frame: Frame, length: float, rng: np.random.Generator) -> None:
    """Draw a hedge that runs `length` meters along the street from the frame."""
    height = rng.uniform(1.2, 2.4)
    canvas.begin("vegetation", frame.origin[2])
    for z in np.arange(length, 0, -1.3).tolist():
        part = Frame(tuple(frame.world(np.array([0.0, 0.0, z])).tolist()), frame.heading)
        canvas.distance = part.origin[2]
        draw_foliage(canvas, part, np.array([0, height * 0.5, 0]), np.array([0.7, height * 0.52, 0.9]), rng, leaves=16)


def draw_foliage(
    canvas: Canvas, frame: Frame, center: Points, radii: Points, rng: np.random.Generator, *, leaves: int = 46
) -> None:
    """Draw a crown as tufts of leaves in an ellipsoid, dark ones within, bright ones on top and towards the sun.

    Parameters
    ----------
    center, radii : ndarray, shape (3,)
        The ellipsoid in the frame's axes, meters.
    leaves : int
        Number of tufts; fewer are drawn where the crown is small in the image.
    """
    base = jittered(rng, _GREENS[rng.choice(len(_GREENS), p=_GREEN_SHARES)], 9)
    pixels = canvas.camera.pixels(float(radii.min()), frame.origin[2])
    count = int(np.clip(leaves * pixels / 16, min(leaves, 14), leaves * 5))
    places = rng.normal(0, 1, (count, 3))
    places *= (rng.uniform(0.15, 1, (count, 1)) ** 0.4) / np.linalg.norm(places, axis=1, keepdims=True)
    places = places[np.argsort(-places[:, 2] + 0.6 * np.linalg.norm(places, axis=1) * -1)]
    size = float(np.sqrt(radii[0] * radii[1])) * float(np.clip(1.9 / np.sqrt(count), 0.13, 0.46))
    bright = 0.72 + 0.3 * places[:, 1] + 0.14 * canvas.light.side * places[:, 0] + rng.normal(0, 0.07, count)
    points = canvas.camera.project(np.maximum(frame.world(center + places * radii), [-1e9, -1e9, 1.0]))
    sizes = canvas.camera.pixels(size, frame.origin[2]) * rng.uniform(0.6, 1.15, count)
    wobble = rng.uniform(0.5, 1.35, (count, len(_EDGES)))
    circle = np.stack([np.cos(_EDGES), np.sin(_EDGES)], axis=-1)
    tufts = points[:, None] + circle * (wobble * sizes[:, None])[..., None]
    if frame.origin[2] > 1.5:
        canvas.faces_2d(tufts, [canvas.light.lit(scaled(base, level), 0.8) for level in bright.tolist()])


def _draw_trunk(canvas: Canvas, frame: Frame, height: float, radius: float) -> None:
    """Draw a tapering trunk with a shaded edge."""
    bark = canvas.light.lit(_BARK, 0.7)
    outline = [[-radius, 0, 0], [radius, 0, 0], [radius * 0.6, height, 0], [-radius * 0.6, height, 0]]
    flat = Frame(frame.origin)  # a round trunk looks the same from every side
    canvas.face(flat.world(np.array(outline)), bark)
    shade = np.array([[0, 0, 0], [radius, 0, 0], [radius * 0.6, height, 0], [0, height, 0]])
    if canvas.light.side > 0:
        shade[:, 0] *= -1
    canvas.detail(flat.world(shade), scaled(bark, 0.72))


def _draw_branches(canvas: Canvas, frame: Frame, start: float, height: float, rng: np.random.Generator) -> None:
    """Draw a bare crown by branching five times."""
    bark = canvas.light.lit(scaled(_BARK, 0.9), 0.7)
    flat = Frame(frame.origin)
    tips = [(0.0, start, np.pi / 2, (height - start) * 0.42, 0.07)]
    for _ in range(5):
        grown = []
        for x, y, angle, length, radius in tips:
            for turn in rng.normal((-0.45, 0.05, 0.5), 0.2):
                towards = angle + turn
                end_x, end_y = x + length * np.cos(towards), y + length * np.sin(towards)
                canvas.face(flat.world(limb((x, y), (end_x, end_y), radius)), bark)
                grown.append((end_x, end_y, towards, length * 0.66, radius * 0.6))
        tips = grown if len(grown) < 60 else grown[::3]


def limb(start: tuple[float, float], end: tuple[float, float], radius: float, taper: float = 0.7) -> Points:
    """Return the (4, 3) corners of a straight limb in the plane z = 0, `taper` times as thick at its end."""
    ends = np.array([start, end], dtype=np.float64)
    along = ends[1] - ends[0]
    across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9) * radius
    flat = np.stack([ends[0] - across, ends[0] + across, ends[1] + across * taper, ends[1] - across * taper])
    return np.concatenate([flat, np.zeros((4, 1))], axis=1)
