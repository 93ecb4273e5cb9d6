from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipld import dag_pb
from ipld.cid import DAG_PB, RAW, Cid
from ipld.dag_pb import PBLink
from ipld.errors import MalformedBlock
from tests.fixture_data import fixture, fixture_files, needs_fixtures

cids = st.builds(
    lambda data, codec, function: Cid.of(data, codec, hash=function),
    st.binary(max_size=4),
    st.sampled_from([RAW, DAG_PB, 0x0129]),
    st.sampled_from(["sha2-256", "identity", "sha2-512"]),
) | st.builds(lambda data: Cid.of(data, DAG_PB, 0), st.binary(max_size=4))
links = st.builds(
    PBLink,
    cids,
    st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
    st.none() | st.integers(0, 2**64 - 1),
)


@given(st.lists(links, max_size=5), st.none() | st.binary(max_size=40))
def test_round_trip(links: list[PBLink], data: bytes | None) -> None:
    block = dag_pb.encode(links, data)
    node = dag_pb.decode(block)
    assert node.links == tuple(links)
    assert node.data == data
    assert dag_pb.encode(node.links, node.data) == block
    for link in links:
        if link.name is not None and link.tsize is not None:
            size = dag_pb.link_size(link.name.encode(), link.cid, link.tsize)
            assert size == len(dag_pb.encode([link]))


def test_data_may_come_first() -> None:
    link = PBLink(Cid.of(b""), "a", 1)
    body = dag_pb.encode([link])
    node = dag_pb.decode(b"\x0a\x01x" + body)
    assert (node.links, node.data) == ((link,), b"x")


def test_names_that_are_not_utf8_keep_their_bytes() -> None:
    cid = Cid.of(b"")
    raw = dag_pb.encode([PBLink(cid, "xx", 1)]).replace(b"xx", b"\xff\xfe")
    node = dag_pb.decode(raw)
    assert node.links[0].name == "\udcff\udcfe"
    assert dag_pb.encode(node.links) == raw


LINK = dag_pb.encode([PBLink(Cid.of(b""), "a", 1)])
HASH, NAME, TSIZE = LINK[2:40], b"\x12\x01a", b"\x18\x01"


def in_node(body: bytes) -> bytes:
    return b"\x12" + bytes([len(body)]) + body


@pytest.mark.parametrize(
    "block",
    [
        b"\x0a\x00\x0a\x00",
        b"\x0a\x00" + LINK + b"\x0a\x00",
        LINK + b"\x0a\x00" + LINK,
        b"\x1a\x00",
        LINK + b"\x08\x01",
        LINK[:-1],
        b"\x12",
        b"\x0a\x05x",
        in_node(NAME + HASH),
        in_node(HASH + TSIZE + NAME),
        in_node(HASH + HASH),
        in_node(HASH + NAME + NAME),
        in_node(HASH + TSIZE + TSIZE),
        in_node(HASH + NAME + b"\x18"),
        in_node(HASH + NAME + b"\x18\x80"),
        in_node(HASH + NAME + b"\x18" + b"\xff" * 10),
        in_node(HASH + NAME + TSIZE + b"\x20\x01"),
        in_node(b"\x0a\x03abc"),
        in_node(HASH + b"\x12\x20a"),
        b"\x12" + b"\xff" * 9 + b"\x01",
        b"\x0a" + b"\xff" * 10,
    ],
)
def test_what_decoders_refuse(block: bytes) -> None:
    with pytest.raises(MalformedBlock):
        dag_pb.decode(block)


def test_number_of_links_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag_pb, "MAX_LINKS", 2)
    dag_pb.decode(LINK * 2)
    with pytest.raises(MalformedBlock):
        dag_pb.decode(LINK * 3)


@given(st.binary(max_size=100), st.integers(0, 50), st.integers(0, 255))
def test_only_malformed_block_is_raised(noise: bytes, at: int, byte: int) -> None:
    mutated = bytearray(LINK * 2 + b"\x0a\x02hi")
    mutated[at] = byte
    for block in (noise, b"\x12" + noise, bytes(mutated), bytes(mutated[: at + 20])):
        try:
            node = dag_pb.decode(block)
        except MalformedBlock:
            continue
        assert dag_pb.decode(dag_pb.encode(node.links, node.data)) == node


class TestVectors:
    pytestmark = needs_fixtures

    def test_fixtures_round_trip_to_the_same_bytes(self) -> None:
        files = fixture_files("codec/*/*.dag-pb")
        assert files
        for file in files:
            node = dag_pb.decode(file.read_bytes())
            assert dag_pb.encode(node.links, node.data) == file.read_bytes()

    def test_negative_fixtures_are_refused(self) -> None:
        for case in json.loads(fixture("codec-negative/dag-pb/decode/edges.json")):
            with pytest.raises(MalformedBlock):
                dag_pb.decode(bytes.fromhex(case["hex"]))


@given(st.lists(st.sampled_from([b"", b"a", b"long"]), max_size=8), st.integers(0, 255), st.data())
def test_the_fast_ways_agree_with_the_slow_one(names: list[bytes], byte: int, data: st.DataObject) -> None:
    """One byte of a sound node is changed: all ways must still see the same links, or none."""
    raw = dag_pb.encode([PBLink(Cid.of(name, DAG_PB), name.decode(), 300) for name in names], b"x")
    block = bytearray(raw)
    block[data.draw(st.integers(0, len(raw) - 1))] = byte
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dag_pb, "_file_links", lambda _block, at: ([], at))
        patch.setattr(dag_pb, "_common_link", lambda _block, _at: None)
        slow = attempt(bytes(block))
    assert attempt(bytes(block)) == slow


def attempt(block: bytes) -> dag_pb.PBNode | None:
    try:
        return dag_pb.decode(block)
    except MalformedBlock:
        return None
