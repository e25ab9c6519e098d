"""The ground: road, markings, crosswalk, rails, curbs, pavement, verges, a crossing street; and the far background."""

from collections.abc import Callable
from functools import partial

import numpy as np

from segdata.synthetic.canvas import Canvas
from segdata.synthetic.light import Color, blend, jittered, scaled
from segdata.synthetic.street import REACH, Street

_DEPTHS = np.concatenate([[0.3], np.geomspace(1.0, REACH, 26)])
_PAINT: Color = (226, 226, 220)
_CURB_HEIGHT = 0.13


def draw_ground(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Draw everything that lies flat, from the fields beside the street to the paint on it."""
    asphalt = jittered(rng, (93, 94, 98), 9)
    grass = jittered(rng, (112, 127, 66), 14)
    _plain(canvas, "terrain", grass)
    for sign in (-1, 1):
        _draw_side(canvas, street, sign, grass, rng)
    _strip(canvas, street, "road", -street.half, street.half, asphalt)
    _draw_lanes_beyond(canvas, street, asphalt, rng)
    if street.junction is not None:
        _draw_junction(canvas, street, asphalt)
    _draw_patches(canvas, street, asphalt, rng)
    if street.tram:
        _draw_rails(canvas, street, asphalt)
    _draw_markings(canvas, street, rng)
    if street.zebra is not None:
        _draw_zebra(canvas, street, street.zebra, plain=rng.random() < 0.2)
    _draw_lids(canvas, street, rng)


def _plain(canvas: Canvas, kind: str, color: Color) -> None:
    """Fill everything below the horizon."""
    canvas.begin(kind, 0.0)
    camera = canvas.camera
    bottom, right = camera.height + 2.0, camera.width + 2.0
    box = np.array([[-2, camera.horizon], [right, camera.horizon], [right, bottom], [-2, bottom]])
    canvas.faces_2d([box], [canvas.light.lit(color, 1.0)])


def _strip(
    canvas: Canvas,
    street: Street,
    kind: str,
    start: float,
    end: float,
    color: Color,
    *,
    y: float = 0.0,
    between: tuple[float, float] = (0.3, REACH),
) -> None:
    """Draw a band along the street from `start` to `end` meters right of its middle line."""
    canvas.begin(kind, 0.0)
    depths = np.clip(_DEPTHS, *between)
    points = np.concatenate([street.along(start, depths, y), street.along(end, depths, y)[::-1]])
    canvas.face(points, canvas.light.lit(color, 1.0))


def _draw_side(canvas: Canvas, street: Street, sign: int, grass: Color, rng: np.random.Generator) -> None:
    """Draw curb, verge and pavement of one side; the pavement lies outermost."""
    side, curb = street.side(sign), street.curb(sign)
    stone = jittered(rng, (158, 154, 147), 9)
    slab = jittered(rng, (150, 141, 134), 11)
    y = _CURB_HEIGHT
    if side.pavement:
        _strip(canvas, street, "pavement", sign * curb, sign * (street.border(sign) + 0.6), slab, y=y)
        _draw_slabs(canvas, street, sign, scaled(slab, 0.86))
    if side.verge:
        _strip(canvas, street, "terrain", sign * (curb + 0.2), sign * (curb + 0.2 + side.verge), grass, y=y)
    if not (side.pavement or side.verge):
        return
    top = street.along(sign * curb, _DEPTHS, y)
    canvas.begin("curb", 0.0)
    low = street.along(sign * curb, _DEPTHS, 0.0)
    canvas.face(np.concatenate([top, low[::-1]]), canvas.light.lit(scaled(stone, 0.72), 1.0))
    outer = street.along(sign * (curb + 0.2), _DEPTHS, y)
    canvas.face(np.concatenate([top, outer[::-1]]), canvas.light.lit(stone, 1.0))


def _draw_slabs(canvas: Canvas, street: Street, sign: int, color: Color) -> None:
    """Draw the joints of the pavement's slabs in the image."""
    start = street.curb(sign) + 0.2 + street.side(sign).verge
    ends = np.arange(2.0, 40.0, 1.2)
    joints = [
        np.concatenate([street.along(sign * across, np.array([z, z + 0.03]), _CURB_HEIGHT) for across in (start, end)])
        for z in ends
        for end in (street.border(sign),)
    ]
    quads = np.stack(joints)[:, [0, 1, 3, 2]]
    canvas.details(quads, [canvas.light.lit(color, 1.0)] * len(quads), alpha=150)


def _draw_lanes_beyond(canvas: Canvas, street: Street, asphalt: Color, rng: np.random.Generator) -> None:
    """Draw bike lanes and parking strips, between the driving lanes and the curb."""
    for sign in (-1, 1):
        side, inner = street.side(sign), street.half
        if side.cycling:
            red = jittered(rng, (136, 84, 74), 8) if rng.random() < 0.5 else scaled(asphalt, 1.05)
            _strip(canvas, street, "bike lane", sign * inner, sign * (inner + side.cycling), red)
            inner += side.cycling
        if side.parking:
            kind = "parking" if rng.random() < 0.35 else "road"
            _strip(canvas, street, kind, sign * inner, sign * (inner + side.parking), scaled(asphalt, 0.93))


def _draw_junction(canvas: Canvas, street: Street, asphalt: Color) -> None:
    """Draw the crossing street and the lowered curbs at its corners."""
    assert street.junction is not None
    near, far = street.junction - 5.0, street.junction + 5.0
    middle = float(street.middle(street.junction))
    canvas.begin("pavement", 0.0)
    _across(canvas, middle, near - 2.4, far + 2.4, canvas.light.lit((148, 141, 134), 1.0), 80)
    canvas.begin("road", 0.0)
    _across(canvas, middle, near, far, canvas.light.lit(asphalt, 1.0), 80)
    _strip(canvas, street, "road", -street.half, street.half, asphalt, between=(near - 3, far + 3))
    for sign in (-1, 1):
        curb = street.curb(sign)
        _strip(canvas, street, "curb cut", sign * curb, sign * (curb + 1.1), (166, 161, 153), between=(near - 3, near))


def _across(canvas: Canvas, middle: float, near: float, far: float, color: Color, reach: float) -> None:
    """Draw a band across the street as part of the current thing."""
    left, right = middle - reach, middle + reach
    canvas.face([[left, 0, near], [right, 0, near], [right, 0, far], [left, 0, far]], color)


def _draw_patches(canvas: Canvas, street: Street, asphalt: Color, rng: np.random.Generator) -> None:
    """Draw fixed patches, tire tracks and cracks in the image alone."""
    for sign in (-1, 1):
        for lane in range(street.lanes):
            for wheel in (-0.75, 0.75):
                across = sign * ((3.2 if street.tram else 0) + (lane + 0.5) * street.lane) + wheel
                edges = [street.along(across + part, _DEPTHS) for part in (-0.25, 0.25)]
                canvas.detail(np.concatenate([edges[0], edges[1][::-1]]), (30, 30, 32), alpha=14)
    for _ in range(rng.integers(2, 7)):
        z, across = 4 + 50 * rng.random() ** 1.5, rng.uniform(-street.half, street.half)
        length, width = rng.uniform(1, 7), rng.uniform(0.4, 1.6)
        corners = [[-width, 0, 0], [width, 0, 0.1], [width, 0, length], [-width, 0, length - 0.2]]
        tone = scaled(asphalt, rng.choice([0.78, 0.86, 1.1]))
        canvas.detail(street.frame(across, z).world(np.array(corners)), canvas.light.lit(tone, 1.0), alpha=150)


def _draw_rails(canvas: Canvas, street: Street, asphalt: Color) -> None:
    """Draw the bed of the tram with two tracks."""
    bed = blend(asphalt, (150, 138, 122), 0.6)
    _strip(canvas, street, "rail track", -3.0, 3.0, bed)
    for track in (-1.55, 1.55):
        for rail in (-0.72, 0.72):
            edges = [street.along(track + rail + part, _DEPTHS) for part in (-0.06, 0.06)]
            canvas.detail(np.concatenate([edges[0], edges[1][::-1]]), canvas.light.lit((205, 205, 208), 1.0))


def _draw_markings(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Draw the lane lines, the edge lines, a stop line and arrows."""
    base = 3.2 if street.tram else 0.0
    if not street.tram:
        _line(canvas, street, 0.0, dashed=rng.random() < 0.6)
    for sign in (-1, 1):
        for lane in range(1, street.lanes):
            _line(canvas, street, sign * (base + lane * street.lane), dashed=True)
        if street.side(sign).cycling or street.side(sign).parking or rng.random() < 0.35:
            _line(canvas, street, sign * (street.half - 0.1), dashed=bool(street.side(sign).parking))
    if street.junction is not None:
        canvas.begin("stop line", 0.0)
        z = street.junction - 10.8
        _box(canvas, street, (base, street.half), (z, z + 0.4))
        for lane in range(street.lanes):
            _draw_arrow(canvas, street, base + (lane + 0.5) * street.lane, z - 9.0)


def _line(canvas: Canvas, street: Street, across: float, *, dashed: bool) -> None:
    """Draw one marking line along the street, open where another street crosses."""
    canvas.begin("dashed line" if dashed else "solid line", 0.0)
    step, length = (9.0, 4.0) if dashed else (6.0, 6.0)
    for z in np.arange(1.0, 160.0, step).tolist():
        if not street.in_junction(z + length / 2, 4.0):
            _box(canvas, street, (across - 0.07, across + 0.07), (z, z + length))


def _box(canvas: Canvas, street: Street, across: tuple[float, float], z: tuple[float, float]) -> None:
    """Paint a rectangle on the road as part of the current thing."""
    ends = np.array(z)
    corners = np.concatenate([street.along(across[0], ends), street.along(across[1], ends)[::-1]])
    canvas.face(corners, canvas.light.lit(_PAINT, 1.0))


def _draw_arrow(canvas: Canvas, street: Street, across: float, z: float) -> None:
    """Draw an arrow that points ahead."""
    outline = [(-0.08, 0), (0.08, 0), (0.08, 2.4), (0.4, 2.4), (0, 4.2), (-0.4, 2.4), (-0.08, 2.4)]
    canvas.begin("arrow", 0.0)
    local = np.array([[x, 0.0, along] for x, along in outline])
    canvas.face(street.frame(across, z).world(local), canvas.light.lit(_PAINT, 1.0))


def _draw_zebra(canvas: Canvas, street: Street, z: float, *, plain: bool) -> None:
    """Draw a crosswalk: stripes, or two lines with plain road between them."""
    left, right = -street.curb(-1), street.curb(1)
    if plain:
        canvas.begin("plain crossing", 0.0)
        depth = np.array([z, z + 3.0])
        corners = np.concatenate([street.along(left, depth), street.along(right, depth)[::-1]])
        canvas.face(corners, canvas.light.lit((122, 118, 116), 1.0))
        return
    canvas.begin("zebra", 0.0)
    for across in np.arange(left + 0.3, right - 0.4, 1.0).tolist():
        _box(canvas, street, (across, across + 0.5), (z, z + 3.2))


def _draw_lids(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Draw manholes in the lanes and drains at the curb."""
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    circle = np.stack([0.34 * np.cos(angles), 0 * angles, 0.34 * np.sin(angles)], axis=-1)
    for _ in range(rng.integers(0, 4)):
        canvas.begin("manhole", 0.0)
        frame = street.frame(rng.uniform(-street.half, street.half) * 0.8, rng.uniform(5, 34))
        canvas.face(frame.world(circle), canvas.light.lit((62, 60, 60), 1.0))
        canvas.detail(frame.world(circle * 0.75), canvas.light.lit((78, 76, 75), 1.0))
    grate = np.array([[-0.45, 0, 0], [0.0, 0, 0], [0.0, 0, 0.6], [-0.45, 0, 0.6]])
    for z in np.arange(rng.uniform(4, 12), 45, 22).tolist():
        canvas.begin("catch basin", 0.0)
        canvas.face(street.frame(street.curb(1), z).world(grate), canvas.light.lit((52, 52, 54), 1.0))


def draw_background(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw what stands at the end of all streets: hills, a skyline, a line of trees."""
    layers: list[Callable[[Canvas, np.random.Generator], None]] = []
    if rng.random() < 0.3:
        layers.append(partial(_ridge, kind="mountain", color=(98, 116, 118), height=0.1, distance=300.0))
    if rng.random() < 0.55:
        layers.append(_skyline)
    layers.append(partial(_ridge, kind="far trees", color=(74, 96, 58), height=0.035, distance=160.0))
    for layer in layers:
        layer(canvas, rng)


def _ridge(
    canvas: Canvas, rng: np.random.Generator, *, kind: str, color: Color, height: float, distance: float
) -> None:
    """Draw a ragged band above the horizon; `height` is a fraction of the image's width."""
    camera, count = canvas.camera, 160
    waves = sum(rng.normal(0, 1 / n) * np.sin(np.linspace(0, n * 7, count) + rng.uniform(0, 7)) for n in range(1, 12))
    ragged = 0.6 + 0.2 * np.asarray(waves) + rng.uniform(0, 0.16, count)
    tops = camera.horizon - np.clip(ragged, 0.15, 2) * height * camera.width * rng.uniform(0.6, 1.1)
    columns = np.linspace(-2, camera.width + 2, count)
    ends = np.array([[camera.width + 2, camera.horizon + 1], [-2, camera.horizon + 1]])
    canvas.begin(kind, distance)
    canvas.faces_2d([np.concatenate([np.stack([columns, tops], axis=-1), ends])], [canvas.light.lit(color, 0.7)])


def _skyline(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw distant towers."""
    camera = canvas.camera
    for _ in range(rng.integers(5, 16)):
        canvas.begin("skyline", rng.uniform(170, 320))
        left, width = rng.uniform(0, camera.width), camera.width * rng.uniform(0.012, 0.05)
        top = camera.horizon - camera.width * rng.uniform(0.02, 0.12)
        right, bottom = left + width, camera.horizon + 1
        box = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        canvas.faces_2d([box], [canvas.light.lit(jittered(rng, (150, 146, 142), 16), 0.6)])
