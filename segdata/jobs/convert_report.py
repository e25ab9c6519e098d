"""What a conversion did to the classes: pixels from and to, and what became ignored."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segdata.batch.work import Outcome
from segdata.labels.classes import IGNORE_ID, LabelClass
from segdata.labels.mapping import LabelMapping
from segdata.text import counted

NUM_WORST = 10


def sum_up(outcomes: Sequence[Outcome], mapping: LabelMapping) -> dict[str, Any]:
    """Add up the facts of converted labels.

    Returns
    -------
    dict
        ``labels`` and ``pixels`` in all; ``ignored``, with ``pixels``, ``share`` (0 to 1) and ``worst``, the labels
        with the largest shares; ``source_classes``, each with id, name, target name (None: ignored) and pixels;
        ``target_classes``, each with id, train_id, name and pixels; ``unmapped``, pixels by id that the mapping does
        not name; ``images``, how many are in which state.
    """
    by_key = {outcome.key: _pixels(outcome.facts["pixels"]) for outcome in outcomes if "pixels" in outcome.facts}
    counts = sum(by_key.values(), np.zeros(256, np.int64))
    ignored = _is_ignored(mapping)
    return {
        "labels": len(by_key),
        "pixels": int(counts.sum()),
        "ignored": _share(counts, ignored) | {"worst": _worst(by_key, ignored)},
        "source_classes": [
            {"id": row.id, "name": row.name, "target": to.name if to else None, "pixels": _pixels_of(row, counts)}
            for row, to in zip(mapping.source.classes, mapping.targets, strict=True)
        ],
        "target_classes": list(_target_rows(mapping, counts)),
        "unmapped": {str(i): int(counts[i]) for i in np.flatnonzero((mapping.lookup() < 0) & (counts > 0))},
        "images": _count_words(outcome.facts["image"] for outcome in outcomes if "image" in outcome.facts),
        "without_image": [outcome.key for outcome in outcomes if outcome.facts.get("image") == "missing"],
    }


def format_totals(totals: Mapping[str, Any]) -> str:
    """Lay the totals of a conversion out as tables for the terminal; source classes without a pixel are left out."""
    everything, ignored = totals["pixels"], totals["ignored"]
    labeled = everything - ignored["pixels"]
    sources = sorted((row for row in totals["source_classes"] if row["pixels"]), key=lambda row: -row["pixels"])
    targets = [row for row in totals["target_classes"] if row["pixels"] or row["train_id"] != IGNORE_ID]
    trained = {row["name"] for row in targets if row["train_id"] != IGNORE_ID}
    lines = [
        "source class -> target class, by pixels; shares are of the labeled ones, of all where ignored",
        *(
            _line(
                row["name"],
                row["target"] or "(ignored)",
                row["pixels"],
                labeled if row["target"] in trained else 0,
                everything,
            )
            for row in sources
        ),
        *(_line(f"id {key}", "(unmapped)", number, 0, everything) for key, number in totals["unmapped"].items()),
        "",
        "target class",
        *(
            _line(row["name"], "", row["pixels"], labeled if row["name"] in trained else 0, everything)
            for row in targets
        ),
        _line("(ignored)", "", ignored["pixels"], 0, everything),
    ]
    if ignored["worst"]:
        lines += ["", "most ignored", *(f"  {row['share']:7.2%}  {row['key']}" for row in ignored["worst"])]
    return "\n".join([*lines, "", *_remarks(totals)])


def _remarks(totals: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line on images without labels and labels without images."""
    for split, keys in sorted(totals["without_label"].items()):
        yield f"{split}: {counted(len(keys), 'image')} without a label{_named(keys)}"
    if totals["without_image"]:
        yield f"{counted(len(totals['without_image']), 'label')} without an image{_named(totals['without_image'])}"
    labels, pixels = counted(totals["labels"], "label"), counted(totals["pixels"], "pixel")
    yield f"{labels}, {pixels}, {totals['ignored']['share']:.2%} ignored"


def _named(keys: Sequence[str]) -> str:
    return f" ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"


def _line(name: str, to: str, pixels: int, labeled: int, everything: int) -> str:
    """Lay out a class with its share of the labeled pixels, or of all where it counts as ignored (`labeled` 0)."""
    share = f"{pixels / labeled:8.2%}" if labeled else f"{pixels / max(1, everything):8.2%} of all"
    return f"  {name:<36} {to:<16} {pixels:>16,} {share}"


def _pixels(by_id: Mapping[str, int]) -> NDArray[np.int64]:
    counts = np.zeros(256, np.int64)
    for key, num_pixels in by_id.items():
        counts[int(key)] = num_pixels
    return counts


def _pixels_of(row: LabelClass, counts: NDArray[np.int64]) -> int:
    return int(counts[row.id]) if row.id >= 0 else 0


def _is_ignored(mapping: LabelMapping) -> NDArray[np.bool_]:
    """Say of each id whether training ignores what it becomes; unmapped ids count as ignored."""
    lookup = mapping.lookup("trainIds")
    ignored: NDArray[np.bool_] = (lookup < 0) | (lookup == IGNORE_ID)
    return ignored


def _target_rows(mapping: LabelMapping, counts: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Yield each class of the target with the pixels that became it."""
    pixels: dict[str, int] = {}
    for row, to in zip(mapping.source.classes, mapping.targets, strict=True):
        if to is not None:
            pixels[to.name] = pixels.get(to.name, 0) + _pixels_of(row, counts)
    for target in mapping.target.classes:
        if target.train_id != IGNORE_ID or target.name in pixels:
            yield {
                "id": target.id,
                "train_id": target.train_id,
                "name": target.name,
                "pixels": pixels.get(target.name, 0),
            }


def _share(counts: NDArray[np.int64], ignored: NDArray[np.bool_]) -> dict[str, Any]:
    num_ignored = int(counts[ignored].sum())
    return {"pixels": num_ignored, "share": num_ignored / max(1, int(counts.sum()))}


def _worst(counted: Mapping[str, NDArray[np.int64]], ignored: NDArray[np.bool_]) -> list[dict[str, Any]]:
    shares = [{"key": key, **_share(counts, ignored)} for key, counts in counted.items()]
    shares.sort(key=lambda row: (-row["share"], row["key"]))
    return [row for row in shares[:NUM_WORST] if row["pixels"]]


def _count_words(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts
