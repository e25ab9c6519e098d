"""Draw docs/images/seethroughnet.png: SeeThroughNet as `segdata.models` builds it, each part colored by its source.

python docs/draw_seethroughnet.py
"""

from collections.abc import Sequence

from PIL import ImageFont
from sheet import FAINT, INK, Sheet

SIZE = (1500, 940)

PAPER, SUPPLEMENT, REFERENCE, CHOSEN = "#dbe7f5", "#d9efdd", "#f6ead2", "#f3dde6"
LEGEND = (
    (PAPER, "the paper, by a summary of it"),
    (SUPPLEMENT, "the paper's supplementary material"),
    (REFERENCE, "hierarchical multi-scale attention and its code"),
    (CHOSEN, "not published: a setting, its default shown"),
)
ROWS = ((120, "1/4", "48"), (270, "1/8", "96"), (420, "1/16", "192"), (570, "1/32", "384"))
"""Top, stride and channels of the trunk's branches."""


def draw_trunk(sheet: Sheet) -> None:
    """Draw the image and the four branches."""
    sheet.box((30, 300, 150, 390), "image\nH x W", "white")
    sheet.pen.rounded_rectangle((190, 90, 390, 670), radius=14, fill=PAPER, outline=INK, width=2)
    sheet.words((290, 108), "HRNetV2-W48", size=19)
    for top, stride, channels in ROWS:
        sheet.box((210, top, 370, top + 80), f"branch {stride}\n{channels} channels", "white", size=17)
    sheet.arrow((150, 345), (190, 345))


def draw_coarse(sheet: Sheet) -> None:
    """Draw coarse heads, their CPP losses, the attention between them, and the aggregation."""
    for number, (top, stride, _) in enumerate(ROWS[:3]):
        middle = top + 40
        sheet.arrow((370, middle), (440, middle))
        sheet.box((440, top, 610, top + 80), "coarse head\n3x3, BN, ReLU, 1x1", PAPER, size=16)
        sheet.arrow((610, middle), (680, middle))
        sheet.box((680, top, 800, top + 80), f"coarse map\n{stride}", PAPER, size=17)
        sheet.arrow((740, top), (740, top - 26))
        sheet.box((655, top - 58, 825, top - 26), f"CPP loss, cell {4 * 2**number}", SUPPLEMENT, size=16)
        if number < 2:
            sheet.arrow((800, middle), (930, middle))
            sheet.box((930, top, 1060, top + 80), "blend" if number else "blend to the\nfine map", PAPER, size=17)
    sheet.arrow((800, 460), (995, 460), (995, 350))
    sheet.arrow((995, 270), (995, 200))
    for upper in (200, 350):
        sheet.box((1020, upper + 17, 1220, upper + 53), "attention of the coarser", CHOSEN, size=15)
        sheet.arrow((1020, upper + 35), (1000, upper + 35))
    sheet.words((995, 490), "X = up(a X_coarser) + (1 - up(a)) C", size=16, color=FAINT)
    sheet.words((525, 530), "stages 1, 2, 3 (strides 4, 8, 16)", size=16, color=FAINT)
    sheet.box((440, 546, 610, 580), "which three scales", CHOSEN, size=16)


def draw_final(sheet: Sheet) -> None:
    """Draw the OCR head and the final map."""
    sheet.arrow((390, 650), (1010, 650))
    sheet.words((700, 632), "all branches at 1/4, concatenated: 720 channels", size=16, color=FAINT)
    sheet.box((1010, 595, 1230, 705), "OCR\n512 channels, 256 keys\ndropout 0.05", REFERENCE, size=17)
    sheet.arrow((1060, 140), (1360, 140), (1360, 560), (1120, 560), (1120, 595))
    sheet.box((1262, 300, 1458, 380), "the fine map is\nOCR's object regions", CHOSEN, size=16)
    sheet.arrow((1230, 650), (1300, 650))
    sheet.box((1300, 610, 1460, 690), "final map, 1/4\nmain loss", PAPER, size=17)


def draw_scales(sheet: Sheet) -> None:
    """Draw the two image scales of training, and what stands in evaluation."""
    sheet.pen.rounded_rectangle((30, 730, 1470, 860), radius=14, fill=REFERENCE, outline=INK, width=2)
    sheet.words((750, 754), "The same network sees the image at two scales in training", size=19)
    sheet.box((60, 780, 330, 840), "final map of the image at 0.5", "white", size=17)
    sheet.box((380, 780, 690, 840), "attention: 3x3, 3x3, 1x1, sigmoid", "white", size=17)
    sheet.box((740, 780, 1010, 840), "blend with that at 1.0", "white", size=17)
    sheet.box((1060, 780, 1440, 840), "evaluation: any scales with 1.0,\nfrom the largest down", "white", size=17)
    for left, right in ((330, 380), (690, 740), (1010, 1060)):
        sheet.arrow((left, 810), (right, 810))


def draw_legend(sheet: Sheet, entries: Sequence[tuple[str, str]]) -> None:
    """Draw what the colors mean."""
    left = 40
    for color, text in entries:
        sheet.pen.rectangle((left, 886, left + 26, 912), fill=color, outline=INK)
        sheet.words((left + 36, 899), text, size=16, anchor="lm")
        left += 66 + int(ImageFont.load_default(16).getlength(text))


def main() -> None:
    """Draw the page and save it."""
    sheet = Sheet(SIZE)
    sheet.words((750, 28), "SeeThroughNet, as segdata builds it", size=26)
    draw_trunk(sheet)
    draw_coarse(sheet)
    draw_final(sheet)
    draw_scales(sheet)
    draw_legend(sheet, LEGEND)
    sheet.save("seethroughnet.png")


if __name__ == "__main__":
    main()
