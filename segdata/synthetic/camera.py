"""A pinhole camera above the street: meters to pixels.

World axes: x to the right, y up from the road, z forward, in meters. The camera stands at (0, `eye`, 0) and looks
along z.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
NEAR = 0.8  # meters; nothing nearer is drawn


@dataclass(frozen=True)
class Camera:
    """Where the camera stands and how it sees.

    Attributes
    ----------
    width, height : int
        Size of the image in pixels.
    focal : float
        Focal length in pixels.
    horizon : float
        Row of the horizon.
    eye : float
        Height of the camera above the road, meters.
    """

    width: int
    height: int
    focal: float
    horizon: float
    eye: float

    def project(self, points: Points) -> Points:
        """Return the (..., 2) pixel positions (column, row) of (..., 3) points; z must be positive.

        >>> camera = Camera(width=200, height=100, focal=100.0, horizon=40.0, eye=1.5)
        >>> camera.project(np.array([[2.0, 0.0, 10.0]])).tolist()
        [[120.0, 55.0]]
        """
        scale = self.focal / points[..., 2]
        pixels = np.empty((*points.shape[:-1], 2))
        pixels[..., 0] = self.width / 2 + points[..., 0] * scale
        pixels[..., 1] = self.horizon + (self.eye - points[..., 1]) * scale
        return pixels

    def pixels(self, meters: float, distance: float) -> float:
        """Return how many pixels a length has at a distance."""
        return meters * self.focal / max(distance, NEAR)


def clip_near(polygon: Points, near: float = NEAR) -> Points:
    """Return what of a polygon lies beyond the near plane; (0, 3) if nothing does.

    >>> clip_near(np.array([[0.0, 0, -1], [0, 0, 3], [1, 0, 3]]), near=1.0)[:, 2].tolist()
    [1.0, 3.0, 3.0, 1.0]
    """
    depth = polygon[:, 2]
    if depth.min() >= near:
        return polygon
    if depth.max() < near:
        return polygon[:0]
    kept = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if start[2] >= near:
            kept.append(start)
        if (start[2] >= near) != (end[2] >= near):
            kept.append(start + (end - start) * ((near - start[2]) / (end[2] - start[2])))
    return np.array(kept)


@dataclass(frozen=True)
class Frame:
    """A thing's own axes: x to its right, y up, z to its front.

    Attributes
    ----------
    origin : tuple of float
        The point on the ground below it, in world meters.
    heading : float
        Radians clockwise from the camera's direction; 0 drives away, pi comes towards the camera.
    """

    origin: tuple[float, float, float]
    heading: float = 0.0

    def world(self, local: Points) -> Points:
        """Return the (..., 3) world points of (..., 3) points given in the thing's own axes."""
        sine, cosine = np.sin(self.heading), np.cos(self.heading)
        turned = np.empty(local.shape, dtype=np.float64)
        turned[..., 0] = local[..., 0] * cosine + local[..., 2] * sine
        turned[..., 1] = local[..., 1]
        turned[..., 2] = local[..., 2] * cosine - local[..., 0] * sine
        turned += np.array(self.origin)
        return turned
