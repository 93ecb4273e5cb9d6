from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld import dag_pb
from ipld.cid import DAG_CBOR, Cid
from ipld.errors import MalformedBlock, NotALeaf, NotUnixFs
from ipld.unixfs.node import Kind, Mtime, Node, decode_node, leaf_data
from tests.ipld.dags import dag_pb_block, file_message, inner_node, raw_leaf, wrapped_leaf


def node(message: bytes) -> Node:
    block = dag_pb_block(dag_pb.encode((), message))
    return decode_node(block.cid, block.data)


def test_metadata_of_unixfs_1_5() -> None:
    found = node(b"\x08\x01\x38\xa4\x03\x42\x0b\x08\x80\x92\xb8\xc3\x05\x15\x01\x00\x00\x00")
    assert (found.kind, found.mode) == (Kind.DIRECTORY, 0o644)
    assert found.mtime == Mtime(1483606272, 1)
    before_1970 = node(b"\x08\x01\x42\x0b\x08" + b"\xff" * 9 + b"\x01")
    assert before_1970.mtime == Mtime(-1)


def test_unknown_fields_are_skipped_and_packed_sizes_read() -> None:
    found = node(
        b"\x78\x01" + b"\x08\x02" + b"\x7a\x01x" + b"\x7d\0\0\0\0" + b"\x79" + b"\0" * 8 + b"\x22\x02\x05\x06"
    )
    assert found.blocksizes == (5, 6)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x18\x01",
        b"\x08\x06",
        b"\x08",
        b"\x12\x05x",
        b"\x08\x02{",
        b"\x08\x02}\x00",
        b"\x08\x02" + b"\xff" * 11,
        b"\x08\x02B\x05\x15\xff\xff\xff\xff",
        b"\x08\x02B\x01\x00",
    ],
)
def test_data_that_is_not_unixfs(message: bytes) -> None:
    with pytest.raises(NotUnixFs):
        node(message)


def test_other_codecs_are_not_unixfs() -> None:
    with pytest.raises(NotUnixFs):
        decode_node(Cid.of(b"\xa0", DAG_CBOR), b"\xa0")
    with pytest.raises(NotUnixFs):
        decode_node(Cid.of(b"", 0x70), b"")


def test_sizes_must_agree() -> None:
    assert node(file_message([], b"abc")).size == 3
    assert node(file_message([], b"abc", filesize=None)).size == 3
    for message in (file_message([], b"abc", filesize=4), file_message([3]), file_message([], filesize=1)):
        with pytest.raises(MalformedBlock):
            _ = node(message).size


def test_leaf_data() -> None:
    leaf = wrapped_leaf(b"abc")
    assert leaf_data(leaf.cid, leaf.data) == b"abc"
    raw = raw_leaf(b"abc")
    assert leaf_data(raw.cid, raw.data) == b"abc"
    inner = inner_node([(raw, 3)])
    with pytest.raises(NotALeaf):
        leaf_data(inner.cid, inner.data)
    for message in (b"\x08\x01", b"\x08\x02\x18\x05", b"nonsense"):
        block = dag_pb_block(dag_pb.encode((), message))
        with pytest.raises(MalformedBlock):
            leaf_data(block.cid, block.data)


@given(st.binary(max_size=60))
def test_only_typed_errors(message: bytes) -> None:
    for block in (dag_pb_block(message), dag_pb_block(dag_pb.encode((), b"\x08\x02" + message))):
        with suppress(MalformedBlock, NotUnixFs):
            _ = decode_node(block.cid, block.data).size
