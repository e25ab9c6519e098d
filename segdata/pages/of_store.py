"""The page of stored targets: how much there is, of what, and how large."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segdata.errors import SegdataError
from segdata.labels.classes import ClassTable
from segdata.pages.html import Part, bar, facts, swatch, table
from segdata.pages.of_conversion import faults_section, settings_of, state_facts


def sections_of_store(folder: Path, report: Mapping[str, Any]) -> list[Part]:
    """Return the page of what `precompute-cpp` wrote.

    Parameters
    ----------
    folder : Path
        DST.
    report : mapping
        The report in it.
    """
    totals, settings = report["totals"], report["settings"]
    done = [entry for entry in report["files"].values() if entry["status"] == "ok"]
    sizes = [path.stat().st_size for entry in done if (path := folder / entry["target"]).is_file()]
    pixels = sum(entry["height"] * entry["width"] for entry in done)
    num_classes = len(totals["pixels"])
    dense = sum(4 * (num_classes + 1) * pixels / scale**2 for scale in settings["scales"])
    whole = sum(totals["pixels"].values()) + totals["ignored"]
    overview = facts(
        [
            ("labels", f"{totals['labels']:,}"),
            ("on disk", f"{sum(sizes) / 2**20:,.1f} MiB"),
            ("a label", f"{sum(sizes) / max(1, len(sizes)) / 2**10:,.1f} KiB on average"),
            ("as dense float32", f"{dense / 2**20:,.0f} MiB, {dense / max(1, sum(sizes)):,.0f} times as much"),
            ("files missing", f"{len(done) - len(sizes):,}" if len(sizes) < len(done) else None),
            ("ignored", f"{totals['ignored'] / max(1, whole):.2%}"),
            *state_facts(report),
        ]
    ) + settings_of(report)
    colors = _colors(settings["classes"])
    labeled = max(1, sum(totals["pixels"].values()))
    rows = [
        [
            swatch(colors.get(name, (128, 128, 128)), name),
            f"{number:,}",
            bar(number / labeled, f"{number / labeled:.2%}"),
        ]
        for name, number in sorted(totals["pixels"].items(), key=lambda item: (-item[1], item[0]))
    ]
    classes = table(["class", "pixels", "share of labeled pixels"], rows, caption="what the labels hold, largest first")
    return [Part("Overview", overview), *faults_section(report), Part("Classes", classes)]


def _colors(name: str) -> dict[str, tuple[int, int, int]]:
    try:
        return {row.name: row.color for row in ClassTable.load(name).classes}
    except (SegdataError, OSError):
        return {}
