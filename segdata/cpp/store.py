"""Pooled targets as a file, `.cpp.npz`; docs/cpp-format.md says what each field means and why.

Held are the scales that are not multiples of a finer one (2, of 2, 4 and 8): per scale the map of cells and the parts
of the mixed ones, just as `SparseCounts` has them, and one JSON text, ``meta``.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from segdata.codecs.npz import Member, encode_npz, read_array, split_npz
from segdata.cpp.checks import MAX_CELL, count_dtype
from segdata.cpp.kernels import IGNORED, MAX_CLASSES, MIXED, Parts, are_whole, holds_unknown
from segdata.cpp.sparse import SparseCounts, find_mixed
from segdata.cpp.targets import CPPTargets, check_scales, held_scales
from segdata.errors import StoreError
from segdata.files import read_regular

__all__ = [
    "CPPTargets",
    "OtherVersionError",
    "check_cpp",
    "decode_cpp",
    "encode_cpp",
    "load_cpp",
    "read_cpp_bytes",
    "read_meta",
]

ENDING = ".cpp.npz"
"""Of the names of target files."""
FORMAT = "segdata-cpp"
VERSION = 1
MAX_PIXELS = 2**28
MAX_FILE = 2**30
_MAX_META = 2**20
_BYTE = np.dtype(np.uint8)


class OtherVersionError(StoreError):
    """A file of targets in a version of the format that is not read here: not damaged, so not to be redone unasked."""


def encode_cpp(targets: CPPTargets, about: Mapping[str, Any] | None = None) -> bytes:
    """Encode targets as the bytes of a `.cpp.npz`.

    Parameters
    ----------
    targets : CPPTargets
        From `segdata.cpp.targets.pool_targets`.
    about : mapping, optional
        JSON-able; what the file says of where it comes from: class table, settings, digest of the label.

    Returns
    -------
    bytes
        The same targets and `about` give the same bytes.
    """
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "size": list(targets.size),
        "scales": list(targets.scales),
        "stored": sorted(targets.grids),
        "num_classes": targets.num_classes,
        "mixed": MIXED,
        "ignored": IGNORED,
        "pixels": targets.pixels().tolist(),
        "about": dict(about or {}),
    }
    text = json.dumps(meta, sort_keys=True, separators=(",", ":")).encode("ascii")
    arrays: dict[str, NDArray[np.generic]] = {"meta": np.frombuffer(text, np.uint8)}
    for cell, grid in sorted(targets.grids.items()):
        arrays[f"map_{cell}"] = grid.map
        arrays[f"num_parts_{cell}"] = np.diff(grid.part_starts).astype(np.uint8)
        arrays[f"part_ids_{cell}"] = grid.part_ids
        arrays[f"part_counts_{cell}"] = grid.part_counts.astype(count_dtype(cell))
    return encode_npz(arrays)


def load_cpp(path: str | Path, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_FILE) -> CPPTargets:
    """Read the pooled targets of one label.

    Parameters
    ----------
    path : str or Path
        A `.cpp.npz` that ``segdata precompute-cpp`` wrote.
    max_pixels, max_bytes : int
        Largest label (height times width) and largest file that are read; tested before memory is taken. A hostile file
        takes at most three times the memory of the dense counts of its finest stored scale, in uint32.

    Returns
    -------
    CPPTargets
        In their sparse form; ``counts``, ``probabilities``, ``crop`` and ``flip`` take it from there.

    Raises
    ------
    StoreError
        If the file cannot be read, is damaged, or is another kind of file. Nothing in it is trusted or unpickled.
    """
    return decode_cpp(read_cpp_bytes(Path(path), max_bytes), str(path), max_pixels=max_pixels)


def read_cpp_bytes(path: Path, max_bytes: int = MAX_FILE) -> bytes:
    """Return the bytes of a target file, or raise a `StoreError` that says why they cannot be had."""
    try:
        data = read_regular(path, max_bytes + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StoreError(f"{path}: cannot be read ({reason}). Expected a file that precompute-cpp wrote.") from error
    if len(data) > max_bytes:
        _refuse(str(path), f"it has over {max_bytes} bytes")
    return data


def decode_cpp(data: bytes, where: str, *, max_pixels: int = MAX_PIXELS) -> CPPTargets:
    """Decode the bytes of a `.cpp.npz`; see `load_cpp`.

    Parameters
    ----------
    data : bytes
        The whole file.
    where : str
        What messages call it.
    max_pixels : int
        Largest label.
    """
    members = split_npz(data, where)
    meta = _parse_meta(members, where)
    if meta["size"][0] * meta["size"][1] > max_pixels:
        _refuse(where, f"it is of a label of {meta['size'][0]} x {meta['size'][1]} pixels, over {max_pixels} in all")
    size = (meta["size"][0], meta["size"][1])
    grids = {cell: _read_grid(members, cell, size, meta["num_classes"], where) for cell in meta["stored"]}
    return CPPTargets(size=size, scales=tuple(meta["scales"]), num_classes=meta["num_classes"], grids=grids, meta=meta)


def check_cpp(data: bytes, where: str) -> dict[str, Any]:
    """Test a target file whole (checksums, lengths, every id and count) and return what it says of itself.

    Makes no dense array: a few milliseconds.

    Raises
    ------
    StoreError
        If it is damaged, or its counts are not the pixels it says.
    """
    targets = decode_cpp(data, where)
    if targets.pixels().tolist() != targets.meta["pixels"]:
        _refuse(where, "its counts are not the pixels it says")
    return dict(targets.meta)


def read_meta(data: bytes, where: str) -> dict[str, Any]:
    """Return what a target file says of itself: docs/cpp-format.md lists the fields. Only the digest is tested.

    Raises
    ------
    StoreError
        If it is damaged or no such file.
    """
    return _parse_meta(split_npz(data, where), where)


def _parse_meta(members: Mapping[str, Member], where: str) -> dict[str, Any]:
    if "meta" not in members or members["meta"].size > _MAX_META:
        _refuse(where, "it has no 'meta'")
    try:
        meta = json.loads(read_array(members["meta"], "meta", _BYTE, None, where).tobytes())
    except (ValueError, RecursionError):
        _refuse(where, "'meta' is not valid JSON")
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        _refuse(where, f"'meta' does not say {FORMAT}")
    if meta.get("version") != VERSION:
        raise OtherVersionError(
            f"{where}: has version {meta.get('version')!r} of the format, expected {VERSION}. Read it with the segdata "
            f"that wrote it, or run precompute-cpp again."
        )
    if not _is_sound(meta):
        _refuse(where, "'meta' contradicts itself")
    return meta


def _is_sound(meta: Mapping[str, Any]) -> bool:
    size, scales, stored = (meta.get(name) for name in ("size", "scales", "stored"))
    if not (_are_whole(size, MAX_PIXELS) and _are_whole(scales, MAX_CELL) and _are_whole(stored, MAX_CELL)):
        return False
    assert isinstance(size, list)
    assert isinstance(scales, list)
    num_classes, pixels = meta.get("num_classes"), meta.get("pixels")
    return (
        len(size) == 2
        and size[0] * size[1] <= MAX_PIXELS
        and scales == list(check_scales(scales))
        and stored == list(held_scales(scales))
        and type(num_classes) is int
        and 1 <= num_classes <= MAX_CLASSES
        and (meta.get("mixed"), meta.get("ignored")) == (MIXED, IGNORED)
        and isinstance(pixels, list)
        and len(pixels) == num_classes + 1
        and isinstance(meta.get("about"), dict)
    )


def _are_whole(values: Any, most: int) -> bool:
    """Say whether a value from JSON is a list of one or more whole numbers from 1 to `most`."""
    return isinstance(values, list) and bool(values) and all(type(one) is int and 1 <= one <= most for one in values)


def _read_grid(
    members: Mapping[str, Member], cell: int, size: tuple[int, int], num_classes: int, where: str
) -> SparseCounts:
    """Read one scale and test all that the kernels rely on, as they index memory by it."""
    shape = (-(-size[0] // cell), -(-size[1] // cell))

    def read(name: str, dtype: np.dtype[np.generic], *wanted: int) -> NDArray[Any]:
        name = f"{name}_{cell}"
        if name not in members:
            _refuse(where, f"it has no '{name}'")
        return read_array(members[name], name, dtype, wanted, where)

    # Ours to write, as all grids are: the kernels are compiled for that kind of array once.
    cells = read("map", _BYTE, *shape).copy()
    mixed = find_mixed(cells)
    num_parts = read("num_parts", _BYTE, len(mixed))
    most = min(num_classes + 1, cell * cell)  # before memory is taken for the parts
    if num_parts.size and not 2 <= num_parts.min() <= num_parts.max() <= most:
        _refuse(
            where, f"scale {cell} has cells of {num_parts.min()} to {num_parts.max()} classes, expected 2 to {most}"
        )
    part_starts = np.concatenate([[0], np.cumsum(num_parts, dtype=np.int64)])
    grid = SparseCounts(
        cell=cell,
        num_classes=num_classes,
        map=cells,
        mixed=mixed,
        part_starts=part_starts,
        part_ids=read("part_ids", _BYTE, int(part_starts[-1])).copy(),
        part_counts=read("part_counts", count_dtype(cell), int(part_starts[-1])).astype(np.uint32),
    )
    if not _is_whole(grid):
        _refuse(where, f"scale {cell} holds ids or counts that cannot be")
    return grid


def _is_whole(grid: SparseCounts) -> bool:
    if holds_unknown(grid.map.reshape(-1), grid.num_classes, 2) or holds_unknown(grid.part_ids, grid.num_classes, 1):
        return False
    return bool(are_whole(Parts(grid.part_starts, grid.part_ids, grid.part_counts), grid.cell**2))


def _refuse(where: str, what: str) -> NoReturn:
    raise StoreError(f"{where}: is damaged or no file of pooled targets ({what}). Run precompute-cpp again to redo it.")
