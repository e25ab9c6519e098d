"""Boxes, arrows and words on a white page: what the drawings of the documentation share."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

IMAGES = Path(__file__).parent / "images"
INK, FAINT = "#1f2933", "#66727f"

Box = tuple[int, int, int, int]


class Sheet:
    """A white page."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.image = Image.new("RGB", size, "white")
        self.pen = ImageDraw.Draw(self.image)

    def words(
        self, place: tuple[float, float], text: str, *, size: int = 18, color: str = INK, anchor: str = "mm"
    ) -> None:
        """Write lines of text centered on, or anchored at, a place."""
        font = ImageFont.load_default(size)
        lines = text.split("\n")
        for number, line in enumerate(lines):
            down = (number - (len(lines) - 1) / 2) * size * 1.25
            self.pen.text((place[0], place[1] + down), line, fill=color, font=font, anchor=anchor)

    def box(self, box: Box, text: str, color: str, *, size: int = 18) -> None:
        """Draw a rounded box with text in it."""
        self.pen.rounded_rectangle(box, radius=10, fill=color, outline=INK, width=2)
        self.words(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), text, size=size)

    def arrow(self, *points: tuple[int, int], color: str = INK) -> None:
        """Draw a line through points with a head at its end, which runs along an axis."""
        self.pen.line(points, fill=color, width=2)
        (x0, y0), (x, y) = points[-2:]
        dx, dy = _sign(x - x0), _sign(y - y0)
        wings = [(x - 10 * dx + 5 * dy, y - 10 * dy + 5 * dx), (x - 10 * dx - 5 * dy, y - 10 * dy - 5 * dx)]
        self.pen.polygon([(x, y), *wings], fill=color)

    def save(self, name: str) -> None:
        """Write the page into the images of the documentation."""
        IMAGES.mkdir(exist_ok=True)
        self.image.quantize(64).save(IMAGES / name, optimize=True)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
