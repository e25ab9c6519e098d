"""Rows of a JPEG alone are, to the bit, those of the whole image."""

import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from segdata.codecs import jpeg_rows
from segdata.codecs.jpeg_rows import RowIndex, split_jpeg


def jpeg(pixels: np.ndarray, **how: object) -> bytes:
    """Encode pixels with Pillow."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", **how)
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data)))


def scene(rng: np.random.Generator, height: int = 133, width: int = 101) -> np.ndarray:
    """Return flat and noisy regions, so that codes are short and long, and DC values far apart."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for _ in range(12):
        top, left = rng.integers(0, height), rng.integers(0, width)
        pixels[top:, left:] = rng.integers(0, 256, 3)
    noisy = rng.integers(0, 256, pixels.shape, np.uint8)
    pixels[: height // 2, width // 2 :] = noisy[: height // 2, width // 2 :]
    return pixels


def assert_rows_are_equal(data: bytes, rng: np.random.Generator, times: int = 12) -> None:
    parts, whole = split_jpeg(data), decoded(data)
    index = parts.index()
    assert index is not None
    assert parts.size == whole.shape[:2]
    for _ in range(times):
        top = int(rng.integers(0, len(whole)))
        bottom = int(rng.integers(top + 1, len(whole) + 1))
        part, first = parts.splice(index, top, bottom)
        assert (decoded(part)[first : first + bottom - top] == whole[top:bottom]).all()


RESTARTS = [{}, {"restart_marker_rows": 1}, {"restart_marker_rows": 3}, {"restart_marker_blocks": 7}]


@pytest.mark.parametrize("restarts", RESTARTS, ids=str)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [20, 95])
@pytest.mark.parametrize("optimize", [False, True])
def test_rows_equal_those_of_a_full_decode(rng, restarts, subsampling, quality, optimize):
    how = {"subsampling": subsampling, "quality": quality, "optimize": optimize}
    assert_rows_are_equal(jpeg(scene(rng), **how, **restarts), rng)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (15, 17), (16, 16), (33, 5), (64, 2)])
def test_small_and_odd_sizes(rng, size):
    assert_rows_are_equal(jpeg(rng.integers(0, 256, (*size, 3), np.uint8)), rng)


def test_red_green_blue_as_they_are(rng):
    assert_rows_are_equal(jpeg(scene(rng), keep_rgb=True), rng)


def test_gray(rng):
    assert_rows_are_equal(jpeg(scene(rng)[:, :, 0], optimize=True), rng)


def test_real_photographs(rng, real_data):
    paths = sorted(real_data.rglob("*.jpg"))
    assert paths
    for path in paths[:: max(1, len(paths) // 12)]:
        assert_rows_are_equal(path.read_bytes(), rng, times=3)


def test_what_is_not_baseline_is_left_to_a_decoder(rng):
    pixels = scene(rng)
    assert split_jpeg(jpeg(pixels, progressive=True)) is None
    file = BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(file, "jpeg")
    assert split_jpeg(file.getvalue()) is None
    assert split_jpeg(b"") is None
    assert split_jpeg(b"\xff\xd8\xff") is None


def test_a_truncated_file_has_no_index_or_is_left_to_a_decoder(rng):
    data = jpeg(scene(rng))
    for length in range(0, len(data), 97):
        parts = split_jpeg(data[:length])
        assert parts is None or parts.index() is None


def test_flipped_bits_never_crash_and_never_change_what_a_whole_decode_gives(rng):
    data = jpeg(scene(rng), quality=60)
    indexed = 0
    for _ in range(400):
        flipped = bytearray(data)
        flipped[rng.integers(0, len(data))] ^= 1 << rng.integers(0, 8)
        parts = split_jpeg(bytes(flipped))
        index = None if parts is None else parts.index()
        if index is None:
            continue
        indexed += 1
        top = int(rng.integers(0, parts.size[0]))
        spliced = parts.splice(index, top, min(top + 20, parts.size[0]))
        assert spliced is None or len(spliced[0]) < 4 * len(data) + 4096
    assert indexed > 50


def test_an_index_is_kept_as_bytes_and_known_again(rng):
    data = jpeg(scene(rng))
    index = split_jpeg(data).index()
    again = RowIndex.from_bytes(index.to_bytes())
    assert again.is_of(data)
    assert not again.is_of(data + b"0")
    assert (again.positions == index.positions).all()
    assert (again.bits == index.bits).all()
    assert index.bits.any()
    assert (again.predictors == index.predictors).all()
    for place in range(len(index.to_bytes())):
        damaged = bytearray(index.to_bytes())
        damaged[place] ^= 4
        assert RowIndex.from_bytes(bytes(damaged)) is None
    assert RowIndex.from_bytes(b"") is None


def test_an_index_of_another_file_is_refused(rng):
    gray, color = split_jpeg(jpeg(scene(rng)[:, :, 0])), split_jpeg(jpeg(scene(rng)))
    assert color.splice(gray.index(), 0, 8) is None


@pytest.mark.parametrize("change", ["beyond the end", "backwards", "at the start", "bit"])
def test_places_that_lead_out_of_the_file_are_not_followed(rng, change):
    data = jpeg(scene(rng))
    parts = split_jpeg(data)
    index = parts.index()
    assert parts.splice(index, 40, 60) is not None
    if change == "beyond the end":
        index.positions[-1] = len(data) + 10**6
    elif change == "backwards":
        index.positions[2] = index.positions[4]
    elif change == "at the start":
        index.positions[0] = -5
    else:
        index.bits[3] = 9
    assert parts.splice(index, 40, 60) is None


def test_predictors_are_raised_with_the_categories_that_a_table_has():
    parts = jpeg_rows.split_jpeg(jpeg(np.full((64, 640, 3), 7, np.uint8)))
    for value in (-1023, -7, 0, 1, 2, 1000):
        found = parts._raising([value, 0, 0])
        assert found is None or [sum(steps) for steps in found] == [value, 0, 0]


def test_bytes_of_another_kind_are_no_index(rng):
    body = split_jpeg(jpeg(scene(rng))).index().to_bytes()[:-4]
    for other in (b"segrows0" + body[8:], body + b"\0\0"):
        assert RowIndex.from_bytes(other + zlib.crc32(other).to_bytes(4, "little")) is None


def blocks_of(levels: np.ndarray) -> np.ndarray:
    """Return an image of 8 x 8 pixels for each level."""
    return np.kron(levels, np.ones((8, 8), int)).astype(np.uint8)


def test_a_table_without_small_categories_raises_a_predictor_by_a_detour(rng):
    # DC values of -64 and 8, so that differences are 0 or of 7 bits, and the next row begins with 8
    data = jpeg(blocks_of(np.tile([120, 120, 129, 129], (4, 2))), quality=100, optimize=True)
    assert split_jpeg(data)._raising([8]) == [[72, -64]]
    assert_rows_are_equal(data, rng)


def test_where_a_row_is_too_short_for_the_detour_the_file_is_left_to_a_decoder():
    parts = split_jpeg(jpeg(blocks_of(np.array([[120, 120, 129, 129, 129]]).T), quality=100, optimize=True))
    assert parts._raising([8]) is None
    assert parts.splice(parts.index(), 32, 40) is None


def test_where_a_table_has_no_code_for_no_difference_the_file_is_left_to_a_decoder():
    steps = 100 + 3 * np.arange(16).reshape(4, 4)
    parts = split_jpeg(jpeg(blocks_of(steps), quality=100, optimize=True))
    assert parts.splice(parts.index(), 16, 32) is None


def test_a_table_with_more_codes_than_there_is_room_for_is_no_baseline_file(rng):
    data = bytearray(jpeg(scene(rng)))
    counts = data.index(b"\xff\xc4") + 5
    lengths = data[counts : counts + 16]
    most = max(range(16), key=lambda at: lengths[at])
    data[counts : counts + 16] = bytes(3 if at == 0 else number - 3 * (at == most) for at, number in enumerate(lengths))
    assert split_jpeg(bytes(data)) is None


def test_a_restart_marker_out_of_turn_leaves_the_file_to_a_decoder(rng):
    data = jpeg(scene(rng), restart_marker_rows=1)
    assert split_jpeg(data).index() is not None
    assert split_jpeg(data.replace(b"\xff\xd0", b"\xff\xd5")).index() is None


@pytest.mark.parametrize(
    ("blocks", "last", "held"),
    [
        # by the usual tables: 9 bits for a difference of 11 bits, that difference, and 4 bits for the end of the block
        pytest.param(b"\xff\x00\x7f\xfa", b"\xbf\x5f", True, id="2047 * 16 + 15"),
        pytest.param(b"\xff\x00\x7f\xfa", b"\xd0\xaf", False, id="2047 * 16 + 16"),
        pytest.param(b"\xff\x00\x7f\xfa", b"\xff\x00\x7f\xfa", False, id="2047 * 17"),
        pytest.param(b"\xff\x00\x00\x0a", b"\xa1\x5f", True, id="-2047 * 16 - 15"),
        pytest.param(b"\xff\x00\x00\x0a", b"\xcf\xaf", False, id="-2047 * 16 - 16"),
    ],
)
def test_dc_values_beyond_what_an_index_holds_leave_the_file_to_a_decoder(blocks, last, held):
    whole = jpeg(np.zeros((8, 8 * 17), np.uint8))
    head = whole[: whole.index(b"\xff\xda") + 10]
    assert (split_jpeg(head + 16 * blocks + last + b"\xff\xd9").index() is not None) is held


def test_comments_and_metadata_are_passed_over(rng):
    data = jpeg(scene(rng), comment=b"a street", exif=b"Exif\x00\x00" + bytes(8), quality=90)
    assert b"a street" in data
    assert_rows_are_equal(data, rng)
