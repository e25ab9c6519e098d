"""The page of a converted data set: what became of each class, and the images that lost most."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from segdata.codecs.photos import read_image
from segdata.data.samples import read_sample
from segdata.errors import SegdataError
from segdata.labels.classes import ClassTable
from segdata.labels.mapping import LabelMapping
from segdata.layouts import open_labels
from segdata.pages.html import Part, bar, facts, folded, paragraph, swatch, table
from segdata.pages.thumbnails import gallery, label_layer, photo_layer, stack

MOST_FAULTS = 100
"""Faulty files that are named."""


def sections_of_conversion(folder: Path, report: Mapping[str, Any]) -> list[Part]:
    """Return the page of what `convert-mapillary` or `convert` wrote.

    Parameters
    ----------
    folder : Path
        DST.
    report : mapping
        The report in it; see `segdata.batch.report`.
    """
    totals = report["totals"]
    target = _target_table(report)
    return [
        Part("Overview", _overview(report)),
        *faults_section(report),
        Part("Classes, before and after", _classes(totals, target)),
        Part("From source to target", _flow(totals)),
        Part("Most ignored", _most_ignored(folder, report, target)),
    ]


def state_facts(report: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return what every report says of its run."""
    files = report["files"].values()
    failed = sum(entry["status"] == "error" for entry in files)
    return [
        ("state", report["state"]),
        ("files", f"{len(files):,}" + (f", {failed:,} failed" if failed else "")),
        ("source", report.get("source")),
        ("written by", f"segdata {report.get('segdata')}"),
    ]


def settings_of(report: Mapping[str, Any]) -> str:
    """Return the settings that decide the outputs, shown on demand."""
    told = [
        (key, ", ".join(map(str, value)) if isinstance(value, list) else value)
        for key, value in report["settings"].items()
    ]
    return folded("Settings", facts(told))


def faults_section(report: Mapping[str, Any]) -> list[Part]:
    """Return the files that failed; nothing where none did."""
    failed = [(key, entry["message"]) for key, entry in report["files"].items() if entry["status"] == "error"]
    if not failed:
        return []
    lines = "".join(f"<li>{escape(str(message))}</li>" for _, message in failed[:MOST_FAULTS])
    more = paragraph(f"and {len(failed) - MOST_FAULTS:,} more") if len(failed) > MOST_FAULTS else ""
    return [Part("Files that failed", f"<ul>{lines}</ul>{more}")]


def _overview(report: Mapping[str, Any]) -> str:
    totals = report["totals"]
    images = ", ".join(f"{number:,} {state}" for state, number in totals["images"].items())
    return facts(
        [
            ("labels", f"{totals['labels']:,}"),
            ("pixels", f"{totals['pixels']:,}"),
            ("ignored", f"{totals['ignored']['share']:.2%}"),
            ("images", images or None),
            *state_facts(report),
        ]
    ) + settings_of(report)


def _target_table(report: Mapping[str, Any]) -> ClassTable | None:
    """Return the class table of the outputs, None where its file is no longer to be found."""
    try:
        return LabelMapping.load(report["settings"].get("mapping", "")).target
    except (SegdataError, OSError):
        return None


def _colors(target: ClassTable | None) -> dict[str, tuple[int, int, int]]:
    return {} if target is None else {row.name: row.color for row in target.classes}


def _classes(totals: Mapping[str, Any], target: ClassTable | None) -> str:
    colors, whole = _colors(target), max(1, totals["pixels"])
    sources: dict[str | None, list[Mapping[str, Any]]] = defaultdict(list)
    for row in totals["source_classes"]:
        sources[row["target"]].append(row)
    rows = []
    for row in totals["target_classes"]:
        largest = max(sources[row["name"]], key=lambda source: source["pixels"], default=None)
        named = "" if largest is None else f"{largest['name']} ({largest['pixels'] / max(1, row['pixels']):.0%})"
        part = row["pixels"] / whole
        rows.append(
            [swatch(colors.get(row["name"], (128, 128, 128)), row["name"]), f"{row['pixels']:,}",
             bar(part, f"{part:.2%}"), len(sources[row["name"]]), named]
        )  # fmt: skip
    ignored = totals["ignored"]
    rows.append(
        [swatch((0, 0, 0), "ignored"), f"{ignored['pixels']:,}", bar(ignored["share"], f"{ignored['share']:.2%}"),
         len(sources[None]), ""]
    )  # fmt: skip
    return table(
        ["class", "pixels", "share of all pixels", "source classes", "largest of them"], rows, caption="target classes"
    )


def _flow(totals: Mapping[str, Any]) -> str:
    """Return each target with the source classes that become it, the largest first."""
    whole = max(1, totals["pixels"])
    groups: dict[str | None, list[Mapping[str, Any]]] = {row["name"]: [] for row in totals["target_classes"]}
    groups[None] = []
    for row in totals["source_classes"]:
        groups.setdefault(row["target"], []).append(row)
    parts = []
    for name, rows in groups.items():
        if not rows:
            continue
        lines = "".join(
            f"<li><span>{escape(row['name'])}</span><span>{row['pixels'] / whole:.3%}</span></li>"
            for row in sorted(rows, key=lambda row: (-row["pixels"], row["name"]))
            if row["pixels"]
        )
        if empty := ", ".join(row["name"] for row in rows if not row["pixels"]):
            lines += f"<li><span>without a pixel: {escape(empty)}</span></li>"
        total = sum(row["pixels"] for row in rows)
        target = escape("ignored" if name is None else name)
        parts.append(
            f'<div><ul>{lines}</ul><span class="to" role="img" aria-label="become">\u2192</span>'
            f"<div>{target} <small>{total / whole:.2%}</small></div></div>"
        )
    unmapped = totals.get("unmapped", {})
    told = ", ".join(f"{key} ({number:,} pixels)" for key, number in unmapped.items())
    return f'<div class="flow">{"".join(parts)}</div>' + (paragraph(f"Ids without a rule: {told}.") if told else "")


def _most_ignored(folder: Path, report: Mapping[str, Any], target: ClassTable | None) -> str:
    worst: Sequence[Mapping[str, Any]] = report["totals"]["ignored"]["worst"]
    if not worst:
        return paragraph("No pixel is ignored.")
    rows = [[row["key"], f"{row['pixels']:,}", bar(row["share"], f"{row['share']:.2%}")] for row in worst]
    listed = table(["label", "ignored pixels", "share"], rows, caption="labels of which most is ignored")
    if target is None:
        return listed
    try:
        samples, encoding = open_labels(folder)
    except SegdataError as error:  # moved away, or not written yet
        return listed + paragraph(f"Not shown: {error}")
    by_path = {sample.label.relative_to(folder): sample for sample in samples if sample.label is not None}
    stacks, lost = [], []
    for row in worst:
        sample = by_path.get(Path(report["files"].get(row["key"], {}).get("target", "")))
        if sample is None:
            continue
        try:
            layers = [] if sample.image is None else [photo_layer(read_image(sample.image))]
            layers.append(label_layer("label", read_sample(sample, target, encoding), target))
        except (SegdataError, OSError) as error:
            lost.append(str(error))
            continue
        stacks.append(stack(layers, f"{row['key']}, {row['share']:.1%} ignored"))
    told = "".join(paragraph(f"Not shown: {fault}") for fault in lost)
    return gallery(stacks, target) + told + folded("Numbers", listed)
