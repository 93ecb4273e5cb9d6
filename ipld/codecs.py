"""The codecs by their code: blocks to values of the data model and back, and whether a block is sound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from ipld import cbor, dag_cbor, dag_json, dag_pb
from ipld.cid import CBOR, DAG_CBOR, DAG_JSON, DAG_PB, JSON, RAW, codec_name
from ipld.dag_pb_form import from_form, to_form
from ipld.data_model import Value
from ipld.errors import MalformedBlock
from ipld.json_text import parse

# Blocks of this size are decoded in a thread: a large one takes a tenth of a second, and others wait.
_ASIDE_BYTES = 32 * 1024


def _decode_json(block: bytes) -> Value:
    # Any JSON is a block of this codec: of keys that come twice the last counts, as in browsers.
    return parse(block, "json")


def _decode_dag_pb(block: bytes) -> Value:
    return to_form(dag_pb.decode(block))


def _encode_dag_pb(value: Value) -> bytes:
    node = from_form(value)
    return dag_pb.encode(node.links, node.data)


def _raw(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise MalformedBlock("raw: only bytes are a raw block")
    return value


_DECODE: Mapping[int, Callable[[bytes], Value]] = {
    RAW: bytes,
    DAG_PB: _decode_dag_pb,
    DAG_CBOR: dag_cbor.decode,
    DAG_JSON: dag_json.decode,
    JSON: _decode_json,
}
_ENCODE: Mapping[int, Callable[[Value], bytes]] = {
    RAW: _raw,
    DAG_PB: _encode_dag_pb,
    DAG_CBOR: dag_cbor.encode,
    DAG_JSON: dag_json.encode,
}
# Plain cbor has keys and tags that the data model has not: it can be checked, not decoded.
_CHECK: Mapping[int, Callable[[bytes], object]] = {**_DECODE, CBOR: cbor.check}

# The codecs whose blocks a path can lead into, key by key.
PATHED = frozenset({DAG_CBOR, DAG_JSON, JSON})


def decode(codec: int, block: bytes) -> Value:
    """The value in a block; MalformedBlock where the codec's spec refuses it, or where we lack the codec."""
    return _known(_DECODE, codec)(block)


def encode(codec: int, value: Value) -> bytes:
    """The canonical block of a value; MalformedBlock where the codec has none for it."""
    return _known(_ENCODE, codec)(value)


async def decode_aside(codec: int, block: bytes) -> Value:
    """As `decode`, without holding up the event loop over large blocks."""
    if len(block) < _ASIDE_BYTES:
        return decode(codec, block)
    return await asyncio.to_thread(decode, codec, block)


async def check(codec: int, block: bytes) -> None:
    """Raises MalformedBlock where `decode` would; for plain cbor, where the block is not well-formed."""
    sound = _known(_CHECK, codec)
    if len(block) < _ASIDE_BYTES:
        sound(block)
    else:
        await asyncio.to_thread(sound, block)


_Function = TypeVar("_Function")


def _known(table: Mapping[int, _Function], codec: int) -> _Function:
    try:
        return table[codec]
    except KeyError:
        raise MalformedBlock(f"blocks of the codec {codec_name(codec)} cannot be read here") from None
