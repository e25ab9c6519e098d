"""Pool whole folders of label images: what to pool, the work on each file, the run and its report.

Every output carries the settings, a digest of its label and the pixels of each class, so that "done and valid" and all
of the report are read from the outputs alone, however often a run was interrupted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from segdata.batch.report import describe_difference, open_run
from segdata.batch.run import BatchSettings, Outcome, run_batch, take_shard
from segdata.codecs.png import decode_label, read_bytes
from segdata.cpp.checks import Ragged
from segdata.cpp.kernels import MAX_CLASSES, MIXED
from segdata.cpp.store import OtherVersionError, check_cpp, encode_cpp, read_cpp_bytes, read_meta
from segdata.cpp.targets import check_scales, pool_targets
from segdata.errors import LabelError, SettingsError, StoreError
from segdata.files import digest_of_bytes, refuse_same_folder, refuse_shared_targets, write_atomic
from segdata.labels.classes import IGNORE_ID, ClassTable
from segdata.layouts import Encoding, open_labels

TOOL = "precompute-cpp"
ENDING = ".cpp.npz"
_UNKNOWN = MIXED  # an id that no label may hold: the pooling refuses it
_WAY_OUT = "Choose another DST, or pass --overwrite."


@dataclass(frozen=True, kw_only=True)
class PrecomputeSettings:
    """What decides the bytes of a file of targets.

    Attributes
    ----------
    scales : tuple of int
        Sides of the cells in pixels.
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
class PrecomputePlan:
    """What a run pools, from where to where; items are all labels, whatever the shard."""

    source: Path
    destination: Path
    items: Sequence[PrecomputeItem]
    settings: PrecomputeSettings


@dataclass(frozen=True, kw_only=True)
class PrecomputeWork:
    """The work of a run on one item; picklable, for other processes and machines."""

    settings: PrecomputeSettings
    dry_run: bool = False
    overwrite: bool = False

    def __call__(self, item: PrecomputeItem) -> Outcome:
        """Pool the label, unless its targets are there and valid."""
        data = read_bytes(item.label)
        status: Literal["kept", "todo", "done"] = "kept"
        facts = None if self.overwrite else kept_facts(item.output, data, self.settings)
        if facts is None:
            status = "todo" if self.dry_run else "done"
            facts = {} if self.dry_run else self._write(item, data)
        return Outcome(key=item.key, status=status, facts={"source": item.key, "target": item.target, **facts})

    def _write(self, item: PrecomputeItem, data: bytes) -> dict[str, Any]:
        targets = pool_file(data, str(item.label), self.settings)
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
        Sides of the cells in pixels.
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


def run_precompute(plan: PrecomputePlan, batch: BatchSettings) -> tuple[list[Outcome], dict[str, Any]]:
    """Pool what is planned and write the report ``DST/precompute-cpp.json``.

    Returns
    -------
    outcomes : list of Outcome
        One per label of the shard, and one for the report if it cannot be written at the end.
    report : dict
        As written; see `segdata.batch.report`.

    Raises
    ------
    SettingsError
        If DST holds output of other settings.
    StoreError
        If DST cannot be written at all.
    """
    mine = take_shard(plan.items, batch.shard)
    work = PrecomputeWork(settings=plan.settings, dry_run=batch.dry_run, overwrite=batch.overwrite)
    with open_run(
        plan.destination / f"{TOOL}.json",
        tool=TOOL,
        source=plan.source,
        settings=plan.settings.recorded(),
        batch=batch,
        targets=[item.output for item in mine],
    ) as run:
        outcomes = run_batch(work, plan.items, batch)
        totals = sum_up(outcomes, plan.settings.classes)
        report, faults = run.conclude([_without_pixels(one) for one in outcomes], totals, mine)
    return [*outcomes, *faults], report


def pool_file(data: bytes, where: str, settings: PrecomputeSettings) -> bytes:
    """Pool the bytes of one label image to the bytes of its target file.

    Raises
    ------
    LabelError
        If the bytes are no sound label, hold an id that is no class, or have a size that `ragged` refuses.
    """
    ids = decode_label(data, where)
    class_ids = ids if settings.lookup is None else np.take(settings.lookup, ids)
    try:
        targets = pool_targets(
            class_ids, settings.scales, num_classes=settings.classes.num_classes, ragged=settings.ragged
        )
    except LabelError as error:
        raise _explained(error, ids, where, settings) from None
    return encode_cpp(targets, {"tool": TOOL, "settings": settings.recorded(), "label_digest": digest_of_bytes(data)})


def kept_facts(output: Path, source: bytes, settings: PrecomputeSettings) -> dict[str, Any] | None:
    """Return the facts inside an output that is there and valid; None where it is missing or damaged.

    Raises
    ------
    StoreError
        If the output was made with other settings or from other bytes, or is no output of this tool.
    """
    if not output.exists():
        return None
    data = read_cpp_bytes(output)
    try:
        meta = check_cpp(data, str(output))
    except OtherVersionError:
        raise
    except StoreError:
        if _is_rest_of_ours(data):
            return None
        raise StoreError(f"{output}: was not written by segdata {TOOL}, so it is kept. {_WAY_OUT}") from None
    about = meta["about"]
    if about.get("tool") != TOOL:
        raise StoreError(f"{output}: was not written by segdata {TOOL}, so it is kept. {_WAY_OUT}")
    difference = describe_difference(_deciding(about.get("settings", {})), _deciding(settings.recorded()))
    if difference:
        raise StoreError(f"{output}: was made with other settings: {difference}. {_WAY_OUT}")
    if about.get("label_digest") != digest_of_bytes(source):
        raise StoreError(f"{output}: was made from other bytes of its label, which has changed since. {_WAY_OUT}")
    return _facts(meta)


def sum_up(outcomes: Sequence[Outcome], classes: ClassTable) -> dict[str, Any]:
    """Sum the facts of the files: how many labels, and pixels by class and ignored."""
    pooled = [outcome.facts["pixels"] for outcome in outcomes if "pixels" in outcome.facts]
    pixels = np.zeros(classes.num_classes + 1, np.int64)
    for of_label in pooled:
        pixels += of_label
    by_class = dict(zip(classes.train_names, pixels[:-1].tolist(), strict=True))
    return {"labels": len(pooled), "pixels": by_class, "ignored": int(pixels[-1])}


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
            f"{where}: id {value} is no label id of '{settings.classes.name}' {place}. "
            f"Pass the table of these labels as --classes, or --encoding trainIds."
        )
    return LabelError(
        f"{where}: id {value} is neither a train id of '{settings.classes.name}' (0-{num_classes - 1}) nor 255 for "
        f"ignored {place}. If these are label ids pass --encoding labelIds, else their table as --classes."
    )


def _facts(meta: dict[str, Any]) -> dict[str, Any]:
    height, width = meta["size"]
    return {"digest": meta["about"]["label_digest"], "height": height, "width": width, "pixels": meta["pixels"]}


def _without_pixels(outcome: Outcome) -> Outcome:
    """Leave the pixels of each class to the output and the totals; the report keeps one short line per file."""
    return replace(outcome, facts={name: fact for name, fact in outcome.facts.items() if name != "pixels"})


def _deciding(recorded: dict[str, Any]) -> dict[str, Any]:
    """Leave out the table's name: the same classes under another name make the same targets."""
    return {name: value for name, value in recorded.items() if name != "classes"}


def _is_rest_of_ours(data: bytes) -> bool:
    """Say whether damaged bytes are what is left of a target file, or what a crash leaves: nothing, or zeros."""
    return b"meta.npy" in data[:64] or b"num_parts_" in data or not any(data[:64])
