"""Objects in the making: bytes go to the store, and rows for the index come out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from ipld import car
from ipld.blocks import MAX_BLOCK_BYTES, Block, Buffer
from ipld.cid import DAG_PB, Cid
from ipld.unixfs.node import NO_METADATA, Metadata, leaf_wrapping
from ipld.unixfs.profiles import Profile
from ipld.unixfs.writer import BuiltFile, FileBuilder, LeafSpan
from storage.car_order import arranged
from storage.index import BlockRow, Layout, NewObject
from storage.objects import ObjectWriter
from storage.uninterrupted import uninterrupted

# A multiple of every profile's chunk, so that a batch begins where a leaf begins.
BATCH_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Draft:
    """An object that is being written, and the key it will have."""

    key: str
    writer: ObjectWriter


async def batches(source: AsyncIterable[Buffer], size: int = BATCH_BYTES) -> AsyncGenerator[memoryview, None]:
    """The stream in pieces of exactly `size` bytes; the last may be shorter.

    A batch is good until the next but one is asked for: two buffers take turns, because memory that
    was never touched costs more than the copy into it.
    """
    batch, other = bytearray(), bytearray()
    filled = 0
    async for piece in source:
        rest = memoryview(piece)
        while rest:
            part = rest[: size - filled]
            # On its first turn a buffer grows, so that a small upload takes little memory.
            batch[filled : filled + len(part)] = part
            filled += len(part)
            rest = rest[len(part) :]
            if filled == size:
                yield memoryview(batch)
                batch, other = other, batch
                filled = 0
    if filled:
        yield memoryview(batch)[:filled]


class FileRows:
    """The rows of a file object under one or more profiles at once. Bound by the CPU."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self._builders = [(profile, FileBuilder(profile)) for profile in profiles]
        self._rows: list[list[BlockRow]] = [[] for _ in profiles]

    def add(self, batch: Buffer) -> None:
        """Hash the next bytes of the file."""
        for rows, (_, builder) in zip(self._rows, self._builders, strict=True):
            rows.extend(map(_leaf_row, builder.add(batch)))

    def finish(self) -> list[tuple[Profile, BuiltFile, list[BlockRow]]]:
        """For each profile what was built, and every row of the object."""
        results = []
        for rows, (profile, builder) in zip(self._rows, self._builders, strict=True):
            built = builder.finish()
            rows.extend(map(_leaf_row, built.leaves))
            rows.extend(map(_inner_row, built.inner))
            results.append((profile, built, rows))
        return results


class FileDraft:
    """A file object: its bytes go to the store as they come."""

    def __init__(self, writer: ObjectWriter, profiles: Sequence[Profile]) -> None:
        self._writer = writer
        self._rows = FileRows(profiles)
        self.size = 0

    async def fill(self, source: AsyncIterable[Buffer]) -> None:
        """Take the whole stream."""
        async with aclosing(batches(source)) as whole:
            await in_turns(whole, self._take)

    async def _take(self, batch: Buffer) -> None:
        await asyncio.gather(asyncio.to_thread(self._rows.add, batch), self._writer.write(batch))
        self.size += len(batch)

    async def finish(self) -> list[tuple[Profile, BuiltFile, list[BlockRow]]]:
        """For each profile what was built, and every row of the object."""
        return await asyncio.to_thread(self._rows.finish)


async def in_turns(
    whole: AsyncIterable[Buffer], take: Callable[[Buffer], Coroutine[None, None, None]]
) -> None:
    """Take every batch; while one is hashed and written the next one comes in."""
    work: asyncio.Task[None] | None = None
    try:
        async for batch in whole:
            if work is not None:
                await work
            work = asyncio.create_task(take(batch))
        if work is not None:
            await work
    finally:
        if work is not None:
            # The batch must not be under a running write when the draft is dropped.
            await uninterrupted(_ended(work))


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # Whoever awaited the task has seen it.


def _inner_row(block: Block) -> BlockRow:
    return BlockRow(block.cid.multihash, 0, len(block.data), inline=block.data)


def _leaf_row(leaf: LeafSpan) -> BlockRow:
    return BlockRow(leaf.cid.multihash, leaf.offset, leaf.length, leaf.wrapped)


def head_size(cid_version: int) -> int:
    """The length of the header of a CAR whose one root is a sha2-256 dag-pb CID."""
    return len(car.header([Cid.of(b"", DAG_PB, cid_version)]))


class CarDraft:
    """A CAR object: blocks in the order in which they come, each once."""

    def __init__(self, writer: ObjectWriter, start: int) -> None:
        self._writer = writer
        self._buffer = bytearray()
        self._seen: set[bytes] = set()
        self._begun = False
        self.size = start
        self.rows: list[BlockRow] = []

    async def add(self, cid: Cid, data: Buffer, wrapping: tuple[bytes, bytes] = (b"", b"")) -> None:
        """Append a block: the data, in the dag-pb wrapping of a UnixFS leaf if there is one.

        The row of a wrapped leaf names the data alone, so that a file is read as one long span.
        """
        if cid.multihash in self._seen or cid.is_identity:
            return
        self._seen.add(cid.multihash)
        before, after = wrapping
        length = len(before) + len(data) + len(after)
        head = car.frame(cid, length) + before
        self.rows.append(BlockRow(cid.multihash, self.size + len(head), len(data), bool(before)))
        self.size += len(head) + len(data) + len(after)
        self._buffer += head
        self._buffer += data
        self._buffer += after
        if len(self._buffer) >= BATCH_BYTES:
            await self.flush()

    async def add_all(self, blocks: Iterable[Block]) -> None:
        """Append whole blocks."""
        for block in blocks:
            await self.add(block.cid, block.data)

    async def add_file(
        self, source: AsyncIterable[Buffer], profile: Profile, metadata: Metadata = NO_METADATA
    ) -> BuiltFile:
        """Append all blocks of a file."""
        builder = FileBuilder(profile, metadata)
        start = 0
        batch: Buffer = b""
        async with aclosing(batches(source)) as whole:
            async for batch in whole:
                await self._add_leaves(await asyncio.to_thread(builder.add, batch), batch, start)
                await self.add_all(builder.drain())
                start += len(batch)
        built = builder.finish()
        await self._add_leaves(built.leaves, batch, start - len(batch))
        await self.add_all(built.inner)
        return built

    async def _add_leaves(self, leaves: Sequence[LeafSpan], batch: Buffer, start: int) -> None:
        view = memoryview(batch)
        for leaf in leaves:
            at = leaf.offset - start
            wrapping = leaf_wrapping(leaf.length) if leaf.wrapped else (b"", b"")
            await self.add(leaf.cid, view[at : at + leaf.length], wrapping)

    async def flush(self) -> None:
        """Everything added so far is with the store."""
        buffer, self._buffer = self._buffer, bytearray()
        self._begun = True
        await self._writer.write(buffer)

    def arrange(self, head: bytes, root: Cid) -> Layout:
        """Put the blocks into the order of the DAG, if none is with the store yet: the directories of a
        large tree come after its files, because they are known last."""
        if self._begun:
            return Layout.CAR
        found = arranged(head, self._buffer, self.rows, root)
        if found is None:
            return Layout.CAR
        self._buffer, self.rows = bytearray(found.sections), found.rows
        return found.layout


class BlockHead:
    """Keeps the first bytes of a stream as long as they may be one block."""

    def __init__(self) -> None:
        self._data: bytearray | None = bytearray()

    @property
    def data(self) -> bytes | None:
        """The whole stream, or None where it is larger than a block may be."""
        return None if self._data is None else bytes(self._data)

    @property
    def is_too_large(self) -> bool:
        """Whether the stream so far is larger than a block may be."""
        return self._data is None

    async def watch(self, source: AsyncIterable[Buffer]) -> AsyncGenerator[Buffer, None]:
        async for piece in source:
            if self._data is not None:
                self._data += piece
                if len(self._data) > MAX_BLOCK_BYTES:
                    self._data = None
            yield piece


async def file_object(draft: Draft, source: AsyncIterable[Buffer], profile: Profile) -> tuple[NewObject, int]:
    """A finished file object, and the Tsize of a link to it."""
    file = FileDraft(draft.writer, [profile])
    await file.fill(source)
    [(_, built, rows)] = await file.finish()
    receipt = await draft.writer.commit(b"", built.root)
    new = NewObject(draft.key, Layout.FILE, built.root, file.size, rows, profile.name, receipt=receipt)
    return new, built.tsize


async def car_object(draft: Draft, blocks: CarDraft, root: Cid, head: bytes) -> NewObject:
    """A finished CAR object; `head` is the header that names its root."""
    layout = await asyncio.to_thread(blocks.arrange, head, root)
    await blocks.flush()
    receipt = await draft.writer.commit(head, root)
    return NewObject(draft.key, layout, root, blocks.size, blocks.rows, receipt=receipt)
