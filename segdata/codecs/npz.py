"""A small `.npz`: the zip file of `.npy` members that `numpy.load` opens, with ISA-L and the same bytes every time.

Written with a fixed date and nothing that the content does not determine, and with a digest of the whole file as the
comment that a zip file may end with: one flipped bit anywhere is found, also where a zip file has no checksum. Read
strictly: digest, lengths and checksums are tested before anything believes a header; nothing is ever unpickled.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import prod

import numpy as np
from isal import igzip_lib, isal_zlib
from numpy.typing import NDArray

from segdata.errors import StoreError

Array = NDArray[np.generic]

DIGEST_SIZE = 32
"""The comment: 32 hex digits of BLAKE2b over all that stands before it."""

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_LOCAL_SIGN, _CENTRAL_SIGN, _END_SIGN = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION, _STORED, _DEFLATED, _MIDNIGHT, _FIRST_OF_1980 = 20, 0, 8, 0, 0x21
_LEVEL = 1
"""Of ISA-L's levels 0 to 3; the higher ones take longer and give no smaller files here."""

_MAX_RATIO = 1032
"""Deflate cannot shrink more than this (RFC 1951: 258 bytes from two bits); a header that says more is lying."""

_HEADER_SIZE = 128
_IsalError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub says an instance


@dataclass(frozen=True)
class Member:
    """One member as the zip's directory tells of it, not yet inflated."""

    method: int
    crc: int
    size: int
    packed: bytes


def encode_npz(arrays: Mapping[str, Array]) -> bytes:
    """Encode named arrays as the bytes of a compressed `.npz`.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Names without the ending ``.npy``, in ASCII; arrays of plain numbers.

    Returns
    -------
    bytes
        Depends on names and arrays alone (and on ISA-L, which may choose other matches on another processor).

    Examples
    --------
    >>> import io
    >>> np.load(io.BytesIO(encode_npz({"a": np.arange(3)})))["a"]
    array([0, 1, 2])
    """
    body, directory = bytearray(), bytearray()
    for name, array in arrays.items():
        raw, file_name = _npy_header(array.dtype, array.shape) + array.tobytes(), f"{name}.npy".encode("ascii")
        packer = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -15)
        packed = packer.compress(raw) + packer.flush()
        start = len(body)
        common = (_DEFLATED, _MIDNIGHT, _FIRST_OF_1980, isal_zlib.crc32(raw), len(packed), len(raw), len(file_name), 0)
        body += _LOCAL.pack(_LOCAL_SIGN, _VERSION, 0, *common) + file_name + packed
        directory += _CENTRAL.pack(_CENTRAL_SIGN, _VERSION, _VERSION, 0, *common, 0, 0, 0, 0, start) + file_name
    body_size, num_members = len(body), len(arrays)
    body += directory
    body += _END.pack(_END_SIGN, 0, 0, num_members, num_members, len(directory), body_size, DIGEST_SIZE)
    return bytes(body) + _digest(body)


def split_npz(data: bytes, where: str) -> dict[str, Member]:
    """Read the directory of an `.npz`; inflates nothing.

    Parameters
    ----------
    data : bytes
        The whole file.
    where : str
        What messages call it.

    Returns
    -------
    dict of str to Member
        By name without ``.npy``.

    Raises
    ------
    StoreError
        If the bytes are not a whole zip file of deflated or stored members.
    """
    try:
        sign, *_, num_members, _, start, comment = _END.unpack_from(data, max(0, len(data) - _END.size - DIGEST_SIZE))
        if sign != _END_SIGN or comment != DIGEST_SIZE:
            raise _damaged(where, "its end is missing")
        if _digest(memoryview(data)[:-DIGEST_SIZE]) != data[-DIGEST_SIZE:]:
            raise _damaged(where, "it does not match its digest")
        return dict(_read_entries(data, start, num_members, where))
    except (struct.error, UnicodeDecodeError) as error:
        raise _damaged(where, "it is cut short") from error


def read_array(
    member: Member, name: str, dtype: np.dtype[np.generic], shape: tuple[int, ...] | None, where: str
) -> Array:
    """Inflate a member and return its array, after testing length, checksum, dtype and shape.

    Parameters
    ----------
    member : Member
        From `split_npz`.
    name : str
        What messages call it.
    dtype : dtype
        What the array must be.
    shape : tuple of int, or None
        What the array must be; no more is inflated. None for one axis of whatever length the member has.
    where : str
        What messages call the file.

    Returns
    -------
    ndarray
        Read-only.

    Raises
    ------
    StoreError
        If anything differs.
    """
    if shape is None:
        shape = (max(0, member.size - _HEADER_SIZE) // dtype.itemsize,)
    size = _HEADER_SIZE + prod(shape) * dtype.itemsize
    if member.size != size:
        raise _damaged(where, f"'{name}' has {member.size} bytes, expected {size}")
    raw = _inflated(member, name, where)
    if not raw.startswith(_npy_header(dtype, shape)):
        raise _damaged(where, f"'{name}' is not an array of {dtype} with shape {shape}")
    return np.frombuffer(raw, dtype, offset=_HEADER_SIZE).reshape(shape)


def _npy_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """Return the head of a `.npy` file of version 1.0, always of one size: so a reader compares and parses nothing."""
    assert dtype.kind in "iuf", f"{dtype} is not a plain number"
    fields = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {tuple(shape)!r}, }}".encode("ascii")
    start = b"\x93NUMPY\x01\x00" + (_HEADER_SIZE - 10).to_bytes(2, "little")
    return start + fields.ljust(_HEADER_SIZE - 11) + b"\n"


def _read_entries(data: bytes, start: int, num_members: int, where: str) -> list[tuple[str, Member]]:
    entries = []
    at, left = start, start
    for _ in range(num_members):
        sign, *_, method, _, _, crc, packed, size, name_length, extra, comment, _, _, _, local = _CENTRAL.unpack_from(
            data, at
        )
        at += _CENTRAL.size
        name = data[at : at + name_length].decode("ascii").removesuffix(".npy")
        at += name_length + extra + comment
        left -= packed  # members that share bytes could hold many times what the file does
        possible = size <= _MAX_RATIO * packed + _HEADER_SIZE and left >= 0
        if sign != _CENTRAL_SIGN or method not in {_STORED, _DEFLATED} or not possible:
            raise _damaged(where, f"member '{name}' says what cannot be")
        entries.append((name, Member(method, crc, size, _packed_bytes(data, local, packed, start, where))))
    if at + _END.size + DIGEST_SIZE != len(data) or len({name for name, _ in entries}) != num_members:
        raise _damaged(where, "its directory does not add up")
    return entries


def _packed_bytes(data: bytes, local: int, packed: int, limit: int, where: str) -> bytes:
    sign, *_, name_length, extra = _LOCAL.unpack_from(data, local)
    start = local + _LOCAL.size + name_length + extra
    if sign != _LOCAL_SIGN or start + packed > limit:
        raise _damaged(where, "a member lies outside the file")
    return data[start : start + packed]


def _inflated(member: Member, name: str, where: str) -> bytes:
    raw = member.packed
    if member.method == _DEFLATED:
        stream = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_DEFLATE)
        try:
            raw = stream.decompress(member.packed, member.size + 1)
        except _IsalError as error:
            raise _damaged(where, f"'{name}' does not inflate") from error
        if not stream.eof or stream.unused_data:
            raise _damaged(where, f"'{name}' is not the {member.size} bytes it says")
    if len(raw) != member.size or isal_zlib.crc32(raw) != member.crc:
        raise _damaged(where, f"'{name}' does not match its checksum")
    return raw


def _digest(data: bytes | bytearray | memoryview) -> bytes:
    return blake2b(data, digest_size=DIGEST_SIZE // 2).hexdigest().encode("ascii")


def _damaged(where: str, what: str) -> StoreError:
    return StoreError(
        f"{where}: is damaged or no file of pooled targets ({what}). Run precompute-cpp again to redo it."
    )
