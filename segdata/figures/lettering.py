"""Text in figures, in the typeface that Pillow brings along."""

from functools import lru_cache

from PIL import ImageDraw, ImageFont

Typeface = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache
def font(size: int) -> Typeface:
    """Return the typeface at a size in pixels."""
    return ImageFont.load_default(size=size)


def write(
    pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, typeface: Typeface, color: tuple[int, int, int]
) -> None:
    """Write one line with its upper left corner at (column, row)."""
    pen.text(place, text, fill=color, font=typeface)
