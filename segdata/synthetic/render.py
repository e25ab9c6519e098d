"""One synthetic scene: a street is planned, filled and drawn; its labels are known exactly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdata.errors import SettingsError
from segdata.synthetic.buildings import facade_shadow
from segdata.synthetic.camera import Camera
from segdata.synthetic.canvas import Canvas
from segdata.synthetic.compose import compose
from segdata.synthetic.ground import draw_background, draw_ground
from segdata.synthetic.light import choose_light, sky_image
from segdata.synthetic.street import Street, plan_street
from segdata.synthetic.texture import photograph

_SKY_WIDTH = 640
_SMALLEST = 16


@dataclass(frozen=True)
class MadeScene:
    """An image and what each of its pixels shows.

    Attributes
    ----------
    image : ndarray of uint8, shape (H, W, 3)
        The image, RGB.
    things : ndarray of int32, shape (H, W)
        Number of the thing each pixel shows.
    kinds : tuple of str
        The kind of each thing, keys of `segdata.synthetic.kinds.KINDS`.
    """

    image: NDArray[np.uint8]
    things: NDArray[np.int32]
    kinds: tuple[str, ...]


def render_scene(seed: int, index: int, size: tuple[int, int], *, people_factor: float = 1.0) -> MadeScene:
    """Draw scene `index` of the endless series that `seed` names.

    The same street is drawn at every size; only grain and the smallest details depend on it.

    Parameters
    ----------
    seed, index : int
        Not negative; each pair is a scene of its own.
    size : tuple of int
        (height, width) in pixels, each at least 16.
    people_factor : float
        How many times as many people walk about as usually, 0 or more.

    Returns
    -------
    MadeScene

    Raises
    ------
    SettingsError
        If a number is negative or the size too small.

    Examples
    --------
    >>> scene = render_scene(seed=1, index=0, size=(64, 128))
    >>> scene.image.shape, scene.things.shape
    ((64, 128, 3), (64, 128))
    """
    height, width = size
    if min(seed, index, people_factor) < 0 or min(height, width) < _SMALLEST:
        raise SettingsError(
            f"synthetic scene: seed {seed}, index {index}, size {height}x{width}, people_factor {people_factor}. "
            f"Numbers from 0 on and at least {_SMALLEST}x{_SMALLEST} pixels are expected."
        )
    plan, view, place, draw, grain = (_stream(seed, index, part) for part in range(5))
    street, light = plan_street(plan), choose_light(plan)
    camera = _aim(view, height, width)
    canvas = Canvas(camera, light, oversampling=3 if height * width < 400_000 else 2)
    _paint_sky(canvas, view)
    draw_background(canvas, view)
    draw_ground(canvas, street, view)
    _cast_shadows(canvas, street, view)
    things = compose(street, place, people_factor)
    for thing, stream in zip(things, draw.spawn(len(things)), strict=True):
        thing.draw(canvas, stream)
    _draw_bonnet(canvas, view)
    thing_image = np.array(canvas.thing_image, dtype=np.int32)
    image = photograph(canvas.image, thing_image, canvas.things, camera, light, grain)
    return MadeScene(image, thing_image, tuple(canvas.things))


def _stream(*numbers: int) -> np.random.Generator:
    """Return the random stream that these numbers name."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(numbers)))


def _aim(rng: np.random.Generator, height: int, width: int) -> Camera:
    """Choose the lens, the height of the camera and the row of the horizon."""
    focal = max(width, 1.2 * height) * rng.uniform(0.78, 1.1)
    return Camera(width, height, float(focal), float(height * rng.uniform(0.42, 0.52)), float(rng.uniform(1.25, 2.1)))


def _paint_sky(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fill the image with the sky."""
    camera = canvas.camera
    width = min(_SKY_WIDTH, camera.width)
    height = max(2, round(camera.height * width / camera.width))
    sky = sky_image(canvas.light, height, width, camera.horizon * height / camera.height, rng)
    canvas.begin("sky", 0.0)
    canvas.image.paste(Image.fromarray(sky).resize(canvas.image.size, Image.Resampling.BICUBIC))


def _cast_shadows(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    """Let the buildings on the sun's side throw a ragged shadow on the street."""
    sign = 1 if canvas.light.side > 0 else -1
    if canvas.light.shadow < 30 or street.side(sign).border not in ("houses", "blocks"):
        return
    edges = np.concatenate([[0.9], np.arange(6, 150, 13.0)])
    lengths = rng.uniform(2.0, 7.5, len(edges) - 1) * (1.5 if street.side(sign).border == "blocks" else 1.0)
    facade_shadow(canvas, street, sign, [*zip(edges[:-1], edges[1:], lengths.tolist(), strict=True)])


def _draw_bonnet(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw the bonnet of the camera's own car along the lower edge, in some scenes."""
    if rng.random() > 0.6:
        return
    width, height = canvas.camera.width, canvas.camera.height
    across = np.linspace(0, 1, 40)
    rise = height * rng.uniform(0.04, 0.1)
    top = height - rise * np.sin(np.pi * (0.12 + 0.76 * across)) ** 0.7
    rim = np.stack([across * (width + 4) - 2, top], axis=-1)
    corners = np.array([[width + 2, height + 2], [-2, height + 2]])
    dark = canvas.light.lit((44, 46, 50), 0.5)
    canvas.begin("ego vehicle", 0.0)
    canvas.faces_2d([np.concatenate([rim, corners])], [dark])
    gleam = np.concatenate([rim + np.array([0, rise * 0.06]), (rim + np.array([0, rise * 0.2]))[::-1]])
    canvas.gleam(gleam, canvas.light.skyline, alpha=70)
    if rng.random() < 0.3:
        canvas.begin("car mount", 0.0)
        size, middle = height * 0.018, np.array([width / 2, float(top[20])])
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        canvas.faces_2d([middle + size * np.stack([np.cos(angles), np.sin(angles) - 0.6], -1)], [(150, 152, 156)])
