"""Where a scene is drawn: a picture at several times its size for smooth edges, and which thing each pixel shows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segdata.scenes.camera import NEAR, Camera, Points, clip_near
from segdata.scenes.light import Colour, Light

_FAR_OUTSIDE = 20_000.0  # pixels; Pillow's polygon filler takes no coordinate much larger
_SMALLEST = 0.12  # pixels; a detail of less extent is not drawn


@dataclass
class Canvas:
    """A picture and an image of thing numbers, drawn together.

    Attributes
    ----------
    camera : Camera
        In label pixels.
    light : Light
        Shades and haze.
    oversampling : int
        Picture pixels per label pixel, in each direction.
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
        self.picture = Image.new("RGB", (size[0] * self.oversampling, size[1] * self.oversampling))
        self.thing_image = Image.new("I", size, 0)
        self._paint = ImageDraw.Draw(self.picture, "RGBA")
        self._label = ImageDraw.Draw(self.thing_image)

    def begin(self, kind: str, distance: float) -> None:
        """Start the next thing; what is drawn from now on is part of it, in the haze of its distance (metres)."""
        self.things.append(kind)
        self.distance = distance

    def face(self, points: Points | Sequence[Sequence[float]], colour: Colour, alpha: int = 255) -> None:
        """Draw a polygon of (N, 3) world points as part of the current thing."""
        corners = self._on_screen(np.asarray(points, dtype=np.float64))
        if corners is not None:
            self._label.polygon(_flat(corners - 0.5), fill=len(self.things) - 1)
            self._fill(corners, colour, alpha)

    def detail(self, points: Points | Sequence[Sequence[float]], colour: Colour, alpha: int = 255) -> None:
        """Draw a polygon in the picture alone: a window, a shadow, a scratch."""
        corners = self._on_screen(np.asarray(points, dtype=np.float64))
        if corners is not None and np.ptp(corners, axis=0).min() > _SMALLEST:
            self._fill(corners, colour, alpha)

    def details(self, polygons: Points, colours: Iterable[Colour], alpha: int = 255) -> None:
        """Draw (M, N, 3) polygons in the picture alone; those partly behind the camera are left out."""
        in_front = polygons[..., 2].min(axis=1, initial=np.inf) > NEAR
        corners = self.camera.project(np.where(in_front[:, None, None], polygons, 1.0))
        seen = in_front & (np.ptp(corners, axis=1).min(axis=1) > _SMALLEST) & self._inside(corners)
        for polygon, colour, wanted in zip(corners, colours, seen.tolist(), strict=True):
            if wanted:
                self._fill(polygon, colour, alpha)

    def faces_2d(self, polygons: Iterable[Points], colours: Iterable[Colour]) -> None:
        """Draw polygons given in label pixels as part of the current thing."""
        for polygon, colour in zip(polygons, colours, strict=True):
            self._label.polygon(_flat(polygon - 0.5), fill=len(self.things) - 1)
            self._fill(polygon, colour, 255)

    def gleam(self, polygon: Points, colour: Colour, alpha: int) -> None:
        """Draw a see-through polygon, given in label pixels, in the picture alone."""
        self._fill(polygon, colour, alpha)

    def wire(self, points: Points, metres: float, colour: Colour, alpha: int = 255) -> None:
        """Draw a thin line in the picture alone, which labels leave out as people do."""
        corners = self._on_screen(points)
        if corners is not None:
            width = max(1, round(self.camera.pixels(metres, self.distance) * self.oversampling))
            self._paint.line(
                _flat(corners * self.oversampling), fill=(*self.light.hazed(colour, self.distance), alpha), width=width
            )

    def _fill(self, corners: Points, colour: Colour, alpha: int) -> None:
        """Fill a polygon of the picture, given in label pixels."""
        ink = self.light.hazed(colour, self.distance)
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
        """Say which (M, N, 2) polygons have a bounding box that touches the picture."""
        low, high = polygons.min(axis=1), polygons.max(axis=1)
        size = np.array([self.camera.width, self.camera.height])
        inside: NDArray[np.bool_] = ((high > 0) & (low < size)).all(axis=1)
        return inside


def _flat(corners: Points) -> list[float]:
    """Return x, y, x, y, ... as Pillow takes it fastest."""
    flat: list[float] = corners.ravel().tolist()
    return flat
