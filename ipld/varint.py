"""Variable-length integers: the strict ones of CIDs and CARs, the lenient ones of protobuf."""

from __future__ import annotations

from functools import lru_cache

# Anything that gives an int for an index.
Bytes = bytes | bytearray | memoryview

# multiformats/unsigned-varint: at most 9 bytes, so values below 2^63.
MAX_BYTES = 9
# Protobuf writes a uint64 in up to 10 bytes, and accepts padding.
MAX_PROTOBUF_BYTES = 10


class InvalidVarint(ValueError):
    """Too long, not minimal, or cut off; callers say what was being read."""


class CutVarint(InvalidVarint):
    """The buffer ends inside the varint: more bytes could complete it."""


def encode(value: int) -> bytes:
    if value < 0x80:
        return _SINGLE[value]
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SINGLE = tuple(bytes([value]) for value in range(0x80))


def size(value: int) -> int:
    return max(1, (value.bit_length() + 6) // 7)


def read(buffer: Bytes, offset: int, stop: int) -> tuple[int, int]:
    """The value at `offset` and where it ends; minimal encodings only (multiformats/unsigned-varint)."""
    if offset < stop and buffer[offset] < 0x80:
        return buffer[offset], offset + 1
    value, end = _read(buffer, offset, stop, MAX_BYTES)
    if end - offset > 1 and buffer[end - 1] == 0:
        raise InvalidVarint("varint is not minimal")
    return value, end


def read_protobuf(buffer: Bytes, offset: int, stop: int) -> tuple[int, int]:
    """The value at `offset` and where it ends, as protobuf parsers take it."""
    value, end = _read(buffer, offset, stop, MAX_PROTOBUF_BYTES)
    if value >> 64:
        raise InvalidVarint("varint does not fit 64 bits")
    return value, end


@lru_cache(maxsize=4096)
def whole_protobuf(encoded: bytes) -> int | None:
    """The value of exactly these bytes, or None. The sizes in a node are few, hence the cache."""
    try:
        value, end = read_protobuf(encoded, 0, len(encoded))
    except InvalidVarint:
        return None
    return value if end == len(encoded) else None


def _read(buffer: Bytes, offset: int, stop: int, limit: int) -> tuple[int, int]:
    value = shift = 0
    for at in range(offset, min(stop, offset + limit)):
        byte = buffer[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    if stop - offset < limit:
        raise CutVarint("varint is cut off")
    raise InvalidVarint(f"varint is longer than {limit} bytes")
