"""Reading files: which leaves a byte range touches, for every shape of UnixFS DAG."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

from ipld.blocks import BlockReader, Buffer, Leaf, Piece
from ipld.cid import RAW, Cid
from ipld.errors import MalformedBlock, NotUnixFs, WrongKind
from ipld.lookahead import Get, in_order
from ipld.pieces import buffers
from ipld.unixfs.leaf import leaf_piece
from ipld.unixfs.node import READABLE, Kind, Mtime, Node, decode_node

# Leaves asked for at once: few at first, so that the first byte does not wait for many inner
# nodes, then ever more, so that the store can merge neighbours into large reads.
FIRST_BATCH, LAST_BATCH = 64, 4096

# A balanced file of 2^64 bytes in 1-byte leaves, two to a node, is this deep.
MAX_DEPTH = 64
# Inner nodes that one read may fetch: some for any range, more for long ones. A sound DAG needs
# one for each 174 leaves or so; a chain of nodes around single bytes runs out.
FREE_NODES, BYTES_PER_NODE = 10_000, 256


@dataclass(frozen=True, slots=True)
class UnixFile:
    """A file (or a symlink, whose content is its target). Nothing is fetched until it is read."""

    cid: Cid
    size: int
    mode: int | None
    mtime: Mtime | None
    kind: Kind
    _root: Node = field(repr=False)
    _blocks: BlockReader = field(repr=False)

    @property
    def kept_bytes(self) -> int:
        """About how many bytes of memory this holds: the root node."""
        return len(self._root.data) + 256 * len(self._root.links)

    def read(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[Buffer, None]:
        """The bytes `start` up to `stop` (default: the end) in pieces of any size.

        Raises what the BlockReader raises. Close it (`aclosing`) when stopping early.
        """
        return buffers(self.pieces(start, stop))

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[Piece, None]:
        """As `read`, with spans of files where the bytes lie in one."""
        stop = self.size if stop is None else min(stop, self.size)
        if not self._root.links:
            # All of it is at hand: most files are one block.
            if start < stop:
                yield self._root.data[start:stop]
            return
        exact = False
        while start < stop:
            walk = _Walk(self._blocks, start, stop, exact)
            try:
                async with aclosing(walk.pieces(self._root)) as pieces:
                    async for piece in pieces:
                        start += len(piece)
                        yield piece
            except MalformedBlock:
                # What came so far was checked. A node that looked like a leaf was none: go on
                # from here without guessing, and let that fail where the file is really broken.
                if exact or not walk.guessed:
                    raise
            if exact and start < stop:
                raise MalformedBlock(f"{self.cid} ends at byte {start} of {self.size}")
            exact = True


async def open_file(blocks: BlockReader, cid: Cid) -> UnixFile:
    """The file under a CID; WrongKind for directories, NotUnixFs for other codecs."""
    return file_of(blocks, decode_node(cid, await blocks.get(cid)))


def file_of(blocks: BlockReader, node: Node) -> UnixFile:
    """The file whose root node this is; WrongKind for directories."""
    if node.kind not in READABLE:
        raise WrongKind(f"{node.cid} is not a file")
    return UnixFile(node.cid, node.size, node.mode, node.mtime, node.kind, node, blocks)


async def stream_by_get(get: Get, leaves: Sequence[Leaf], ahead: int = 4) -> AsyncGenerator[Buffer, None]:
    """BlockReader.stream for any store that has `get`, with `ahead` requests under way."""
    async with aclosing(in_order(get, [leaf.cid for leaf in leaves], ahead)) as blocks:
        for leaf in leaves:
            yield leaf_piece(leaf, await anext(blocks))


class _Child(NamedTuple):
    """A child that the range touches; `offset` is where it begins in the file."""

    cid: Cid
    size: int
    offset: int


class _Walk:
    """One pass over the nodes that a range touches, depth first, without recursion.

    Raw children are leaves. Whether a dag-pb child is a leaf shows only in its block; fetching
    each one to find out would undo `stream`. So the first at each depth is fetched, and where
    it is a leaf, others at that depth that are no larger are taken for leaves too: true for
    balanced files, where all leaves are equally deep. In other layouts a small subtree may be
    taken for a leaf; `stream` then raises MalformedBlock and the reader goes on with `exact`.
    """

    def __init__(self, blocks: BlockReader, start: int, stop: int, exact: bool) -> None:
        self.guessed = False
        self._blocks = blocks
        self._start = start
        self._stop = stop
        self._exact = exact
        self._budget = FREE_NODES + (stop - start) // BYTES_PER_NODE
        self._leaf_sizes: dict[int, int] = {}

    async def pieces(self, root: Node) -> AsyncGenerator[Piece, None]:
        batch: list[Leaf] = []
        limit = FIRST_BATCH
        async with aclosing(self._steps(root)) as steps:
            async for step in steps:
                if isinstance(step, Leaf):
                    batch.append(step)
                    if len(batch) < limit:
                        continue
                async with aclosing(self._stream(batch)) as streamed:
                    async for piece in streamed:
                        yield piece
                batch, limit = [], min(limit * 2, LAST_BATCH)
                if not isinstance(step, Leaf):
                    yield step
        async with aclosing(self._stream(batch)) as streamed:
            async for piece in streamed:
                yield piece

    async def _stream(self, batch: list[Leaf]) -> AsyncGenerator[Piece, None]:
        """The leaves' data; MalformedBlock where it is not as long as it should be."""
        if not batch:
            return
        missing = sum(leaf.stop - leaf.start for leaf in batch)
        async with aclosing(self._blocks.spans(batch)) as pieces:
            async for piece in pieces:
                missing -= len(piece)
                if missing < 0:
                    break
                yield piece
        if missing:
            raise MalformedBlock(f"leaves from {batch[0].cid} on have another size than their parents say")

    async def _steps(self, root: Node) -> AsyncGenerator[Leaf | memoryview, None]:
        """What the range consists of, in order: leaves to stream, and data already at hand."""
        stack = [self._parts(root, 0)]
        while stack:
            part = next(stack[-1], None)
            if part is None:
                stack.pop()
            elif isinstance(part, memoryview):
                yield part
            elif self._is_leaf(part, len(stack)):
                yield Leaf(part.cid, part.size, *self._clip(part.offset, part.size))
            else:
                node = await self._fetch(part, len(stack))
                stack.append(self._parts(node, part.offset))

    def _parts(self, node: Node, offset: int) -> Iterator[memoryview | _Child]:
        """The data inside the node and its children, as far as the range touches them."""
        start, stop = self._clip(offset, len(node.data))
        if start < stop:
            yield node.data[start:stop]
        offset += len(node.data)
        for link, size in zip(node.links, node.blocksizes, strict=True):
            if offset >= self._stop:
                return
            if size and offset + size > self._start:
                yield _Child(link.cid, size, offset)
            offset += size

    def _clip(self, offset: int, size: int) -> tuple[int, int]:
        return max(0, self._start - offset), min(size, self._stop - offset)

    def _is_leaf(self, child: _Child, depth: int) -> bool:
        if child.cid.codec == RAW:
            return True
        if self._exact or child.size > self._leaf_sizes.get(depth, 0):
            return False
        self.guessed = True
        return True

    async def _fetch(self, child: _Child, depth: int) -> Node:
        try:
            node = decode_node(child.cid, await self._blocks.get(child.cid))
        except NotUnixFs as error:
            raise MalformedBlock(f"part of a file is no UnixFS: {error}") from error
        if node.kind not in (Kind.FILE, Kind.RAW) or node.size != child.size:
            raise MalformedBlock(f"{child.cid} is not the {child.size} bytes that its parent says")
        if node.links:
            self._budget -= 1
        else:
            self._leaf_sizes[depth] = max(child.size, self._leaf_sizes.get(depth, 0))
        if self._budget < 0 or depth > MAX_DEPTH:
            raise MalformedBlock(f"the file around {child.cid} is too deep or has too many nodes")
        return node
