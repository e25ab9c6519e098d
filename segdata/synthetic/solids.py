"""Solid bodies from a side view: a closed outline with a half width at every corner."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segdata.synthetic.camera import Frame, Points
from segdata.synthetic.canvas import Canvas
from segdata.synthetic.light import Color


@dataclass(frozen=True)
class Solid:
    """A body in a thing's own axes.

    Attributes
    ----------
    outline : ndarray, shape (N, 3)
        Corners (z, y, half width), around the side view.
    colors : sequence of Color, length N
        Color of the face from each corner to the next.
    side : Color
        Color of the two flanks.
    """

    outline: Points
    colors: Sequence[Color]
    side: Color


def draw_solid(canvas: Canvas, frame: Frame, solid: Solid) -> None:
    """Draw the faces of a solid that the camera sees, the farthest first."""
    right = _flank(solid.outline, 1.0)
    left = _flank(solid.outline, -1.0)
    following = np.roll(np.arange(len(right)), -1)
    quads = np.stack([left, right, right[following], left[following]], axis=1)
    faces = [*zip(quads, solid.colors, strict=True), (left, solid.side), (right, solid.side)]
    middle = frame.world(solid.outline[:, [2, 1, 0]] * [0, 1, 1]).mean(axis=0)
    shown = []
    for local, color in faces:
        world = frame.world(local)
        outward = outward_normal(world, middle)
        if outward @ (world.mean(axis=0) - [0, canvas.camera.eye, 0]) < 0:
            lit = canvas.light.lit(color, facing(canvas, outward))
            shown.append((float(np.linalg.norm(world.mean(axis=0))), world, lit))
    for _, world, lit in sorted(shown, key=lambda face: -face[0]):
        canvas.face(world, lit)


def facing(canvas: Canvas, normal: Points) -> float:
    """Return how directly a face with this unit normal looks at the sun, which stands high, behind the camera."""
    return float(normal @ np.array([canvas.light.side * 0.45, 0.75, -0.5]))


def outward_normal(face: Points, inside: Points) -> Points:
    """Return the unit normal of a flat (N, 3) face that points away from `inside`."""
    # Newell's sum over the edges takes corners that lie a little off one plane
    normal = np.cross(face, np.roll(face, -1, axis=0)).sum(axis=0)
    normal = normal / max(float(np.linalg.norm(normal)), 1e-12)
    outward: Points = normal if normal @ (face.mean(axis=0) - inside) >= 0 else -normal
    return outward


def panel(z: float, x0: float, x1: float, y0: float, y1: float) -> Points:
    """Return the corners of an upright rectangle across a thing, at `z` along it."""
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]])


def flank_panel(x: float, z0: float, z1: float, y0: float, y1: float) -> Points:
    """Return the corners of an upright rectangle along a thing's flank, at `x` across it."""
    return np.array([[x, y0, z0], [x, y0, z1], [x, y1, z1], [x, y1, z0]])


def disc(x: float, z: float, y: float, radius: float, corners: int = 18) -> Points:
    """Return a wheel's outline on a flank."""
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.full(corners, x), y + radius * np.sin(angles), z + radius * np.cos(angles)], axis=-1)


def shrunk(polygon: Points, share: float) -> Points:
    """Return a polygon drawn in towards its middle."""
    middle = polygon.mean(axis=-2, keepdims=True)
    inner: Points = middle + (polygon - middle) * share
    return inner


def sees_front(frame: Frame) -> bool:
    """Say whether the camera looks at the front of a thing, rather than at its back."""
    return bool(frame.origin[0] * np.sin(frame.heading) + frame.origin[2] * np.cos(frame.heading) < 0)


def seen_end(frame: Frame, length: float) -> float:
    """Return which end the camera sees: 1 the front, -1 the back, 0 neither, from right beside a thing."""
    ahead = -(frame.origin[0] * np.sin(frame.heading) + frame.origin[2] * np.cos(frame.heading))
    return float(np.sign(ahead)) if abs(ahead) > length / 2 else 0.0


def seen_flank(frame: Frame, width: float) -> float:
    """Return which flank the camera sees: 1 the thing's right, -1 its left, 0 neither, from right behind it."""
    across = frame.origin[2] * np.sin(frame.heading) - frame.origin[0] * np.cos(frame.heading)
    return float(np.sign(across)) if abs(across) > width / 2 else 0.0


def _flank(outline: Points, sign: float) -> Points:
    """Return the corners of one flank, in a thing's axes."""
    return np.stack([sign * outline[:, 2], outline[:, 1], outline[:, 0]], axis=-1)
