"""Which blocks a CAR carries: depth first, as the trustless gateway spec orders them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from ipld import dag_pb
from ipld.blocks import Block, BlockReader, Piece
from ipld.car_fetching import Fetching, Part
from ipld.cid import DAG_PB, RAW, Cid
from ipld.errors import MalformedBlock, NotUnixFs
from ipld.links import block_links
from ipld.unixfs.hamt import Shard
from ipld.unixfs.node import Kind, Node, decode_node

# How deep a DAG may be, and how many links may wait for their turn on all levels: about 100 MB of them.
MAX_DEPTH = 1024
MAX_WAITING = 500_000
# Blocks of this size are decoded in a thread: one of 2 MiB takes a tenth of a second.
_ASIDE_BYTES = 32 * 1024


@dataclass(slots=True)
class Chosen:
    """The blocks that were given out; with `duplicates` they may come again.

    A CID and a slot for each block: a million blocks take about 100 MB.
    """

    duplicates: bool = False
    _seen: set[bytes] = field(default_factory=set)
    # Nodes below which a part of a byte range was sent.
    _walked: set[tuple[bytes, tuple[int, int] | None]] = field(default_factory=set)

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

    def is_done(self, part: Part, *, ranged: bool) -> bool:
        """Whether the block, and all that is wanted of what lies below it, was sent before."""
        if self.duplicates or part.cid.raw not in self._seen:
            return False
        # The same node in two places of a file may be wanted with other bytes in each.
        return not ranged or part.cid.codec == RAW or (part.cid.raw, part.span) in self._walked

    def enter(self, part: Part) -> None:
        """What is wanted below the part is about to be sent; called in walks over a byte range."""
        if not self.duplicates and part.cid.codec != RAW:
            self._walked.add((part.cid.raw, part.span))


Below = Callable[[Part, bytes], Sequence[Part]]

# What a walk gives: a block, or from a SectionReader pieces of a CAR that have their frames already.
Walk = AsyncGenerator[Block | Piece, None]


def whole_dag(reader: BlockReader, root: Cid, chosen: Chosen) -> Walk:
    """Every block under the root, it first. Raises BlockNotFound where one is missing."""
    return _walk(reader, Part(root), chosen, _links)


def entity(reader: BlockReader, root: Cid, chosen: Chosen, span: tuple[int, int] | None) -> Walk:
    """What one file needs (`span`: only its bytes start up to stop), or the listing of a directory."""
    return _walk(reader, Part(root, span=span), chosen, _entity_parts, ranged=span is not None)


def _links(part: Part, data: bytes) -> Sequence[Part]:
    """Every link of the block."""
    if part.cid.codec != DAG_PB:
        return [Part(cid) for cid in block_links(part.cid, data) or ()]
    # The Tsize of a link to a raw block is the block's size, in files and directories alike.
    return [Part(link.cid, link.tsize or 0) for link in dag_pb.decode(data).links]


def _entity_parts(part: Part, data: bytes) -> Sequence[Part]:
    """The children that belong to the same file or directory."""
    try:
        node = decode_node(part.cid, data)
    except NotUnixFs:
        return ()
    if node.kind == Kind.SHARD:
        return [Part(slot.cid) for slot in Shard(node).slots() if not slot.name]
    if node.kind != Kind.FILE:
        return ()
    if part.span is None:
        return [Part(link.cid, link.tsize or 0) for link in node.links]
    return _file_parts(node, *part.span)


def _file_parts(node: Node, start: int, stop: int) -> Sequence[Part]:
    """The children that the range touches, each with its share of the range, None for all of it."""
    if len(node.blocksizes) != len(node.links):
        raise MalformedBlock(f"{node.cid} has {len(node.links)} links, {len(node.blocksizes)} blocksizes")
    parts: list[Part] = []
    offset = len(node.data)
    for link, size in zip(node.links, node.blocksizes, strict=True):
        first, last = max(0, start - offset), min(size, stop - offset)
        if first < last:
            parts.append(Part(link.cid, size, None if last - first == size else (first, last)))
        offset += size
    return parts


async def _walk(
    reader: BlockReader, root: Part, chosen: Chosen, below: Below, *, ranged: bool = False
) -> Walk:
    def is_done(part: Part) -> bool:
        return chosen.is_done(part, ranged=ranged)

    async with Fetching(reader, is_done, chosen.take) as fetching:
        fetching.begin(root)
        async with aclosing(fetching.blocks()) as found:
            async for each in found:
                if not isinstance(each, tuple):
                    yield each
                    continue
                part, data = each
                if chosen.take(part.cid):
                    yield Block(part.cid, data)
                if part.cid.codec == RAW:
                    continue
                if ranged:
                    chosen.enter(part)
                _descend(fetching, await _decoded(below, part, data))


def _descend(fetching: Fetching, parts: Sequence[Part]) -> None:
    if not parts:
        return
    if fetching.depth == MAX_DEPTH or fetching.waiting + len(parts) > MAX_WAITING:
        raise MalformedBlock(f"the DAG is deeper than {MAX_DEPTH} blocks, or too wide")
    fetching.descend(parts)


async def _decoded(below: Below, part: Part, data: bytes) -> Sequence[Part]:
    return below(part, data) if len(data) < _ASIDE_BYTES else await asyncio.to_thread(below, part, data)
