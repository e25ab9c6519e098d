"""Where the class tables and mapping rules that come with segdata lie, and how a name or path becomes a file."""

from pathlib import Path

from segdata.errors import MappingError
from segdata.labels.names import did_you_mean

_SUFFIXES = (".yaml", ".yml")


def bundled_folder(package: Path | None = None) -> Path:
    """Return the folder of the bundled tables, in a wheel, an editable install or a bare checkout alike.

    A wheel carries it inside the package; a checkout (and an editable install, which points into one) keeps it beside
    the package, where people find and edit it.

    Parameters
    ----------
    package : pathlib.Path, optional
        Folder of the `segdata` package; this one unless given.
    """
    package = package or Path(__file__).resolve().parent.parent
    for folder in (package / "mappings", package.parent / "mappings"):
        if (folder / "classes").is_dir():
            return folder
    raise MappingError(
        f"{package}: the mapping tables are missing, neither in it nor beside it. Install segdata again, "
        "or run it from a whole checkout."
    )


def bundled_mappings() -> dict[str, Path]:
    """Return the bundled mapping rules: name -> file, sorted by name."""
    return _tables(bundled_folder())


def bundled_classes() -> dict[str, Path]:
    """Return the bundled class tables: name -> file, sorted by name."""
    return _tables(bundled_folder() / "classes")


def table_path(name_or_path: str | Path, bundled: dict[str, Path], kind: str, beside: Path | None = None) -> Path:
    """Return the file meant by a bundled name or a path.

    A text is a path if it ends in ``.yaml`` or ``.yml`` or holds a slash, else a bundled name; a `Path` is a path.

    Parameters
    ----------
    name_or_path : str or pathlib.Path
        As the user wrote it.
    bundled : dict of str to pathlib.Path
        `bundled_mappings()` or `bundled_classes()`.
    kind : str
        ``mapping`` or ``class table``, for the message.
    beside : pathlib.Path, optional
        Folder that a relative path starts from; the current folder unless given.

    Raises
    ------
    MappingError
        If it is neither a path nor a bundled name; the message gives the nearest name.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith(_SUFFIXES) or "/" in text:
        return (beside or Path()) / text
    if text in bundled:
        return bundled[text]
    raise MappingError(
        f"'{text}': is neither a bundled {kind} nor a .yaml file.{did_you_mean(text, bundled)} "
        f"Bundled: {', '.join(bundled)}."
    )


def _tables(folder: Path) -> dict[str, Path]:
    return dict(sorted((path.stem, path) for path in folder.glob("*.yaml")))
