"""The file that maps: NumPy reads it, damage is found, nothing is unpickled."""

import os
import zipfile
from io import BytesIO

import numpy as np
import pytest

from segdata.codecs.mapped_npz import check_npz, digest_arrays, encode_mapped_npz, map_npz
from segdata.errors import StoreError

ARRAYS = {"a": np.arange(12, dtype=np.int64).reshape(3, 4), "empty": np.empty((0, 2), np.uint8), "b": np.ones(1)}


@pytest.fixture
def file(tmp_path):
    """Return a file of three arrays."""
    path = tmp_path / "some.npz"
    path.write_bytes(encode_mapped_npz(ARRAYS))
    return path


def test_numpy_reads_it(file):
    with np.load(file) as stored:
        assert {name: stored[name].tolist() for name in stored} == {name: a.tolist() for name, a in ARRAYS.items()}


def test_mapped_arrays_are_aligned_and_read_only(file):
    mapped = map_npz(file)
    assert {name: a.tolist() for name, a in mapped.items()} == {name: a.tolist() for name, a in ARRAYS.items()}
    assert all(array.ctypes.data % 64 == 0 for array in mapped.values() if array.size)
    assert not mapped["a"].flags.writeable


def test_the_same_arrays_give_the_same_bytes():
    assert encode_mapped_npz(ARRAYS) == encode_mapped_npz({name: array.copy() for name, array in ARRAYS.items()})


def test_the_digest_tells_types_names_and_shapes_apart():
    values = np.arange(6, dtype=np.int64)
    others = [{"b": values}, {"a": values.astype("<u8")}, {"a": values.reshape(2, 3)}, {"a": values + 1}]
    assert len({digest_arrays(arrays) for arrays in [{"a": values}, *others]}) == 5


@pytest.mark.parametrize("length", [0, 10, 200, 700])
def test_a_truncated_file_is_refused(file, length):
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(StoreError, match=r"some\.npz: is not a whole index file .* Run the `segdata index` command"):
        map_npz(file)


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n" + bytes(200), b"x", b"my thesis"])
def test_another_kind_of_file_is_no_index(file, data):
    file.write_bytes(data)
    with pytest.raises(
        StoreError, match=r"some\.npz: is not a class index\. Expected a file that `segdata index` wrote\.$"
    ):
        map_npz(file)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(StoreError, match=r"pipe\.npz: cannot be read \(Not a regular file\)"):
        map_npz(tmp_path / "pipe.npz")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"no such file\. Run `segdata index`"):
        map_npz(tmp_path / "none.npz")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(StoreError, match="cannot be read"):
        map_npz(tmp_path)


def test_a_flipped_bit_is_found_by_the_checksum(file):
    data = bytearray(file.read_bytes())
    data[data.index(np.arange(12).tobytes()) + 8] ^= 1
    file.write_bytes(bytes(data))
    map_npz(file)
    with pytest.raises(StoreError, match=r"'a\.npy' does not match its checksum"):
        check_npz(file)


def test_a_flipped_bit_of_a_checked_array_is_found_at_once(file):
    data = bytearray(file.read_bytes())
    data[data.index(np.arange(12).tobytes()) + 8] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"'a\.npy' does not match its checksum\)\. Run the `segdata index` command"):
        map_npz(file, checked=("a",))


@pytest.mark.parametrize("what", [b"'fortran_order': False", b"'shape': (3, 4)"])
def test_a_header_that_python_cannot_parse_is_refused(file, what):
    file.write_bytes(file.read_bytes().replace(what, what.replace(b"'", b'"', 1)))
    with pytest.raises(StoreError, match=r"'a\.npy' is not an array of numbers"):
        map_npz(file)


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(StoreError, match=r"'a\.npy' is not an array of numbers"):
        map_npz(path)


def test_compressed_members_are_refused(tmp_path):
    path = tmp_path / "small.npz"
    np.savez_compressed(path, a=np.arange(3))
    with pytest.raises(StoreError, match="is compressed"):
        map_npz(path)


def test_a_member_that_lies_about_its_shape_is_refused(tmp_path):
    stream = BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<i8", "fortran_order": False, "shape": (10**9,)})
    path = tmp_path / "lie.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", stream.getvalue())
    with pytest.raises(StoreError, match="does not hold what it says"):
        map_npz(path)
