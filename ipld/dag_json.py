"""The dag-json codec: JSON with links and bytes, read strictly and written canonically."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from decimal import Decimal
from math import isfinite

from ipld.cid import Cid
from ipld.data_model import MAX_DEPTH, Value
from ipld.errors import InvalidCid, MalformedBlock
from ipld.json_text import Pairs, parse

_RESERVED = "/"
_BYTES = "bytes"
_BASE64 = re.compile("[A-Za-z0-9+/]*")

_quoted = json.JSONEncoder(ensure_ascii=False).encode


def decode(block: bytes) -> Value:
    """The value in a block; MalformedBlock for duplicate keys, misuse of `/`, NaN and what is no JSON.

    Spaces and the order of keys are free: the spec asks for the one canonical form of writers only, and what
    other gateways read is not to be refused here.
    """
    return parse(block, "dag-json", _object, _float)


def _float(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise MalformedBlock("a float does not fit 64 bits")
    return value


def _object(pairs: Pairs) -> Value:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise MalformedBlock("a map has a key twice")
    inner = _reserved(values)
    if inner is None:
        return values
    if len(values) > 1:
        raise MalformedBlock('a map that begins with "/" has more than a link or bytes')
    return _link(inner) if isinstance(inner, str) else _bytes(inner)


def _reserved(values: dict[str, Value]) -> str | dict[str, Value] | None:
    """What "/" holds, where the map is in the reserved namespace (spec, "The Reserved Namespace")."""
    inner = values.get(_RESERVED)
    if isinstance(inner, str):
        return inner if min(values) == _RESERVED else None
    if not isinstance(inner, dict) or not isinstance(inner.get(_BYTES), str):
        return None
    # Only first keys count, in the order of the bytes of the keys, which is that of Python's strings.
    return inner if min(inner) == _BYTES and min(values) == _RESERVED else None


def _link(text: str) -> Cid:
    try:
        cid = Cid.parse(text)
    except InvalidCid as error:
        raise MalformedBlock(f"a link holds no CID: {error}") from error
    if str(cid) != text:
        raise MalformedBlock("a link is written in base32, or in base58 for CIDv0")
    return cid


def _bytes(inner: dict[str, Value]) -> bytes:
    text = inner[_BYTES]
    if len(inner) > 1 or not isinstance(text, str) or not _BASE64.fullmatch(text) or len(text) % 4 == 1:
        raise MalformedBlock("bytes are written as base64 without padding")
    data = b64decode(text + "=" * (-len(text) % 4))
    # The last character may have bits that stand for nothing.
    if _base64(data) != text:
        raise MalformedBlock("bytes end in bits that mean nothing")
    return data


def _base64(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


def encode(value: Value) -> bytes:
    """The canonical bytes; MalformedBlock where dag-json has none for the value."""
    out: list[str] = []
    _write(out, value, MAX_DEPTH)
    try:
        return "".join(out).encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedBlock("dag-json: a string has lone surrogates") from error


def _write(out: list[str], value: Value, depth: int) -> None:
    if isinstance(value, list | dict):
        if depth == 0:
            raise MalformedBlock(f"dag-json: more than {MAX_DEPTH} lists and maps inside each other")
        _write_children(out, value, depth - 1)
    elif isinstance(value, bytes):
        out.append(f'{{"/":{{"bytes":"{_base64(value)}"}}}}')
    elif isinstance(value, Cid):
        out.append(f'{{"/":"{value}"}}')
    elif isinstance(value, float):
        out.append(_float_text(value))
    else:
        out.append(_scalar(value))


def _write_children(out: list[str], value: list[Value] | dict[str, Value], depth: int) -> None:
    if isinstance(value, list):
        for index, child in enumerate(value):
            out.append("," if index else "[")
            _write(out, child, depth)
        out.append("]" if value else "[]")
        return
    if _reserved(value) is not None:
        raise MalformedBlock('dag-json: a map that begins with "/" would be taken for a link or bytes')
    for index, key in enumerate(sorted(value)):
        out.append(f"{',' if index else '{'}{_quoted(key)}:")
        _write(out, value[key], depth)
    out.append("}" if value else "{}")


def _scalar(value: str | int | None) -> str:
    try:
        return _quoted(value)
    except ValueError as error:
        raise MalformedBlock("dag-json: an integer has too many digits") from error


def _float_text(value: float) -> str:
    """As JavaScript writes numbers, and Go too, always with a point or an exponent: it is no integer."""
    if not isfinite(value):
        raise MalformedBlock(f"dag-json: {value} is not in the data model")
    digits, _, exponent = repr(value).partition("e")
    if not exponent:
        return digits
    if 1e-6 <= abs(value) < 1e21:
        plain = format(Decimal(repr(value)), "f")
        return plain if "." in plain else f"{plain}.0"
    return f"{digits}e{int(exponent):+d}"
