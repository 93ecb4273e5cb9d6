"""Blocks read out of the objects that hold them, each checked against its CID."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress

from ipld.blocks import Buffer, Leaf, Piece, WholeDag
from ipld.cid import Cid
from ipld.errors import BlockCorrupt, BlockNotFound, StoreUnavailable
from ipld.pieces import buffers
from ipld.unixfs.leaf import leaf_piece
from storage.index import Index, Location, StoredObject
from storage.locations import Locations
from storage.objects import ObjectNotFound, ObjectReader, ObjectStore
from storage.reading import Cutter, checked_span, read_all, wrap
from storage.sections import Sections
from storage.span_checks import DamagedSpan, SpanChecks, is_sound
from storage.spans import Run, plan
from storage.verified import VerifiedSpans
from storage.whole_dags import WholeDags

logger = logging.getLogger(__name__)

# How many leaves are looked up with one query.
LEAVES_PER_QUERY = 1024


class PackedBlocks:
    """A SectionReader over an object store and the index.

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
        self._checks = SpanChecks(self._verified)
        self._sections = Sections(objects, self._locations, self._checks, self.get)
        self._whole = WholeDags(objects, index, self._verified, self._whole_damaged)

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
                    # Marked for good, so it is looked at twice: a store may miss an object for a moment.
                    again, still_bad = await self._try(cid, [copy])
                    data = again if data is None else data
                    if still_bad:
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

    async def leaves(self, cids: Sequence[Cid]) -> Sequence[bool]:
        return await self._sections.leaves(cids)

    def sections(self, cids: Sequence[Cid]) -> AsyncGenerator[Piece, None]:
        return self._sections.read(cids)

    async def whole_dag(self, root: Cid, *, duplicates: bool) -> WholeDag | None:
        return await self._whole.find(root, duplicates=duplicates)

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
        async with self._objects.open(copy.key, (copy.offset, copy.stop)) as source:
            data = wrap(await read_all(source, copy.offset, copy.stop), copy)
            if self._checks.covers(copy, source.version):
                return data
            if not await is_sound(cid, data):
                return None
            self._checks.add(copy, source.version)
            return data

    async def _damaged(self, cid: Cid, copy: Location) -> None:
        logger.error("damaged: block %s in object %s at %d", cid, copy.key, copy.offset)
        await self._mark(copy.key, copy.object_id)

    async def _whole_damaged(self, stored: StoredObject) -> None:
        # Deleted, rather, where the index does not know it any more.
        with suppress(StoreUnavailable):
            if await self._index.known([stored.key]):
                logger.error("damaged: object %s of %s", stored.key, stored.root)
                await self._mark(stored.key, stored.object_id)

    async def _mark(self, key: str, object_id: int) -> None:
        self._on_damage()
        self._verified.forget(key)
        with suppress(StoreUnavailable):
            await self._index.mark_damaged(object_id)

    async def _read_leaf(self, leaf: Leaf) -> AsyncGenerator[Buffer, None]:
        yield leaf_piece(leaf, await self.get(leaf.cid))

    async def _read_run(self, run: Run) -> AsyncGenerator[Piece, None]:
        done = 0
        try:
            async with self._objects.open(run.key, (run.start, run.stop)) as source:
                is_file = source.version is not None and source.descriptor is not None
                pieces: AsyncGenerator[Piece, None] = (
                    self._read_file(run, source) if is_file else self._read_remote(run, source)
                )
                async with aclosing(pieces):
                    async for piece in pieces:
                        yield piece
                        done += len(piece)
        except (ObjectNotFound, DamagedSpan):
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

    async def _read_file(self, run: Run, source: ObjectReader) -> AsyncGenerator[Piece, None]:
        """From a store that can tell when bytes change: each span is hashed once, then trusted."""
        if run.contiguous and self._verified.covers(run.key, source.version, run.start, run.stop):
            async with aclosing(checked_span(source, run.placed[0].start, run.placed[-1].stop)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        async with aclosing(self._checks.in_order(run.placed, source)) as sound:
            async for placed in sound:
                async with aclosing(checked_span(source, placed.start, placed.stop)) as pieces:
                    async for piece in pieces:
                        yield piece

    async def _read_remote(self, run: Run, source: ObjectReader) -> AsyncGenerator[Buffer, None]:
        """From a store that cannot: every leaf is hashed each time before any of it goes out."""
        async with aclosing(source.read(run.start, run.stop)) as pieces:
            stream = Cutter(pieces)
            position = run.start
            for placed in run.placed:
                copy = placed.location
                await stream.take(copy.offset - position)
                data = await stream.take(copy.length)
                position = copy.stop
                if not await is_sound(placed.leaf.cid, wrap(data, copy)):
                    raise DamagedSpan
                yield memoryview(data)[placed.leaf.start : placed.leaf.stop]
