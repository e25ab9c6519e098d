"""Convert whole folders of label images: what to convert, the work on each file, the run and its report.

Every output carries the settings, a digest of its source and the pixels of each source id (`convert_label`), so that
"done and valid" and all of the report are read from the outputs alone, however often a run was interrupted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from segdata.batch.report import open_run, read_report
from segdata.batch.run import BatchSettings, Outcome, run_batch, take_shard
from segdata.codecs.png import read_bytes
from segdata.errors import LayoutError, MappingError, SettingsError, StoreError
from segdata.files import refuse_same_folder, refuse_shared_targets, write_atomic
from segdata.jobs.convert_images import ImageMode, image_is_placed, place_image, refuse_other_disk
from segdata.jobs.convert_label import ConvertSettings, convert_label
from segdata.jobs.convert_output import kept_facts
from segdata.jobs.convert_report import sum_up
from segdata.labels.classes import LabelClass
from segdata.labels.mapping import LabelMapping
from segdata.labels.names import fold
from segdata.layouts import LabeledImage, open_labels
from segdata.layouts.vistas import VistasRoot

SPLITS = {"training": "train", "validation": "val"}
ENDINGS = {"trainIds": "_gtFine_labelTrainIds.png", "labelIds": "_gtFine_labelIds.png"}
CITY = "mapillary"


@dataclass(frozen=True, kw_only=True)
class ConvertItem:
    """One label to convert and, where there is one, its image to place beside it.

    Attributes
    ----------
    key : str
        Names the label in the report.
    label, output : Path
        The label and where its conversion goes, absolute.
    image, image_output : Path or None
        The image, None where it is missing, and where it goes, None where no image is wanted.
    source, target : str
        `label` and `output` as paths below SRC and DST, for the report.
    """

    key: str
    label: Path
    output: Path
    image: Path | None = None
    image_output: Path | None = None
    source: str
    target: str

    def links(self) -> list[tuple[Path, Path]]:
        """Return what is written from what: pairs of source and target."""
        pairs = [(self.label, self.output)]
        if self.image is not None and self.image_output is not None:
            pairs.append((self.image, self.image_output))
        return pairs


@dataclass(frozen=True, kw_only=True)
class ConvertPlan:
    """What a run converts, from where to where.

    Attributes
    ----------
    tool : str
        The command's name, which is also that of the report.
    source, destination : Path
        SRC and DST, absolute.
    items : sequence of ConvertItem
        All labels, whatever the shard.
    settings : ConvertSettings
        What decides the outputs.
    images : {"symlink", "hardlink", "copy", "skip"}
        How images are placed.
    recorded : dict
        What else the report's settings say, such as the version of the labels.
    without_label : dict of str to list of str
        By split, the keys of images that have no label.
    """

    tool: str
    source: Path
    destination: Path
    items: Sequence[ConvertItem]
    settings: ConvertSettings
    images: ImageMode = "skip"
    recorded: dict[str, str] = field(default_factory=dict)
    without_label: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ConvertWork:
    """The work of a run on one item; picklable, for other processes and machines."""

    settings: ConvertSettings
    images: ImageMode = "skip"
    dry_run: bool = False
    overwrite: bool = False

    def __call__(self, item: ConvertItem) -> Outcome:
        """Convert the label and place the image, unless both are there and valid."""
        data = read_bytes(item.label)
        kept = None if self.overwrite else kept_facts(item.output, data, self.settings)
        facts = kept
        if facts is None and not self.dry_run:
            converted = convert_label(data, str(item.label), self.settings)
            write_atomic(item.output, converted.data)
            facts = converted.facts
        had_image = self._place_image(item)
        status: Literal["kept", "todo", "done"] = "todo" if self.dry_run else "done"
        if kept is not None and had_image:
            status = "kept"
        told = {"source": item.source, "target": item.target, "image": self._image_word(item)}
        return Outcome(key=item.key, status=status, facts=told | (facts or {}))

    def _place_image(self, item: ConvertItem) -> bool:
        """Place the image of the item if it has one; return whether nothing was to be done."""
        if item.image is None or item.image_output is None:
            return True
        if image_is_placed(item.image, item.image_output, self.images, overwrite=self.overwrite):
            return True
        if not self.dry_run:
            place_image(item.image, item.image_output, self.images)
        return False

    def _image_word(self, item: ConvertItem) -> str:
        return "missing" if item.image is None and self.images != "skip" else self.images


def plan_vistas(
    root: VistasRoot, destination: Path, settings: ConvertSettings, *, images: ImageMode = "symlink"
) -> ConvertPlan:
    """Plan the conversion of a Vistas download to the Cityscapes layout; the testing split has no labels.

    Raises
    ------
    MappingError
        If the mapping reads another class table than the labels follow.
    SettingsError
        If DST holds labels of the other encoding: they have other names, so they would stay beside the new ones.
    """
    _refuse_other_table(settings.mapping, root)
    _refuse_other_encoding(destination, settings)
    without: dict[str, list[str]] = {}
    for sample in root.without_label():
        without.setdefault(sample.split, []).append(sample.key)
    return ConvertPlan(
        tool="convert-mapillary",
        source=root.root,
        destination=destination,
        items=[_vistas_item(sample, root.root, destination, settings, images) for sample in root.samples()],
        settings=settings,
        images=images,
        # where the user trusts the download's own class list, what the mapping's names mean is decided there
        recorded={"labels": root.version}
        | ({} if root.class_table.name == f"vistas-{root.version}" else {"class_list": root.class_table.name}),
        without_label=without,
    )


def plan_folder(source: Path, destination: Path, settings: ConvertSettings) -> ConvertPlan:
    """Plan the conversion of every label image below a folder, to the same relative paths below another.

    Where names tell labels from colors and instances (as in Cityscapes), the label ids are taken. A DST below SRC
    is left out: what an earlier run wrote there is no source.

    Raises
    ------
    LayoutError
        If SRC holds no label.
    SettingsError
        If DST is SRC, or holds labels of SRC though no run has begun there.
    """
    refuse_same_folder(source, destination)
    items = [
        ConvertItem(
            key=str(sample.relative),
            label=sample.label,
            output=destination / sample.relative,
            source=str(sample.relative),
            target=str(sample.relative),
        )
        for sample in _outside(source, destination, open_labels(source, "labelIds")[0])
        if sample.label is not None
    ]
    return ConvertPlan(tool="convert", source=source, destination=destination, items=items, settings=settings)


def run_convert(plan: ConvertPlan, batch: BatchSettings) -> tuple[list[Outcome], dict[str, Any]]:
    """Convert what is planned and write the report ``DST/<tool>.json``.

    Returns
    -------
    outcomes : list of Outcome
        One per label of the shard, and one for the report if it cannot be written at the end.
    report : dict
        As written; see `segdata.batch.report`.

    Raises
    ------
    SettingsError
        If DST is SRC, lies among the labels, or holds output of other settings.
    StoreError
        If DST cannot be written at all.
    """
    _refuse_destination(plan)
    mine = take_shard(plan.items, batch.shard)
    work = ConvertWork(settings=plan.settings, images=plan.images, dry_run=batch.dry_run, overwrite=batch.overwrite)
    with open_run(
        plan.destination / f"{plan.tool}.json",
        tool=plan.tool,
        source=plan.source,
        settings={**plan.settings.recorded(), **plan.recorded, "images": plan.images},
        batch=batch,
        targets=[target for item in mine for _, target in item.links()],
    ) as run:
        outcomes = run_batch(work, plan.items, batch)
        totals = sum_up(outcomes, plan.settings.mapping) | {"without_label": plan.without_label}
        report, faults = run.conclude([_without_counts(outcome) for outcome in outcomes], totals, mine)
    return [*outcomes, *faults], report


def _outside(source: Path, destination: Path, samples: Sequence[LabeledImage]) -> Sequence[LabeledImage]:
    """Leave out the samples below DST; raise if they cannot be an earlier run's, which begins with its report."""
    real_destination = destination.resolve()
    if source.resolve().is_relative_to(real_destination):  # DST is around SRC, not in it
        return samples
    labels = [sample.label for sample in samples if sample.label is not None]
    real = {folder: folder.resolve() for folder in {label.parent for label in labels}}
    inside = {label for label in labels if (real[label.parent] / label.name).is_relative_to(real_destination)}
    if inside and not (destination / "convert.json").exists():
        raise SettingsError(f"{destination}: DST holds labels of SRC, first {min(inside)}. Choose another DST.")
    return [sample for sample in samples if sample.label not in inside]


def _vistas_item(
    sample: LabeledImage, root: Path, destination: Path, settings: ConvertSettings, images: ImageMode
) -> ConvertItem:
    assert sample.label is not None
    place = Path(SPLITS.get(sample.split, sample.split), CITY)
    target = Path("gtFine") / place / (sample.key + ENDINGS[settings.encoding])
    suffix = ".png" if sample.image is not None and sample.image.suffix.lower() == ".png" else ".jpg"
    image_output = destination / "leftImg8bit" / place / f"{sample.key}_leftImg8bit{suffix}"
    return ConvertItem(
        key=f"{sample.split}/{sample.key}",
        label=sample.label,
        output=destination / target,
        image=sample.image,
        image_output=None if images == "skip" else image_output,
        source=str(sample.label.relative_to(root)),
        target=str(target),
    )


def _refuse_other_table(mapping: LabelMapping, root: VistasRoot) -> None:
    """Raise if the mapping and the labels call the same id by different names: then it is written for other labels."""
    known = {row.id: row for row in root.class_table.classes}
    for row in mapping.source.classes:
        label = known.get(row.id, row)
        if not _names(row) & _names(label):
            raise MappingError(
                f"mapping '{mapping.name}': reads '{mapping.source.name}', where id {row.id} is '{row.name}', but the "
                f"labels of {root.root} are {root.version} (by {root.evidence}), where it is '{label.name}'. "
                f"Pass --mapping vistas-{root.version}-to-cityscapes, or other --labels."
            )


def _refuse_other_encoding(destination: Path, settings: ConvertSettings) -> None:
    """Raise if an earlier run, finished or not, wrote labels of the other encoding; --overwrite cannot replace them."""
    try:
        before = read_report(destination / "convert-mapillary.json") or {}
    except StoreError:  # for the run to say, which --overwrite tells not to mind
        return
    encoding = before.get("settings", {}).get("encoding", settings.encoding)
    if encoding != settings.encoding:
        raise SettingsError(
            f"{destination}: holds labels of encoding '{encoding}', and those of '{settings.encoding}' have other "
            f"names: both would lie side by side, with --overwrite too. Choose another DST."
        )


def _names(row: LabelClass) -> set[str]:
    return {fold(row.name), fold(row.readable)}


def _refuse_destination(plan: ConvertPlan) -> None:
    """Raise if DST would mix with SRC, or two labels would be written to the same file."""
    if not plan.items:
        raise LayoutError(f"{plan.source}: holds no labels. Give a folder with label images.")
    refuse_same_folder(plan.source, plan.destination)
    destination = plan.destination.resolve()
    for labels in {item.label.parent for item in plan.items}:
        if destination.is_relative_to(labels.resolve()):
            raise SettingsError(f"{plan.destination}: DST lies in a folder of labels ({labels}). Choose another DST.")
    refuse_shared_targets(pair for item in plan.items for pair in item.links())
    image = next((item.image for item in plan.items if item.image is not None), None)
    if plan.images == "hardlink" and image is not None:
        refuse_other_disk(image, plan.destination)


def _without_counts(outcome: Outcome) -> Outcome:
    """Leave the pixels of each id to the output and the totals; the report keeps one short line per file."""
    return replace(outcome, facts={name: fact for name, fact in outcome.facts.items() if name != "pixels"})
