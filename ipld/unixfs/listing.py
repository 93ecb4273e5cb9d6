"""Directory entries: all of them in stored order, or one by name, in plain and HAMT directories."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from ipld.blocks import BlockReader
from ipld.cid import Cid
from ipld.dag_pb import PBLink, name_bytes
from ipld.errors import MalformedBlock, NotUnixFs, WrongKind
from ipld.lookahead import in_order
from ipld.unixfs.hamt import Position, Shard, Slot, max_depth
from ipld.unixfs.node import LISTABLE, Kind, Link, Node, decode_node

# Shards asked for at once at each level of a HAMT.
SHARDS_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Lookup:
    """The entry (its own name), or None; and every block that was fetched to know."""

    link: Link | None
    trail: tuple[Cid, ...]


async def directory_node(blocks: BlockReader, cid: Cid) -> Node:
    """The root of a plain or HAMT directory; WrongKind for files, NotUnixFs for all else."""
    node = decode_node(cid, await blocks.get(cid))
    if node.kind not in LISTABLE:
        raise WrongKind(f"{cid} is not a directory")
    return node


async def list_entries(blocks: BlockReader, cid: Cid, after: str | None = None) -> AsyncGenerator[Link, None]:
    """The entries of a directory, or those behind the one called `after`; WrongKind for files.

    Close it (`aclosing`) when stopping early.
    """
    node = await directory_node(blocks, cid)
    if node.kind == Kind.DIRECTORY:
        for entry in _behind(node.links, after):
            yield Link(entry.name or "", entry.cid, entry.tsize or 0)
        return
    async with aclosing(_list_hamt(blocks, Shard(node), after)) as links:
        async for link in links:
            if link.name != after:
                yield link


def _behind(links: Sequence[PBLink], after: str | None) -> Sequence[PBLink]:
    if after is None:
        return links
    # The last of that name: where a malformed directory has several, pages must still come to an end.
    for place in range(len(links) - 1, -1, -1):
        if (links[place].name or "") == after:
            return links[place + 1 :]
    # Behind an IPNS name the entry may be gone by now.
    behind = name_bytes(after)
    return [link for link in links if name_bytes(link.name or "") > behind]


async def find_entry(blocks: BlockReader, cid: Cid, name: str) -> Lookup:
    """The entry of that name; a file has none. NotUnixFs where the block is no UnixFS."""
    node = decode_node(cid, await blocks.get(cid))
    if node.kind == Kind.SHARD:
        return await _find_in_hamt(blocks, node, name)
    found = None
    if node.kind == Kind.DIRECTORY:
        found = next((link for link in node.links if link.name == name), None)
    return Lookup(Link(name, found.cid, found.tsize or 0) if found else None, (cid,))


async def _find_in_hamt(blocks: BlockReader, node: Node, name: str) -> Lookup:
    shard = Shard(node)
    fanout, position = shard.fanout, Position.of(name, shard.fanout)
    trail = [node.cid]
    for depth in range(max_depth(fanout)):
        slot = shard.at(position.slot(depth))
        if slot is None or slot.name:
            found = slot is not None and slot.name == name
            return Lookup(Link(name, slot.cid, slot.tsize) if slot and found else None, tuple(trail))
        trail.append(slot.cid)
        shard = _deeper(slot.cid, await blocks.get(slot.cid), fanout)
    raise MalformedBlock(f"{node.cid} is a HAMT deeper than its hash has bits")


def _deeper(cid: Cid, block: bytes, fanout: int) -> Shard:
    try:
        shard = Shard(decode_node(cid, block))
    except NotUnixFs as error:
        raise MalformedBlock(f"part of a HAMT is no UnixFS: {error}") from error
    # An empty shard, or one of another fan-out, is never written; refusing both keeps a few
    # blocks that point to each other many times from being listed for ever.
    if shard.fanout != fanout or shard.is_empty:
        raise MalformedBlock(f"{cid} does not fit into its HAMT")
    return shard


class _Level:
    """A shard being listed from its slot `first` on: what is left of it, its sub-shards on the way, and
    the slots above."""

    __slots__ = ("prefix", "shards", "slots")

    def __init__(self, blocks: BlockReader, shard: Shard, prefix: int, first: int) -> None:
        slots = [slot for slot in shard.slots() if slot.place >= first]
        self.slots: Iterator[Slot] = iter(slots)
        self.shards = in_order(blocks.get, [slot.cid for slot in slots if not slot.name], SHARDS_AHEAD)
        self.prefix = prefix


async def _list_hamt(blocks: BlockReader, root: Shard, after: str | None) -> AsyncGenerator[Link, None]:
    fanout = root.fanout
    bits = fanout.bit_length() - 1
    # Slots before the place of `after` are passed over, as long as its path is followed down.
    behind = Position.of(after, fanout) if after is not None else None
    stack = [_Level(blocks, root, 0, behind.slot(0) if behind else 0)]
    try:
        while stack:
            level = stack[-1]
            slot = next(level.slots, None)
            if slot is None:
                await stack.pop().shards.aclose()
                continue
            prefix = level.prefix << bits | slot.place
            if slot.name:
                _check_place(slot, prefix, bits * len(stack), fanout)
                yield Link(slot.name, slot.cid, slot.tsize)
                continue
            depth = len(stack)
            if depth == max_depth(fanout):
                raise MalformedBlock(f"{slot.cid} is a HAMT shard deeper than its hash has bits")
            shard = _deeper(slot.cid, await anext(level.shards), fanout)
            on_path = behind is not None and behind.hashed >> 64 - bits * depth == prefix
            first = behind.slot(depth) if behind is not None and on_path else 0
            stack.append(_Level(blocks, shard, prefix, first))
    finally:
        for level in stack:
            await level.shards.aclose()


def _check_place(slot: Slot, prefix: int, bits: int, fanout: int) -> None:
    """A name in a slot that its hash does not lead to could be listed and never found."""
    if Position.of(slot.name, fanout).hashed >> 64 - bits != prefix:
        raise MalformedBlock(f"HAMT entry {slot.name!r} is in the wrong place")
