"""Convert whole folders of label images: what to convert, and the work on each file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segdata.batch.artifact import facts_to_keep, read_provenance
from segdata.batch.report import find_shard_reports, read_report
from segdata.batch.run import Job, Plan, RunResult, run_plan
from segdata.batch.work import BatchSettings, Outcome
from segdata.codecs.png import read_bytes
from segdata.errors import LayoutError, MappingError, SettingsError, StoreError
from segdata.files import digest_of_bytes, refuse_same_folder, refuse_shared_targets, write_atomic
from segdata.jobs.convert_images import ImageMode, image_is_placed, place_image, refuse_other_disk
from segdata.jobs.convert_label import TOOL, ConvertSettings, convert_label
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
class ConvertPlan(Plan[ConvertItem]):
    """What a run converts, from where to where.

    Attributes
    ----------
    settings : ConvertSettings
        What decides the outputs.
    images : {"symlink", "hardlink", "copy", "skip"}
        How images are placed.
    more_recorded : dict
        What else the report's settings say, such as the version of the labels.
    without_label : dict of str to list of str
        By split, the keys of images that have no label.
    """

    settings: ConvertSettings
    images: ImageMode = "skip"
    more_recorded: dict[str, str] = field(default_factory=dict)
    without_label: dict[str, list[str]] = field(default_factory=dict)

    @property
    def recorded(self) -> dict[str, str]:
        """What determines the outputs."""
        return {**self.settings.recorded(), **self.more_recorded, "images": self.images}

    @property
    def job(self) -> "ConvertJob":
        """What is done with each label."""
        return ConvertJob(settings=self.settings, images=self.images)

    def sources(self, item: ConvertItem) -> list[Path]:
        """Return the label, and the image that is placed beside it."""
        return [source for source, _ in item.links()]

    def targets(self, item: ConvertItem) -> list[Path]:
        """Return the files that an item may write."""
        return [target for _, target in item.links()]

    def totals(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Return the pixels of each class before and after, and what has no label."""
        return sum_up(outcomes, self.settings.mapping) | self.totals_of_plan

    @property
    def totals_of_plan(self) -> dict[str, Any]:
        """Return what has no label."""
        return {"without_label": self.without_label}


@dataclass(frozen=True, kw_only=True)
class ConvertJob(Job[ConvertItem]):
    """Convert a label and place its image beside it."""

    settings: ConvertSettings
    images: ImageMode = "skip"

    def describe(self, item: ConvertItem) -> dict[str, Any]:
        """Add how the image is placed."""
        missing = item.image is None and self.images != "skip"
        return super().describe(item) | {"image": "missing" if missing else self.images}

    def read(self, item: ConvertItem) -> bytes:
        """Return the bytes of the label."""
        return read_bytes(item.label)

    def match(self, item: ConvertItem, source: bytes) -> dict[str, Any] | None:
        """Return the facts of a converted label that is valid and has its image beside it."""
        # The image first: a label that has changed since ends the comparison, and --update then replaces both.
        is_placed = self._image_is_placed(item, overwrite=False)
        facts = self._match_label(item, source)
        return facts if is_placed else None

    def make(self, item: ConvertItem, source: bytes) -> dict[str, Any]:
        """Convert the label and place the image."""
        converted = convert_label(source, str(item.label), self.settings)
        write_atomic(item.output, converted.data)
        if not self._image_is_placed(item, overwrite=True):
            assert item.image is not None
            assert item.image_output is not None
            place_image(item.image, item.image_output, self.images)
        return converted.facts

    def _match_label(self, item: ConvertItem, source: bytes) -> dict[str, Any] | None:
        found = read_provenance(item.output, TOOL)
        recorded, digest = self.settings.recorded(), digest_of_bytes(source)
        return facts_to_keep(item.output, found, tool=TOOL, settings=recorded, digest=digest)

    def _image_is_placed(self, item: ConvertItem, *, overwrite: bool) -> bool:
        if item.image is None or item.image_output is None:
            return True
        return image_is_placed(item.image, item.image_output, self.images, overwrite=overwrite)


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
        more_recorded={"labels": root.version}
        | ({} if root.class_table.name == f"vistas-{root.version}" else {"class_list": root.class_table.name}),
        without_label=without,
    )


def plan_folder(source: Path, destination: Path, settings: ConvertSettings) -> ConvertPlan:
    """Plan the conversion of every label image below a folder, to the same relative paths below another.

    Where names tell labels from colors and instances (as in Cityscapes), the label ids are taken. A DST below SRC
    is left out: what an earlier run wrote there is not a source.

    Raises
    ------
    LayoutError
        If SRC holds no label, or some that would be left out without a word; see `segdata.layouts.open_labels`.
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
        for sample in _outside(source, destination, open_labels(source, "labelIds", need_all=True)[0])
        if sample.label is not None
    ]
    return ConvertPlan(tool="convert", source=source, destination=destination, items=items, settings=settings)


def run_convert(plan: ConvertPlan, batch: BatchSettings) -> RunResult:
    """Convert what is planned and write the report ``DST/<tool>.json``; see `segdata.batch.run.run_plan`.

    Raises
    ------
    SettingsError
        If DST is SRC, lies among the labels, or holds output of other settings.
    StoreError
        If DST cannot be written at all.
    """
    _refuse_destination(plan)
    return run_plan(plan, batch)


def _outside(source: Path, destination: Path, samples: Sequence[LabeledImage]) -> Sequence[LabeledImage]:
    """Leave out the samples below DST; raise if they cannot be an earlier run's, which begins with its report."""
    real_destination = destination.resolve()
    if source.resolve().is_relative_to(real_destination):  # DST is around SRC, not in it
        return samples
    labels = [sample.label for sample in samples if sample.label is not None]
    real = {folder: folder.resolve() for folder in {label.parent for label in labels}}
    inside = {label for label in labels if (real[label.parent] / label.name).is_relative_to(real_destination)}
    report = destination / "convert.json"
    if inside and not report.exists() and not find_shard_reports(report):
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
