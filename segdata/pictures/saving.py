"""Writing a picture, in the form its name asks for."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from segdata.errors import SettingsError
from segdata.files import write_atomic

_FORMS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def save_picture(picture: Image.Image, path: Path, *, fewer_colours: bool = False) -> Path:
    """Write a picture and return its path.

    Parameters
    ----------
    picture : PIL.Image.Image
        RGB.
    path : pathlib.Path
        Its ending names the form: PNG, JPEG or WebP.
    fewer_colours : bool
        Give a PNG 256 colours: a quarter of the bytes for what is like a photograph.

    Raises
    ------
    SettingsError
        If the ending names no form that is known.
    """
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        raise SettingsError(f"{path}: ending {path.suffix!r} names no form of picture. Use one of {', '.join(_FORMS)}.")
    if form == "PNG" and fewer_colours:
        picture = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    buffer = BytesIO()
    picture.save(buffer, form, optimize=True)
    write_atomic(path, buffer.getvalue())
    return path
