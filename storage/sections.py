"""Blocks as a CAR carries them: spans of objects with the frames put between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing

from ipld import car
from ipld.blocks import Piece
from ipld.cid import DAG_PB, RAW, Cid
from ipld.errors import StoreUnavailable
from storage.index import Location
from storage.locations import Locations
from storage.objects import ObjectNotFound, ObjectReader, ObjectStore
from storage.reading import Cutter, file_span, read_all, wrap, wrapping
from storage.span_checks import AHEAD, HASH_IN_THREAD_BYTES, DamagedSpan, SpanChecks, hashes_to, is_sound
from storage.spans import Placed, Run, plan_blocks

# Blocks from this size on go out as spans of files. A system call for each smaller one would cost more than
# copying it, so they are read and sent together.
SPAN_BYTES = 64 * 1024
# Small blocks read together, with what lies between them.
PORTION_BYTES = 256 * 1024
# What is planned at once; each block of it takes some hundred bytes.
MAX_RUN_BYTES = 64 * 1024 * 1024
BLOCKS_PER_QUERY = 256

# Sections that are ready to be sent, and how many they are.
_Ready = tuple[int, Sequence[Piece]]


class Sections:
    """`get` reads a block from whichever copy is sound."""

    def __init__(
        self,
        objects: ObjectStore,
        locations: Locations,
        checks: SpanChecks,
        get: Callable[[Cid], Awaitable[bytes]],
    ) -> None:
        self._objects = objects
        self._locations = locations
        self._checks = checks
        self._get = get

    async def leaves(self, cids: Sequence[Cid]) -> Sequence[bool]:
        """As SectionReader: raw blocks, and what the index knows as a leaf of a file in its wrapping."""
        try:
            located = await self._locations.find([cid.multihash for cid in cids])
        except StoreUnavailable:
            # Some place in front of this one may have the blocks.
            return [False] * len(cids)
        return [_is_leaf(cid, located.get(cid.multihash, ())) for cid in cids]

    async def read(self, cids: Sequence[Cid]) -> AsyncGenerator[Piece, None]:
        """As SectionReader.sections."""
        for first in range(0, len(cids), BLOCKS_PER_QUERY):
            batch = cids[first : first + BLOCKS_PER_QUERY]
            located = await self._locations.find([cid.multihash for cid in batch])
            for step in plan_blocks(batch, located, min(self._objects.run_bytes, MAX_RUN_BYTES)):
                pieces = self._one(step) if isinstance(step, Cid) else self._run(step)
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece

    async def _one(self, cid: Cid) -> AsyncGenerator[Piece, None]:
        data = await self._get(cid)
        yield car.frame(cid, len(data))
        yield data

    async def _run(self, run: Run) -> AsyncGenerator[Piece, None]:
        done = 0
        try:
            async with self._objects.open(run.key, (run.start, run.stop)) as source:
                is_file = source.version is not None and source.descriptor is not None
                ready = self._from_file(run, source) if is_file else self._from_afar(run, source)
                async with aclosing(ready):
                    async for count, pieces in ready:
                        for piece in pieces:
                            yield piece
                        done += count
        except (ObjectNotFound, DamagedSpan):
            # Block by block, and whoever gives them finds out which ones are damaged.
            for placed in run.placed[done:]:
                async with aclosing(self._one(placed.leaf.cid)) as section:
                    async for piece in section:
                        yield piece

    async def _from_file(self, run: Run, source: ObjectReader) -> AsyncGenerator[_Ready, None]:
        """Each span is hashed once, then trusted."""
        portions = list(_portions(run.placed))
        for at, portion in enumerate(portions):
            if len(portion) > 1 or portion[0].location.length < SPAN_BYTES:
                yield len(portion), [await self._together(portion, source)]
                continue
            ahead = [each[0] for each in portions[at + 1 : at + 1 + AHEAD] if len(each) == 1]
            await self._checks.check([*portion, *ahead], source)
            yield 1, _framed(portion[0], source)

    async def _together(self, portion: Sequence[Placed], source: ObjectReader) -> bytearray:
        """The sections of small blocks that lie side by side."""
        start = portion[0].start
        data = memoryview(await read_all(source, start, portion[-1].stop))
        spans = [data[placed.start - start : placed.stop - start] for placed in portion]
        fresh = [
            (placed, span)
            for placed, span in zip(portion, spans, strict=True)
            if not self._checks.covers(placed.location, source.version)
        ]
        if fresh:
            await self._verify(fresh, source.version)
        sections = bytearray()
        for placed, span in zip(portion, spans, strict=True):
            before, after = wrapping(placed.location)
            sections += car.frame(placed.leaf.cid, len(before) + len(span) + len(after))
            sections += before
            sections += span
            sections += after
        return sections

    async def _verify(self, fresh: Sequence[tuple[Placed, memoryview]], version: object) -> None:
        if sum(len(span) for _, span in fresh) < HASH_IN_THREAD_BYTES:
            _verify_all(fresh)
        else:
            await asyncio.to_thread(_verify_all, fresh)
        for placed, _ in fresh:
            self._checks.add(placed.location, version)

    async def _from_afar(self, run: Run, source: ObjectReader) -> AsyncGenerator[_Ready, None]:
        """Every block is hashed each time before any of it goes out."""
        async with aclosing(source.read(run.start, run.stop)) as pieces:
            stream = Cutter(pieces)
            position, count, sections = run.start, 0, bytearray()
            for placed in run.placed:
                copy = placed.location
                await stream.take(copy.offset - position)
                data = wrap(await stream.take(copy.length), copy)
                position = copy.stop
                if not await is_sound(placed.leaf.cid, data):
                    # What was found sound before it is read again, with all the rest.
                    raise DamagedSpan
                sections += car.frame(placed.leaf.cid, len(data))
                sections += data
                count += 1
                if len(sections) >= PORTION_BYTES:
                    yield count, [sections]
                    count, sections = 0, bytearray()
            if count:
                yield count, [sections]


def _is_leaf(cid: Cid, copies: Sequence[Location]) -> bool:
    if cid.codec == RAW:
        return any(copy.inline is None for copy in copies)
    return cid.codec == DAG_PB and any(copy.wrapped for copy in copies)


def _portions(placed: Sequence[Placed]) -> Iterator[Sequence[Placed]]:
    """Large blocks by themselves, small ones together."""
    small: list[Placed] = []
    for each in placed:
        is_large = each.location.length >= SPAN_BYTES
        if small and (is_large or each.location.stop - small[0].start > PORTION_BYTES):
            yield small
            small = []
        if is_large:
            yield [each]
        else:
            small.append(each)
    if small:
        yield small


def _framed(placed: Placed, source: ObjectReader) -> Sequence[Piece]:
    """A checked block as the span that it is, with what belongs around it."""
    copy = placed.location
    before, after = wrapping(copy)
    frame = car.frame(placed.leaf.cid, len(before) + copy.length + len(after))
    span = file_span(source, copy.offset, copy.stop)
    if span is None:
        raise ObjectNotFound(f"the object ends before byte {copy.stop}")
    return [frame + before, span, after] if after else [frame, span]


def _verify_all(fresh: Sequence[tuple[Placed, memoryview]]) -> None:
    """Raises DamagedSpan."""
    for placed, span in fresh:
        before, after = wrapping(placed.location)
        if not hashes_to(placed.leaf.cid, b"".join((before, span, after)) if before else span):
            raise DamagedSpan
