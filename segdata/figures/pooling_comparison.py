"""What nearest-neighbor downsampling loses and CPP pooling keeps, as one figure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segdata.cpp.pooling import cpp_counts
from segdata.errors import SettingsError
from segdata.figures.legend import class_legend
from segdata.figures.lettering import font, write
from segdata.figures.thin_structures import View, most_lost, nearest
from segdata.labels.classes import ClassTable
from segdata.labels.palette import color_image, mixture_image

_TILE, _GAP, _MARGIN = 270, 12, 24
_HEAD, _CAPTION, _ROW_NAME = 92, 26, 30
_INK, _FAINT, _LOST, _KEPT = (28, 30, 34), (110, 114, 120), (190, 40, 36), (24, 120, 66)
_VIEW_SHARE = 0.22  # of the label's height
_THIN_THINGS = ("pole", "sign", "light", "person", "pedestrian", "rider", "cycl")
"""In the names of classes that people look for in such a view; a sidewalk's edge is thin too."""


def pooling_figure(
    class_ids: NDArray[np.uint8], table: ClassTable, scales: Sequence[int] = (2, 4, 8, 16, 32)
) -> Image.Image:
    """Draw a label at several scales, by nearest and by CPP pooling, whole and close up.

    The close view is where nearest loses most of what is thin of one class, of poles, signs, lights, people and cycles
    where there are any; below each tile stands that class's share
    of the view. Where nothing thin is lost there is no close view, and the figure says so.

    Parameters
    ----------
    class_ids : ndarray of uint8, shape (H, W)
        Training ids, 255 for ignored.
    table : ClassTable
        Names and colors.
    scales : sequence of int
        Cell sizes, each at least 2 and no larger than the label.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Raises
    ------
    SettingsError
        If a scale is out of range.
    """
    scales = sorted(set(scales))
    if not scales or scales[0] < 2 or scales[-1] > min(class_ids.shape):
        size = "x".join(map(str, class_ids.shape))
        raise SettingsError(f"--scales {scales}: whole numbers from 2 to the size of the label, {size}, are expected.")
    things = [at for at, name in enumerate(table.train_names) if any(word in name.lower() for word in _THIN_THINGS)]
    view = most_lost(class_ids, scales, table.num_classes, round(class_ids.shape[0] * _VIEW_SHARE), things)
    return _Figure(class_ids, table, scales, view).drawn()


class _Figure:
    """The figure while it is drawn: a column for the label and one per scale, a row per way of pooling and view."""

    def __init__(self, class_ids: NDArray[np.uint8], table: ClassTable, scales: list[int], view: View | None) -> None:
        self.class_ids, self.table, self.scales, self.view = class_ids, table, scales, view
        self.whole = max(60, round(_TILE * class_ids.shape[0] / class_ids.shape[1]))
        self.close = max(60, round(_TILE * view.height / view.width)) if view else 0
        tiles = [self.whole] * 2 + ([self.close] * 2 if view else [])
        heights = [tile + _ROW_NAME + _CAPTION for tile in tiles]
        self.rows = np.cumsum([_HEAD, *heights]).tolist()
        width = 2 * _MARGIN + (len(scales) + 1) * (_TILE + _GAP) - _GAP
        self.image = Image.new("RGB", (width, self.rows[-1] + _MARGIN // 2), "white")
        self.pen = ImageDraw.Draw(self.image)

    def drawn(self) -> Image.Image:
        """Draw everything."""
        title = "Downsampling a label: nearest neighbor against class-probability-preserving (CPP) pooling"
        write(self.pen, (_MARGIN, 18), title, font(26), _INK)
        told = "CPP keeps every class's share of every cell; here a cell has the mean of its class colors, by share."
        write(self.pen, (_MARGIN, 54), told, font(17), _FAINT)
        names = ["Nearest", "CPP pooling"]
        if self.view:
            names += [f"{name}, close view: {self._name(self.view)}" for name in names]
        for row, text in enumerate(names):
            write(self.pen, (self._left(1), self.rows[row] + 6), text, font(18), _INK)
        self._draw_label()
        for column, scale in enumerate(self.scales, start=1):
            self._draw_scale(column, scale)
        return self._with_legend()

    def _with_legend(self) -> Image.Image:
        """Return the figure with the colors of the label's classes below it."""
        present = np.unique(self.class_ids).tolist()
        legend = class_legend(self.table, present, self.image.width - 2 * _MARGIN)
        whole = Image.new("RGB", (self.image.width, self.image.height + legend.height + _MARGIN), "white")
        whole.paste(self.image)
        whole.paste(legend, (_MARGIN, self.image.height + _MARGIN // 2))
        return whole

    def _draw_label(self) -> None:
        """Draw the first column: the label, and the close view of it or why there is none."""
        painted = color_image(self.class_ids, self.table)
        height, width = self.class_ids.shape
        write(self.pen, (_MARGIN, self.rows[0] + 6), f"The label, {width} x {height}", font(18), _INK)
        self._place(painted, 0, 0, self.whole)
        if self.view is None:
            self._explain(1, ("No close view:", "nearest loses nothing", "thinner than a cell here."))
            return
        self._outline(self.view)
        write(self.pen, (_MARGIN, self.rows[2] + 6), "Close view of the label", font(18), _INK)
        self._place_close(self.view, painted, 0, 2, 1)
        self._tell(self.view, 0, 2, self._share(self.view, self.class_ids, 1), _INK)
        figures = ("Below each close view is", "its share of", self._name(self.view), "")
        choice = ("The view is where nearest", "loses most of a thin class.", "CPP pooling loses nothing.")
        self._explain(3, figures + choice)

    def _outline(self, view: View) -> None:
        """Draw the close view's outline on the label."""
        factor, top = _TILE / self.class_ids.shape[1], self.rows[0] + _ROW_NAME
        corners = [view.left, view.top, view.left + view.width, view.top + view.height]
        box = [corner * factor + offset for corner, offset in zip(corners, (_MARGIN, top) * 2, strict=True)]
        self.pen.rectangle(box, outline="white", width=5)
        self.pen.rectangle(box, outline=_INK, width=2)

    def _explain(self, row: int, lines: Sequence[str]) -> None:
        """Write lines in the first column, which has no tile in this row."""
        for number, line in enumerate(lines):
            write(self.pen, (_MARGIN, self.rows[row] + _ROW_NAME + 24 * number), line, font(17), _FAINT)

    def _draw_scale(self, column: int, scale: int) -> None:
        """Draw one scale: both ways of pooling, whole and close up."""
        small = nearest(self.class_ids, scale)
        counts = cpp_counts(self.class_ids, scale, num_classes=self.table.num_classes)
        for row, painted in enumerate((color_image(small, self.table), mixture_image(counts, self.table))):
            self._place(painted, column, row, self.whole)
            text = f"1/{scale}: {small.shape[1]} x {small.shape[0]} cells"
            self._write_below(column, row, self.whole, text, _FAINT)
            if self.view:
                self._place_close(self.view, painted, column, row + 2, scale)
        if self.view:
            self._tell_shares(self.view, column, scale, small, counts)

    def _tell_shares(
        self, view: View, column: int, scale: int, small: NDArray[np.uint8], counts: NDArray[np.unsignedinteger]
    ) -> None:
        """Write what both ways of pooling leave of the class in the close view."""
        truth, by_nearest = self._share(view, self.class_ids, 1), self._share(view, small, scale)
        cut = view.cut(counts, scale)
        by_cpp = float(cut[view.class_id].sum(dtype=np.int64) / cut.sum(dtype=np.int64))
        self._tell(view, column, 2, by_nearest, _LOST if abs(by_nearest - truth) > 0.1 * truth else _INK, scale)
        self._tell(view, column, 3, by_cpp, _KEPT, scale)

    def _share(self, view: View, class_ids: NDArray[np.uint8], cell: int) -> float:
        """Return which share of the view's pixels or cells is of the class that is looked at."""
        return float(np.mean(view.cut(class_ids, cell) == view.class_id))

    def _name(self, view: View) -> str:
        """Return the name of the class that is looked at."""
        return self.table.train_names[view.class_id]

    def _tell(
        self, view: View, column: int, row: int, share: float, color: tuple[int, int, int], scale: int = 0
    ) -> None:
        """Write the class's share below a close view."""
        text = f"{self._name(view)}: {share:.1%}"
        self._write_below(column, row, self.close, f"1/{scale}   {text}" if scale else text, color)

    def _write_below(self, column: int, row: int, height: int, text: str, color: tuple[int, int, int]) -> None:
        """Write one line below a tile."""
        write(self.pen, (self._left(column), self.rows[row] + _ROW_NAME + height + 4), text, font(16), color)

    def _place_close(self, view: View, painted: NDArray[np.generic], column: int, row: int, cell: int) -> None:
        """Paste the close view of a painted image."""
        self._place(view.cut(np.moveaxis(painted, 2, 0), cell).transpose(1, 2, 0), column, row, self.close)

    def _place(self, painted: NDArray[np.generic], column: int, row: int, height: int) -> None:
        """Paste a painted image as a tile: its cells as squares, or shrunk smoothly where it is much larger."""
        tile = Image.fromarray(np.ascontiguousarray(painted))
        shrinks = tile.width > 1.5 * _TILE
        method = Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST
        place = (self._left(column), self.rows[row] + _ROW_NAME)
        self.image.paste(tile.resize((_TILE, height), method), place)

    def _left(self, column: int) -> int:
        """Return the left edge of a column."""
        return _MARGIN + column * (_TILE + _GAP)
