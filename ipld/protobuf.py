"""Protobuf messages of a few fields: reading them strictly, and writing them in canonical order."""

from __future__ import annotations

from collections.abc import Iterable

from ipld import varint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# The largest field number that protobuf has.
_MAX_FIELD = (1 << 29) - 1

Field = int | bytes


class InvalidProtobuf(ValueError):
    """Not a message, or one that two readers could take for different ones."""


def read(message: bytes, max_fields: int = 64) -> dict[int, Field]:
    """The varint and length-delimited fields of a message, by number; others are passed over.

    Raises InvalidProtobuf, also where a field comes twice: parsers differ in which one they take.
    """
    fields: dict[int, Field] = {}
    at, stop = 0, len(message)
    try:
        for _ in range(max_fields):
            if at == stop:
                return fields
            key, at = varint.read_protobuf(message, at, stop)
            number, kind = key >> 3, key & 7
            if not 0 < number <= _MAX_FIELD or number in fields:
                raise InvalidProtobuf(f"field {number} comes twice or cannot be")
            fields[number], at = _value(message, at, kind)
    except varint.InvalidVarint as error:
        raise InvalidProtobuf(str(error)) from error
    if at == stop:
        return fields
    raise InvalidProtobuf(f"more than {max_fields} fields")


def _value(message: bytes, at: int, kind: int) -> tuple[Field, int]:
    if kind == _VARINT:
        return varint.read_protobuf(message, at, len(message))
    if kind == _BYTES:
        size, at = varint.read_protobuf(message, at, len(message))
    elif kind in (_FIXED32, _FIXED64):
        size = 4 if kind == _FIXED32 else 8
    else:
        raise InvalidProtobuf(f"wire type {kind} is not known")
    if size > len(message) - at:
        raise InvalidProtobuf("a field is cut off")
    return message[at : at + size], at + size


def write(fields: Iterable[tuple[int, Field | None]]) -> bytes:
    """The message with these fields in this order; those that are None are left out."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += varint.encode(number << 3 | _VARINT) + varint.encode(value)
        elif value is not None:
            out += varint.encode(number << 3 | _BYTES) + varint.encode(len(value)) + value
    return bytes(out)
