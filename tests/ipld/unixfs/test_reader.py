from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipld import dag_pb
from ipld.blocks import Block, Leaf, Piece
from ipld.cid import RAW, Cid
from ipld.errors import BlockNotFound, MalformedBlock, NotALeaf, NotUnixFs, WrongKind
from ipld.unixfs import reader
from ipld.unixfs.directory import build_directory, build_symlink
from ipld.unixfs.node import Kind
from ipld.unixfs.profiles import UNIXFS_V1_2025
from ipld.unixfs.reader import open_file, stream_by_get
from storage.memory_blocks import MemoryBlocks
from tests.ipld.dags import (
    Watched,
    blocks_of,
    dag_pb_block,
    file_message,
    inner_node,
    raw_leaf,
    read_all,
    small,
    wrapped_leaf,
)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=300),
    st.integers(1, 20),
    st.integers(2, 6),
    st.booleans(),
    st.integers(0, 1),
    st.tuples(st.integers(0, 310), st.integers(0, 310)),
)
async def test_any_range_of_what_was_written(
    data: bytes, chunk: int, width: int, raw: bool, version: int, span: tuple[int, int]
) -> None:
    link, made = blocks_of(data, small(chunk, width, raw, cid_version=version))
    blocks = MemoryBlocks(made)
    start, stop = sorted(span)
    assert await read_all(blocks, link.cid, start, stop) == data[start:stop]
    assert await read_all(blocks, link.cid) == data


async def test_leaves_are_not_fetched_to_find_out_that_they_are_leaves() -> None:
    data = bytes(range(250)) * 40
    link, made = blocks_of(data, small(10, 10, raw_leaves=False))
    blocks = Watched(made)
    assert await read_all(blocks, link.cid) == data
    inner = 1 + 10 + 100
    assert len(blocks.asked) == inner + 1
    assert sum(blocks.batches) == 999
    assert max(blocks.batches) > 200


async def test_a_range_touches_only_its_own_nodes() -> None:
    data = bytes(range(256)) * 10
    link, made = blocks_of(data, small(10, 4))
    top = next(block for block in made if block.cid == link.cid)
    needed = Watched(made)
    assert await read_all(needed, link.cid, 1000, 1015) == data[1000:1015]
    kept = MemoryBlocks([top, *(block for block in made if block.cid in needed.asked)])
    kept.put_all(raw_leaf(data[at : at + 10]) for at in (1000, 1010))
    assert await read_all(kept, link.cid, 1000, 1015) == data[1000:1015]
    with pytest.raises(BlockNotFound):
        await read_all(kept, link.cid, 900, 1015)


def trickle(wrap: bool) -> tuple[Block, list[Block], bytes]:
    """Two direct leaves, then subtrees, the last one as small as a leaf: kubo's `--trickle`."""
    make = wrapped_leaf if wrap else raw_leaf
    leaves = [make(text) for text in (b"aaaa", b"bbbb", b"cccc", b"dddd", b"eeee")]
    first = inner_node([(leaves[2], 4), (leaves[3], 4)])
    last = inner_node([(leaves[4], 4)])
    root = inner_node([(leaves[0], 4), (leaves[1], 4), (first, 8), (last, 4)])
    return root, [*leaves, first, last, root], b"aaaabbbbccccddddeeee"


@pytest.mark.parametrize("wrap", [True, False])
async def test_trickle(wrap: bool) -> None:
    root, made, data = trickle(wrap)
    blocks = MemoryBlocks(made)
    for start in range(len(data)):
        for stop in range(start, len(data) + 1):
            assert await read_all(blocks, root.cid, start, stop) == data[start:stop]


async def test_a_wrong_guess_gives_no_byte_twice() -> None:
    """Subtrees as small as the leaves beside them stand in the middle of a batch."""
    leaves = [wrapped_leaf(bytes([65 + n]) * 4) for n in range(8)]
    trees = [inner_node([(leaf, 4)]) for leaf in leaves[::2]]
    mixed = [(trees[n // 2] if n % 2 == 0 and n else leaves[n], 4) for n in range(8)]
    root = inner_node(mixed)
    blocks = MemoryBlocks([*leaves, *trees, root])
    data = b"".join(bytes([65 + n]) * 4 for n in range(8))
    assert await read_all(blocks, root.cid) == data
    assert await read_all(blocks, root.cid, 3, 29) == data[3:29]


async def test_data_inside_inner_nodes_and_mixed_kinds_of_children() -> None:
    raw, wrapped = raw_leaf(b"raw"), wrapped_leaf(b"wrapped", version=0)
    identity = Block(Cid.of(b"same", RAW, hash="identity"), b"same")
    empty = wrapped_leaf(b"")
    inner = inner_node([(wrapped, 7), (empty, 0), (identity, 4)], data=b"[inner]")
    old_raw = dag_pb_block(dag_pb.encode((), file_message([], b"old", kind=0)))
    root = inner_node([(inner, 18), (raw, 3), (old_raw, 3)], data=b"[top]")
    blocks = MemoryBlocks([raw, wrapped, empty, inner, old_raw, root])
    data = b"[top][inner]wrappedsamerawold"
    for start in range(len(data)):
        assert await read_all(blocks, root.cid, start) == data[start:]
        assert await read_all(blocks, root.cid, start, start + 5) == data[start : start + 5]


async def test_filesize_may_be_missing() -> None:
    leaf = raw_leaf(b"abc")
    root = inner_node([(leaf, 3)], filesize=None)
    assert await read_all(MemoryBlocks([leaf, root]), root.cid) == b"abc"


@pytest.mark.parametrize("claim", [2, 4, 0, 2**63])
@pytest.mark.parametrize("make", [raw_leaf, wrapped_leaf])
async def test_sizes_that_lie(claim: int, make: type) -> None:
    leaf = make(b"abc")
    good = wrapped_leaf(b"x" * 9)
    root = inner_node([(good, 9), (leaf, claim)])
    blocks = MemoryBlocks([leaf, good, root])
    if claim == 0:
        assert await read_all(blocks, root.cid) == b"x" * 9
        return
    with pytest.raises(MalformedBlock):
        await read_all(blocks, root.cid, 0, 20)


class LyingBlocks(MemoryBlocks):
    """Streams something else than it was asked for."""

    said = b""

    async def spans(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Piece, None]:
        yield self.said


@pytest.mark.parametrize("said", [b"ab", b"abcd", b""])
async def test_store_that_gives_too_much_or_too_little(said: bytes) -> None:
    leaf = raw_leaf(b"abc")
    root = inner_node([(leaf, 3)])
    blocks = LyingBlocks([root])
    blocks.said = said
    with pytest.raises(MalformedBlock):
        await read_all(blocks, root.cid)


async def test_bombs_run_into_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = wrapped_leaf(b"x")
    chain = [inner_node([(leaf, 1)])]
    for _ in range(reader.MAX_DEPTH + 1):
        chain.append(inner_node([(chain[-1], 1)]))
    with pytest.raises(MalformedBlock, match="too deep"):
        await read_all(MemoryBlocks([leaf, *chain]), chain[-1].cid)
    assert await read_all(MemoryBlocks([leaf, *chain]), chain[40].cid) == b"x"
    monkeypatch.setattr(reader, "FREE_NODES", 3)
    with pytest.raises(MalformedBlock, match="too many nodes"):
        await read_all(MemoryBlocks([leaf, *chain]), chain[40].cid)


async def test_a_range_of_an_enormous_file() -> None:
    """Each level repeats one child 100 times: 10^19 bytes declared by a few blocks."""
    node, size = wrapped_leaf(b"0123456789"), 10
    made = [node]
    for _ in range(9):
        node = inner_node([(node, size)] * 100)
        size *= 100
        made.append(node)
    assert await read_all(MemoryBlocks(made), node.cid, size - 13) == b"7890123456789"


async def test_what_is_a_file() -> None:
    link = build_symlink("target", UNIXFS_V1_2025)
    blocks = MemoryBlocks([link, *build_directory([], UNIXFS_V1_2025)])
    assert await read_all(blocks, link.cid) == b"target"
    assert (await open_file(blocks, link.cid)).kind is Kind.SYMLINK
    with pytest.raises(WrongKind):
        await open_file(blocks, build_directory([], UNIXFS_V1_2025)[0].cid)
    with pytest.raises(NotUnixFs):
        await open_file(MemoryBlocks([Block(Cid.of(b"\xa0", 0x71), b"\xa0")]), Cid.of(b"\xa0", 0x71))
    with pytest.raises(BlockNotFound):
        await open_file(blocks, Cid.of(b"not there"))


async def test_children_that_are_no_files() -> None:
    directory = build_directory([], UNIXFS_V1_2025)[0]
    cbor = Block(Cid.of(b"\xa0", 0x71), b"\xa0")
    for child in (directory, cbor):
        root = inner_node([(child, 5)])
        with pytest.raises(MalformedBlock):
            await read_all(MemoryBlocks([child, root]), root.cid)


class TestStreamByGet:
    async def test_reads_ahead_no_further_than_asked(self) -> None:
        leaves = [raw_leaf(bytes([n]) * 3) for n in range(20)]
        store, running, most = MemoryBlocks(leaves), 0, 0

        async def get(cid: Cid) -> bytes:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return await store.get(cid)

        wanted = [Leaf(leaf.cid, 3, 1, 3) for leaf in leaves]
        async with aclosing(stream_by_get(get, wanted, ahead=4)) as pieces:
            read = b"".join([bytes(piece) async for piece in pieces])
        assert read == b"".join(bytes([n]) * 2 for n in range(20))
        assert most == 4

    async def test_closing_ends_what_is_under_way(self) -> None:
        leaves = [raw_leaf(bytes([n])) for n in range(5)]
        store, ended = MemoryBlocks(leaves), list[str]()

        async def get(cid: Cid) -> bytes:
            try:
                await asyncio.sleep(0 if cid == leaves[0].cid else 3600)
            except asyncio.CancelledError:
                ended.append(str(cid))
                raise
            return await store.get(cid)

        async with aclosing(stream_by_get(get, [Leaf(leaf.cid, 1, 0, 1) for leaf in leaves])) as pieces:
            assert await anext(pieces) == b"\0"
            await asyncio.sleep(0)
        assert len(ended) == 4
        assert len(asyncio.all_tasks()) == 1

    async def test_failure_reaches_the_caller(self) -> None:
        leaf, inner = raw_leaf(b"abc"), inner_node([])
        tree = inner_node([(leaf, 3)])
        store = MemoryBlocks([leaf, inner, tree])
        for broken, error in (
            (Leaf(Cid.of(b"gone"), 1, 0, 1), BlockNotFound),
            (Leaf(leaf.cid, 4, 0, 4), MalformedBlock),
            (Leaf(tree.cid, 3, 0, 3), NotALeaf),
        ):
            with pytest.raises(error):
                async for _ in stream_by_get(store.get, [Leaf(leaf.cid, 3, 0, 3), broken]):
                    pass
