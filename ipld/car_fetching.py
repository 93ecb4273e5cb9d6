"""Fetching the blocks of a walk: leaves that lie side by side in one go, others a few ahead of their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from types import TracebackType
from typing import NamedTuple, Self

from ipld.blocks import BlockReader, Buffer, Leaf, Piece, SectionReader
from ipld.cid import RAW, Cid
from ipld.errors import MalformedBlock

# Blocks asked for before their turn below one node, and on all levels together: a bound on memory.
AHEAD, AHEAD_IN_ALL = 8, 24
# Raw blocks from this size on are streamed, so many at once: no cache keeps them, and a store reads
# neighbours together. Smaller ones are worth finding in a cache the next time.
STREAMED_BYTES = 256 * 1024
MAX_BATCH = 1024


class Part(NamedTuple):
    """A block of the walk. `size` is that of a raw one as its parent says, which may be wrong; 0 if unknown.

    `span` are the bytes that are wanted of the file below it, None for all of whatever it is.
    """

    cid: Cid
    size: int = 0
    span: tuple[int, int] | None = None


class _Level:
    """The parts below one node, and how far the walk has come.

    `leaves` says of the parts up to `known` which ones are leaves.
    """

    __slots__ = ("at", "known", "leaves", "parts")

    def __init__(self, parts: Sequence[Part], leaves: Sequence[bool] = ()) -> None:
        self.parts = parts
        self.at = 0
        self.leaves = leaves
        self.known = len(leaves)

    def is_leaf(self, place: int) -> bool:
        return self.leaves[place - self.known + len(self.leaves)]


class Fetching:
    """The parts of a walk in its order, each with its block, without most of those that `is_done` names.

    From a SectionReader leaves come as pieces of a CAR instead, those that `take` lets pass.
    """

    def __init__(
        self, reader: BlockReader, is_done: Callable[[Part], bool], take: Callable[[Cid], bool]
    ) -> None:
        self._reader = reader
        self._sections = reader if isinstance(reader, SectionReader) else None
        self._is_done = is_done
        self._take = take
        self._levels: list[_Level] = []
        self._tasks: dict[bytes, asyncio.Task[bytes]] = {}
        self.waiting = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    @property
    def depth(self) -> int:
        return len(self._levels)

    def begin(self, root: Part) -> None:
        """The walk begins here: with a block, because nobody knows yet what it is."""
        self._levels.append(_Level([root], [False]))
        self.waiting += 1

    def descend(self, parts: Sequence[Part]) -> None:
        """These come before all that is left."""
        self._levels.append(_Level(parts))
        self.waiting += len(parts)

    async def blocks(self) -> AsyncGenerator[tuple[Part, bytes] | Piece, None]:
        """Until nothing is left; `descend` may be called in between."""
        while self._levels:
            level = self._levels[-1]
            if level.at == len(level.parts):
                self._levels.pop()
                self.waiting -= len(level.parts)
                continue
            batch = await self._leaves(level)
            if batch:
                level.at += len(batch)
                async with aclosing(self._many(batch)) as leaves:
                    async for leaf in leaves:
                        yield leaf
                continue
            part = level.parts[level.at]
            level.at += 1
            if self._is_done(part):
                await self._drop(part)
            else:
                data = await self._fetch(part)
                self._look_ahead(level)
                yield part, data

    async def _leaves(self, level: _Level) -> Sequence[Part]:
        """The leaves that come next, as far as they are fetched together."""
        if self._sections is None:
            return _large_leaves(level.parts, level.at)
        if level.at == level.known:
            chunk = level.parts[level.at : level.at + MAX_BATCH]
            level.leaves = await self._sections.leaves([part.cid for part in chunk])
            level.known += len(chunk)
        stop = level.at
        while stop < level.known and level.is_leaf(stop):
            stop += 1
        return level.parts[level.at : stop]

    def _many(self, batch: Sequence[Part]) -> AsyncGenerator[tuple[Part, bytes] | Piece, None]:
        if self._sections is None:
            return self._side_by_side(batch)
        return self._sections.sections([part.cid for part in batch if self._take(part.cid)])

    async def _fetch(self, part: Part) -> bytes:
        task = self._tasks.get(part.cid.raw)
        if task is None:
            return await self._reader.get(part.cid)
        data = await task
        self._tasks.pop(part.cid.raw, None)
        return data

    async def _drop(self, part: Part) -> None:
        """Fetched ahead, and sent from another place in the meantime."""
        task = self._tasks.pop(part.cid.raw, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _look_ahead(self, level: _Level) -> None:
        last = len(level.parts) if self._sections is None else level.known
        for place in range(level.at, min(level.at + AHEAD, last)):
            part = level.parts[place]
            if len(self._tasks) == AHEAD_IN_ALL or self._comes_with_others(level, place):
                return
            if part.cid.raw not in self._tasks and not self._is_done(part):
                self._tasks[part.cid.raw] = asyncio.ensure_future(self._get(part.cid))

    def _comes_with_others(self, level: _Level, place: int) -> bool:
        if self._sections is None:
            return _is_large_leaf(level.parts[place])
        return level.is_leaf(place)

    async def _get(self, cid: Cid) -> bytes:
        return await self._reader.get(cid)

    async def _side_by_side(self, batch: Sequence[Part]) -> AsyncGenerator[tuple[Part, bytes], None]:
        """Raw blocks through `stream`, which reads neighbours together; one by one where a size was wrong."""
        wanted = [part for part in batch if not self._is_done(part)]
        sent = 0
        # Whoever wrote the DAG chose the sizes: a wrong one says nothing about the blocks.
        with suppress(MalformedBlock):
            leaves = [Leaf(part.cid, part.size, 0, part.size) for part in wanted]
            async with aclosing(_cut(self._reader.stream(leaves), leaves)) as blocks:
                async for data in blocks:
                    yield wanted[sent], data
                    sent += 1
        for part in wanted[sent:]:
            yield part, await self._reader.get(part.cid)


async def _cut(pieces: AsyncGenerator[Buffer, None], leaves: Sequence[Leaf]) -> AsyncGenerator[bytes, None]:
    """The blocks of the leaves; MalformedBlock where the stream ends before them."""
    rest = memoryview(b"")
    async with aclosing(pieces):
        for leaf in leaves:
            taken: list[memoryview] = []
            missing = leaf.size
            while missing:
                rest = rest or memoryview(await anext(pieces, b""))
                if not rest:
                    raise MalformedBlock(f"{leaf.cid} has not the {leaf.size} bytes that its parent says")
                taken.append(rest[:missing])
                rest = rest[missing:]
                missing -= len(taken[-1])
            yield _joined(taken)


def _joined(taken: Sequence[memoryview]) -> bytes:
    whole = taken[0].obj
    # What comes out of a cache is a block already, and needs no copy.
    if len(taken) == 1 and isinstance(whole, bytes) and len(whole) == len(taken[0]):
        return whole
    return b"".join(taken)


def _large_leaves(parts: Sequence[Part], start: int) -> Sequence[Part]:
    """The large raw blocks that follow each other from `start` on."""
    stop, last = start, min(start + MAX_BATCH, len(parts))
    while stop < last and _is_large_leaf(parts[stop]):
        stop += 1
    return parts[start:stop]


def _is_large_leaf(part: Part) -> bool:
    return part.size >= STREAMED_BYTES and part.cid.codec == RAW
