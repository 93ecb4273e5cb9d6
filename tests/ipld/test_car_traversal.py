"""Which blocks a walk over a DAG gives, in which order, and what it never asks for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipld import dag_pb
from ipld.blocks import Block, Buffer, Leaf
from ipld.car_traversal import Chosen, entity, whole_dag
from ipld.cid import DAG_PB, RAW, Cid
from ipld.errors import BlockNotFound, MalformedBlock
from ipld.links import block_links
from ipld.unixfs.hamt import build_hamt
from ipld.unixfs.node import Kind, Link, encode_data
from storage.memory_blocks import MemoryBlocks
from tests.ipld.dags import (
    Watched,
    blocks_of,
    dag_pb_block,
    directory,
    file_message,
    inner_node,
    raw_leaf,
    read_all,
    small,
    wrapped_leaf,
)

MIB = 1024 * 1024


async def taken(walk: AsyncGenerator[Block, None]) -> list[Cid]:
    async with aclosing(walk):
        return [block.cid async for block in walk]


def reference(blocks: dict[bytes, bytes], root: Cid, duplicates: bool) -> list[Cid]:
    """The definition: the block, then what is below each link in turn; without duplicates each once."""
    found: list[Cid] = []
    waiting = [root]
    while waiting:
        cid = waiting.pop()
        if not duplicates and cid in found:
            continue
        if not cid.is_identity:
            found.append(cid)
        waiting += reversed(block_links(cid, blocks.get(cid.raw, b"")) or ())
    return found


@st.composite
def dags(draw: st.DrawFn) -> list[Block]:
    """Blocks of which each links to earlier ones, some twice; sizes of links are right, wrong or absent."""
    blocks = [raw_leaf(b"%d" % number) for number in range(draw(st.integers(1, 4)))]
    blocks.append(wrapped_leaf(b"leaf"))
    for number in range(draw(st.integers(0, 8))):
        children = draw(st.lists(st.sampled_from(blocks), min_size=1, max_size=5))
        links = [
            dag_pb.PBLink(
                child.cid, f"{place}", draw(st.sampled_from([None, 0, 7, 300_000, len(child.data)]))
            )
            for place, child in enumerate(children)
        ]
        blocks.append(dag_pb_block(dag_pb.encode(links, b"\x08\x01" if number % 2 else b"%d" % number)))
    return blocks


@settings(deadline=None)
@given(dags(), st.booleans())
async def test_every_dag_comes_in_the_order_of_its_definition(blocks: list[Block], duplicates: bool) -> None:
    data = {block.cid.raw: block.data for block in blocks}
    root = blocks[-1].cid
    assert await taken(whole_dag(MemoryBlocks(blocks), root, Chosen(duplicates))) == reference(
        data, root, duplicates
    )


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=120), st.booleans(), st.integers(0, 130), st.integers(1, 130))
async def test_a_range_gets_what_reading_it_needs_and_nothing_else(
    content: bytes, raw_leaves: bool, start: int, length: int
) -> None:
    stop = min(start + length, len(content))
    if start >= stop:
        return
    link, blocks = blocks_of(content, small(raw_leaves=raw_leaves))
    sent = await taken(entity(MemoryBlocks(blocks), link.cid, Chosen(duplicates=True), (start, stop)))
    data = {block.cid.raw: block.data for block in blocks}
    here = MemoryBlocks(Block(cid, data[cid.raw]) for cid in sent)
    assert await read_all(here, link.cid, start, stop) == content[start:stop]
    # Each is needed: without it the same read fails.
    for cid in set(sent):
        lacking = MemoryBlocks(Block(other, data[other.raw]) for other in sent if other != cid)
        with pytest.raises(BlockNotFound):
            await read_all(lacking, link.cid, start, stop)
    unique = list(dict.fromkeys(sent))
    assert await taken(entity(MemoryBlocks(blocks), link.cid, Chosen(), (start, stop))) == unique


async def test_a_node_in_two_places_is_wanted_with_other_bytes_in_each() -> None:
    first, second = raw_leaf(b"aaaa"), raw_leaf(b"bbbb")
    half = inner_node([(first, 4), (second, 4)])
    file = inner_node([(half, 8), (half, 8)])
    blocks = MemoryBlocks([first, second, half, file])
    across = await taken(entity(blocks, file.cid, Chosen(), (4, 12)))
    assert across == [file.cid, half.cid, second.cid, first.cid]
    to_the_end = await taken(entity(blocks, file.cid, Chosen(), (4, 16)))
    assert to_the_end == [file.cid, half.cid, second.cid, first.cid]
    twice = await taken(entity(blocks, file.cid, Chosen(duplicates=True), (4, 12)))
    assert twice == [file.cid, half.cid, second.cid, half.cid, first.cid]


async def test_leaves_of_the_type_raw_take_their_place_in_a_range() -> None:
    """Files as Kubo wrote them for years: dag-pb leaves of the type Raw."""
    leaves = [dag_pb_block(dag_pb.encode([], file_message([], bytes([n]) * 4, 4, kind=0))) for n in range(4)]
    halves = [inner_node([(leaves[0], 4), (leaves[1], 4)]), inner_node([(leaves[2], 4), (leaves[3], 4)])]
    file = inner_node([(halves[0], 8), (halves[1], 8)])
    blocks = MemoryBlocks([*leaves, *halves, file])
    sent = await taken(entity(blocks, file.cid, Chosen(), (4, 12)))
    assert sent == [file.cid, halves[0].cid, leaves[1].cid, halves[1].cid, leaves[2].cid]
    mixed = inner_node([(leaves[0], 4), (halves[1], 8)])
    blocks.put(mixed)
    assert await taken(entity(blocks, mixed.cid, Chosen(), (0, 8))) == [
        mixed.cid,
        leaves[0].cid,
        halves[1].cid,
        leaves[2].cid,
    ]


async def test_a_range_never_asks_for_what_lies_outside() -> None:
    link, blocks = blocks_of(bytes(range(64)), small())
    missing = next(block for block in blocks if block.data == bytes(range(32, 36)))
    here = Watched([block for block in blocks if block is not missing])
    assert await taken(entity(here, link.cid, Chosen(), (0, 32)))
    assert await taken(entity(here, link.cid, Chosen(), (36, 64)))
    assert missing.cid not in here.asked
    with pytest.raises(BlockNotFound):
        await taken(entity(here, link.cid, Chosen(), (0, 33)))


async def test_an_entity_is_a_directory_without_its_files() -> None:
    leaves = [raw_leaf(b"%d" % number) for number in range(300)]
    shards = build_hamt([Link(f"f{n}", leaf.cid, 1) for n, leaf in enumerate(leaves)], small(fanout=8))
    blocks = Watched(shards)
    sent = await taken(entity(blocks, shards[-1].cid, Chosen(), None))
    assert set(sent) == {shard.cid for shard in shards}
    whole = reference({block.cid.raw: block.data for block in shards}, shards[-1].cid, False)
    assert sent == [cid for cid in whole if cid.codec == DAG_PB]
    assert not {leaf.cid for leaf in leaves} & set(blocks.asked)
    plain = directory(("a", leaves[0]))
    assert await taken(entity(Watched([plain]), plain.cid, Chosen(), None)) == [plain.cid]


async def test_identity_cids_are_followed_and_never_sent() -> None:
    leaf = raw_leaf(b"stored")
    inline = dag_pb.encode([dag_pb.PBLink(leaf.cid, "a", 6)], encode_data(Kind.DIRECTORY))
    identity = Cid.of(inline, DAG_PB, hash="identity")
    other = Block(Cid.of(b"x", RAW, hash="identity"), b"x")
    root = directory(("d", Block(identity, inline)), ("e", other))
    for duplicates in (False, True):
        walk = whole_dag(MemoryBlocks([leaf, root]), root.cid, Chosen(duplicates))
        assert await taken(walk) == [root.cid, leaf.cid]


async def test_a_block_that_was_sent_is_not_fetched_again() -> None:
    same, other = wrapped_leaf(b"same"), wrapped_leaf(b"other")
    root = inner_node([(same, 4)] * 50 + [(other, 5)] + [(same, 4)] * 50)
    blocks = Watched([same, other, root])
    assert await taken(whole_dag(blocks, root.cid, Chosen())) == [root.cid, same.cid, other.cid]
    assert len(blocks.asked) <= 4


async def test_shared_subtrees_cost_nothing_where_each_block_is_sent_once() -> None:
    """2^200 paths, 201 blocks."""
    blocks = [raw_leaf(b"end")]
    for _ in range(200):
        links = [dag_pb.PBLink(blocks[-1].cid, name, 1) for name in ("a", "b")]
        blocks.append(dag_pb_block(dag_pb.encode(links, b"")))
    async with asyncio.timeout(60):
        sent = await taken(whole_dag(MemoryBlocks(blocks), blocks[-1].cid, Chosen()))
    assert sent == [block.cid for block in reversed(blocks)]


@pytest.mark.parametrize("claimed", [0, 1, MIB - 1, MIB + 1, 2**62])
async def test_a_size_that_a_parent_made_up_changes_nothing(claimed: int) -> None:
    leaves = [raw_leaf(bytes([number]) * MIB) for number in range(4)]
    sizes = [MIB, claimed, MIB, MIB]
    links = [dag_pb.PBLink(leaf.cid, "", size) for leaf, size in zip(leaves, sizes, strict=True)]
    root = dag_pb_block(dag_pb.encode(links, file_message(sizes)))
    blocks = MemoryBlocks([*leaves, root])
    for walk in (whole_dag(blocks, root.cid, Chosen()), entity(blocks, root.cid, Chosen(), None)):
        async with aclosing(walk):
            sent = [block async for block in walk]
        assert sent == [root, *leaves]


async def test_large_leaves_come_in_one_stream() -> None:
    content = b"".join(bytes([number]) * MIB for number in range(6))
    link, blocks = blocks_of(content)
    here = Watched(blocks)
    walk = whole_dag(here, link.cid, Chosen())
    async with aclosing(walk):
        data = [block.data async for block in walk]
    assert b"".join(data[1:]) == content
    assert here.batches == [6]


async def test_what_is_read_ahead_is_bounded_and_let_go() -> None:
    """A tree of nodes with many children each: on no level, and not on all together, too many at once."""
    level = [wrapped_leaf(b"%d" % number) for number in range(4000)]
    blocks = list(level)
    while len(level) > 1:
        level = [inner_node([(child, 1) for child in level[at : at + 16]]) for at in range(0, len(level), 16)]
        blocks += level
    here = Watched(blocks)
    walk = whole_dag(here, level[0].cid, Chosen())
    async with aclosing(walk):
        sent = 0
        async for _ in walk:
            sent += 1
            assert len(here.asked) <= sent + 25
            if sent == 100:
                break
    assert here.most <= 25
    assert here.at_once == 0
    assert len(asyncio.all_tasks()) == 1


async def test_a_missing_block_ends_the_walk_where_it_would_come() -> None:
    link, blocks = blocks_of(bytes(range(64)), small(raw_leaves=False))
    whole = await taken(whole_dag(MemoryBlocks(blocks), link.cid, Chosen()))
    gone = whole[len(whole) // 2]
    walk = whole_dag(MemoryBlocks(block for block in blocks if block.cid != gone), link.cid, Chosen())
    sent: list[Cid] = []
    with pytest.raises(BlockNotFound, match=str(gone)):
        async with aclosing(walk):
            async for block in walk:
                sent.append(block.cid)  # noqa: PERF401 - what came before the failure counts
    assert sent == whole[: len(whole) // 2]
    assert len(asyncio.all_tasks()) == 1


async def test_a_dag_may_not_be_endlessly_deep() -> None:
    blocks = [raw_leaf(b"end")]
    for _ in range(1100):
        blocks.append(dag_pb_block(dag_pb.encode([dag_pb.PBLink(blocks[-1].cid, "a", 1)], b"")))
    with pytest.raises(MalformedBlock, match="deep"):
        await taken(whole_dag(MemoryBlocks(blocks), blocks[-1].cid, Chosen()))
    assert len(await taken(whole_dag(MemoryBlocks(blocks), blocks[900].cid, Chosen()))) == 901


async def test_a_leaf_that_comes_in_several_pieces() -> None:
    """As from a disk: each piece is an object of its own, and none of them is the block."""

    class InPieces(MemoryBlocks):
        async def stream(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Buffer, None]:
            for leaf in leaves:
                data = await self.get(leaf.cid)
                for at in range(0, len(data), MIB // 4):
                    yield data[at : at + MIB // 4]

    link, blocks = blocks_of(b"".join(bytes([number]) * MIB for number in range(3)))
    walk = whole_dag(InPieces(blocks), link.cid, Chosen())
    async with aclosing(walk):
        assert {block async for block in walk} == set(blocks)
