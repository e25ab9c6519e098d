"""Undo the filters of a photograph's rows in a PNG: of pixels of several bytes, where nothing is flat.

Paeth's prediction is what encoders choose for most rows, and every pixel waits for the one before. The bytes of a pixel
do not: they are worked on together, as four lanes of a vector, which Numba does not find by itself.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from segdata.compiled import compiled, inlined

_NO_FILTER, _SUB, _UP, _AVERAGE, _PAETH = range(5)


@compiled
def undo_photo_filters(
    filtered: NDArray[np.uint8], above: NDArray[np.uint8], rows: NDArray[np.uint8], step: int
) -> bool:
    """Undo the filters of the first bytes of rows (PNG specification, section 9).

    Parameters
    ----------
    filtered : ndarray of uint8, shape (n, 1 + m)
        Rows behind their filter bytes.
    above : ndarray of uint8, shape (k,)
        The row before the first; `k` bytes, at most m, are wanted of each.
    rows : ndarray of uint8, shape (n, 1 + m)
        Where the samples go, each row behind one byte that is left as it is.
    step : int
        Bytes of a pixel.

    Returns
    -------
    bool
        Whether all filter bytes are of PNG's five.
    """
    for i in range(filtered.shape[0]):
        filter_type, residuals, row = filtered[i, 0], filtered[i, 1 : 1 + above.size], rows[i, 1 : 1 + above.size]
        if filter_type == _NO_FILTER:
            row[:] = residuals
        elif filter_type == _UP:
            for j in range(row.size):
                row[j] = residuals[j] + above[j]
        elif filter_type <= _PAETH:
            _undo_row(filter_type, residuals, above, row, step)
        else:
            return False
        above = row
    return True


@compiled
def _undo_row(
    filter_type: int, residuals: NDArray[np.uint8], above: NDArray[np.uint8], row: NDArray[np.uint8], step: int
) -> None:
    """Undo Sub, Average or Paeth; before the first pixel, all is 0."""
    if filter_type == _SUB:
        row[:step] = residuals[:step]
        for j in range(step, row.size):
            row[j] = residuals[j] + row[j - step]
        return
    if filter_type == _AVERAGE:
        for j in range(step):
            row[j] = residuals[j] + (above[j] >> 1)
        for j in range(step, row.size):
            row[j] = residuals[j] + np.uint8((np.int64(row[j - step]) + np.int64(above[j])) >> 1)
        return
    for j in range(step):
        row[j] = residuals[j] + above[j]
    done = step
    if step in (3, 4):
        done = _undo_paeth_of_pixels(residuals, above, row, step)
    for j in range(done, row.size):
        left, corner = np.int64(row[j - step]), np.int64(above[j - step])
        row[j] = residuals[j] + np.uint8(_paeth(left, np.int64(above[j]), corner))


@compiled
def _undo_paeth_of_pixels(
    residuals: NDArray[np.uint8], above: NDArray[np.uint8], row: NDArray[np.uint8], step: int
) -> int:
    """Undo Paeth of all pixels of three or four bytes but the last; return where that begins.

    Four bytes are read and written at a time; of a pixel of three, the fourth is the next one's first, which is
    written after it.
    """
    left = corner = np.uint32(0)
    end = row.size - step
    for place in range(0, end, step):
        at = np.uint64(place)  # unsigned: no look at whether it counts from the end
        up = _four_bytes(above, at)
        left = _restore(_four_bytes(residuals, at), left, up, corner)
        for byte in range(4):
            row[at + np.uint64(byte)] = np.uint8(left >> np.uint32(8 * byte) & np.uint32(0xFF))
        corner = up
    return max(end, step)


@inlined
def _four_bytes(data: NDArray[np.uint8], at: np.uint64) -> np.uint32:
    """Return four bytes as one number, the first the lowest; written so that it becomes a single load."""
    word = np.uint32(0)
    for byte in range(4):
        word |= np.uint32(data[at + np.uint64(byte)]) << np.uint32(8 * byte)
    return word


@inlined
def _paeth(left: np.int64, above: np.int64, corner: np.int64) -> np.int64:
    """Return whichever of three bytes is nearest to left + above - corner; ties go to the first named."""
    down, across = above - corner, left - corner
    to_left, to_above, to_corner = abs(down), abs(across), abs(down + across)
    nearer = above if to_above <= to_corner else corner
    return left if to_left <= min(to_above, to_corner) else nearer


def _restore(residual: np.uint32, left: np.uint32, above: np.uint32, corner: np.uint32) -> np.uint32:
    """Add to each of four bytes what Paeth predicts of the bytes at its place in the neighbors.

    This is what it means; compiled it is `_restore_lanes`.
    """
    restored = 0
    for shift in (0, 8, 16, 24):
        values = [int(word) >> shift & 0xFF for word in (left, above, corner)]
        restored |= (((int(residual) >> shift) + int(_paeth(*map(np.int64, values)))) & 0xFF) << shift
    return np.uint32(restored)


@intrinsic
def _restore_lanes(_: Any, residual: Any, left: Any, above: Any, corner: Any) -> Any:  # noqa: ARG001  # pragma: no cover
    """`_restore` in vectors of four lanes; Numba calls this while it compiles."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, words: list[ir.Value]) -> ir.Value:
        four_bytes, lanes = ir.VectorType(ir.IntType(8), 4), ir.VectorType(ir.IntType(16), 4)

        def distance(value: ir.Value) -> ir.Value:
            zero = ir.Constant(lanes, None)
            return builder.select(builder.icmp_signed("<", value, zero), builder.sub(zero, value), value)

        residuals, *neighbors = (builder.bitcast(word, four_bytes) for word in words)
        left, above, corner = (builder.zext(neighbor, lanes) for neighbor in neighbors)
        down, across = builder.sub(above, corner), builder.sub(left, corner)
        to_left, to_above, to_corner = distance(down), distance(across), distance(builder.add(down, across))
        is_above = builder.icmp_signed("<=", to_above, to_corner)
        nearer, to_nearer = builder.select(is_above, above, corner), builder.select(is_above, to_above, to_corner)
        predicted = builder.select(builder.icmp_signed("<=", to_left, to_nearer), left, nearer)
        restored = builder.add(builder.trunc(predicted, four_bytes), residuals)
        return builder.bitcast(restored, ir.IntType(32))

    return types.uint32(*4 * [types.uint32]), generate


@overload(_restore, strict=False)  # the annotations are for readers
def _compiled_restore(residual: Any, left: Any, above: Any, corner: Any) -> Any:  # noqa: ARG001  # pragma: no cover
    return lambda residual, left, above, corner: _restore_lanes(residual, left, above, corner)  # type: ignore[call-arg]  # noqa: PLW0108
