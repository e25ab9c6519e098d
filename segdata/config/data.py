"""The part of a recipe that names data: which folders, in which layout, how much of each.

It stands here, below the trainer, so that the data can be checked without torch.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_serializer, model_validator

from segdata.config.section import Section
from segdata.errors import MappingError
from segdata.labels.classes import ClassTable

Layout = Literal["cityscapes", "vistas", "voc2012", "pascal-context", "nyuv2", "camvid", "images-masks", "list"]
NAMED_BY_FILE = ("cityscapes", "list")
"""Layouts whose file names may tell what the ids are; the labels of all others hold the data set's own ids."""

_ANNOTATIONS = {"cityscapes": ("gtFine", "gtCoarse", "auto"), "vistas": ("v1.2", "v2.0")}


class SourceRecipe(Section):
    """One data set, or one part of it, and its share of the draws."""

    name: str
    """What tables and messages call it; in a recipe file the key that it stands under."""
    layout: Layout
    """How its files lie; see docs/datasets.md."""
    root: Path = Path()
    """The data set's folder, relative to `data.root`."""
    splits: tuple[str, ...] = Field(default=("train",), min_length=1)
    """Splits to take, by the data set's own names; for `list` the list files, relative to `root`."""
    annotation: Literal["gtFine", "gtCoarse", "auto", "v1.2", "v2.0"] | None = None
    """Only these labels: of a Cityscapes root `gtFine`, `gtCoarse`, or `auto` for auto-labels with their confidence; of
    a Vistas root `v1.2` or `v2.0`."""
    encoding: Literal["auto", "trainIds", "labelIds"] = "auto"
    """What the ids in its labels are: training ids, or the ids of the class table; auto goes by the file names."""
    confidence: float = Field(default=0.5, ge=0, le=1)
    """Pixels of auto-labels that are less sure are ignored (0.5 in the code of hierarchical multi-scale attention)."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Part of all draws that come from it; the shares of all sources sum to 1."""
    class_uniform: float = Field(default=0.0, ge=0, le=1)
    """Part of its draws that pick a class first, then a place of that class."""
    class_weights: dict[str, float] = Field(default_factory=dict)
    """How often a class is picked relative to the others, by name; 1 where not named."""
    center: Literal["pixel", "centroid"] = "pixel"
    """What a class-uniform crop is placed to show: a pixel of the class, or its center of mass in a tile."""
    index: Path | None = None
    """Class index written by `segdata index`, relative to `data.root`; made at the start of a run if none is named."""
    cpp: Path | None = None
    """Folder of targets written by `segdata precompute-cpp`, relative to `data.root`."""

    @model_validator(mode="after")
    def _fits_layout(self) -> Self:
        offered = _ANNOTATIONS.get(self.layout, ())
        if self.annotation is not None and self.annotation not in offered:
            raise ValueError(
                f"annotation '{self.annotation}' is not one of the layout '{self.layout}'. Expected is "
                f"{', '.join(offered) or 'none'}. Change it, or set it to null."
            )
        return self

    @property
    def label_encoding(self) -> Literal["auto", "trainIds", "labelIds"]:
        """What the ids in its labels are, ``auto`` only where the file names may tell."""
        return "labelIds" if self.encoding == "auto" and self.layout not in NAMED_BY_FILE else self.encoding

    @property
    def store(self) -> Path:
        """Where its stored targets are: as told, or where `segdata precompute-cpp` puts those of its root."""
        return self.cpp or self.root.with_name(f"{self.root.name}-cpp")

    def below(self, root: Path) -> Self:
        """Return the source with every path below a folder."""
        paths = {key: getattr(self, key) for key in ("root", "index", "cpp")}
        return self.model_copy(update={key: root / path for key, path in paths.items() if path is not None})


class DataRecipe(Section):
    """What is trained on and what is evaluated on."""

    classes: str = "cityscapes"
    """Class table: a bundled name or a .yaml file."""
    root: Path = Path()
    """What all other paths here are relative to; itself relative to the recipe file, for a bundled recipe to the
    current folder."""
    sources: tuple[SourceRecipe, ...] = Field(min_length=1)
    """The mixture, by name; `null` takes out a source that an extended recipe has."""
    validation: SourceRecipe | None = None
    """What is evaluated on; none leaves evaluation out."""
    epoch_size: int | None = Field(default=None, ge=1)
    """Draws in an epoch; the number of images of all sources where not given."""
    tile: int = Field(default=1024, ge=1)
    """Side in pixels of the tiles of an index made at the start."""
    workers: int = Field(default=4, ge=0)
    """Processes per rank that read and augment; 0 reads in the training process."""
    bad_images: Literal["error", "skip"] = "error"
    """What an unreadable image does: end the run, or be left out and counted."""

    @field_validator("sources", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return list(_named(value)) if isinstance(value, dict) else value

    @field_validator("validation", mode="before")
    @classmethod
    def _validation_name(cls, value: Any) -> Any:
        return {"name": "validation", **value} if isinstance(value, dict) else value

    @field_validator("classes")
    @classmethod
    def _known_table(cls, value: str) -> str:
        try:
            ClassTable.load(value)
        except MappingError as error:
            raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> Self:
        total = sum(source.share for source in self.sources)
        if abs(total - 1) > 1e-6:
            told = " + ".join(f"{source.share:g} ({source.name})" for source in self.sources)
            raise ValueError(
                f"sources: the shares {told} sum to {total:g}. Expected is 1. Change them so that they do."
            )
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"sources: two have the same name among {names}. Rename one.")
        if "validation" in names:
            raise ValueError("sources: 'validation' is what data.validation is called in messages. Rename the source.")
        return self

    @model_serializer(mode="wrap")
    def _keyed(self, write: Any) -> dict[str, Any]:
        """Write the sources by name, as a recipe file has them."""
        data: dict[str, Any] = write(self)
        data["sources"] = {source.pop("name"): source for source in data["sources"]}
        if data["validation"] is not None:
            data["validation"].pop("name")
        return data

    @property
    def table(self) -> ClassTable:
        """The class table."""
        return ClassTable.load(self.classes)

    @property
    def located_sources(self) -> tuple[SourceRecipe, ...]:
        """The sources with their paths below `root`."""
        return tuple(source.below(self.root) for source in self.sources)

    @property
    def located_validation(self) -> SourceRecipe | None:
        """The validation source with its paths below `root`."""
        return self.validation and self.validation.below(self.root)


def _named(sources: dict[str, Any]) -> Any:
    """Give each source the key it stands under, leaving out those set to null."""
    for name, source in sources.items():
        if source is not None:
            yield {"name": str(name), **source} if isinstance(source, dict) else source
