"""Writing a figure, in the form its name asks for."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from segdata.errors import SettingsError, StoreError
from segdata.files import explain_os_error, read_regular, write_atomic

_FORMS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_PNG, _JPEG, _RIFF, _WEBP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"WEBP"


def save_figure(figure: Image.Image, path: Path, *, fewer_colors: bool = False, drawn_from: Path | None = None) -> Path:
    """Write a figure and return its path; an older figure there is replaced.

    Parameters
    ----------
    figure : PIL.Image.Image
        RGB.
    path : pathlib.Path
        Its ending names the form: PNG, JPEG or WebP.
    fewer_colors : bool
        Give a PNG 256 colors: a quarter of the bytes for what is like a photograph.
    drawn_from : pathlib.Path, optional
        A file that the figure shows and must not replace: a label is a figure too.

    Raises
    ------
    SettingsError
        If the ending names no form that is known, or if the file there is not a figure, or is `drawn_from`.
    StoreError
        If the file there cannot be read, or the figure not be written.
    """
    form = refuse_unusable(path, drawn_from)
    if form == "PNG" and fewer_colors:
        figure = figure.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    buffer = BytesIO()
    figure.save(buffer, form, optimize=True)
    write_atomic(path, buffer.getvalue())
    return path


def _refuse_to_replace(path: Path, drawn_from: Path | None) -> None:
    """Check that what stands at `path` may go: nothing, an empty file, or a figure other than `drawn_from`."""
    try:
        head = read_regular(path, 12)
        is_source = drawn_from is not None and path.samefile(drawn_from)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(explain_os_error(error, "cannot be written", path)) from error
    if is_source:
        raise SettingsError(f"{path}: is the file that is drawn, and would be replaced. Choose another -o.")
    if head and not _begins_a_figure(head):
        raise SettingsError(f"{path}: is there and holds no figure. Move it away, or choose another name to write to.")


def _begins_a_figure(head: bytes) -> bool:
    """Tell by its first 12 bytes whether a file is a PNG, a JPEG or a WebP."""
    return head.startswith((_PNG, _JPEG)) or (head[:4], head[8:]) == (_RIFF, _WEBP)


def refuse_unusable(path: Path, drawn_from: Path | None = None) -> str:
    """Check that a figure can be written to a path, before the work that it shows; see `save_figure`.

    Returns
    -------
    str
        The form that the ending names.
    """
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        raise SettingsError(f"{path}: ending {path.suffix!r} names no form of figure. Use one of {', '.join(_FORMS)}.")
    _refuse_to_replace(path, drawn_from)
    return form
