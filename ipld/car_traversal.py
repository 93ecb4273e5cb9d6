"""Which blocks a CAR carries: depth first, as the trustless gateway spec orders them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from ipld.blocks import Block, BlockReader
from ipld.cid import RAW, Cid
from ipld.errors import MalformedBlock, NotUnixFs
from ipld.links import block_links
from ipld.lookahead import in_order
from ipld.unixfs.hamt import Shard
from ipld.unixfs.node import Kind, Node, decode_node

# Blocks asked for at once below one node, and how deep a DAG may be.
AHEAD = 8
MAX_DEPTH = 1024


@dataclass(slots=True)
class Chosen:
    """The blocks that were given out; with `duplicates` they may come again.

    34 bytes and a slot for each block: a million blocks take about 100 MB.
    """

    duplicates: bool = False
    _seen: set[bytes] = field(default_factory=set)

    def take(self, cid: Cid) -> bool:
        """Whether the block is to be sent now. Identity CIDs carry their data themselves: never."""
        if cid.is_identity:
            return False
        if self.duplicates:
            return True
        if cid.raw in self._seen:
            return False
        self._seen.add(cid.raw)
        return True

    def is_done(self, cid: Cid) -> bool:
        """Whether all below the CID was sent as well."""
        return not self.duplicates and cid.raw in self._seen


Below = Callable[[Cid, bytes], Sequence[Cid]]


class _Level:
    """A node whose children are being sent."""

    __slots__ = ("blocks", "children")

    def __init__(self, reader: BlockReader, cids: Sequence[Cid]) -> None:
        self.children: Iterator[Cid] = iter(cids)
        self.blocks = in_order(reader.get, cids, AHEAD)


async def whole_dag(reader: BlockReader, root: Cid, chosen: Chosen) -> AsyncGenerator[Block, None]:
    """Every block under the root, it first. Raises BlockNotFound where one is missing."""
    async with aclosing(_walk(reader, root, chosen, _below_all)) as blocks:
        async for block in blocks:
            yield block


async def entity(
    reader: BlockReader, root: Cid, chosen: Chosen, span: tuple[int, int] | None
) -> AsyncGenerator[Block, None]:
    """What one file needs (`span`: only its bytes start up to stop), or the listing of a directory."""
    parts = _EntityParts(span)
    async with aclosing(_walk(reader, root, chosen, parts.below)) as blocks:
        async for block in blocks:
            yield block


def _below_all(cid: Cid, data: bytes) -> Sequence[Cid]:
    """Every link of the block."""
    return block_links(cid, data) or ()


class _EntityParts:
    """The children that belong to the same file or directory; remembers where a file's parts begin."""

    def __init__(self, span: tuple[int, int] | None) -> None:
        self._span = span
        self._starts: list[int] = [0]

    def below(self, cid: Cid, data: bytes) -> Sequence[Cid]:
        try:
            node = decode_node(cid, data)
        except NotUnixFs:
            return ()
        if node.kind == Kind.SHARD:
            return [slot.cid for slot in Shard(node).slots() if not slot.name]
        if node.kind != Kind.FILE:
            return ()
        return self._file_parts(node)

    def _file_parts(self, node: Node) -> Sequence[Cid]:
        if self._span is None:
            return [link.cid for link in node.links]
        if len(node.blocksizes) != len(node.links):
            raise MalformedBlock(f"{node.cid} has {len(node.links)} links, {len(node.blocksizes)} blocksizes")
        wanted: list[tuple[Cid, int]] = []
        position = self._starts.pop() + len(node.data)
        for link, size in zip(node.links, node.blocksizes, strict=True):
            if position < self._span[1] and position + size > self._span[0]:
                wanted.append((link.cid, position))
            position += size
        # Depth first: the first child asks for its start before any other one does.
        self._starts.extend(start for cid, start in reversed(wanted) if cid.codec != RAW)
        return [cid for cid, _ in wanted]


async def _walk(reader: BlockReader, root: Cid, chosen: Chosen, below: Below) -> AsyncGenerator[Block, None]:
    levels = [_Level(reader, [root])]
    try:
        while levels:
            cid = next(levels[-1].children, None)
            if cid is None:
                await levels.pop().blocks.aclose()
                continue
            data = await anext(levels[-1].blocks)
            done = chosen.is_done(cid)
            if chosen.take(cid):
                yield Block(cid, data)
            if cid.codec == RAW or done:
                continue
            children = below(cid, data)
            if children:
                if len(levels) == MAX_DEPTH:
                    raise MalformedBlock(f"the DAG is deeper than {MAX_DEPTH} blocks")
                levels.append(_Level(reader, children))
    finally:
        for level in levels:
            await level.blocks.aclose()
