"""Where a scene is drawn: an image at several times its size for smooth edges, and which thing each pixel shows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segdata.synthetic.camera import NEAR, Camera, Points, clip_near
from segdata.synthetic.light import Color, Light

_FAR_OUTSIDE = 20_000.0  # pixels; Pillow's polygon filler takes no coordinate much larger
_SMALLEST = 0.12  # pixels; a detail of less extent is not drawn


@dataclass
class Canvas:
    """An image and an image of thing numbers, drawn together.

    Attributes
    ----------
    camera : Camera
        In label pixels.
    light : Light
        Shades and haze.
    oversampling : int
        Image pixels per label pixel, in each direction.
    things : list of str
        The kind of every thing drawn so far; the thing image holds places in this list.
    """

    camera: Camera
    light: Light
    oversampling: int
    things: list[str] = field(default_factory=list)
    distance: float = 0.0

    def __post_init__(self) -> None:
        size = (self.camera.width, self.camera.height)
        self.image = Image.new("RGB", (size[0] * self.oversampling, size[1] * self.oversampling))
        self.thing_image = Image.new("I", size, 0)
        self._paint = ImageDraw.Draw(self.image, "RGBA")
        self._label = ImageDraw.Draw(self.thing_image)

    def begin(self, kind: str, distance: float) -> None:
        """Start the next thing; what is drawn from now on is part of it, in the haze of its distance (meters)."""
        self.things.append(kind)
        self.distance = distance

    def face(self, points: Points | Sequence[Sequence[float]], color: Color, alpha: int = 255) -> None:
        """Draw a polygon of (N, 3) world points as part of the current thing."""
        corners = self._on_screen(np.asarray(points, dtype=np.float64))
        if corners is not None:
            self._label.polygon(_flat(corners - 0.5), fill=len(self.things) - 1)
            self._fill(corners, color, alpha)

    def detail(self, points: Points | Sequence[Sequence[float]], color: Color, alpha: int = 255) -> None:
        """Draw a polygon in the image alone: a window, a shadow, a scratch."""
        corners = self._on_screen(np.asarray(points, dtype=np.float64))
        if corners is not None and np.ptp(corners, axis=0).min() > _SMALLEST:
            self._fill(corners, color, alpha)

    def details(self, polygons: Points, colors: Iterable[Color], alpha: int = 255) -> None:
        """Draw (M, N, 3) polygons in the image alone; those partly behind the camera are left out."""
        in_front = polygons[..., 2].min(axis=1, initial=np.inf) > NEAR
        corners = self.camera.project(np.where(in_front[:, None, None], polygons, 1.0))
        seen = in_front & (np.ptp(corners, axis=1).min(axis=1) > _SMALLEST) & self._inside(corners)
        for polygon, color, wanted in zip(corners, colors, seen.tolist(), strict=True):
            if wanted:
                self._fill(polygon, color, alpha)

    def faces_2d(self, polygons: Iterable[Points], colors: Iterable[Color]) -> None:
        """Draw polygons given in label pixels as part of the current thing."""
        for polygon, color in zip(polygons, colors, strict=True):
            self._label.polygon(_flat(polygon - 0.5), fill=len(self.things) - 1)
            self._fill(polygon, color, 255)

    def gleam(self, polygon: Points, color: Color, alpha: int) -> None:
        """Draw a see-through polygon, given in label pixels, in the image alone."""
        self._fill(polygon, color, alpha)

    def wire(self, points: Points, meters: float, color: Color, alpha: int = 255) -> None:
        """Draw a thin line in the image alone, which labels leave out as people do."""
        corners = self._on_screen(points)
        if corners is not None:
            width = max(1, round(self.camera.pixels(meters, self.distance) * self.oversampling))
            self._paint.line(
                _flat(corners * self.oversampling), fill=(*self.light.hazed(color, self.distance), alpha), width=width
            )

    def _fill(self, corners: Points, color: Color, alpha: int) -> None:
        """Fill a polygon of the image, given in label pixels."""
        ink = self.light.hazed(color, self.distance)
        self._paint.polygon(_flat(corners * self.oversampling - 0.5), fill=(*ink, alpha) if alpha < 255 else ink)

    def _on_screen(self, points: Points) -> Points | None:
        """Return the clipped polygon in label pixels, or None where nothing of it can be seen."""
        clipped = clip_near(points)
        if len(clipped) < 2:
            return None
        corners = self.camera.project(clipped)
        if not self._inside(corners[None])[0]:
            return None
        return np.clip(corners, -_FAR_OUTSIDE, _FAR_OUTSIDE)

    def _inside(self, polygons: Points) -> NDArray[np.bool_]:
        """Say which (M, N, 2) polygons have a bounding box that touches the image."""
        low, high = polygons.min(axis=1), polygons.max(axis=1)
        size = np.array([self.camera.width, self.camera.height])
        inside: NDArray[np.bool_] = ((high > 0) & (low < size)).all(axis=1)
        return inside


def _flat(corners: Points) -> list[float]:
    """Return x, y, x, y, ... as Pillow takes it fastest."""
    flat: list[float] = corners.ravel().tolist()
    return flat
