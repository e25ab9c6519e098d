"""Rows of a JPEG photograph without decoding the others.

A baseline JPEG is one stream of Huffman codes, in which neither the place of a row nor the values that its first blocks
are told relative to can be known without reading all codes before. One pass over the codes, which decodes no pixel,
notes both for each row of MCUs (the smallest units of all components together, 8 or 16 pixels high). From these notes
a small JPEG of the rows wanted is put together and given to a decoder:

- it begins with a made-up row of MCUs, flat blocks that raise the predictors of DC values to what the first real row
  starts from, in codes that the file's own tables have; at the top of the image or at a restart it needs none;
- it has one real row of MCUs more on each side, from which decoders interpolate chroma.

So the pixels of the rows wanted are those of the whole image, to the bit. Format: ITU-T T.81.
"""

import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from segdata.compiled import compiled, inlined

_SOF0, _DHT, _SOI, _EOI, _SOS, _DQT, _DRI = 0xC0, 0xC4, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD
_APP0, _APP14, _APP15, _COM = 0xE0, 0xEE, 0xEF, 0xFE
_SHORT_BITS = 10  # of codes that the first, small look-up table knows
_MAGIC = struct.Struct("<8sIQI")
_NAME = b"segrows1"


@dataclass(frozen=True)
class RowIndex:
    """Where the rows of MCUs begin in a JPEG file.

    Attributes
    ----------
    checksum, num_bytes : int
        CRC-32 and length of the file, by which it is known again.
    positions : ndarray of int64, shape (n + 1,)
        Byte of the file in which each row's first bit lies; last, the end of the codes.
    bits : ndarray of uint8, shape (n + 1,)
        That bit, 0 the highest.
    predictors : ndarray of int16, shape (n + 1, c)
        DC value of the block before, by component.
    """

    checksum: int
    num_bytes: int
    positions: NDArray[np.int64]
    bits: NDArray[np.uint8]
    predictors: NDArray[np.int16]

    def is_of(self, data: bytes) -> bool:
        """Say whether a file is the one that the index was made from."""
        return len(data) == self.num_bytes and isal_zlib.crc32(data) == self.checksum

    def fits(self, num_bytes: int) -> bool:
        """Say whether its places lie one after the other in a file of that length, before the marker at its end.

        The kernels, which follow them, do not check.
        """
        inside = self.positions[0] > 0 and self.positions[-1] + 2 <= num_bytes
        return bool(inside and (np.diff(self.positions) >= 0).all() and (self.bits < 8).all())

    def to_bytes(self) -> bytes:
        """Return the index as bytes, with a checksum of their own."""
        arrays = (self.positions.astype("<i8"), self.bits, self.predictors.astype("<i2"))
        body = b"".join(array.tobytes() for array in arrays)
        body = _MAGIC.pack(_NAME, self.checksum, self.num_bytes, len(self.positions)) + body
        return body + isal_zlib.crc32(body).to_bytes(4, "little")

    @staticmethod
    def from_bytes(data: bytes) -> "RowIndex | None":
        """Return an index that `to_bytes` wrote; None where the bytes are damaged or something else."""
        body, checksum = data[:-4], data[-4:]
        if len(body) < _MAGIC.size or isal_zlib.crc32(body).to_bytes(4, "little") != checksum:
            return None
        name, of_file, num_bytes, number = _MAGIC.unpack_from(body)
        rest = len(body) - _MAGIC.size - 9 * number
        if name != _NAME or number < 2 or rest not in (2 * number, 6 * number):
            return None
        start = _MAGIC.size
        positions = np.frombuffer(body, "<i8", number, start).astype(np.int64)
        bits = np.frombuffer(body, np.uint8, number, start + 8 * number)
        predictors = np.frombuffer(body, "<i2", rest // 2, start + 9 * number).astype(np.int16)
        return RowIndex(of_file, num_bytes, positions, bits, predictors.reshape(number, -1))


@dataclass(frozen=True)
class _Component:
    """One of a JPEG's components: factors of sampling, and numbers of its tables."""

    horizontal: int
    vertical: int
    dc_table: int
    ac_table: int


@dataclass(frozen=True)
class _Table:
    """A Huffman table: the code and its length of each symbol, length 0 for those that it lacks."""

    codes: NDArray[np.uint16]
    lengths: NDArray[np.uint8]

    @cached_property
    def look_up(self) -> NDArray[np.uint16]:
        """Length << 8 | symbol by the next bits: 2^10 entries of short codes, then 2^16 of all; 0 where none fits."""
        found = np.zeros((1 << _SHORT_BITS) + (1 << 16), np.uint16)
        for symbol in np.flatnonzero(self.lengths).tolist():
            length, code = int(self.lengths[symbol]), int(self.codes[symbol])
            entry = length << 8 | symbol
            if length <= _SHORT_BITS:
                first = code << (_SHORT_BITS - length)
                found[first : first + (1 << (_SHORT_BITS - length))] = entry
            first = (1 << _SHORT_BITS) + (code << (16 - length))
            found[first : first + (1 << (16 - length))] = entry
        return found


class JpegParts:
    """The segments of a baseline JPEG of one scan; made by `split_jpeg`.

    Attributes
    ----------
    size : (int, int)
        Height and width in pixels.
    """

    def __init__(self, data: bytes) -> None:
        self.size = (0, 0)
        self._data = data
        self._tables: dict[int, _Table] = {}
        self._components: list[_Component] = []
        self._factors: dict[int, tuple[int, int]] = {}
        self._head: list[bytes] = []  # segments that a decoder needs, without SOF and SOS
        self._frame, self._scan = b"", b""
        self._interval = 0
        self._start = 0

    @property
    def _mcu(self) -> tuple[int, int]:
        """Height and width of an MCU in pixels."""
        return 8 * self._most("vertical"), 8 * self._most("horizontal")

    def _most(self, axis: str) -> int:
        return int(max(getattr(component, axis) for component in self._components))

    @property
    def _shape(self) -> tuple[int, int]:
        """Rows of MCUs, and MCUs in each."""
        return -(-self.size[0] // self._mcu[0]), -(-self.size[1] // self._mcu[1])

    def _layout(self) -> NDArray[np.int64]:
        """Return component, DC table and AC table of each block of an MCU, in their order; shape (n, 3)."""
        return np.array(
            [
                (number, component.dc_table, 4 + component.ac_table)
                for number, component in enumerate(self._components)
                for _ in range(component.horizontal * component.vertical)
            ],
            np.int64,
        )

    def _look_ups(self) -> NDArray[np.uint16]:
        look_ups = np.zeros((8, (1 << _SHORT_BITS) + (1 << 16)), np.uint16)
        for number, table in self._tables.items():
            look_ups[number] = table.look_up
        return look_ups

    def index(self) -> RowIndex | None:
        """Return where its rows of MCUs begin; None where the codes are damaged or go on after the last row."""
        num_rows, per_row = self._shape
        positions, bits = np.zeros(num_rows + 1, np.int64), np.zeros(num_rows + 1, np.uint8)
        predictors = np.zeros((num_rows + 1, len(self._components)), np.int16)
        codes = np.frombuffer(self._data, np.uint8)
        end = _scan_rows(
            codes, self._start, self._layout(), self._look_ups(), per_row, self._interval, positions, bits, predictors
        )
        if end < 0 or self._data[end : end + 2] != bytes((0xFF, _EOI)):
            return None
        return RowIndex(isal_zlib.crc32(self._data), len(self._data), positions, bits, predictors)

    def splice(self, index: RowIndex, top: int, bottom: int) -> tuple[bytes, int] | None:
        """Put a JPEG together that shows some rows of pixels.

        Parameters
        ----------
        index : RowIndex
            Of this file.
        top, bottom : int
            First row, and the one after the last.

        Returns
        -------
        jpeg : bytes
        first : int
            Its row of pixels that is row `top` of the image.
        None where that cannot be: tables that lack a code, or restarts at odd places.
        """
        num_rows, per_row = self._shape
        if index.predictors.shape != (num_rows + 1, len(self._components)) or not index.fits(len(self._data)):
            return None
        height = self._mcu[0]
        first, last = max(top // height - 1, 0), min(-(-bottom // height) + 1, num_rows)
        while first and self._interval and (first * per_row) % self._interval:
            first -= 1
        made_up = self._raising(index.predictors[first].tolist()) if first and not self._interval else []
        if made_up is None:
            return None
        codes = _splice_rows(
            np.frombuffer(self._data, np.uint8),
            (int(index.positions[first]), int(index.bits[first])),
            (int(index.positions[last]), int(index.bits[last])),
            *self._made_up_row(made_up, per_row),
            np.empty(2 * int(index.positions[last] - index.positions[first]) + 2 * 48 * per_row + 64, np.uint8),
        )
        extra = 1 if made_up else 0
        rows = min(last * height, self.size[0]) - first * height + extra * height
        frame = self._frame[:5] + struct.pack(">H", rows) + self._frame[7:]
        jpeg = b"".join((bytes((0xFF, _SOI)), *self._head, frame, self._scan, codes.data, bytes((0xFF, _EOI))))
        return jpeg, top - first * height + extra * height

    def _raising(self, predictors: list[int]) -> list[list[int]] | None:
        """Return differences of DC values that add up to each predictor, in categories that its table has."""
        found = []
        for component, predictor in zip(self._components, predictors, strict=True):
            left = predictor
            lengths = self._tables[component.dc_table].lengths
            blocks = component.horizontal * component.vertical * self._shape[1]
            categories = np.flatnonzero(lengths[1:16]) + 1
            if not lengths[0] or not self._tables[4 + component.ac_table].lengths[0] or not categories.size:
                return None  # no code for "no difference", or for the end of a block
            steps: list[int] = []
            while left and len(steps) <= blocks:
                sign, fitting = (1 if left > 0 else -1), categories[(1 << (categories - 1)) <= abs(left)]
                if fitting.size:
                    steps.append(sign * min(abs(left), (1 << int(fitting[-1])) - 1))
                    left -= steps[-1]
                else:
                    least = 1 << int(categories[0]) - 1
                    steps += [sign * (least + abs(left)), -sign * least]
                    left = 0
            if len(steps) > blocks:
                return None
            found.append(steps)
        return found

    def _made_up_row(
        self, steps: list[list[int]], per_row: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
        """Return the codes of a row of flat blocks, (value, number of bits) of each, in the order of the file."""
        if not steps:
            return np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.int64)
        layout = self._layout()
        num_blocks = len(layout) * per_row
        values, lengths = np.empty(num_blocks, np.uint64), np.empty(num_blocks, np.int64)
        waiting = [list(reversed(of_component)) for of_component in steps]
        for place, (_, dc, ac) in enumerate(layout.tolist()):
            flat = self._flat_block(dc, ac, 0)
            values[place :: len(layout)], lengths[place :: len(layout)] = flat
        for block in range(num_blocks):
            number, dc, ac = layout[block % len(layout)].tolist()
            if waiting[number]:
                values[block], lengths[block] = self._flat_block(dc, ac, waiting[number].pop())
            elif not any(waiting):
                break
        return np.ones(1, np.int64), values, lengths

    def _flat_block(self, dc: int, ac: int, difference: int) -> tuple[int, int]:
        """Return the code, and its bits, of a block without AC values whose DC value is another by a difference."""
        category = abs(difference).bit_length()
        low = difference if difference >= 0 else difference + (1 << category) - 1
        dc_table, ac_table = self._tables[dc], self._tables[ac]
        value = int(dc_table.codes[category]) << category | low
        end_length = int(ac_table.lengths[0])
        return value << end_length | int(ac_table.codes[0]), int(dc_table.lengths[category]) + category + end_length


def split_jpeg(data: bytes) -> JpegParts | None:
    """Take a JPEG apart, if it is one whose rows can be read alone.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    JpegParts or None
        None for all but baseline files of 8 bits, one or three components (gray; 4:4:4, 4:2:2, 4:2:0, 4:4:0) in one
        scan; and for damaged ones, about which a decoder has more to say.
    """
    try:
        return _split(data)
    except (IndexError, struct.error, KeyError, ValueError):
        return None


def _split(data: bytes) -> JpegParts | None:
    parts, position = JpegParts(data), 2
    if data[:2] != bytes((0xFF, _SOI)):
        return None
    while True:
        if data[position] != 0xFF:
            return None
        kind = data[position + 1]
        length = struct.unpack_from(">H", data, position + 2)[0]
        segment, body = data[position : position + 2 + length], data[position + 4 : position + 2 + length]
        if len(segment) != 2 + length:
            return None
        position += len(segment)
        if kind == _SOS:
            return _with_scan(parts, segment, body, position)
        if kind == _SOF0:
            if parts._frame or not _read_frame(parts, segment, body):
                return None
        elif kind == _DHT:
            _read_tables(parts, body)
            parts._head.append(segment)
        elif kind == _DRI:
            parts._interval = struct.unpack(">H", body)[0]
            parts._head.append(segment)
        elif kind in (_DQT, _APP0, _APP14):
            parts._head.append(segment)
        elif not _APP0 <= kind <= _APP15 and kind != _COM:
            return None  # another process than baseline, or a marker that does not belong here


def _read_frame(parts: JpegParts, segment: bytes, body: bytes) -> bool:
    bits, height, width, number = struct.unpack_from(">BHHB", body)
    parts._frame, parts.size = segment, (height, width)
    for place in range(number):
        name, factors = body[6 + 3 * place], body[7 + 3 * place]
        parts._factors[name] = (factors >> 4, factors & 15)
    known = {1: [[(1, 1)]], 3: [[(h, v), (1, 1), (1, 1)] for h in (1, 2) for v in (1, 2)]}
    return bits == 8 and min(height, width) > 0 and [*parts._factors.values()] in known.get(number, [])


def _read_tables(parts: JpegParts, body: bytes) -> None:
    """Read the Huffman tables of a segment (T.81, annex C)."""
    position = 0
    while position < len(body):
        kind, counts = body[position], body[position + 1 : position + 17]
        symbols = body[position + 17 : position + 17 + sum(counts)]
        if kind & 0xEC or len(counts) != 16 or len(symbols) != sum(counts):
            raise ValueError("no Huffman table of a baseline file")
        codes, lengths, code, place = np.zeros(256, np.uint16), np.zeros(256, np.uint8), 0, 0
        for length in range(1, 17):
            for symbol in symbols[place : place + counts[length - 1]]:
                if code >> length:
                    raise ValueError("more codes than there is room for")
                codes[symbol], lengths[symbol] = code, length
                code += 1
            place += counts[length - 1]
            code <<= 1
        parts._tables[(4 if kind >> 4 else 0) + (kind & 3)] = _Table(codes, lengths)
        position += 17 + len(symbols)


def _with_scan(parts: JpegParts, segment: bytes, body: bytes, start: int) -> JpegParts | None:
    number = body[0]
    if not parts._frame or number != len(parts._factors) or body[1 + 2 * number :] != bytes((0, 63, 0)):
        return None
    for place, (name, factors) in enumerate(parts._factors.items()):
        tables = body[2 + 2 * place]
        component = _Component(*factors, tables >> 4, tables & 15)
        if body[1 + 2 * place] != name or not {component.dc_table, 4 + component.ac_table} <= parts._tables.keys():
            return None
        parts._components.append(component)
    parts._scan, parts._start = segment, start
    return parts


@inlined
def _after(data: NDArray[np.uint8], position: int) -> int:
    """Return the place after a byte of codes, which may be stuffed."""
    return position + 2 if data[position] == 0xFF else position + 1


@inlined
def _refill(
    data: NDArray[np.uint8], position: int, word: np.uint64, num_bits: int, made_up: int
) -> tuple[int, np.uint64, int, int]:
    """Read bytes of codes until a word holds more than 32 bits; beyond a marker or the end, zeros are made up."""
    while num_bits <= 32:
        byte = np.uint64(0)
        if position < data.size and data[position] != 0xFF:
            byte = np.uint64(data[position])
            position += 1
        elif position + 1 < data.size and data[position + 1] == 0:
            byte = np.uint64(0xFF)
            position += 2
        else:
            made_up += 8
        word = (word << np.uint64(8)) | byte
        num_bits += 8
    return position, word, num_bits, made_up


@inlined
def _code_of(look_up: NDArray[np.uint16], word: np.uint64, num_bits: int) -> int:
    """Return length << 8 | symbol of the next code of a word, 0 where it is none."""
    code = int(look_up[(word >> np.uint64(num_bits - 10)) & np.uint64(0x3FF)])
    if code == 0:
        code = int(look_up[np.uint64(1024) + ((word >> np.uint64(num_bits - 16)) & np.uint64(0xFFFF))])
    return code


@inlined
def _difference(word: np.uint64, num_bits: int, size: int) -> np.int64:
    """Return the difference of DC values that the last `size` bits taken from a word stand for (T.81, F.2.2.1)."""
    value = np.int64((word >> np.uint64(num_bits)) & np.uint64((1 << size) - 1))
    return value - ((1 << size) - 1) if size and value < 1 << (size - 1) else value


@inlined
def _restart(data: NDArray[np.uint8], position: int, bit: int, number: int) -> int:
    """Return the byte after the restart marker of a number that follows a bit of a byte, -1 where there is none."""
    at = _after(data, position) if bit else position
    if at + 1 >= data.size or data[at] != 0xFF or data[at + 1] != 0xD0 + number % 8:
        return -1
    return at + 2


@compiled
def _scan_rows(
    data: NDArray[np.uint8],
    start: int,
    layout: NDArray[np.int64],
    look_ups: NDArray[np.uint16],
    per_row: int,
    interval: int,
    positions: NDArray[np.int64],
    bits: NDArray[np.uint8],
    predictors: NDArray[np.int16],
) -> int:
    """Note where each row of MCUs begins; return the byte after the codes, or -1 where they are damaged."""
    position, word, num_bits, made_up = start, np.uint64(0), 0, 0
    values = np.zeros(predictors.shape[1], np.int64)
    num_mcus = per_row * (positions.size - 1)
    for mcu in range(num_mcus + 1):
        restarts = interval > 0 and 0 < mcu < num_mcus and mcu % interval == 0
        if restarts or mcu % per_row == 0:
            if num_bits < made_up:
                return -1
            at, bit = _byte_of(data, position, num_bits - made_up)
            if restarts:
                at, bit = _restart(data, at, bit, mcu // interval - 1), 0
                if at < 0:
                    return -1
                position, word, num_bits, made_up = at, np.uint64(0), 0, 0
                values[:] = 0
            if mcu % per_row == 0:
                positions[mcu // per_row], bits[mcu // per_row] = at, bit
                predictors[mcu // per_row] = values
        for block in range(layout.shape[0] if mcu < num_mcus else 0):
            position, word, num_bits, made_up = _refill(data, position, word, num_bits, made_up)
            code = _code_of(look_ups[layout[block, 1]], word, num_bits)
            size = code & 255
            if code == 0 or size > 11:
                return -1
            num_bits -= (code >> 8) + size
            values[layout[block, 0]] += _difference(word, num_bits, size)
            if abs(values[layout[block, 0]]) > 32767:
                return -1
            look_up = look_ups[layout[block, 2]]
            k = 1
            while k < 64:
                position, word, num_bits, made_up = _refill(data, position, word, num_bits, made_up)
                code = _code_of(look_up, word, num_bits)
                num_bits -= (code >> 8) + (code & 15)
                if code & 255 == 0 and code:
                    break  # the rest of the block is 0
                k += ((code >> 4) & 15) + 1
                if code == 0 or (code & 15 == 0 and code & 255 != 0xF0) or k > 64:
                    return -1
    end, last_bit = int(positions[-1]), int(bits[-1])
    return end if last_bit == 0 else int(_after(data, end))


@compiled
def _byte_of(data: NDArray[np.uint8], position: int, num_bits: int) -> tuple[int, int]:
    """Return the byte, and the bit of it, that lies a number of bits before a position."""
    whole = (num_bits + 7) // 8
    for _ in range(whole):
        position -= 1
        if data[position] == 0 and data[position - 1] == 0xFF:
            position -= 1
    return position, (8 * whole - num_bits)


@compiled
def _splice_rows(
    data: NDArray[np.uint8],
    start: tuple[int, int],
    stop: tuple[int, int],
    has_made_up: NDArray[np.int64],
    values: NDArray[np.uint64],
    lengths: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Write the codes of a made-up row, and then those between two bits of a file; restarts are counted anew."""
    size, word, num_bits = 0, np.uint64(0), 0
    if has_made_up.size:
        for block in range(values.size):
            word = (word << np.uint64(lengths[block])) | values[block]
            num_bits += lengths[block]
            while num_bits >= 8:
                num_bits -= 8
                size = _put(out, size, np.uint8((word >> np.uint64(num_bits)) & np.uint64(0xFF)))
    position, restarts, skip = start[0], 0, start[1]
    while position < stop[0] or (position == stop[0] and stop[1] > 0):
        while skip == 0 and position + 8 <= stop[0]:  # eight bytes at once, where none is or becomes 0xFF
            ahead = _word_at(data, np.uint64(position))
            shifted = ahead >> np.uint64(num_bits) | (word << np.uint64(63 - num_bits)) << np.uint64(1)
            if _has_ff(ahead) or _has_ff(shifted):
                break
            _put_word(out, np.uint64(size), shifted)
            word, position, size = ahead, position + 8, size + 8
        if position == stop[0] and stop[1] == 0:
            break
        byte = data[position]
        if byte == 0xFF and data[position + 1] != 0:
            if position + 2 >= stop[0] and stop[1] == 0:
                break  # a restart after the last row
            out[size], out[size + 1] = 0xFF, 0xD0 + restarts % 8
            size += 2
            restarts += 1
            position += 2
            continue
        taken = stop[1] if position == stop[0] else 8
        word = (word << np.uint64(taken - skip)) | (
            np.uint64(byte >> (8 - taken)) & np.uint64((1 << (taken - skip)) - 1)
        )
        num_bits += taken - skip
        skip = 0
        position = _after(data, position)
        while num_bits >= 8:
            num_bits -= 8
            size = _put(out, size, np.uint8((word >> np.uint64(num_bits)) & np.uint64(0xFF)))
    if num_bits:
        padded = ((word << np.uint64(8 - num_bits)) & np.uint64(0xFF)) | np.uint64((1 << (8 - num_bits)) - 1)
        size = _put(out, size, np.uint8(padded))
    return out[:size]


@inlined
def _word_at(data: NDArray[np.uint8], at: np.uint64) -> np.uint64:
    """Return eight bytes as one number, the first the highest; written so that it becomes a single load."""
    word = np.uint64(0)
    for place in range(8):
        word = word << np.uint64(8) | np.uint64(data[at + np.uint64(place)])
    return word


@inlined
def _put_word(out: NDArray[np.uint8], at: np.uint64, word: np.uint64) -> None:
    for place in range(8):
        out[at + np.uint64(place)] = np.uint8(word >> np.uint64(56 - 8 * place) & np.uint64(0xFF))


@inlined
def _has_ff(word: np.uint64) -> bool:
    """Say whether one of a word's bytes is 0xFF: of its complement, whether one is 0."""
    low, high = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    return bool(((~word - low) & word & high) != 0)


@compiled
def _put(out: NDArray[np.uint8], size: int, byte: np.uint8) -> int:
    """Write a byte of codes, stuffed where it could be taken for a marker; return the size thereafter."""
    out[size] = byte
    if byte == 0xFF:
        out[size + 1] = 0
        return size + 2
    return size + 1
