"""The small zip of arrays: numpy.load opens it, and no change of a byte goes unseen."""

import io
import zipfile
from zlib import crc32

import numpy as np
import pytest

from segdata.codecs.npz import _END, DIGEST_SIZE, Member, _digest, encode_npz, read_array, split_npz
from segdata.errors import StoreError

ARRAYS = {"a": np.arange(12, dtype=np.uint8).reshape(3, 4), "b": np.zeros(0, np.uint16)}


def read(data, name="a", dtype=np.uint8, shape=(3, 4)):
    return read_array(split_npz(data, "x.npz")[name], name, np.dtype(dtype), shape, "x.npz")


def with_digest(data):
    """Return changed bytes with the digest that they would have, as a forger would write it."""
    return data[:-DIGEST_SIZE] + _digest(data[:-DIGEST_SIZE])


def test_numpy_opens_it():
    with np.load(io.BytesIO(encode_npz(ARRAYS)), allow_pickle=False) as loaded:
        assert {name: loaded[name].tolist() for name in loaded} == {
            name: array.tolist() for name, array in ARRAYS.items()
        }


def test_zip_tools_find_no_fault():
    with zipfile.ZipFile(io.BytesIO(encode_npz(ARRAYS))) as archive:
        assert archive.testzip() is None
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_it_reads_back():
    assert read(encode_npz(ARRAYS)).tolist() == ARRAYS["a"].tolist()
    assert read(encode_npz(ARRAYS), "b", np.uint16, None).shape == (0,)


def test_the_same_arrays_give_the_same_bytes():
    assert encode_npz(ARRAYS) == encode_npz({name: array.copy() for name, array in ARRAYS.items()})


def test_every_flipped_bit_is_found():
    data = encode_npz(ARRAYS)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreError, match=r"x\.npz: is damaged"):
            split_npz(bytes(flipped), "x.npz")


def test_members_that_share_their_bytes_are_refused():
    """Else a file of 2 MB asks for 20 GB."""
    body = encode_npz({"a": np.zeros(1000, np.uint8)})[:-DIGEST_SIZE]
    end = body[-_END.size :]
    *_, start, _comment = _END.unpack(end)
    member = body[start : -_END.size]
    again = [member.replace(b"a.npy", b"%c.npy" % name) for name in b"bcdefgh"]
    directory = b"".join([member, *again])
    fields = list(_END.unpack(end))
    fields[3:7] = [8, 8, len(directory), start]
    forged = body[:start] + directory + _END.pack(*fields)
    with pytest.raises(StoreError, match="says what cannot be"):
        split_npz(with_digest(forged + bytes(DIGEST_SIZE)), "x.npz")


def test_every_truncation_is_found():
    data = encode_npz(ARRAYS)
    for length in range(len(data)):
        with pytest.raises(StoreError, match=r"x\.npz: is damaged"):
            split_npz(data[:length], "x.npz")


def test_forged_bytes_never_do_worse_than_a_store_error():
    data = encode_npz(ARRAYS)
    rng = np.random.default_rng(5)
    for _ in range(400):
        forged = bytearray(data)
        for at in rng.integers(0, len(data) - 32, 3):
            forged[at] = rng.integers(0, 256)
        try:
            array = read(with_digest(bytes(forged)))
        except (StoreError, KeyError):  # a KeyError: the member has another name now
            continue
        assert array.dtype == np.uint8


def test_a_member_larger_than_expected_is_not_inflated():
    bomb = encode_npz({"a": np.zeros(50_000_000, np.uint8)})
    with pytest.raises(StoreError, match="has 50000128 bytes, expected 1128"):
        read(bomb, shape=(1000,))


def test_a_header_that_promises_less_than_there_is_stops_the_inflating():
    data = bytearray(encode_npz({"a": np.zeros(100_000, np.uint8)}))
    at = data.index(b"PK\x01\x02") + 24  # the inflated size in the directory
    data[at : at + 4] = (5000).to_bytes(4, "little")
    with pytest.raises(StoreError, match="'a' is not the 5000 bytes it says"):
        read(with_digest(bytes(data)), shape=(4872,))


def test_a_ratio_that_deflate_cannot_reach_is_refused():
    data = bytearray(encode_npz({"a": np.zeros(100, np.uint8)}))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (2**31).to_bytes(4, "little")
    with pytest.raises(StoreError, match="member 'a' says what cannot be"):
        split_npz(with_digest(bytes(data)), "x.npz")


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4), np.int8), np.zeros((4, 3), np.uint8), np.zeros((1, 3, 4), np.uint8)]
)
def test_another_dtype_or_shape_is_refused(array):
    with pytest.raises(StoreError, match=r"'a' is not an array of uint8 with shape \(3, 4\)"):
        read(encode_npz({"a": array}))


def test_another_length_is_refused():
    with pytest.raises(StoreError, match="'a' has 140 bytes, expected 141"):
        read(encode_npz(ARRAYS), shape=(13,))


def test_pickles_are_neither_written_nor_read():
    with pytest.raises(AssertionError, match="object is not a plain number"):
        encode_npz({"a": np.array([{}], object)})
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.array([{}], object), allow_pickle=True)
    pickled = stream.getvalue()
    with pytest.raises(StoreError, match=r"'a' is not an array of uint8 with shape \(\d+,\)"):
        read_array(Member(0, crc32(pickled), len(pickled), pickled), "a", np.dtype(np.uint8), None, "x.npz")


@pytest.mark.parametrize("data", [b"", b"PK", b"\0" * 4096, b"\x89PNG\r\n\x1a\n" * 20])
def test_what_is_no_such_file_is_refused(data):
    with pytest.raises(StoreError, match=r"x\.npz: is damaged or no file of pooled targets"):
        split_npz(data, "x.npz")
