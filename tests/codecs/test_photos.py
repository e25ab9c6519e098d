"""Images as arrays, and images that are none."""

import numpy as np
import pytest
from PIL import Image

from segdata.codecs.photos import read_image
from segdata.errors import LabelError


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_every_mode_is_read_as_red_green_blue(tmp_path, mode):
    photo = Image.new("RGB", (3, 2), (255, 0, 0)).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    photo.save(path)
    image = read_image(path)
    assert (image.shape, image.dtype, image.flags.c_contiguous) == ((3, 2, 3), np.uint8, True)
    np.testing.assert_array_equal(image.transpose(1, 2, 0), photo.convert("RGB"))


def test_pixels_are_taken_as_stored_whatever_the_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (3, 2)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (3, 2, 3)


@pytest.mark.parametrize("damage", [b"", b"no image", None])
def test_what_is_no_image_is_named_in_one_line(tmp_path, damage):
    path = tmp_path / "a.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1500] if damage is None else damage)
    with pytest.raises(LabelError, match=r"a\.png: is not a valid image \(.*\)\. Copy it again") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LabelError, match=r"a\.png: cannot be read \(No such file"):
        read_image(tmp_path / "a.png")


def test_a_image_too_large_to_be_meant_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    with pytest.raises(LabelError, match="larger than Pillow's limit"):
        read_image(tmp_path / "a.png")
