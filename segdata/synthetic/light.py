"""The hour and the weather: what color the light is, where it comes from, how soon the distance fades."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Light:
    """Light, sky and air of one scene.

    Attributes
    ----------
    name : str
        What people would call it.
    zenith, skyline : Color
        Colors of the sky overhead and at the horizon; the haze is that of the skyline.
    sun : tuple of float
        Gain per color channel on a surface in full light.
    shade : float
        Brightness of a surface turned away from the sun, as a fraction of full light.
    visibility : float
        Distance in meters over which 63% of a color is lost to haze.
    clouds : float
        Share of the sky that is clouded, 0 to 1.
    shadow : int
        Strength of cast shadows, 0 to 255.
    wet : bool
        Whether the road mirrors.
    lamps : bool
        Whether windows and lamps are lit.
    side : float
        Where the sun stands: -1 left, 1 right.
    """

    name: str
    zenith: Color
    skyline: Color
    sun: tuple[float, float, float]
    shade: float
    visibility: float
    clouds: float
    shadow: int
    wet: bool = False
    lamps: bool = False
    side: float = 1.0

    def hazed(self, color: Color, distance: float) -> Color:
        """Return a color as seen over a distance in meters.

        >>> WEATHERS[0].hazed((10, 20, 30), 0.0)
        (10, 20, 30)
        """
        kept = np.exp(-distance / self.visibility).item()
        return blend(self.skyline, color, kept)

    def lit(self, color: Color, facing: float) -> Color:
        """Return a surface's color in this light; `facing` is the cosine of its normal to the sun, -1 to 1."""
        level = self.shade + (1 - self.shade) * max(facing, 0.0)
        red, green, blue = (min(255, int(part * level * gain)) for part, gain in zip(color, self.sun, strict=True))
        return red, green, blue


def blend(first: Color, second: Color, share: float) -> Color:
    """Return the mixture of two colors with this share of the second.

    >>> blend((0, 0, 0), (200, 100, 50), 0.5)
    (100, 50, 25)
    """
    red, green, blue = (int(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def scaled(color: Color, gain: float) -> Color:
    """Return a color made brighter or darker."""
    red, green, blue = (min(255, max(0, int(part * gain))) for part in color)
    return red, green, blue


def jittered(rng: np.random.Generator, color: Color, spread: float = 12) -> Color:
    """Return a color a little off, all channels mostly together."""
    offset = rng.normal(0, spread) + rng.normal(0, spread / 3, 3)
    red, green, blue = np.clip(np.array(color) + offset, 0, 255).astype(int).tolist()
    return red, green, blue


WEATHERS: tuple[Light, ...] = (
    Light("clear", (64, 118, 190), (186, 211, 232), (1.1, 1.05, 0.97), 0.62, 700, 0.25, 80),
    Light("fair", (96, 146, 205), (206, 220, 230), (1.07, 1.03, 0.97), 0.68, 500, 0.55, 55),
    Light("overcast", (168, 177, 187), (214, 218, 220), (0.97, 0.98, 1.0), 0.86, 320, 1.0, 14),
    Light("golden", (98, 131, 176), (246, 209, 160), (1.16, 1.0, 0.8), 0.58, 380, 0.4, 70),
    Light("misty", (196, 203, 208), (217, 220, 222), (0.93, 0.95, 0.97), 0.9, 95, 1.0, 6),
    Light("rain", (122, 131, 142), (172, 179, 185), (0.82, 0.85, 0.9), 0.88, 190, 1.0, 8, wet=True, lamps=True),
    Light("dusk", (66, 84, 132), (228, 176, 150), (0.8, 0.74, 0.78), 0.84, 330, 0.5, 12, lamps=True),
)
_FREQUENCIES = np.array([0.24, 0.22, 0.2, 0.13, 0.08, 0.07, 0.06])


def choose_light(rng: np.random.Generator) -> Light:
    """Draw the weather and the side of the sun."""
    chosen = WEATHERS[rng.choice(len(WEATHERS), p=_FREQUENCIES)]
    return Light(**{**chosen.__dict__, "side": float(rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.0))})


def sky_image(light: Light, height: int, width: int, horizon: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the sky as (height, width, 3): a gradient with clouds that flatten towards the horizon."""
    rows = np.clip(1 - (np.arange(height) + 0.5) / max(horizon, 1), 0, 1)[:, None]  # 0 at the horizon, 1 on top
    base = np.array(light.skyline) + (np.array(light.zenith) - np.array(light.skyline)) * rows[..., None] ** 0.65
    clouds = _clouds(rows[:, 0], width, rng)
    cover = np.clip((clouds - (0.72 - 0.5 * light.clouds)) * 3.2, 0, 1) * np.clip(rows * 5, 0, 1)
    bright = np.array(light.skyline) * 0.4 + np.array([250, 249, 247]) * 0.6 * light.sun[1]
    tint = bright * (1 - 0.16 * np.clip(clouds * 2 - 1, 0, 1))[..., None]
    strength = 0.8 if light.clouds < 1 else 0.35
    sky: NDArray[np.uint8] = np.clip(base + (tint - base) * (cover * strength)[..., None], 0, 255).astype(np.uint8)
    return sky


def _clouds(rows: NDArray[np.float64], width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a field in [0, 1] of noise on a plane overhead, seen in perspective."""
    tile = smooth_noise(rng, 256)
    depth = 1 / (rows[:, None] + 0.12)
    across = (np.linspace(-1, 1, width)[None] * depth * 34 + rng.uniform(0, 256)) % 256
    along = (depth * 62 + rng.uniform(0, 256)) % 256 + np.zeros_like(across)
    field: NDArray[np.float64] = tile[along.astype(int), across.astype(int)]
    return field


def smooth_noise(rng: np.random.Generator, side: int, roughness: float = 1.6) -> NDArray[np.float64]:
    """Return a (side, side) tile of noise in [0, 1] that repeats without a seam; higher roughness falls off faster."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) * frequency**-roughness
    tile = np.fft.irfft2(spectrum, s=(side, side))
    spread: NDArray[np.float64] = np.clip((tile - tile.mean()) / tile.std() / 5 + 0.5, 0, 1)
    return spread
