"""A `.npz` whose arrays load by memory map: stored without compression, each array's data at a multiple of 64 bytes.

`numpy.load` opens the file as any other `.npz`, but reads a whole member when it is used. `map_npz` finds where each
array's bytes lie and maps them, so an index of gigabytes opens in milliseconds and all processes of a machine share it.
"""

import struct
import zipfile
from collections.abc import Mapping
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from segdata.errors import StoreError

ALIGNMENT = 64
_LOCAL_HEADER = 30
_ZIP64_EXTRA = 20
_PADDING_ID = 0xD935  # the extra field that zipalign uses for padding
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)

Array = NDArray[Any]


def encode_npz(arrays: Mapping[str, Array]) -> bytes:
    """Return the bytes of an `.npz` of these arrays; the same arrays give the same bytes.

    Examples
    --------
    >>> file = BytesIO(encode_npz({"a": np.arange(3)}))
    >>> np.load(file)["a"]
    array([0, 1, 2])
    """
    file = BytesIO()
    write_npz(file, arrays)
    return file.getvalue()


def write_npz(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    """Write arrays to an open file as `encode_npz` does, without a second copy in memory."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            header = _npy_header(array)
            member = zipfile.ZipInfo(f"{name}.npy", _FIRST_DATE)
            member.file_size = len(header) + array.nbytes
            before = file.tell() + _LOCAL_HEADER + len(member.filename) + _ZIP64_EXTRA + len(header)
            member.extra = _padding(before)
            with archive.open(member, "w", force_zip64=True) as stream:
                stream.write(header)
                stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def map_npz(path: Path) -> dict[str, Array]:
    """Map the arrays of a file that `write_npz` wrote; read-only, nothing is read until it is used.

    Raises
    ------
    StoreError
        If the file is missing, cut short, or no such file. Flipped bits in the data are found by `check_npz` alone.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            return {
                member.filename.removesuffix(".npy"): _map_member(path, file, member) for member in archive.infolist()
            }
    except FileNotFoundError as error:
        raise StoreError(f"{path}: no such file. Run `segdata index` to write it.") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}). Expected a class index.") from error
    except (zipfile.BadZipFile, ValueError, struct.error, EOFError, NotImplementedError) as error:
        raise StoreError(
            f"{path}: is no whole index file ({error or 'cut short'}). Run `segdata index` again to redo it."
        ) from error


def check_npz(path: Path) -> None:
    """Read the file once and hold every member against its checksum.

    Raises
    ------
    StoreError
        If one does not match; the message names the first.
    """
    map_npz(path)
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise StoreError(f"{path}: '{damaged}' does not match its checksum. Run `segdata index` again to redo it.")


def digest_arrays(arrays: Mapping[str, Array]) -> str:
    """Return 32 hex digits of names, types, shapes and contents."""
    hasher = blake2b(digest_size=16)
    for name, array in arrays.items():
        hasher.update(f"{name} {array.dtype.str} {array.shape};".encode())
        hasher.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


def _npy_header(array: Array) -> bytes:
    stream = BytesIO()
    npy.write_array_header_1_0(stream, {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape})
    return stream.getvalue()


def _padding(before: int) -> bytes:
    """Return an extra field that moves what follows `before` bytes to a multiple of the alignment."""
    length = -(before + 4) % ALIGNMENT
    return struct.pack("<HH", _PADDING_ID, length) + bytes(length)


def _map_member(path: Path, file: BinaryIO, member: zipfile.ZipInfo) -> Array:
    """Map one member, after holding what its headers say against the sizes in the directory."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"'{member.filename}' is compressed")
    file.seek(member.header_offset)
    signature, name_length, extra_length = struct.unpack("<4s22xHH", file.read(_LOCAL_HEADER))
    if signature != b"PK\x03\x04":
        raise ValueError(f"'{member.filename}' is not where the directory says")
    start = member.header_offset + _LOCAL_HEADER + name_length + extra_length
    file.seek(start)
    if npy.read_magic(file) != (1, 0):
        raise ValueError(f"'{member.filename}' is no array")
    shape, _, dtype = npy.read_array_header_1_0(file)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or start + member.file_size != file.tell() + size:
        raise ValueError(f"'{member.filename}' does not hold what it says")
    if size == 0:
        return np.empty(shape, dtype)
    mapped: Array = np.memmap(path, dtype, "r", file.tell(), shape)
    return mapped.view(np.ndarray)
