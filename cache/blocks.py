"""Blocks in memory, then in Redis, in front of any other place that holds blocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from typing import Protocol

from cache.memory import MemoryCache
from ipld import car
from ipld.blocks import BlockReader, Buffer, Leaf, Piece, SectionReader, WholeDag
from ipld.cid import Cid
from ipld.pieces import buffers
from ipld.unixfs.leaf import leaf_piece

# Where the slowest block of a request came from; the access log names it.
provenance: ContextVar[list[str]] = ContextVar("provenance")

# Larger blocks are leaves of large files, which the store reads faster than a cache copies.
MAX_CACHED_BLOCK_BYTES = 256 * 1024


class SharedBlocks(Protocol):
    """A cache that other gateways share. It never raises: what it cannot do is a miss."""

    epoch: int

    async def get(self, cid: Cid) -> bytes | None:
        """A block that was checked, or None."""
        ...

    def put(self, cid: Cid, data: bytes) -> None:
        """Keep the block if that is possible."""
        ...


class CachedBlocks:
    """Equal reads under way are one read."""

    def __init__(
        self, inner: BlockReader, memory: MemoryCache[bytes], shared: SharedBlocks | None = None
    ) -> None:
        self._inner = inner
        self._packed = inner if isinstance(inner, SectionReader) else None
        self._memory = memory
        self._shared = shared
        self._under_way: dict[bytes, asyncio.Task[bytes]] = {}

    async def get(self, cid: Cid) -> bytes:
        if cid.is_identity:
            return cid.digest
        data = self._memory.get(cid.multihash)
        if data is not None:
            return data
        task = self._under_way.get(cid.multihash)
        if task is None:
            task = asyncio.create_task(self._fetch(cid))
            self._under_way[cid.multihash] = task
            task.add_done_callback(lambda done: self._landed(cid.multihash, done))
        # One client that leaves must not take the block from the others who wait for it.
        return await asyncio.shield(task)

    def stream(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Buffer, None]:
        return buffers(self.spans(leaves))

    async def spans(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Piece, None]:
        start = 0
        for position, leaf in enumerate(leaves):
            data = self._memory.get(leaf.cid.multihash)
            if data is None:
                continue
            async with aclosing(self._inner_spans(leaves[start:position])) as pieces:
                async for piece in pieces:
                    yield piece
            yield leaf_piece(leaf, data)
            start = position + 1
        async with aclosing(self._inner_spans(leaves[start:])) as pieces:
            async for piece in pieces:
                yield piece

    async def leaves(self, cids: Sequence[Cid]) -> Sequence[bool]:
        return await self._packed.leaves(cids) if self._packed is not None else [False] * len(cids)

    async def sections(self, cids: Sequence[Cid]) -> AsyncGenerator[Piece, None]:
        start = 0
        for position, cid in enumerate(cids):
            data = self._memory.get(cid.multihash)
            if data is None:
                continue
            async with aclosing(self._inner_sections(cids[start:position])) as pieces:
                async for piece in pieces:
                    yield piece
            yield car.frame(cid, len(data)) + data
            start = position + 1
        async with aclosing(self._inner_sections(cids[start:])) as pieces:
            async for piece in pieces:
                yield piece

    async def whole_dag(self, root: Cid, *, duplicates: bool) -> WholeDag | None:
        if self._packed is None:
            return None
        return await self._packed.whole_dag(root, duplicates=duplicates)

    def forget(self, epoch: int) -> None:
        """Something was deleted: nothing that was kept before `epoch` is given out any more."""
        self._memory.clear()
        self._under_way.clear()
        if self._shared is not None:
            self._shared.epoch = epoch

    async def _inner_spans(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Piece, None]:
        if leaves:
            _came_from("store")
            async with aclosing(self._inner.spans(leaves)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _inner_sections(self, cids: Sequence[Cid]) -> AsyncGenerator[Piece, None]:
        if cids and self._packed is not None:
            _came_from("store")
            async with aclosing(self._packed.sections(cids)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _fetch(self, cid: Cid) -> bytes:
        data = await self._shared.get(cid) if self._shared is not None else None
        _came_from("store" if data is None else "redis")
        fresh = data is None
        if data is None:
            data = await self._inner.get(cid)
        # Not what was read before something was deleted: it may be what was deleted.
        is_valid = asyncio.current_task() is self._under_way.get(cid.multihash)
        if is_valid and len(data) <= MAX_CACHED_BLOCK_BYTES:
            self._memory.put(cid.multihash, data, len(data))
            if fresh and self._shared is not None:
                self._shared.put(cid, data)
        return data

    def _landed(self, multihash: bytes, task: asyncio.Task[bytes]) -> None:
        if self._under_way.get(multihash) is task:
            del self._under_way[multihash]
        if not task.cancelled():
            task.exception()  # Whoever waited has seen it; nobody may be left who does.


def _came_from(place: str) -> None:
    places = provenance.get(None)
    if places is not None:
        places.append(place)
