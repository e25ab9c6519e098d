"""The images to predict, and where what is made of each belongs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segdata.codecs.photos import IMAGE_SUFFIXES
from segdata.errors import LayoutError
from segdata.files import files_at
from segdata.inference.output_settings import Kind
from segdata.jobs.predict_outputs import ENDINGS
from segdata.layouts import folder
from segdata.layouts.cityscapes import IMAGE_ENDINGS, IMAGES

REPORTS = ("predict.json", "autolabel.json")
"""What stands in the folder that a run predicted into."""


@dataclass(frozen=True)
class ImageFile:
    """An image and its place below the folder it was found in."""

    path: Path
    relative: PurePosixPath


@dataclass(frozen=True)
class ImageItem:
    """An image with the files to make of it: an item of a batch.

    Attributes
    ----------
    key : str
        Place of the image below its root, without the ending.
    image : Path
    targets : dict of kind to Path
    source, target : str
        The image and the first output as paths below IMAGES and OUT, for the report.
    """

    key: str
    image: Path
    targets: dict[Kind, Path]
    source: str
    target: str


def find_images(source: Path, out: Path, *, splits: Sequence[str] = ()) -> list[ImageFile]:
    """List the images to predict; what was predicted of them, which may lie among them, is none.

    Parameters
    ----------
    source : Path
        A Cityscapes root, whose images are taken and its labels not; any other folder, all images below it; or one
        image.
    out : Path
        Where predictions go. Images below it, and below folders with the report of another run, are left out.
    splits : sequence of str
        Only these splits of a Cityscapes root, or first folders below any other.

    Raises
    ------
    LayoutError
        If there is none.
    """
    if source.is_file():
        return [ImageFile(source, PurePosixPath(source.name))]
    found = _without_predictions(_cityscapes_images(source) or _images(source), source, out)
    chosen = [image for image in found if not splits or image.relative.parts[0] in splits]
    if not chosen:
        there = ", ".join(sorted({image.relative.parts[0] for image in found if len(image.relative.parts) > 1}))
        of = f" of split {', '.join(splits)} (there are {there or 'none'})" if splits else ""
        raise LayoutError(
            f"{source}: no image{of} found. Looked for leftImg8bit/<split>/<city>/* of Cityscapes, and for "
            f"{', '.join(IMAGE_SUFFIXES)} here and in every folder below."
        )
    return chosen


def plan_predictions(images: Iterable[ImageFile], out: Path, kinds: Sequence[Kind]) -> list[ImageItem]:
    """Give each image the files ``OUT/<kind>/<relative>.png``, or ``.npz``."""
    return [
        _item(image, out, {kind: out / kind / image.relative.with_suffix(ENDINGS.get(kind, ".png")) for kind in kinds})
        for image in images
    ]


def plan_auto_labels(images: Iterable[ImageFile], out: Path) -> list[ImageItem]:
    """Give each image a label ``OUT/<relative>.png`` and its confidence ``OUT/<relative>_prob.png`` (Cityscapes)."""
    items = []
    for image in images:
        label = out / image.relative.with_suffix(".png")
        items.append(_item(image, out, {"labels": label, "confidence": label.with_name(f"{label.stem}_prob.png")}))
    return items


def _item(image: ImageFile, out: Path, targets: dict[Kind, Path]) -> ImageItem:
    first = next(iter(targets.values()))
    return ImageItem(
        key=str(image.relative.with_suffix("")),
        image=image.path,
        targets=targets,
        source=str(image.relative),
        target=first.relative_to(out).as_posix(),
    )


def _cityscapes_images(root: Path) -> list[ImageFile]:
    """Return the images of a Cityscapes root, none where it is something else."""
    here = [root] if root.name == IMAGES else []
    trees = [*here, root / IMAGES, *sorted(root.glob(f"{IMAGES}*/{IMAGES}"))]
    paths = (path for tree in trees for path in sorted(files_at(tree, 2)))
    named = (path for path in paths if path.name.endswith(IMAGE_ENDINGS))
    return [ImageFile(path, PurePosixPath(*path.parts[-3:])) for path in named]


def _without_predictions(images: list[ImageFile], root: Path, out: Path) -> list[ImageFile]:
    """Leave out what lies below OUT or any folder with a report."""
    folders = {parent for image in images for parent in image.path.parents if root in parent.parents}
    outs = {folder for folder in folders if any((folder / name).is_file() for name in REPORTS)} | {out}
    return [image for image in images if outs.isdisjoint(image.path.parents)]


def _images(root: Path) -> list[ImageFile]:
    """Return every image below a folder."""
    found = []
    for suffix in IMAGE_SUFFIXES:
        try:
            found += [(item.label, item.relative) for item in folder.find(root, suffix=suffix)]
        except LayoutError:
            continue
    return [ImageFile(path, relative) for path, relative in sorted(found, key=lambda each: each[1]) if path is not None]
