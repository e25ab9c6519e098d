"""Any folder of label images: every PNG below it, found once, in a stable order."""

from pathlib import Path, PurePosixPath

from segdata.errors import LayoutError
from segdata.files import files_below
from segdata.layouts.base import LabeledImage
from segdata.layouts.images_masks import IMAGES, MASKS

CONFIDENCE_SUFFIX = "_prob.png"


def find(root: str | Path, *, suffix: str = ".png") -> list[LabeledImage]:
    """List the label images below a folder.

    Hidden and temporary names (they begin with a dot) are left out. A link back to a folder already listed is not
    followed, and a folder of images is left out where that of their labels lies beside it: ``images`` and ``labels`` or
    ``masks``, ``train`` and ``trainannot``. Something that is named like a label but is none, a folder ``x.png`` or a
    broken link, is listed all the same: reading it gives the error that names it. A ``<name>_prob.png`` beside
    ``<name>.png`` is its confidence.

    Parameters
    ----------
    root : str or pathlib.Path
        The folder.
    suffix : str
        What a label's name ends with, in any case.

    Returns
    -------
    list of LabeledImage
        In the order of their paths; the key is the path below `root` without its ending, the split the first folder of
        that path (empty for a file in `root` itself), the image None.

    Raises
    ------
    LayoutError
        If `root` is not a folder, or holds no such file.
    """
    root = Path(root)
    if not root.is_dir():
        raise LayoutError(f"{root}: no such folder. A folder of label images is expected.")
    unlistable: list[Path] = []
    present = set(files_below(root, (suffix,), skip=_holds_images, unlistable=unlistable))
    present.update(unlistable)  # as labels, so that reading them names them and the others are done
    labels = [path for path in sorted(present) if _labeled_by(path) not in present]
    if not labels:
        raise LayoutError(f"{root}: no label image found. Looked for *{suffix} here and in every folder below.")
    return [_item(root, path, present) for path in labels]


def _holds_images(name: str, beside: set[str]) -> bool:
    """Say whether a folder is that of the images, whose labels lie in another beside it."""
    return f"{name}annot" in beside or (name in IMAGES and not beside.isdisjoint(MASKS))


def _labeled_by(path: Path) -> Path | None:
    """Return the label that `path` would be the confidence of, by its name."""
    if not path.name.endswith(CONFIDENCE_SUFFIX):
        return None
    return path.with_name(path.name.removesuffix(CONFIDENCE_SUFFIX) + ".png")


def _item(root: Path, path: Path, present: set[Path]) -> LabeledImage:
    """Describe one label below `root`."""
    relative = PurePosixPath(path.relative_to(root).as_posix())
    confidence = path.with_name(path.stem + CONFIDENCE_SUFFIX)
    return LabeledImage(
        key=str(relative.with_suffix("")),
        split=relative.parts[0] if len(relative.parts) > 1 else "",
        label=path,
        image=None,
        relative=relative,
        confidence=confidence if confidence in present else None,
    )
