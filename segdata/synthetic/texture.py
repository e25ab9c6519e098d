"""From a flat drawing to something like a photograph: grain, wear, wet roads, the lens."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segdata.synthetic.camera import Camera
from segdata.synthetic.kinds import KINDS
from segdata.synthetic.light import Light, smooth_noise

FLAT = frozenset({
    "terrain", "road", "bike lane", "parking", "pavement", "rail track", "plain crossing", "dashed line", "solid line",
    "stop line", "arrow", "zebra", "manhole", "catch basin", "curb", "curb cut",
})  # fmt: skip
_TILE = 512
_FARTHEST = 160.0  # meters; where the line of trees behind everything stands
_Pixels = NDArray[np.float32]


def photograph(
    image: Image.Image,
    thing_image: NDArray[np.int32],
    things: list[str],
    camera: Camera,
    light: Light,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return the drawing at label size with surfaces, haze over the ground, gleam, vignette and noise.

    Parameters
    ----------
    image : PIL.Image.Image
        The drawing, larger than the label image by a whole factor.
    thing_image : ndarray of int32, shape (H, W)
        Number of the thing each pixel shows.
    things : list of str
        The kind of each thing.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    factor = image.width // camera.width
    pixels = np.asarray(image.reduce(factor) if factor > 1 else image).astype(np.float32)
    flat = np.array([kind in FLAT for kind in things])[thing_image]
    grain = np.array([KINDS[kind].grain for kind in things], dtype=np.float32)[thing_image]
    pixels *= (1 + grain * _surface(camera, flat, rng))[..., None]
    _haze_ground(pixels, flat, camera, light)
    if light.wet:
        _mirror(pixels, flat, camera)
    return _expose(pixels, rng)


def _surface(camera: Camera, flat: NDArray[np.bool_], rng: np.random.Generator) -> _Pixels:
    """Return noise of about unit strength: on the ground in perspective, elsewhere in the image's plane."""
    fine, coarse = (((smooth_noise(rng, _TILE, roughness) - 0.5) * 5).astype(np.float32) for roughness in (0.35, 1.2))
    rows, columns = np.arange(camera.height), np.arange(camera.width)
    scale = _TILE / max(camera.width, 1) * 2.0
    noise = _sampled(fine, rows[:, None], columns[None]) * 0.6
    noise += _sampled(coarse, rows[:, None] * scale, columns[None] * scale) * 0.7
    first = min(camera.height, max(0, int(camera.horizon) + 1))
    below = rows[first:] + 0.5 - camera.horizon
    depth = camera.focal * camera.eye / np.maximum(below, 0.5)
    across = (columns[None] - camera.width / 2) * (depth / camera.focal)[:, None]
    ground = _sampled(coarse, depth[:, None] * 22, across * 22) * 0.9 + noise[first:] * 0.45
    ground += _sampled(fine, depth[:, None] * 60, across * 60) * np.clip(9 / depth, 0, 0.9)[:, None].astype(np.float32)
    noise[first:] = np.where(flat[first:], ground, noise[first:])
    return noise


def _sampled(tile: _Pixels, rows: NDArray[np.generic], columns: NDArray[np.generic]) -> _Pixels:
    """Return the repeating tile at whole places."""
    sampled: _Pixels = tile[rows.astype(np.int64) % _TILE, columns.astype(np.int64) % _TILE]
    return sampled


def _haze_ground(pixels: _Pixels, flat: NDArray[np.bool_], camera: Camera, light: Light) -> None:
    """Fade the ground with its distance, which its row tells; other things were drawn faded."""
    below = np.maximum(np.arange(camera.height) + 0.5 - camera.horizon, 0.3)
    depth = np.minimum(camera.focal * camera.eye / below, _FARTHEST)
    lost = 1 - np.exp(-depth / light.visibility)
    share = (lost[:, None] * flat)[..., None].astype(np.float32)
    pixels += (np.array(light.skyline, dtype=np.float32) - pixels) * share


def _mirror(pixels: _Pixels, flat: NDArray[np.bool_], camera: Camera) -> None:
    """Let a wet road mirror, weakly, what stands above the horizon."""
    first = int(np.clip(np.ceil(camera.horizon), 0, camera.height))
    rows = np.arange(first, camera.height)
    above = np.clip((2 * camera.horizon - rows) * 1.0, 0, camera.height - 1).astype(int)
    weight = 0.34 * flat[first:, :, None]
    pixels[first:] += ((pixels[above] - pixels[first:]) * weight).astype(np.float32)


def _expose(pixels: _Pixels, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Apply what a camera adds: white balance, contrast, a darker rim, sensor noise."""
    height, width = pixels.shape[:2]
    down, across = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    vignette = 1 - rng.uniform(0.06, 0.2) * (down**2 * 0.6 + across**2) / 1.6
    contrast = rng.uniform(0.95, 1.08)
    gain = (rng.uniform(1.0, 1.14) * rng.normal(1, 0.02, 3)).astype(np.float32)
    pixels = ((pixels - 118) * np.float32(contrast) + 118) * gain * vignette[..., None].astype(np.float32)
    pixels += rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(1.2, 3.4))
    exposed: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
    return exposed
