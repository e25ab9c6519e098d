"""Where data sets keep their files."""

from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from segdata.errors import LayoutError
from segdata.labels.mapping import Encoding
from segdata.labels.reading import AUTO_ENDING, ENDINGS, label_name
from segdata.layouts import cityscapes, folder
from segdata.layouts.base import LabeledImage
from segdata.text import counted

__all__ = ["Encoding", "LabeledImage", "open_labels"]

COMPANION_ENDINGS = (
    *("_color.png", "_instanceIds.png", "_instanceTrainIds.png"),
    *("_leftImg8bit.png", "_rightImg8bit.png", "_disparity.png"),
)
"""Of PNG files that Cityscapes has beside a label and of the same key, and that are no labels."""


def open_labels(
    src: str | Path, encoding: str = "auto", *, annotation: str | None = None, need_all: bool = False
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
    need_all : bool
        Refuse labels that have only another encoding than the one named, which are left out otherwise: for commands
        whose user did not name it.

    Returns
    -------
    labels : list of LabeledImage
        Every item has a label. ``relative`` is unique; one key may stand for a fine and a coarse label.
    encoding : {"trainIds", "labelIds"}
        What their ids mean.

    Raises
    ------
    LayoutError
        If nothing is found, saying what was looked for; or if only some of the PNG files of a folder have names of
        Cityscapes labels or of what belongs to these.
    """
    src = Path(src)
    if encoding not in ("auto", *ENDINGS):
        raise LayoutError(f"{src}: encoding {encoding!r} is unknown. Pass auto, trainIds or labelIds.")
    if not src.is_dir():
        raise LayoutError(f"{src}: no such folder. A Cityscapes root or a folder of label images is expected.")
    if cityscapes.is_root(src):
        items = cityscapes.find(src, annotation=annotation, encoding=encoding, need_all=need_all)
        labeled, means = _labeled(src, items)
        if all(item.relative.name.endswith(AUTO_ENDING) for item in labeled):  # a few may lie in a folder of others
            others = [item for item in folder.find(src) if not item.relative.name.endswith(AUTO_ENDING)]
            keys = [item.key for item in labeled]
            _refuse_other_names(src, keys, [item for item in others if _is_png(item)], (AUTO_ENDING,))
        return labeled, means
    if annotation is not None:
        raise LayoutError(f"{src}: no {annotation} tree found. Only a Cityscapes root has one.")
    return _open_folder(src, encoding, need_all)


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


def _open_folder(src: Path, encoding: str, need_all: bool) -> tuple[list[LabeledImage], Encoding]:
    """Take every PNG, or where names tell labels from colors and instances, those of one encoding."""
    # A folder that cannot be listed is not a PNG. It stays among the labels, so that reading it names it.
    items = folder.find(src)
    named = [(item, label_name(Path(item.relative))) for item in items]
    by_image: dict[str, dict[Encoding, Path]] = {}
    for item, name in named:
        if name is not None:
            by_image.setdefault(str(item.relative.parent / name[0]), {})[name[1]] = Path(item.relative)
    if not by_image:
        return items, "labelIds" if encoding == "labelIds" else "trainIds"
    unnamed = [item for item, name in named if name is None and _is_png(item)]
    _refuse_other_names(src, by_image, unnamed, tuple(ENDINGS.values()))
    chosen = cityscapes.choose_encoding(src, list(by_image.values()), encoding, need_all=need_all)
    return [item for item, name in named if (name[1] == chosen if name is not None else not _is_png(item))], chosen


def _refuse_other_names(
    src: Path, labels: Collection[str], unnamed: Sequence[LabeledImage], endings: Sequence[str]
) -> None:
    """Raise LayoutError for a PNG that is neither named as a Cityscapes label nor belongs to one, among such labels."""
    image_keys = {_image_key(PurePosixPath(label).name) for label in labels}
    others = [item.relative for item in unnamed if _companion_of(item.relative.name) not in image_keys]
    if others:
        raise LayoutError(
            f"{src}: holds {counted(len(labels), 'label')} named as in Cityscapes (*{', *'.join(endings)}) "
            f"and {counted(len(others), 'PNG file')} of other names, first {others[0]}. Expected are such names for "
            "all labels or for none. If the others are labels too, rename them or move them to a folder of their own; "
            "if not, move them away, or name the folder of the labels alone."
        )


def _companion_of(name: str) -> str | None:
    """Return the key of the image that a file belongs to by its name, None where the name is of no known kind."""
    ending = next((ending for ending in COMPANION_ENDINGS if name.endswith(ending)), None)
    return None if ending is None else _image_key(name.removesuffix(ending))


def _image_key(name: str) -> str:
    """Return the key of an image from a label's name without its ending: the kind of annotation is left out."""
    for kind in cityscapes.ANNOTATIONS:
        name = name.removesuffix(f"_{kind}")
    return name


def _is_png(item: LabeledImage) -> bool:
    return item.relative.name.lower().endswith(".png")
