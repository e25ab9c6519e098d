"""Which version of Mapillary Vistas a class list or a label image belongs to.

Of the classes that v1.2 and v2.0 share by name only two keep their id, so that a label read as the wrong version is
scrambled without a trace. The evidence, strongest first: the folder it lies in, the class list beside it (config.json),
the palette inside the image, the highest id.
"""

import json
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from segdata.errors import LabelError, LayoutError, MappingError
from segdata.files import open_regular, read_regular
from segdata.labels.classes import IGNORE_ID, ClassTable, LabelClass

Version = Literal["v1.2", "v2.0"]
Labels = Literal["auto", "v1.2", "v2.0"]
VERSIONS: tuple[Version, ...] = get_args(Version)

_MAX_CONFIG_BYTES = 1 << 20  # the larger of the two has 26 kB
_MIN_COLORS = 8  # a shorter palette could belong to either version
_PNG_START = b"\x89PNG\r\n\x1a\n"


def class_table_of(version: Version) -> ClassTable:
    """Return the bundled class table of a version."""
    return ClassTable.load(f"vistas-{version}")


def read_config(path: Path) -> ClassTable:
    """Read the class list of the data set, ``config.json``: the id of a class is its position.

    Training ids are counted over the classes marked ``evaluate`` (all, where the mark is missing).

    Raises
    ------
    LayoutError
        If the file cannot be read or holds no class list; names the file and the entry.
    """
    labels = _labels(path)
    classes: list[LabelClass] = []
    num_trained = 0
    for position, label in enumerate(labels):
        where = f"{path}, labels[{position}]"
        if not isinstance(label, dict):
            raise LayoutError(f"{where}: is not a class. Give the config.json that came with the data set.")
        trained = bool(label.get("evaluate", True))
        classes.append(_label_class(label, position, num_trained if trained else IGNORE_ID, where))
        num_trained += trained
    try:
        return ClassTable(path.name, tuple(classes))
    except MappingError as error:
        raise LayoutError(f"{path}: {error}") from None


def nearest_version(table: ClassTable) -> Version:
    """Return the version whose bundled table has the most names at the same ids as `table`; v1.2 if they tie."""
    return max(VERSIONS, key=lambda version: sum(_same_names(table, class_table_of(version))))


def lists_classes_of(table: ClassTable, version: Version) -> bool:
    """Say whether most classes of `table` stand at their ids of a version, so that it is that list, edited or not."""
    return 2 * sum(_same_names(table, class_table_of(version))) > len(table.classes)


def check_config(table: ClassTable, version: Version, where: Path) -> None:
    """Hold a data set's class list against the bundled table, by name and order.

    Raises
    ------
    LayoutError
        Showing the first difference.
    """
    bundled = class_table_of(version)
    same = _same_names(table, bundled)
    how_to_fix = "Fix the file, or pass --trust-config to convert-mapillary."
    if not all(same):
        first = same.index(False)
        raise LayoutError(
            f"{where}: class {first} is '{table.classes[first].name}', but '{bundled.classes[first].name}' in the "
            f"bundled table '{bundled.name}'. {how_to_fix}"
        )
    if len(table.classes) != len(bundled.classes):
        raise LayoutError(
            f"{where}: holds {len(table.classes)} classes, the bundled table '{bundled.name}' {len(bundled.classes)}. "
            f"{how_to_fix}"
        )


def version_of_palette(palette: bytes | None) -> Version | None:
    """Return the version whose colors a label image's palette holds, None if it is neither's.

    The palettes of real v1.2 labels have 52 of 66 colors of the class list at their ids, and 3 of 124 of v2.0's; so
    more than half must agree, and the other version's may not.

    Parameters
    ----------
    palette : bytes or None
        Red, green, blue of each entry, as in the PLTE chunk of a PNG; None for a gray image.
    """
    if palette is None or len(palette) < 3 * _MIN_COLORS or len(palette) % 3:
        return None
    colors = np.frombuffer(palette, np.uint8).reshape(-1, 3)
    matching = [version for version in VERSIONS if _agreement(colors, class_table_of(version)) > 0.5]
    return matching[0] if len(matching) == 1 else None


def version_of_highest_id(highest_id: int) -> Version | None:
    """Return v2.0 for an id that v1.2 lacks and v2.0 has; None for any other, which tells nothing."""
    return "v2.0" if len(class_table_of("v1.2").classes) <= highest_id < len(class_table_of("v2.0").classes) else None


def refuse_other_version(version: Version, *, where: str, palette: bytes | None, highest_id: int) -> None:
    """Raise LabelError if a label image shows that it is not of `version`; say nothing if it may be.

    Parameters
    ----------
    version : {"v1.2", "v2.0"}
        The version that the run takes its labels for.
    where : str
        The file, for the message.
    palette : bytes or None
        The palette inside the image, see `version_of_palette`.
    highest_id : int
        The highest id in the image.
    """
    for found, evidence in (
        (version_of_palette(palette), "its palette"),
        (version_of_highest_id(highest_id), f"it holds id {highest_id}"),
    ):
        if found not in (None, version):
            raise LabelError(
                f"{where}: is a {found} label ({evidence}), and this run reads {version} labels. "
                f"Pass --labels {found}, or take the file out."
            )


def read_palette(path: Path) -> bytes | None:
    """Return the palette of a PNG without decoding it, None if it has none or cannot be read."""
    try:
        with open_regular(path) as file:
            if file.read(8) != _PNG_START:
                return None
            while (head := file.read(8)) and head[4:] not in (b"PLTE", b"IDAT", b"IEND"):
                file.seek(int.from_bytes(head[:4]) + 4, 1)  # its data and its checksum
            return file.read(min(int.from_bytes(head[:4]), 768)) if head[4:] == b"PLTE" else None
    except OSError:
        return None


def _labels(path: Path) -> list[Any]:
    try:
        data = read_regular(path, _MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror}). Give a readable config.json.") from None
    if len(data) > _MAX_CONFIG_BYTES:
        raise LayoutError(f"{path}: is larger than {_MAX_CONFIG_BYTES} bytes. Give the data set's own config.json.")
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise LayoutError(f"{path}: is not valid JSON ({reason}). Unpack it again from the download.") from None
    labels = config.get("labels") if isinstance(config, dict) else None
    if not isinstance(labels, list) or not 0 < len(labels) <= 256:
        raise LayoutError(f"{path}: holds no list 'labels' of 1 to 256 classes. Give the data set's own config.json.")
    return labels


def _label_class(label: dict[str, Any], position: int, train_id: int, where: str) -> LabelClass:
    name, readable, color = label.get("name"), label.get("readable", label.get("name")), label.get("color")
    if not (isinstance(name, str) and name.isprintable() and name and isinstance(readable, str)):
        raise LayoutError(
            f"{where}: has no text 'name' or 'readable'. Give the config.json that came with the data set."
        )
    if not (isinstance(color, list) and len(color) == 3 and all(type(c) is int and 0 <= c <= 255 for c in color)):
        raise LayoutError(f"{where}, color: {color!r} is not [red, green, blue] from 0 to 255. Fix the entry.")
    return LabelClass(position, name, readable, train_id, (color[0], color[1], color[2]))


def _same_names(table: ClassTable, bundled: ClassTable) -> list[bool]:
    return [mine.name == theirs.name for mine, theirs in zip(table.classes, bundled.classes, strict=False)]


def _agreement(colors: NDArray[np.uint8], table: ClassTable) -> float:
    """Return the share of entries that hold the color of their class, over as many as both have."""
    own = np.array([row.color for row in table.classes], np.uint8)
    num = min(len(own), len(colors))
    return float((own[:num] == colors[:num]).all(axis=1).mean())
