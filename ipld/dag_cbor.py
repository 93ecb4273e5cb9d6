"""The dag-cbor codec: strict decoding and canonical encoding.

Own code, since no library keeps to all of it: cbrrr 1.1.0 allocates lists from their declared lengths, and
libipld 3.5.0 takes links for bytes, and integers that are not minimal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from struct import Struct

from ipld.cid import Cid
from ipld.data_model import MAX_DEPTH, Value
from ipld.errors import InvalidCid, MalformedBlock

_UINT, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP = range(6)
_LINK = b"\xd8\x2a"
_SIMPLE: Mapping[int, bool | None] = {0xF4: False, 0xF5: True, 0xF6: None}
_FLOAT = 0xFB
_double = Struct(">d")
# The smallest value that needs 1, 2, 4 or 8 bytes after the head.
_SMALLEST = (24, 1 << 8, 1 << 16, 1 << 32)


def decode(block: bytes) -> Value:
    """The value in a block; MalformedBlock for all that the dag-cbor spec, "Strictness", refuses."""
    try:
        value, end = _item(block, 0, MAX_DEPTH)
    except IndexError:
        raise MalformedBlock("dag-cbor: the block is cut off") from None
    except UnicodeDecodeError as error:
        raise MalformedBlock(f"dag-cbor: a string is not UTF-8: {error.reason}") from error
    if end != len(block):
        raise MalformedBlock(f"dag-cbor: {len(block) - end} bytes too many after the value")
    return value


def _item(block: bytes, at: int, depth: int) -> tuple[Value, int]:
    head = block[at]
    if head < 0x18:
        return head, at + 1
    return _READ[head >> 5](block, at, depth)


def _argument(block: bytes, at: int) -> tuple[int, int]:
    """The number that a head carries, and where what it heads begins."""
    info = block[at] & 0x1F
    if info < 24:
        return info, at + 1
    if info > 27:
        raise MalformedBlock(f"dag-cbor: reserved or indefinite length at byte {at}")
    size = 1 << (info - 24)
    end = at + 1 + size
    if end > len(block):
        raise IndexError
    value = int.from_bytes(block[at + 1 : end], "big")
    if value < _SMALLEST[info - 24]:
        raise MalformedBlock(f"dag-cbor: number at byte {at} is not in its shortest form")
    return value, end


def _uint(block: bytes, at: int, depth: int) -> tuple[Value, int]:
    return _argument(block, at)


def _negative(block: bytes, at: int, depth: int) -> tuple[Value, int]:
    value, end = _argument(block, at)
    return -1 - value, end


def _bytes(block: bytes, at: int, depth: int) -> tuple[bytes, int]:
    # Most are short, and then the head is one byte with the size in it.
    size, start = block[at] & 0x1F, at + 1
    if size > 23:
        size, start = _argument(block, at)
    end = start + size
    # Sliced only after this: nothing is allocated because a head says so (CVE-2026-35480).
    if end > len(block):
        raise IndexError
    return block[start:end], end


def _text(block: bytes, at: int, depth: int) -> tuple[str, int]:
    size, start = block[at] & 0x1F, at + 1
    if size > 23:
        size, start = _argument(block, at)
    end = start + size
    if end > len(block):
        raise IndexError
    return block[start:end].decode(), end


def _list(block: bytes, at: int, depth: int) -> tuple[Value, int]:
    count, at = _argument(block, at)
    _check_depth(depth)
    values: list[Value] = []
    # Each turn takes a byte at least, so a count that lies ends with the block.
    for _ in range(count):
        value, at = _item(block, at, depth - 1)
        values.append(value)
    return values, at


def _map(block: bytes, at: int, depth: int) -> tuple[Value, int]:
    count, at = _argument(block, at)
    _check_depth(depth)
    values: dict[str, Value] = {}
    previous = b""
    for _ in range(count):
        start = at
        if block[at] >> 5 != _TEXT:
            raise MalformedBlock(f"dag-cbor: the map key at byte {at} is not a string")
        key, at = _text(block, at, 0)
        # Compared with their heads, so shorter ones come first; equal ones are duplicates.
        encoded = block[start:at]
        if encoded <= previous:
            raise MalformedBlock(f"dag-cbor: map keys out of order or twice at byte {start}")
        previous = encoded
        values[key], at = _item(block, at, depth - 1)
    return values, at


def _check_depth(depth: int) -> None:
    if depth == 0:
        raise MalformedBlock(f"dag-cbor: more than {MAX_DEPTH} lists and maps inside each other")


def _link(block: bytes, at: int, depth: int) -> tuple[Value, int]:
    if block[at : at + 2] != _LINK or block[at + 2] >> 5 != _BYTES:
        raise MalformedBlock(f"dag-cbor: the tag at byte {at} is not that of a link, 42")
    raw, end = _bytes(block, at + 2, depth)
    if raw[:1] != b"\0":
        raise MalformedBlock(f"dag-cbor: the link at byte {at} has no identity prefix")
    try:
        return Cid.decode(raw[1:]), end
    except InvalidCid as error:
        raise MalformedBlock(f"dag-cbor: the link at byte {at} holds no CID: {error}") from error


def _simple(block: bytes, at: int, depth: int) -> tuple[Value, int]:
    head = block[at]
    if head in _SIMPLE:
        return _SIMPLE[head], at + 1
    if head != _FLOAT:
        raise MalformedBlock(f"dag-cbor: 0x{head:02x} at byte {at} is no value of the data model")
    if at + 9 > len(block):
        raise IndexError
    value: float = _double.unpack_from(block, at + 1)[0]
    if not isfinite(value):
        raise MalformedBlock(f"dag-cbor: {value} at byte {at}")
    return value, at + 9


_READ: tuple[Callable[[bytes, int, int], tuple[Value, int]], ...]
_READ = (_uint, _negative, _bytes, _text, _list, _map, _link, _simple)


def encode(value: Value) -> bytes:
    """The canonical bytes; MalformedBlock where dag-cbor has none for the value."""
    out = bytearray()
    try:
        _write(out, value, MAX_DEPTH)
    except UnicodeEncodeError as error:
        raise MalformedBlock("dag-cbor: a string has lone surrogates") from error
    return bytes(out)


def _write(out: bytearray, value: Value, depth: int) -> None:
    if isinstance(value, list | dict):
        _check_depth(depth)
        _write_children(out, value, depth - 1)
    elif isinstance(value, str):
        out += _text_bytes(value)
    elif isinstance(value, bytes):
        out += _head(_BYTES, len(value)) + value
    elif isinstance(value, Cid):
        out += _LINK + _head(_BYTES, len(value.raw) + 1) + b"\0" + value.raw
    elif isinstance(value, float):
        out += _float(value)
    else:
        out += _scalar(value)


def _write_children(out: bytearray, value: list[Value] | dict[str, Value], depth: int) -> None:
    if isinstance(value, list):
        out += _head(_LIST, len(value))
        for child in value:
            _write(out, child, depth)
        return
    out += _head(_MAP, len(value))
    encoded = {_text_bytes(key): child for key, child in value.items()}
    for key in sorted(encoded):
        out += key
        _write(out, encoded[key], depth)


def _text_bytes(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return _head(_TEXT, len(encoded)) + encoded


def _float(value: float) -> bytes:
    if not isfinite(value):
        raise MalformedBlock(f"dag-cbor: {value} is not in the data model")
    return bytes([_FLOAT]) + _double.pack(value)


def _scalar(value: int | None) -> bytes:
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    return _head(_UINT, value) if value >= 0 else _head(_NEGATIVE, -1 - value)


def _head(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    if value >> 64:
        raise MalformedBlock("dag-cbor: an integer does not fit 64 bits")
    size = 1 if value < 1 << 8 else 2 if value < 1 << 16 else 4 if value < 1 << 32 else 8
    return bytes([major << 5 | 23 + size.bit_length()]) + value.to_bytes(size, "big")
