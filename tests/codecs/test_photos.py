"""Images as arrays, and images that are none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.png_writer import raw_png

from segdata.codecs import photos, png
from segdata.codecs.photos import Photo, open_photo, read_image
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


def save(rng: np.random.Generator, path: Path, mode: str = "RGB", **how: object) -> np.ndarray:
    """Write a noisy photograph below a flat half, and return its pixels as Pillow reads them."""
    pixels = rng.integers(0, 256, (90, 70, 3), np.uint8)
    pixels[45:] = 40
    image = Image.fromarray(pixels)
    (image if mode == "RGB" else image.convert(mode)).save(path, **how)
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_rows_of_a_png_are_those_of_the_whole(tmp_path, rng, mode):
    whole = save(rng, tmp_path / "a.png", mode)
    photo = open_photo(tmp_path / "a.png")
    assert photo.size == (90, 70)
    for top, bottom in ((0, 90), (0, 1), (89, 90), (17, 60), (50, 90)):
        assert (photo.rows(top, bottom) == whole[top:bottom]).all()
        assert (photo.rows(top, bottom, 33)[:, :33] == whole[top:bottom, :33]).all()


@pytest.mark.parametrize("filter_type", range(5))
@pytest.mark.parametrize("color_type", [2, 6])
def test_every_filter_of_a_photograph_is_undone(tmp_path, rng, filter_type, color_type):
    samples = 3 if color_type == 2 else 4
    rows = rng.integers(0, 256, (12, 1 + 9 * samples), np.uint8)
    rows[:, 0] = filter_type
    rows[0, 0] = 0
    path = tmp_path / "a.png"
    path.write_bytes(raw_png(9, 12, rows.tobytes(), color_type=color_type))
    assert (open_photo(path).rows() == np.asarray(Image.open(path).convert("RGB"))).all()


def test_rows_below_those_wanted_are_not_inflated(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("segdata.codecs.png.BAND_BYTES", 1)
    save(rng, tmp_path / "a.png")
    seen = []
    inflate = png._PixelStream.read
    monkeypatch.setattr(png._PixelStream, "read", lambda self, size: seen.append(size) or inflate(self, size))
    open_photo(tmp_path / "a.png").rows(3, 10)
    assert len(seen) == 11


def test_a_palette_without_some_of_its_colors_is_left_to_pillow(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(raw_png(2, 1, bytes((0, 0, 1)), color_type=3, palette=bytes((9, 8, 7))))
    assert (open_photo(path).rows() == np.asarray(Image.open(path).convert("RGB"))).all()


@pytest.mark.parametrize("damage", ["truncated", "header", "filter"])
def test_a_damaged_png_is_one_line_as_before(tmp_path, rng, damage):
    path = tmp_path / "a.png"
    save(rng, path)
    data = path.read_bytes()
    if damage == "filter":
        data = raw_png(9, 2, bytes([7] + 27 * [0] + [0] + 27 * [0]), color_type=2)
    path.write_bytes({"truncated": data[:1200], "header": data[:20] + b"0" + data[21:]}.get(damage, data))
    with pytest.raises(LabelError, match="is not a valid image"):
        open_photo(path).rows()


def test_rows_of_a_jpeg_are_those_of_the_whole_and_where_they_begin_is_kept(tmp_path, rng, monkeypatch):
    whole = save(rng, tmp_path / "a.jpg")
    for _ in range(2):
        photo = open_photo(tmp_path / "a.jpg", tmp_path / "rows")
        assert (photo.rows(20, 40) == whole[20:40]).all()
        monkeypatch.setattr(photos.JpegParts, "index", None)  # the second time it is read
    (kept,) = (tmp_path / "rows").rglob("*.rows")
    monkeypatch.undo()
    whole = save(rng, tmp_path / "a.jpg", quality=30)  # another file of that name
    assert (open_photo(tmp_path / "a.jpg", tmp_path / "rows").rows(20, 40) == whole[20:40]).all()
    kept.write_bytes(b"damaged")
    assert (open_photo(tmp_path / "a.jpg", tmp_path / "rows").rows(20, 40) == whole[20:40]).all()
    assert kept.stat().st_size > 100


def test_a_folder_for_row_indexes_that_cannot_be_written_costs_time_alone(tmp_path, rng):
    whole = save(rng, tmp_path / "a.jpg")
    (tmp_path / "rows").write_text("a file")
    assert (open_photo(tmp_path / "a.jpg", tmp_path / "rows").rows(20, 40) == whole[20:40]).all()


def test_a_row_index_that_cannot_be_written_costs_time_alone(tmp_path, rng):
    whole = save(rng, tmp_path / "a.jpg")
    open_photo(tmp_path / "a.jpg", tmp_path / "rows").rows(20, 40)
    (kept,) = (tmp_path / "rows").rglob("*.rows")
    kept.unlink()
    kept.mkdir()  # what is written there meets an error, as on a full disk
    assert (open_photo(tmp_path / "a.jpg", tmp_path / "rows").rows(20, 40) == whole[20:40]).all()


def test_a_truncated_jpeg_is_one_line(tmp_path, rng):
    save(rng, tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-900])
    with pytest.raises(LabelError, match=r"a\.jpg: is not a valid image \(image file is truncated"):
        open_photo(tmp_path / "a.jpg").rows(20, 40)


@pytest.mark.parametrize("how", [{"progressive": True}, {"restart_marker_blocks": 3}])
def test_jpegs_whose_rows_cannot_be_had_alone_are_decoded_whole(tmp_path, rng, how):
    whole = save(rng, tmp_path / "a.jpg", **how)
    assert (open_photo(tmp_path / "a.jpg").rows(20, 40) == whole[20:40]).all()


def test_pixels_in_memory_are_a_photograph(rng):
    pixels = rng.integers(0, 256, (5, 6, 3), np.uint8)
    assert (Photo.of_array(pixels).rows(1, 3) == pixels[1:3]).all()


JPEGS = [
    *(("RGB", how) for how in ({}, {"keep_rgb": True}, {"subsampling": 0}, {"progressive": True}, {"optimize": True})),
    *(("L", how) for how in ({}, {"progressive": True}, {"optimize": True})),
]


@pytest.mark.parametrize(("mode", "how"), JPEGS)
def test_whole_jpegs_are_those_of_pillow(tmp_path, rng, mode, how):
    save(rng, tmp_path / "a.jpg", mode, **how)
    assert (open_photo(tmp_path / "a.jpg").rows() == np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB"))).all()


@pytest.mark.parametrize(("name", "pixels"), [("a.png", np.uint16), ("a.tif", np.uint16), ("a.tif", np.float32)])
def test_samples_of_more_than_8_bits_are_refused_and_not_cut_off(tmp_path, name, pixels):
    path = tmp_path / name
    Image.fromarray(np.arange(6).reshape(2, 3).astype(pixels)).save(path)
    with pytest.raises(LabelError, match=r"a\.\w+: is of mode [IF]\S*, with more than 8 bits a sample\. Convert it to"):
        read_image(path)
