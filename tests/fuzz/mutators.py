"""Ways to damage files: of bytes, and of text with what YAML and JSON parsers stumble over."""

import struct
import zlib

import numpy as np

TOKENS = (
    *("!!int ''", "!!bool x", "!!timestamp x", "2024-13-45", ".inf", ".nan", "~", "[]", "{}", "[[[[[[[[", "&a *a"),
    *("<<: *b", "1e999", "0x", "-0", "9" * 400, "true", '"', "'", "\t", "\x00", "\ud800", "\u2028", "- - -", ": :"),
    *("? ", "|", ">", "%", "@"),
)


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes after one to three changes: a bit, a byte, a number, a part cut out, doubled or moved."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        if not found:
            break
        place, length = int(rng.integers(len(found))), int(rng.integers(1, 17))
        change = rng.integers(7)
        if change <= 1:
            found[place] ^= 1 << int(rng.integers(8))
        elif change == 2:
            found[place] = int(rng.integers(256))
        elif change == 3:
            number = int(rng.choice([0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000]))
            found[place : place + 4] = number.to_bytes(4, rng.choice(["big", "little"]))
        elif change == 4:
            del found[place : place + length]
        elif change == 5:
            found[place:place] = found[place : place + length]
        else:
            other = int(rng.integers(len(found)))
            found[place : place + length] = found[other : other + length]
    return bytes(found)


def with_checksums(png: bytes) -> bytes:
    """Return a PNG whose chunks have the checksums that they should have, so that readers look further."""
    found, place = bytearray(png[:8]), 8
    while place + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, place)
        if place + 12 + length > len(png):
            return png
        checksum = zlib.crc32(png[place + 4 : place + 8 + length])
        found += png[place : place + 8 + length] + struct.pack(">I", checksum)
        place += 12 + length
    return bytes(found)


def damaged_text(data: bytes, rng: np.random.Generator) -> bytes:
    """Return text after one to three changes: a token in place of a word or a value, a line moved, or damaged bytes."""
    if rng.random() < 0.3:
        return damaged(data, rng)
    lines = data.decode(errors="replace").split("\n")
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(lines)))
        token, line = str(rng.choice(TOKENS)), lines[place]
        change = rng.integers(4)
        if change == 0 and ":" in line:
            lines[place] = f"{line.split(':')[0]}: {token}"
        elif change == 1:
            at = int(rng.integers(len(line) + 1))
            lines[place] = line[:at] + token + line[at:]
        elif change == 2:
            lines.insert(place, str(rng.choice(lines)))
        else:
            del lines[place]
            lines = lines or [""]
    return "\n".join(lines).encode(errors="surrogatepass")
