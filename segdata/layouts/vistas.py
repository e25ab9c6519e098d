"""Where Mapillary Vistas keeps its files, v1.0 to v1.2 and v2.0, and which class list its labels follow.

v1.0 to v1.2, flat::

    config.json
    {training,validation,testing}/{images,labels}/<key>.{jpg,png}

v2.0, with the labels of both versions::

    config_v1.2.json  config_v2.0.json
    {training,validation,testing}/images/<key>.jpg
    {training,validation}/{v1.2,v2.0}/labels/<key>.png
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segdata.errors import LayoutError
from segdata.labels.classes import ClassTable
from segdata.layouts.base import LabeledImage
from segdata.layouts.vistas_version import (
    VERSIONS,
    Labels,
    Version,
    check_config,
    class_table_of,
    lists_classes_of,
    nearest_version,
    read_config,
    read_palette,
    version_of_palette,
)

SPLITS = ("training", "validation", "testing")

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_LABEL_SUFFIXES = (".png",)
_NUM_PALETTES = 5  # label images asked for their version where no class list is there to ask


def is_vistas(root: Path) -> bool:
    """Say whether a folder is a Vistas download, or one of its splits, with the list of classes that comes with it."""
    places = (root.parent, root.parent.parent) if root.name in (*SPLITS, "labels") else (root,)
    return any(
        (place / name).is_file() and any((place / split / "images").is_dir() for split in SPLITS)
        for place in places
        for name in ("config.json", "config_v1.2.json", "config_v2.0.json")
    )


@dataclass(frozen=True)
class VistasRoot:
    """A Vistas download: its files, and the class table that its labels follow.

    Attributes
    ----------
    root : pathlib.Path
        The folder that holds ``training``.
    version : {"v1.2", "v2.0"}
        Version of the labels in use; v1.0 and v1.1 count as v1.2, whose class list they have.
    evidence : str
        What told the version, for the report.
    class_table : ClassTable
        The bundled table of that version, or the data set's own if the user trusts it.
    splits : mapping of str to tuple of LabeledImage
        Every image and label of the splits that are there, paired by key, sorted by key.
    """

    root: Path
    version: Version
    evidence: str
    class_table: ClassTable
    splits: Mapping[str, tuple[LabeledImage, ...]]

    @classmethod
    def open(cls, root: str | Path, labels: Labels = "auto", *, trust_config: bool = False) -> "VistasRoot":
        """Find the files of a Vistas download and settle its version.

        Parameters
        ----------
        root : str or pathlib.Path
            The folder that holds ``training``.
        labels : {"auto", "v1.2", "v2.0"}
            Which labels to take; ``auto`` takes v1.2 where both are there, because Table 4 is written for it.
        trust_config : bool
            Take the classes from the data set's config.json even where they differ from the bundled table.

        Raises
        ------
        LayoutError
            If the folder is not a Vistas download, lacks the labels asked for, its class list differs from the bundled
            one or is that of another version than the labels' palettes, or nothing tells the version.
        """
        root = Path(root)
        if labels not in ("auto", *VERSIONS):
            raise LayoutError(f"labels: '{labels}' is not known. Use auto, v1.2 or v2.0.")
        found = _choose(root, labels, trust_config)
        table = class_table_of(found.version)
        if found.config is not None:
            own = read_config(found.config)
            if not trust_config:
                check_config(own, found.version, found.config)
            table = own if trust_config else table
        splits = {split: _pair(root, split, found.labels) for split in SPLITS if (root / split).is_dir()}
        return cls(root, found.version, found.evidence, table, splits)

    def samples(self, split: str | None = None) -> list[LabeledImage]:
        """Return what has a label, of one split or of all, sorted by split and key; the image may be missing."""
        return [item for item in self._items(split) if item.label is not None]

    def without_label(self, split: str | None = None) -> list[LabeledImage]:
        """Return the images that have no label: all of ``testing``, and what is missing elsewhere."""
        return [item for item in self._items(split) if item.label is None]

    def without_image(self, split: str | None = None) -> list[LabeledImage]:
        """Return the labels that have no image."""
        return [item for item in self._items(split) if item.image is None]

    def _items(self, split: str | None) -> list[LabeledImage]:
        if split is not None and split not in SPLITS:
            raise LayoutError(f"{self.root}: '{split}' is not a split of Vistas. Use {', '.join(SPLITS)}.")
        names = SPLITS if split is None else (split,)
        return [item for name in names for item in self.splits.get(name, ())]


def find(root: str | Path, labels: Labels = "auto", *, trust_config: bool = False) -> list[LabeledImage]:
    """Return every label of a Vistas download with its image, sorted by split and key; see `VistasRoot.open`."""
    return VistasRoot.open(root, labels, trust_config=trust_config).samples()


@dataclass(frozen=True)
class _Kind:
    """One set of labels in a download: where it lies below a split, its class list, its version."""

    labels: PurePosixPath
    config: Path | None
    version: Version
    evidence: str


def _choose(root: Path, labels: Labels, trust_config: bool) -> _Kind:
    """Return the first set of labels of the version asked for."""
    others = []
    for kind in _kinds(root, labels, trust_config):
        if labels in ("auto", kind.version):
            return kind
        others.append(kind)
    if not others:
        raise LayoutError(_no_vistas(root))
    there = " and ".join(f"{kind.version} (by {kind.evidence})" for kind in others)
    raise LayoutError(
        f"{root}: its labels are {there}, not {labels}. Pass --labels {others[0].version}, or give another SRC."
    )


def _kinds(root: Path, labels: Labels, trust_config: bool) -> Iterator[_Kind]:
    """Yield the sets of labels that are there, the preferred first."""
    for version in VERSIONS:
        folder = PurePosixPath(version, "labels")
        if any((root / split / folder).is_dir() for split in SPLITS):
            config = _first_file(root / f"config_{version}.json")
            yield _Kind(folder, config, version, f"the folder {folder}")
    if any((root / split / "labels").is_dir() for split in SPLITS):
        yield _flat_kind(root, PurePosixPath("labels"), labels, trust_config)


def _flat_kind(root: Path, folder: PurePosixPath, labels: Labels, trust_config: bool) -> _Kind:
    config = _first_file(*(root / name for name in ("config.json", "config_v1.2.json", "config_v2.0.json")))
    by_palette = next(_kinds_by_palette(root, folder), None)
    if config is not None:
        table = read_config(config)
        version = nearest_version(table)
        if by_palette is not None and not trust_config and lists_classes_of(table, version):
            _refuse_contradiction(config, version, by_palette)
        return _Kind(folder, config, version, f"the class names in {config.name}")
    if by_palette is not None:
        return by_palette
    if labels != "auto":
        return _Kind(folder, None, labels, f"--labels {labels}")
    raise LayoutError(
        f"{root}: nothing tells whether its labels are v1.2 or v2.0: it has no config.json, and the labels no palette "
        "of Vistas. Pass --labels v1.2 or --labels v2.0."
    )


def _kinds_by_palette(root: Path, folder: PurePosixPath) -> Iterator[_Kind]:
    """Yield what the palettes of the first labels of each split tell."""
    for split in (name for name in SPLITS if (root / name).is_dir()):
        for label in sorted(_by_key(root / split / folder, _LABEL_SUFFIXES).values())[:_NUM_PALETTES]:
            version = version_of_palette(read_palette(label))
            if version is not None:
                yield _Kind(folder, None, version, f"the palette of {label.relative_to(root)}")


def _refuse_contradiction(config: Path, version: Version, by_palette: _Kind) -> None:
    """Raise if a class list is of another version than a label: following either, the other would be at fault."""
    if by_palette.version != version:
        raise LayoutError(
            f"{config}: lists the classes of {version}, but the labels are {by_palette.version} (by "
            f"{by_palette.evidence}). Replace it by the class list that came with these labels, or give the labels of "
            f"{version}."
        )


def _no_vistas(root: Path) -> str:
    """Return what is wrong with a folder without labels; the parent of a download is named as such."""
    if not root.is_dir():
        return f"{root}: is not a folder. Give the folder of a Vistas download, the one that holds 'training'."
    inner = [entry for entry in _entries(root) if entry.is_dir() and any((entry / split).is_dir() for split in SPLITS)]
    hint = f" Did you mean '{inner[0]}'?" if inner else ""
    return (
        f"{root}: holds no Vistas labels: neither training/labels (v1.2) nor training/v1.2/labels or "
        f"training/v2.0/labels (v2.0), nor the same of validation. Give the folder of the download.{hint}"
    )


def _pair(root: Path, split: str, folder: PurePosixPath) -> tuple[LabeledImage, ...]:
    images = _by_key(root / split / "images", _IMAGE_SUFFIXES)
    labels = _by_key(root / split / folder, _LABEL_SUFFIXES)
    return tuple(
        LabeledImage(
            key=key,
            split=split,
            label=labels.get(key),
            image=images.get(key),
            relative=_relative(split, folder, labels.get(key), images.get(key)),
        )
        for key in sorted(images.keys() | labels.keys())
    )


def _relative(split: str, folder: PurePosixPath, label: Path | None, image: Path | None) -> PurePosixPath:
    if label is not None:
        return PurePosixPath(split, folder, label.name)
    assert image is not None
    return PurePosixPath(split, "images", image.name)


def _by_key(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of a folder by key (name without ending), hidden ones left out.

    Nothing is opened or followed: a folder named x.png or a dead link is for whoever reads it to report.
    """
    found: dict[str, Path] = {}
    for path in _entries(folder):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise LayoutError(f"{path}: has the same key as {found[path.stem].name}. Keep one of the two.")
        found[path.stem] = path
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)  # comparing whole paths is slow
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LayoutError(f"{folder}: cannot be listed ({error.strerror}). Give a folder that can be read.") from None


def _first_file(*paths: Path) -> Path | None:
    return next((path for path in paths if path.exists()), None)
