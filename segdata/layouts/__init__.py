"""Where data sets keep their files."""

from pathlib import Path

from segdata.errors import LayoutError
from segdata.labels.mapping import Encoding
from segdata.labels.reading import ENDINGS, label_name
from segdata.layouts import cityscapes, folder
from segdata.layouts.base import LabeledImage

__all__ = ["Encoding", "LabeledImage", "open_labels"]


def open_labels(
    src: str | Path, encoding: str = "auto", *, annotation: str | None = None
) -> tuple[list[LabeledImage], Encoding]:
    """Find the labels of a Cityscapes-layout root, or of any folder of label images.

    Parameters
    ----------
    src : str or pathlib.Path
        A Cityscapes root (see `segdata.layouts.cityscapes`), or a folder of PNG label images.
    encoding : {"auto", "trainIds", "labelIds"}
        What the ids in the label images mean. ``auto`` goes by the file names and prefers train ids; a folder whose
        names do not tell is taken to hold train ids.
    annotation : {"gtFine", "gtCoarse"}, optional
        Only this kind of label of a Cityscapes root.

    Returns
    -------
    labels : list of LabeledImage
        Every item has a label. ``relative`` is unique; one key may stand for a fine and a coarse label.
    encoding : {"trainIds", "labelIds"}
        What their ids mean.

    Raises
    ------
    LayoutError
        If nothing is found, saying what was looked for.
    """
    src = Path(src)
    if encoding not in ("auto", *ENDINGS):
        raise LayoutError(f"{src}: encoding {encoding!r} is unknown. Pass auto, trainIds or labelIds.")
    if not src.is_dir():
        raise LayoutError(f"{src}: no such folder. A Cityscapes root or a folder of label images is expected.")
    if cityscapes.is_root(src):
        items = cityscapes.find(src, annotation=annotation, encoding=encoding)
        return _labeled(src, items)
    if annotation is not None:
        raise LayoutError(f"{src}: no {annotation} tree found. Only a Cityscapes root has one.")
    return _open_folder(src, encoding)


def _labeled(src: Path, items: list[LabeledImage]) -> tuple[list[LabeledImage], Encoding]:
    """Keep the items with a label, and say what their ids mean."""
    labeled = [item for item in items if item.label is not None]
    means: set[Encoding] = set()
    for item in labeled:
        named = label_name(Path(item.relative))
        means.add(named[1] if named else "labelIds")  # auto-labels hold label ids and do not say so
    if len(means) > 1:
        raise LayoutError(
            f"{src}: auto-labels hold labelIds, the others trainIds. Pass --encoding labelIds, or name one folder."
        )
    if not means:
        raise LayoutError(f"{src}: {len(items)} images, none with a label of the kind asked for.")
    return labeled, means.pop()


def _open_folder(src: Path, encoding: str) -> tuple[list[LabeledImage], Encoding]:
    """Take every PNG, or where names tell labels from colors and instances, those of one encoding."""
    items = folder.find(src)
    named = [(item, label_name(Path(item.relative))) for item in items]
    by_image: dict[str, dict[Encoding, Path]] = {}
    for item, name in named:
        if name is not None:
            by_image.setdefault(str(item.relative.parent / name[0]), {})[name[1]] = Path(item.relative)
    if not by_image:
        return items, "labelIds" if encoding == "labelIds" else "trainIds"
    chosen = cityscapes.choose_encoding(src, list(by_image.values()), encoding)
    return [item for item, name in named if name is not None and name[1] == chosen], chosen
