"""What every layout hands on: one image with its label, paired by key."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class LabeledImage:
    """An image and its label, as far as each is there.

    Attributes
    ----------
    key : str
        The name that pairs the files; unique within its split. May begin with ``-``, hold spaces or any letters.
    split : str
        The data set's own word for it: ``training``, ``val``, ``train_extra``.
    label : pathlib.Path or None
        The label image, None where the data set has none.
    image : pathlib.Path or None
        The image, None where it was not found.
    relative : pathlib.PurePosixPath
        Path of the label (of the image where the label is missing) below the root.
    confidence : pathlib.Path or None
        8-bit image of how sure the label is, beside auto-labels only.
    """

    key: str
    split: str
    label: Path | None
    image: Path | None
    relative: PurePosixPath
    confidence: Path | None = None
