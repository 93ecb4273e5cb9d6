"""Blocks read out of the objects that hold them, each checked against its CID."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial

from ipld.blocks import Buffer, FileSpan, Leaf, Piece
from ipld.cid import Cid
from ipld.errors import BlockCorrupt, BlockNotFound, StoreUnavailable
from ipld.hashes import verify
from ipld.pieces import buffers
from ipld.unixfs.leaf import leaf_piece
from ipld.unixfs.node import leaf_wrapping
from storage.index import Index, Location
from storage.locations import Locations
from storage.objects import ObjectNotFound, ObjectReader, ObjectStore
from storage.spans import Placed, Run, plan
from storage.verified import VerifiedSpans

logger = logging.getLogger(__name__)

# Key, offset and version of a span that is being hashed.
_Check = tuple[str, int, object]

# How many leaves are looked up with one query.
LEAVES_PER_QUERY = 1024
# Hashing less than this takes less time than a visit to another thread.
HASH_IN_THREAD_BYTES = 32 * 1024


async def is_sound(cid: Cid, data: Buffer) -> bool:
    """Whether the bytes hash to the CID; large ones are hashed off the event loop."""
    try:
        if len(data) < HASH_IN_THREAD_BYTES:
            verify(cid, data)
        else:
            await asyncio.to_thread(verify, cid, data)
    except BlockCorrupt:
        return False
    return True


class PackedBlocks:
    """A BlockReader over an object store and the index.

    `on_damage` is told of each copy of a block whose bytes were missing or wrong.
    """

    def __init__(
        self, objects: ObjectStore, index: Index, *, on_damage: Callable[[], None] = lambda: None
    ) -> None:
        self._objects = objects
        self._index = index
        self._on_damage = on_damage
        self._locations = Locations(index)
        self._verified = VerifiedSpans()
        self._checks: dict[_Check, asyncio.Task[bool]] = {}

    def forget(self) -> None:
        """Something was deleted: ask the index again for everything."""
        self._locations.forget()

    async def get(self, cid: Cid) -> bytes:
        if cid.is_identity:
            return cid.digest
        copies = await self._copies(cid)
        data, bad = await self._try(cid, copies)
        if bad:
            # What was remembered may be stale: an object may have been replaced or deleted.
            self._locations.forget(cid.multihash)
            copies = await self._copies(cid)
            if data is None:
                data, more = await self._try(cid, [copy for copy in copies if copy not in bad])
                bad += more
            for copy in bad:
                if copy in copies:
                    await self._damaged(cid, copy)
            # The next lookup puts the sound copies first.
            self._locations.forget(cid.multihash)
        if data is None:
            raise (
                BlockCorrupt(f"every copy of {cid} here is damaged")
                if copies
                else BlockNotFound(f"the block {cid} is not here")
            )
        return data

    def stream(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Buffer, None]:
        return buffers(self.spans(leaves))

    async def spans(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Piece, None]:
        for first in range(0, len(leaves), LEAVES_PER_QUERY):
            batch = leaves[first : first + LEAVES_PER_QUERY]
            located = await self._locations.find([leaf.cid.multihash for leaf in batch])
            for step in plan(batch, located, self._objects.run_bytes):
                pieces = self._read_leaf(step) if isinstance(step, Leaf) else self._read_run(step)
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece

    async def _copies(self, cid: Cid) -> Sequence[Location]:
        return (await self._locations.find([cid.multihash])).get(cid.multihash, ())

    async def _try(self, cid: Cid, copies: Sequence[Location]) -> tuple[bytes | None, list[Location]]:
        """The block, and the copies that turned out to be bad before it was found."""
        bad: list[Location] = []
        for copy in copies:
            with suppress(ObjectNotFound):
                data = await self._read_block(cid, copy)
                if data is not None:
                    return data, bad
            bad.append(copy)
        return None, bad

    async def _read_block(self, cid: Cid, copy: Location) -> bytes | None:
        """The block, or None where the copy is damaged."""
        if copy.inline is not None:
            return copy.inline if await is_sound(cid, copy.inline) else None
        async with self._objects.open(copy.key) as source:
            data = _wrap(await _read_all(source, copy.offset, copy.stop), copy)
            if self._verified.covers(copy.key, source.version, copy.offset, copy.stop):
                return data
            if not await is_sound(cid, data):
                return None
            self._verified.add(copy.key, source.version, copy.offset, copy.stop)
            return data

    async def _damaged(self, cid: Cid, copy: Location) -> None:
        logger.error("damaged: block %s in object %s at %d", cid, copy.key, copy.offset)
        self._on_damage()
        self._verified.forget(copy.key)
        with suppress(StoreUnavailable):
            await self._index.mark_damaged(copy.object_id)

    async def _read_leaf(self, leaf: Leaf) -> AsyncGenerator[Buffer, None]:
        yield leaf_piece(leaf, await self.get(leaf.cid))

    async def _read_run(self, run: Run) -> AsyncGenerator[Piece, None]:
        done = 0
        try:
            async with self._objects.open(run.key) as source:
                pieces: AsyncGenerator[Piece, None] = (
                    self._read_remote(run, source)
                    if source.version is None
                    else self._read_local(run, source)
                )
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece
                        done += len(piece)
        except (ObjectNotFound, _DamagedRunError):
            async with aclosing(self._read_again(run, done)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _read_again(self, run: Run, done: int) -> AsyncGenerator[Buffer, None]:
        """The rest of a run, leaf by leaf from whichever copy is sound."""
        for placed in run.placed:
            leaf = placed.leaf
            wanted = leaf.stop - leaf.start
            if done >= wanted:
                done -= wanted
                continue
            async with aclosing(self._read_leaf(leaf)) as pieces:
                async for piece in pieces:
                    yield memoryview(piece)[done:]
            done = 0

    async def _read_local(self, run: Run, source: ObjectReader) -> AsyncGenerator[Piece, None]:
        """From a store that can tell when bytes change: each span is hashed once, then trusted."""
        if run.contiguous and self._verified.covers(run.key, source.version, run.start, run.stop):
            async with aclosing(_span(source, run.placed[0].start, run.placed[-1].stop)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        ahead = self._check(run.placed[0], source)
        for position, placed in enumerate(run.placed):
            sound = await asyncio.shield(ahead)
            if not sound:
                raise _DamagedRunError
            if position + 1 < len(run.placed):
                ahead = self._check(run.placed[position + 1], source)
            async with aclosing(_span(source, placed.start, placed.stop)) as pieces:
                async for piece in pieces:
                    yield piece

    def _check(self, placed: Placed, source: ObjectReader) -> asyncio.Task[bool]:
        """Hash a span that was not hashed yet; readers of the same span share the work."""
        name = (placed.location.key, placed.location.offset, source.version)
        task = self._checks.get(name)
        if task is None:
            task = asyncio.create_task(self._is_span_sound(placed, source.version))
            self._checks[name] = task
            task.add_done_callback(lambda done: self._checked(name, done))
        return task

    def _checked(self, name: _Check, task: asyncio.Task[bool]) -> None:
        del self._checks[name]
        if not task.cancelled():
            task.exception()  # Seen by whoever waits; a reader that left waits no more.

    async def _is_span_sound(self, placed: Placed, version: object) -> bool:
        copy = placed.location
        if self._verified.covers(copy.key, version, copy.offset, copy.stop):
            return True
        try:
            return await self._read_block(placed.leaf.cid, copy) is not None
        except ObjectNotFound:
            return False

    async def _read_remote(self, run: Run, source: ObjectReader) -> AsyncGenerator[Buffer, None]:
        """From a store that cannot: every leaf is hashed each time before any of it goes out."""
        async with aclosing(source.read(run.start, run.stop)) as pieces:
            stream = _Cutter(pieces)
            position = run.start
            for placed in run.placed:
                copy = placed.location
                await stream.take(copy.offset - position)
                data = await stream.take(copy.length)
                position = copy.stop
                if not await is_sound(placed.leaf.cid, _wrap(data, copy)):
                    raise _DamagedRunError
                yield memoryview(data)[placed.leaf.start : placed.leaf.stop]


class _DamagedRunError(Exception):
    """A leaf of the run is not what the index says."""


class _Cutter:
    """Takes exact lengths out of a stream of pieces."""

    def __init__(self, pieces: AsyncGenerator[Buffer, None]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    async def take(self, length: int) -> bytes:
        parts = []
        while length:
            if not self._rest:
                self._rest = memoryview(await anext(self._pieces, b""))
                if not self._rest:
                    raise ObjectNotFound("the object ended early")
            parts.append(self._rest[:length])
            self._rest = self._rest[length:]
            length -= len(parts[-1])
        return b"".join(parts)


async def _span(source: ObjectReader, start: int, stop: int) -> AsyncGenerator[Piece, None]:
    """Checked bytes: as a span where the object is a file, which must still be long enough."""
    if source.descriptor is None or stop > source.size:
        async with aclosing(source.read(start, stop)) as pieces:
            async for piece in pieces:
                yield piece
    elif start < stop:
        yield FileSpan(source.descriptor, start, stop, partial(_read_checked, source))


async def _read_checked(source: ObjectReader, start: int, stop: int) -> AsyncGenerator[Buffer, None]:
    """The bytes of a span that was given out: it is too late to look for another copy."""
    try:
        async with aclosing(source.read(start, stop)) as pieces:
            async for piece in pieces:
                yield piece
    except ObjectNotFound as error:
        raise BlockCorrupt("an object changed while it was read") from error


async def _read_all(source: ObjectReader, start: int, stop: int) -> bytes:
    async with aclosing(source.read(start, stop)) as pieces:
        return b"".join([piece async for piece in pieces])


def _wrap(data: bytes, copy: Location) -> bytes:
    if not copy.wrapped:
        return data
    before, after = leaf_wrapping(len(data))
    return b"".join((before, data, after))
