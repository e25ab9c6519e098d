"""Pool whole folders of label images: what to pool, and the work on each file.

Every output carries the settings, a digest of its label and the pixels of each class.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.batch.artifact import Provenance, facts_to_keep, foreign_output, is_damaged_output
from segdata.batch.run import Job, Plan
from segdata.batch.work import Outcome
from segdata.codecs.png import decode_pixels, read_bytes
from segdata.codecs.png_chunks import split_png
from segdata.cpp.checks import Ragged
from segdata.cpp.kernels import MAX_CLASSES, MIXED
from segdata.cpp.store import ENDING, OtherVersionError, check_cpp, encode_cpp, read_cpp_bytes, read_meta
from segdata.cpp.targets import check_scales, pool_targets
from segdata.errors import LabelError, SettingsError, StoreError
from segdata.files import digest_of_bytes, refuse_same_folder, refuse_shared_targets, write_atomic
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.labels.reading import LabelMeaning, refuse_contradiction
from segdata.layouts import Encoding, open_labels
from segdata.layouts.vistas import is_vistas

TOOL = "precompute-cpp"
_UNKNOWN = MIXED  # an id that no label may hold: the pooling refuses it


@dataclass(frozen=True, kw_only=True)
class PrecomputeSettings:
    """What decides the bytes of a file of targets.

    Attributes
    ----------
    scales : tuple of int
        Pooling strides in pixels.
    classes : ClassTable
        What the ids mean.
    encoding : {"trainIds", "labelIds"}
        Which numbers of the table the labels hold.
    ragged : {"ignore", "error"}
        What to do where a scale does not divide a label's size.
    """

    scales: tuple[int, ...]
    classes: ClassTable
    encoding: Encoding = "trainIds"
    ragged: Ragged = "ignore"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", check_scales(self.scales))
        if not 1 <= self.classes.num_classes <= MAX_CLASSES:
            raise SettingsError(
                f"class table '{self.classes.name}': has {self.classes.num_classes} training classes, expected 1 to "
                f"{MAX_CLASSES}. Give its classes 'train' numbers."
            )

    def recorded(self) -> dict[str, Any]:
        """Return what an output and the report say of the settings: all that decides the output's content."""
        return {
            "scales": list(self.scales),
            "classes": self.classes.name,
            "classes_digest": self.classes.digest,
            "encoding": self.encoding,
            "ragged": self.ragged,
        }

    @cached_property
    def lookup(self) -> NDArray[np.uint8] | None:
        """The training id of each id in a file, shape (256,), 254 where it has none; None for labels of train ids."""
        if self.encoding == "trainIds":
            return None
        train_ids = self.classes.value_lookup(self.encoding)
        return np.where(train_ids < 0, _UNKNOWN, train_ids).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class PrecomputeItem:
    """One label to pool.

    Attributes
    ----------
    key : str
        Names the label in the report: its path below SRC.
    label, output : Path
        The label and where its targets go, absolute.
    target : str
        `output` as a path below DST.
    """

    key: str
    label: Path
    output: Path
    target: str

    @property
    def source(self) -> str:
        """`label` as a path below SRC, for the report."""
        return self.key


@dataclass(frozen=True, kw_only=True)
class PrecomputePlan(Plan[PrecomputeItem]):
    """What a run pools, from where to where."""

    tool: str = TOOL
    settings: PrecomputeSettings

    @property
    def recorded(self) -> dict[str, Any]:
        """What determines the outputs."""
        return self.settings.recorded()

    @property
    def job(self) -> "PrecomputeJob":
        """What is done with each label."""
        return PrecomputeJob(settings=self.settings)

    def sources(self, item: PrecomputeItem) -> list[Path]:
        """Return the label."""
        return [item.label]

    def targets(self, item: PrecomputeItem) -> list[Path]:
        """Return the file that an item may write."""
        return [item.output]

    def totals(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Return how many labels there are, and pixels by class and ignored."""
        pooled = [outcome.facts["pixels"] for outcome in outcomes if "pixels" in outcome.facts]
        pixels = np.zeros(self.settings.classes.num_classes + 1, np.int64)
        for of_label in pooled:
            pixels += of_label
        by_class = dict(zip(self.settings.classes.train_names, pixels[:-1].tolist(), strict=True))
        return {"labels": len(pooled), "pixels": by_class, "ignored": int(pixels[-1])}


@dataclass(frozen=True, kw_only=True)
class PrecomputeJob(Job[PrecomputeItem]):
    """Pool a label to its targets."""

    settings: PrecomputeSettings

    def read(self, item: PrecomputeItem) -> bytes:
        """Return the bytes of the label."""
        return read_bytes(item.label)

    def match(self, item: PrecomputeItem, source: bytes) -> dict[str, Any] | None:
        """Return the facts of targets that are valid."""
        found = read_target_provenance(item.output)
        recorded, digest = self.settings.recorded(), digest_of_bytes(source)
        return facts_to_keep(item.output, found, tool=TOOL, settings=recorded, digest=digest)

    def make(self, item: PrecomputeItem, source: bytes) -> dict[str, Any]:
        """Pool the label and write its targets."""
        targets = pool_file(source, str(item.label), self.settings)
        write_atomic(item.output, targets)
        return _facts(read_meta(targets, str(item.output)))


def plan_precompute(
    source: Path,
    destination: Path,
    *,
    scales: Sequence[int],
    classes: str | Path = "cityscapes",
    encoding: str = "auto",
    ragged: Ragged = "ignore",
) -> PrecomputePlan:
    """Plan the pooling of a Cityscapes root or of any folder of label images.

    Parameters
    ----------
    source, destination : Path
        SRC and DST, absolute.
    scales : sequence of int
        Pooling strides in pixels.
    classes : str or Path
        Name or file of the class table.
    encoding : {"auto", "trainIds", "labelIds"}
        What the ids mean; see `segdata.layouts.open_labels`.
    ragged : {"ignore", "error"}
        What to do where a scale does not divide a label's size.

    Raises
    ------
    LayoutError, MappingError, SettingsError
        If no labels are found, there is no such table, or the settings do not fit.
    """
    refuse_same_folder(source, destination)
    wanted, table = check_scales(scales), ClassTable.load(classes)
    if str(classes) == "cityscapes" and is_vistas(source):
        raise SettingsError(
            f"{source}: is a Mapillary Vistas download, whose ids are not those of Cityscapes. Convert it first: "
            f"segdata convert-mapillary {source} CITY, then segdata precompute-cpp CITY."
        )
    found, meaning = open_labels(source, encoding)
    items = []
    for label in found:
        assert label.label is not None
        target = label.relative.with_suffix(ENDING)
        items.append(
            PrecomputeItem(key=str(label.relative), label=label.label, output=destination / target, target=str(target))
        )
    refuse_shared_targets((item.label, item.output) for item in items)
    settings = PrecomputeSettings(scales=wanted, classes=table, encoding=meaning, ragged=ragged)
    return PrecomputePlan(source=source, destination=destination, items=items, settings=settings)


def pool_file(data: bytes, where: str, settings: PrecomputeSettings) -> bytes:
    """Pool the bytes of one label image to the bytes of its target file.

    Raises
    ------
    LabelError
        If the bytes are not a valid label, hold an id that is not a class, or have a size that `ragged` refuses.
    """
    parts = split_png(data, where)
    refuse_contradiction(parts.text, where, LabelMeaning.of(settings.classes, settings.encoding))
    ids = decode_pixels(parts, where)
    class_ids = ids if settings.lookup is None else np.take(settings.lookup, ids)
    try:
        targets = pool_targets(
            class_ids, settings.scales, num_classes=settings.classes.num_classes, ragged=settings.ragged
        )
    except LabelError as error:
        raise _explained(error, ids, where, settings) from None
    return encode_cpp(targets, {"tool": TOOL, "settings": settings.recorded(), "label_digest": digest_of_bytes(data)})


def read_target_provenance(path: Path) -> Provenance | None:
    """Read what a file of targets says of itself, after testing it whole; see `segdata.batch.artifact`.

    Raises
    ------
    StoreError
        If another program wrote the file, or another version of this one.
    """
    if not path.exists():
        return None
    data = read_cpp_bytes(path)
    try:
        meta = check_cpp(data, str(path))
    except OtherVersionError:
        raise
    except StoreError:
        if is_damaged_output(data):
            return None
        raise foreign_output(path, TOOL) from None
    about = meta["about"]
    if not (isinstance(about.get("settings"), dict) and isinstance(about.get("label_digest"), str)):
        raise foreign_output(path, TOOL)
    return Provenance(tool=str(about.get("tool")), settings=about["settings"], facts=_facts(meta))


def _explained(error: LabelError, ids: NDArray[np.uint8], where: str, settings: PrecomputeSettings) -> LabelError:
    """Name the file, and where an id is at fault the id as the file has it."""
    num_classes = settings.classes.num_classes
    class_ids = np.arange(256) if settings.lookup is None else settings.lookup
    unknown: NDArray[np.bool_] = ((class_ids >= num_classes) & (class_ids != IGNORE_ID))[ids]
    if not unknown.any():
        return LabelError(f"{where}: {str(error).removeprefix('label: ')}")
    row, column = divmod(int(unknown.argmax()), unknown.shape[1])
    value = int(ids[row, column])
    place = f"({np.count_nonzero(ids == value)} pixels, first at row {row}, column {column})"
    if settings.encoding == "labelIds":
        return LabelError(
            f"{where}: id {value} is not a label id of '{settings.classes.name}' {place}. "
            f"Pass the table of these labels as --classes, or --encoding trainIds."
        )
    return LabelError(
        f"{where}: id {value} is neither a train id of '{settings.classes.name}' (0-{num_classes - 1}) nor 255 for "
        f"ignored {place}. If these are label ids pass --encoding labelIds, else their table as --classes."
    )


def _facts(meta: dict[str, Any]) -> dict[str, Any]:
    height, width = meta["size"]
    return {"digest": meta["about"]["label_digest"], "height": height, "width": width, "pixels": meta["pixels"]}
