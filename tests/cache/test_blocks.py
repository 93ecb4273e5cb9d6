"""The cache in front of any other place: one read for many, bounded, and void on demand."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence

import pytest

from cache.blocks import MAX_CACHED_BLOCK_BYTES, CachedBlocks, provenance
from cache.memory import MemoryCache
from ipld.blocks import Block, Leaf, Piece
from ipld.cid import DAG_PB, RAW, Cid
from ipld.errors import BlockNotFound, StoreUnavailable
from ipld.hashes import IDENTITY
from storage.memory_blocks import MemoryBlocks


class Place(MemoryBlocks):
    """A place that counts, and that can be made to wait or to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.gets: list[Cid] = []
        self.streams: list[int] = []
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    def add(self, data: bytes, codec: int = RAW) -> Cid:
        cid = Cid.of(data, codec)
        self.put(Block(cid, data))
        return cid

    async def get(self, cid: Cid) -> bytes:
        self.gets.append(cid)
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return await super().get(cid)

    def spans(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Piece, None]:
        self.streams.append(len(leaves))
        return super().spans(leaves)


class Shared:
    """A cache that others share."""

    def __init__(self) -> None:
        self.epoch = 0
        self.data: dict[tuple[int, bytes], bytes] = {}

    async def get(self, cid: Cid) -> bytes | None:
        return self.data.get((self.epoch, cid.multihash))

    def put(self, cid: Cid, data: bytes) -> None:
        self.data[self.epoch, cid.multihash] = data


@pytest.fixture
async def place() -> Place:
    return Place()


@pytest.fixture
def memory() -> MemoryCache[bytes]:
    return MemoryCache(16 * 1024 * 1024)


@pytest.fixture
def cached(place: Place, memory: MemoryCache[bytes]) -> CachedBlocks:
    return CachedBlocks(place, memory)


async def test_the_second_get_asks_nobody(place: Place, cached: CachedBlocks) -> None:
    cid = place.add(b"x" * 100)
    for codec in (RAW, DAG_PB):
        assert await cached.get(Cid.of(b"x" * 100, codec)) == b"x" * 100
    assert place.gets == [cid]


async def test_identity_is_not_cached(place: Place, cached: CachedBlocks, memory: MemoryCache[bytes]) -> None:
    assert await cached.get(Cid.of_digest(b"abc", RAW, code=IDENTITY)) == b"abc"
    assert (place.gets, len(memory)) == ([], 0)


async def test_many_at_once_are_one_read(place: Place, cached: CachedBlocks) -> None:
    cid = place.add(b"x")
    place.open.clear()
    readers = [asyncio.create_task(cached.get(cid)) for _ in range(10)]
    await asyncio.sleep(0)
    place.open.set()
    assert await asyncio.gather(*readers) == [b"x"] * 10
    assert len(place.gets) == 1


async def test_who_leaves_takes_nothing_from_the_others(place: Place, cached: CachedBlocks) -> None:
    cid = place.add(b"x")
    place.open.clear()
    readers = [asyncio.create_task(cached.get(cid)) for _ in range(3)]
    await asyncio.sleep(0)
    readers[0].cancel()
    readers[2].cancel()
    await asyncio.sleep(0)
    place.open.set()
    assert await readers[1] == b"x"
    assert readers[0].cancelled()
    assert await cached.get(cid) == b"x"
    assert len(place.gets) == 1


async def test_an_error_reaches_all_and_is_not_kept(place: Place, cached: CachedBlocks) -> None:
    cid = place.add(b"x")
    place.error = StoreUnavailable("away")
    failed = await asyncio.gather(*(cached.get(cid) for _ in range(4)), return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in failed)
    assert len(place.gets) == 1
    place.error = None
    assert await cached.get(cid) == b"x"


async def test_an_error_that_nobody_waits_for(place: Place, cached: CachedBlocks) -> None:
    place.open.clear()
    reader = asyncio.create_task(cached.get(place.add(b"x")))
    await asyncio.sleep(0)
    reader.cancel()
    place.error = StoreUnavailable("away")
    place.open.set()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await asyncio.sleep(0.01)
    assert not cached._under_way


async def test_what_is_missing_is_not_kept(place: Place, cached: CachedBlocks) -> None:
    with pytest.raises(BlockNotFound):
        await cached.get(Cid.of(b"x"))
    place.add(b"x")
    assert await cached.get(Cid.of(b"x")) == b"x"


async def test_large_blocks_are_not_kept(
    place: Place, cached: CachedBlocks, memory: MemoryCache[bytes]
) -> None:
    large, fits = os.urandom(MAX_CACHED_BLOCK_BYTES + 1), os.urandom(MAX_CACHED_BLOCK_BYTES)
    for data in (large, fits):
        assert await cached.get(place.add(data)) == data
    assert len(memory) == 1


async def test_memory_is_bounded(place: Place) -> None:
    memory: MemoryCache[bytes] = MemoryCache(1024 * 1024)
    cached = CachedBlocks(place, memory)
    for _ in range(50):
        await cached.get(place.add(os.urandom(100_000)))
    assert 0 < memory.bytes <= 1024 * 1024


async def test_a_stream_takes_what_is_here(place: Place, cached: CachedBlocks) -> None:
    parts = [os.urandom(1000) for _ in range(6)]
    leaves = [Leaf(place.add(part), 1000, 0, 1000) for part in parts]
    leaves[0] = Leaf(leaves[0].cid, 1000, 10, 1000)
    leaves[5] = Leaf(leaves[5].cid, 1000, 0, 990)
    wanted = b"".join(parts)[10:-10]
    assert b"".join([bytes(piece) async for piece in cached.stream(leaves)]) == wanted
    assert place.streams == [6]
    for at in (0, 2, 3):
        await cached.get(leaves[at].cid)
    place.streams.clear()
    assert b"".join([bytes(piece) async for piece in cached.stream(leaves)]) == wanted
    assert place.streams == [1, 2]
    assert [piece async for piece in cached.stream([])] == []


async def test_a_stream_that_is_left_closes_the_inner_one(place: Place) -> None:
    closed = []

    class Slow(Place):
        async def spans(self, leaves: Sequence[Leaf]) -> AsyncGenerator[Piece, None]:
            try:
                while True:
                    yield b"x"
            finally:
                closed.append(True)

    cached = CachedBlocks(Slow(), MemoryCache(1000))
    reading = cached.stream([Leaf(Cid.of(b"x"), 1, 0, 1)])
    await anext(reading)
    await reading.aclose()
    assert closed == [True]


class TestForgetting:
    async def test_nothing_of_before_is_given_out(
        self, place: Place, cached: CachedBlocks, memory: MemoryCache[bytes]
    ) -> None:
        cid = place.add(b"x")
        await cached.get(cid)
        place._data.clear()
        cached.forget(1)
        with pytest.raises(BlockNotFound):
            await cached.get(cid)
        assert len(memory) == 0

    async def test_a_read_under_way_is_not_kept(self, place: Place, memory: MemoryCache[bytes]) -> None:
        shared = Shared()
        cached = CachedBlocks(place, memory, shared)
        cid = place.add(b"x")
        place.open.clear()
        old = asyncio.create_task(cached.get(cid))
        await asyncio.sleep(0.01)
        cached.forget(1)
        newer = asyncio.create_task(cached.get(cid))
        await asyncio.sleep(0.01)
        place.open.set()
        assert await old == await newer == b"x"
        assert len(place.gets) == 2
        assert set(shared.data) == {(1, cid.multihash)}

    async def test_nor_where_nobody_asks_again(self, place: Place, memory: MemoryCache[bytes]) -> None:
        shared = Shared()
        cached = CachedBlocks(place, memory, shared)
        cid = place.add(b"x")
        place.open.clear()
        old = asyncio.create_task(cached.get(cid))
        await asyncio.sleep(0.01)
        cached.forget(1)
        place.open.set()
        assert await old == b"x"
        assert (len(memory), shared.data, cached._under_way) == (0, {}, {})


class TestShared:
    async def test_what_others_have(self, place: Place, memory: MemoryCache[bytes]) -> None:
        shared = Shared()
        cid = place.add(b"x")
        shared.put(cid, b"x")
        places: list[str] = []
        provenance.set(places)
        cached = CachedBlocks(place, memory, shared)
        assert await cached.get(cid) == b"x"
        assert (place.gets, places) == ([], ["redis"])
        shared.data.clear()
        assert await cached.get(cid) == b"x"
        assert shared.data == {}, "it comes from there, and need not go back"

    async def test_what_others_lack(self, place: Place, memory: MemoryCache[bytes]) -> None:
        shared = Shared()
        cached = CachedBlocks(place, memory, shared)
        cid, large = place.add(b"x"), place.add(os.urandom(MAX_CACHED_BLOCK_BYTES + 1))
        places: list[str] = []
        provenance.set(places)
        await cached.get(cid)
        await cached.get(large)
        assert list(shared.data) == [(0, cid.multihash)]
        assert places == ["store", "store"]
        cached.forget(7)
        assert shared.epoch == 7
        assert await shared.get(cid) is None
