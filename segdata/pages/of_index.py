"""The page of a class index: where each class stands, and what drawing by class makes of it."""

from pathlib import Path

from segdata.data.draw_summary import summarize_epoch, summarize_index
from segdata.pages.html import Part, bar, facts, paragraph, table
from segdata.sampling.class_index import ClassIndex
from segdata.sampling.stream import Source, Stream

CLASS_UNIFORM = 0.5
"""Part of the draws by class that the page shows: that of hierarchical multi-scale attention."""


def sections_of_index(path: Path, class_uniform: float = CLASS_UNIFORM) -> list[Part]:
    """Return the page of what `segdata index` wrote.

    Parameters
    ----------
    path : Path
    class_uniform : float
        Part of the draws by class of which the effect is shown.
    """
    index = ClassIndex.load(path)
    summary = summarize_index(index)
    pixels = int(index.arrays["image_sizes"].astype(int).prod(axis=1).sum())
    overview = facts(
        [
            ("images", f"{summary['images']:,}"),
            ("pixels", f"{pixels:,}"),
            ("ignored", f"{summary['ignored'] / max(1, pixels):.2%}"),
            ("tile", f"{summary['tile']} pixels"),
            ("entries", f"{summary['entries']:,}"),
            ("classes without a pixel", ", ".join(summary["absent"]) or "none"),
            ("labels below", index.root),
            ("digest", summary["digest"]),
        ]
    )
    labeled = max(1, sum(row["pixels"] for row in summary["classes"]))
    rows = [
        [row["class"], f"{row['images']:,}", f"{row['images'] / max(1, summary['images']):.1%}", f"{row['tiles']:,}",
         f"{row['pixels']:,}", bar(row["pixels"] / labeled, f"{row['pixels'] / labeled:.3%}")]
        for row in summary["classes"]
    ]  # fmt: skip
    head = ["class", "images", "of all images", "tiles", "pixels", "share of labeled pixels"]
    where = table(head, rows, caption="where each class stands")
    return [Part("Overview", overview), Part("Classes", where), _drawn(index, class_uniform)]


def _drawn(index: ClassIndex, class_uniform: float) -> Part:
    """Return what an epoch of as many draws as images holds."""
    stream = Stream([Source(index, class_uniform=class_uniform)])
    epoch = summarize_epoch(stream, 0, max(index.num_images, 1000))
    rows = []
    for name, before, after, draws in zip(epoch.names, epoch.before, epoch.after, epoch.draws_by_class, strict=True):
        times = f"{after / before:.2f}" if before else "-"
        both = bar(float(before), f"{before:.2%} to {after:.2%}", second=float(after))
        rows.append([name, both, times, f"{draws:,}"])
    told = table(["class", "share of pixels, image by image and as drawn", "times", "draws of the class"], rows,
                 caption="blue: drawn image by image; orange: as drawn")  # fmt: skip
    about = f"With class_uniform {class_uniform:g}; {epoch.measured}."
    return Part("What drawing by class changes", paragraph(about) + told)
