"""A `.npz` whose arrays load by memory map: stored without compression, each array's data at a multiple of 64 bytes.

`numpy.load` opens the file as any other `.npz`, but reads a whole member when it is used. `map_npz` finds where each
array's bytes lie and maps them, so an index of gigabytes opens in milliseconds and all processes of a machine share it.
"""

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from segdata.errors import StoreError
from segdata.files import open_regular

REDO = "Run the `segdata index` command that made it again, with --overwrite."

ALIGNMENT = 64
_LOCAL_HEADER = 30
_ZIP64_EXTRA = 20
_PADDING_ID = 0xD935  # the extra field that zipalign uses for padding
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_SIGNATURE = b"PK\x03\x04"
_PRELUDE = 10  # magic, and the length of the header
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(rb"{'descr': '([<|][biuf]\d{1,2})', 'fortran_order': False, 'shape': \(([\d, ]*)\), } *\n")
# What reading a damaged archive may raise: zipfile tests little of what it reads.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, TypeError, OverflowError, EOFError, RuntimeError)

Array = NDArray[Any]


def encode_mapped_npz(arrays: Mapping[str, Array]) -> bytes:
    """Return the bytes of an `.npz` of these arrays; the same arrays give the same bytes.

    Examples
    --------
    >>> file = BytesIO(encode_mapped_npz({"a": np.arange(3)}))
    >>> np.load(file)["a"]
    array([0, 1, 2])
    """
    file = BytesIO()
    write_mapped_npz(file, arrays)
    return file.getvalue()


def write_mapped_npz(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    """Write arrays to an open file as `encode_mapped_npz` does, without a second copy in memory."""
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


def map_npz(path: Path, *, checked: Collection[str] = ()) -> dict[str, Array]:
    """Map the arrays of a file that `write_mapped_npz` wrote; read-only, nothing is read until it is used.

    Parameters
    ----------
    path : Path
    checked : collection of str
        Arrays to hold against their checksums at once.

    Raises
    ------
    StoreError
        If the file is missing, cut short, or no such file. Flipped bits in the data of arrays that are not among the
        `checked` ones are found by `check_npz` alone.
    """
    with _opened(path) as file, zipfile.ZipFile(file) as archive:
        content = mmap(file.fileno(), 0, access=ACCESS_READ)
        return {
            (name := member.filename.removesuffix(".npy")): _map_member(content, member, check=name in checked)
            for member in archive.infolist()
        }


def check_npz(path: Path) -> None:
    """Read the file once and hold every member against its checksum.

    Raises
    ------
    StoreError
        If one does not match; the message names the first.
    """
    map_npz(path)
    with _opened(path) as file, zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise StoreError(f"{path}: '{damaged}' does not match its checksum. {REDO}")


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


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open an index file; whatever is wrong with it is a `StoreError` of one line."""
    try:
        with open_regular(path) as file:
            try:
                yield file
            except _DAMAGE as error:
                file.seek(0)
                if not _SIGNATURE.startswith(file.read(len(_SIGNATURE))):  # an empty file may well have been an index
                    told = "is not a class index. Expected a file that `segdata index` wrote."
                else:
                    told = f"is not a whole index file ({error or 'cut short'}). {REDO}"
                raise StoreError(f"{path}: {told}") from error
    except FileNotFoundError as error:
        raise StoreError(f"{path}: no such file. Run `segdata index` to write it.") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror or error}). Expected a class index.") from error


def _map_member(content: mmap, member: zipfile.ZipInfo, *, check: bool) -> Array:
    """Return one member as an array, after holding what its headers say against the sizes in the directory."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename!r} is compressed")
    signature, name_length, extra_length = struct.unpack_from("<4s22xHH", content, member.header_offset)
    if signature != _SIGNATURE:
        raise ValueError(f"{member.filename!r} is not where the directory says")
    start = member.header_offset + _LOCAL_HEADER + name_length + extra_length
    end = start + member.file_size
    if check and zlib.crc32(content[start:end]) != member.CRC:
        raise ValueError(f"{member.filename!r} does not match its checksum")
    shape, dtype, begin = _read_npy_header(content, start, member.filename)
    count = math.prod(shape)
    if begin + count * dtype.itemsize != end:
        raise ValueError(f"{member.filename!r} does not hold what it says")
    if count == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(content, dtype, count, begin).reshape(shape)


def _read_npy_header(content: mmap, start: int, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape and type of an array of plain numbers in C order, and where its data begin.

    NumPy's own reader parses the header as Python, which takes more than it should and fails in many ways.
    """
    magic, length = struct.unpack_from("<8sH", content, start)
    begin = start + _PRELUDE + length
    found = _HEADER.fullmatch(content, start + _PRELUDE, begin) if magic == _MAGIC else None
    if found is None:
        raise ValueError(f"'{name}' is not an array of numbers")
    return tuple(int(number) for number in found[2].split(b",") if number.strip()), np.dtype(found[1].decode()), begin
