"""Reading out of objects: every byte right, in few reads, and never a wrong one."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipld.blocks import Leaf
from ipld.cid import CBOR, DAG_PB, RAW, Cid
from ipld.errors import BlockCorrupt, BlockNotFound
from ipld.hashes import IDENTITY
from ipld.unixfs.listing import find_entry
from ipld.unixfs.profiles import PROFILES, UNIXFS_V0_2015, UNIXFS_V1_2025, Profile
from ipld.unixfs.reader import open_file
from storage.index import Index, Layout, Location
from storage.local import LocalObjects
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.objects import ObjectStore
from storage.packed import PackedBlocks
from storage.tree import TreeEntry
from tests.storage.stores import MIB, CountingIndex, Stores, cut, flip, join, pieces, settled_tasks

SIZES = st.sampled_from([0, 1, 100, 262_143, 262_144, 262_145, 524_288, MIB - 1, MIB, MIB + 1, 2_500_000])


@pytest.fixture(params=PROFILES.values(), ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    assert isinstance(request.param, Profile)
    return request.param


@pytest.fixture
def stores(objects: ObjectStore) -> Stores:
    return Stores(objects, CountingIndex())


async def add(stores: Stores, data: bytes, profile: Profile = UNIXFS_V1_2025, name: str = "f") -> Cid:
    return (await stores.content.add_file(cut(data), stores.owned(name, profile=profile))).cid


async def add_in_directory(stores: Stores, data: bytes, profile: Profile = UNIXFS_V1_2025) -> Cid:
    """The same file as part of a CAR object; its own CID."""

    async def entries() -> object:
        yield TreeEntry("other", pieces(b"other"))
        yield TreeEntry("file", cut(data))

    added = await stores.content.add_tree(entries(), stores.owned(profile=profile))  # type: ignore[arg-type]
    link = (await find_entry(stores.blocks, added.cid, "file")).link
    assert link is not None
    return link.cid


@settings(max_examples=25, deadline=None)
@given(
    size=SIZES,
    profile=st.sampled_from(list(PROFILES.values())),
    layout=st.sampled_from(Layout),
    data=st.data(),
)
def test_every_range_in_memory(size: int, profile: Profile, layout: Layout, data: st.DataObject) -> None:
    async def check() -> None:
        stores = Stores(MemoryObjects(), MemoryIndex())
        await check_ranges(stores, size, profile, layout, data)

    asyncio.run(check())


@settings(max_examples=25, deadline=None)
@given(
    size=SIZES,
    profile=st.sampled_from(list(PROFILES.values())),
    layout=st.sampled_from(Layout),
    data=st.data(),
)
def test_every_range_in_a_folder(
    tmp_path_factory: pytest.TempPathFactory, size: int, profile: Profile, layout: Layout, data: st.DataObject
) -> None:
    async def check(root: Path) -> None:
        local = LocalObjects(root)
        await check_ranges(Stores(local, MemoryIndex()), size, profile, layout, data)
        await local.aclose()

    asyncio.run(check(tmp_path_factory.mktemp("objects")))


async def check_ranges(
    stores: Stores, size: int, profile: Profile, layout: Layout, data: st.DataObject
) -> None:
    whole = os.urandom(size)
    cid = await (add if layout is Layout.FILE else add_in_directory)(stores, whole, profile)
    assert await stores.read(cid) == whole
    for _ in range(4):
        start = data.draw(st.integers(0, size))
        stop = data.draw(st.integers(start, size))
        assert await stores.read(cid, start, stop) == whole[start:stop]
    stores.restart()
    assert await stores.read(cid, size // 3) == whole[size // 3 :]


async def test_a_large_file_is_few_reads_and_one_query(profile: Profile) -> None:
    stores = Stores(MemoryObjects(), index := CountingIndex())
    whole = os.urandom(64 * MIB)
    cid = await add(stores, whole, profile)
    stores.counted.reads.clear()
    index.queries.clear()
    assert await stores.read(cid) == whole
    assert len(stores.counted.reads) <= 64 // 4 + 4
    leaves = [asked for asked in index.queries if asked > 1]
    assert len(leaves) <= 4
    # The reader looks at the first dag-pb leaf by itself, to see that it is one.
    assert 64 * MIB // profile.chunk_size - 1 <= sum(leaves) <= 64 * MIB // profile.chunk_size
    stores.counted.reads.clear()
    assert await stores.read(cid, 5 * MIB + 3, 5 * MIB + 4) == whole[5 * MIB + 3 : 5 * MIB + 4]
    assert sum(stop - start for _, start, stop in stores.counted.reads) <= MIB


async def test_a_file_in_a_directory_is_few_reads_as_well(profile: Profile) -> None:
    stores = Stores(MemoryObjects(), CountingIndex())
    whole = os.urandom(16 * MIB)
    cid = await add_in_directory(stores, whole, profile)
    stores.counted.reads.clear()
    assert await stores.read(cid) == whole
    assert len(stores.counted.reads) <= 12


async def test_spans_of_a_folder_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = Stores(local := LocalObjects(tmp_path), MemoryIndex())
    whole = os.urandom(3 * MIB)
    cid = await add(stores, whole)
    hashed = count_hashes(monkeypatch)
    assert await stores.read(cid) == whole
    assert sum(hashed) == 3 * MIB
    hashed.clear()
    stores.counted.reads.clear()
    assert await stores.read(cid) == whole
    assert await stores.read(cid, MIB // 2, 2 * MIB) == whole[MIB // 2 : 2 * MIB]
    assert hashed == []
    assert len(stores.counted.reads) == 2
    [key] = await stores.keys()
    await stores.change(key, lambda data: data)
    assert await stores.read(cid) == whole
    assert sum(hashed) == 3 * MIB
    await local.aclose()


async def test_spans_of_other_stores_are_hashed_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    stores = Stores(MemoryObjects(), MemoryIndex())
    cid = await add(stores, os.urandom(2 * MIB))
    hashed = count_hashes(monkeypatch)
    await stores.read(cid)
    await stores.read(cid)
    assert sum(hashed) >= 4 * MIB


def count_hashes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of what is hashed, inner nodes (small) left out."""
    from storage import span_checks

    lengths: list[int] = []
    verify, hash_span = span_checks.verify, span_checks.hash_span

    def counted(cid: Cid, data: bytes) -> None:
        if len(data) > 100_000:
            lengths.append(len(data))
        verify(cid, data)

    def counted_span(descriptor: int, cid: Cid, copy: Location) -> bool:
        lengths.append(copy.length)
        return hash_span(descriptor, cid, copy)

    monkeypatch.setattr(span_checks, "verify", counted)
    monkeypatch.setattr(span_checks, "hash_span", counted_span)
    return lengths


class TestDamage:
    async def test_a_flipped_byte_is_never_served(self, stores: Stores, profile: Profile) -> None:
        whole = os.urandom(3 * MIB)
        cid = await add(stores, whole, profile)
        [key] = await stores.keys()
        assert await stores.read(cid) == whole
        await stores.change(key, flip(MIB + 5))
        with pytest.raises(BlockCorrupt):
            await stores.read(cid)
        assert stores.damage == 1
        found = await stores.index.find(cid)
        assert found is not None
        assert found.damaged
        # The rest of the file is sound.
        assert await stores.read(cid, 0, MIB) == whole[:MIB]
        assert await stores.read(cid, 2 * MIB) == whole[2 * MIB :]

    async def test_what_came_before_the_damage_is_right(self, stores: Stores) -> None:
        whole = os.urandom(3 * MIB)
        cid = await add(stores, whole)
        [key] = await stores.keys()
        await stores.change(key, flip(2 * MIB + 1))
        got = b""
        file = await open_file(stores.blocks, cid)
        with pytest.raises(BlockCorrupt):
            async with aclosing(file.read()) as reading:
                async for piece in reading:
                    got += bytes(piece)
        assert got == whole[: 2 * MIB]

    async def test_the_next_copy_is_used(self, stores: Stores, profile: Profile) -> None:
        whole = os.urandom(3 * MIB)
        cid = await add(stores, whole, profile)
        [key] = await stores.keys()
        assert await add_in_directory(stores, whole, profile) == cid
        for at in (0, MIB + 7, 3 * MIB - 1):
            await stores.change(key, flip(at))
        assert await stores.read(cid) == whole
        assert await stores.read(cid, MIB, MIB + 100) == whole[MIB : MIB + 100]
        seen = stores.damage
        assert 1 <= seen <= 3
        assert await stores.read(cid) == whole
        assert stores.damage == seen, "the bad copies come last now, and are not read again"

    async def test_damage_in_the_middle_continues_elsewhere(self, stores: Stores) -> None:
        whole = os.urandom(5 * MIB)
        cid = await add(stores, whole)
        [key] = await stores.keys()
        await add_in_directory(stores, whole)
        await stores.change(key, flip(3 * MIB + 9))
        for start, stop in ((0, 5 * MIB), (MIB // 2, 4 * MIB + 17), (3 * MIB + 9, 3 * MIB + 10)):
            stores.restart()
            assert await stores.read(cid, start, stop) == whole[start:stop]

    @pytest.mark.parametrize("left", [0, 5, MIB, 2 * MIB + 5])
    async def test_a_cut_object(self, stores: Stores, left: int) -> None:
        whole = os.urandom(3 * MIB)
        cid = await add(stores, whole)
        [key] = await stores.keys()
        await stores.change(key, lambda data: data[:left])
        with pytest.raises(BlockCorrupt):
            await stores.read(cid)
        await add_in_directory(stores, whole)
        assert await stores.read(cid) == whole

    async def test_a_removed_object(self, stores: Stores) -> None:
        whole = os.urandom(2 * MIB)
        cid = await add(stores, whole)
        [key] = await stores.keys()
        await stores.remove(key)
        with pytest.raises(BlockCorrupt):
            await stores.read(cid)
        assert stores.damage >= 1
        await add_in_directory(stores, whole)
        assert await stores.read(cid) == whole

    async def test_a_new_upload_heals(self, stores: Stores, profile: Profile) -> None:
        whole = os.urandom(2 * MIB)
        cid = await add(stores, whole, profile)
        [key] = await stores.keys()
        await stores.change(key, flip(MIB))
        with pytest.raises(BlockCorrupt):
            await stores.read(cid)
        assert await add(stores, whole, profile) == cid
        assert await stores.read(cid) == whole
        assert key not in await stores.keys()
        assert await stores.content.release(stores.owner, cid)
        assert await stores.nothing_left()

    @pytest.mark.parametrize("how", ["removed", "cut"])
    async def test_a_new_upload_heals_what_nobody_noticed(self, stores: Stores, how: str) -> None:
        whole = os.urandom(MIB)
        cid = await add(stores, whole)
        [key] = await stores.keys()
        await (stores.remove(key) if how == "removed" else stores.change(key, lambda data: data[:-1]))
        await add(stores, whole)
        assert await stores.read(cid) == whole

    async def test_damage_in_a_small_block(self, stores: Stores) -> None:
        cid = (await stores.content.add_raw(pieces(b"block"), RAW, stores.owned())).cid
        [key] = await stores.keys()
        assert await stores.blocks.get(cid) == b"block"
        await stores.change(key, flip(-1 + len(await raw_object(stores, key))))
        with pytest.raises(BlockCorrupt):
            await stores.blocks.get(cid)

    async def test_what_was_not_there_for_a_moment(
        self, stores: Stores, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A mark stays until the content is uploaded again: it needs a second look."""
        cid = await add(stores, b"small")
        inner = stores.counted.inner
        opened, missing = inner.open, [True]

        def open_(key: str, first: tuple[int, int] | None = None) -> object:
            return opened("no/such" if missing and missing.pop() else key, first)

        monkeypatch.setattr(inner, "open", open_)
        assert await stores.blocks.get(cid) == b"small"
        assert stores.damage == 0
        found = await stores.index.find(cid)
        assert found is not None
        assert not found.damaged

    async def test_what_was_deleted_is_not_damaged(self, stores: Stores) -> None:
        """The locations that this process remembers are of before."""
        whole = os.urandom(2 * MIB)
        cid = await add(stores, whole)
        assert await stores.read(cid) == whole
        await Stores(stores.objects, stores.index, owner=stores.owner).content.release(stores.owner, cid)
        with pytest.raises(BlockNotFound):
            await stores.read(cid)
        await add(stores, whole)
        assert await stores.read(cid) == whole
        assert stores.damage == 0


async def raw_object(stores: Stores, key: str) -> bytes:
    async with stores.objects.open(key) as source:
        return await join(source.read(0, source.size))


async def test_a_block_under_another_codec(stores: Stores, profile: Profile) -> None:
    whole = os.urandom(600_000)
    cid = await add(stores, whole, profile)
    block = await stores.blocks.get(cid)
    for codec in (RAW, DAG_PB, CBOR):
        assert await stores.blocks.get(Cid.of(block, codec)) == block
    leaf_block = whole[:262_144]
    leaf = Cid.of(leaf_block, DAG_PB)
    if profile is UNIXFS_V0_2015:
        from ipld.unixfs.node import leaf_wrapping

        before, after = leaf_wrapping(262_144)
        wrapped = before + leaf_block + after
        as_raw = Cid.of(wrapped, RAW)
        assert await stores.blocks.get(as_raw) == wrapped
        found = await join(stores.blocks.stream([Leaf(as_raw, len(wrapped), 3, 90_000)]))
        assert found == wrapped[3:90_000]
        as_leaf = Cid.of(wrapped, DAG_PB)
        assert await join(stores.blocks.stream([Leaf(as_leaf, 262_144, 5, 77)])) == whole[5:77]
    with pytest.raises(BlockNotFound):
        await stores.blocks.get(leaf)


async def test_identity(stores: Stores) -> None:
    cid = Cid.of_digest(b"in the name", RAW, code=IDENTITY)
    assert await stores.blocks.get(cid) == b"in the name"
    assert await join(stores.blocks.stream([Leaf(cid, 11, 3, 11)])) == b"the name"
    assert isinstance(stores.index, CountingIndex)


async def test_what_is_not_here(stores: Stores) -> None:
    cid = Cid.of(b"nowhere")
    with pytest.raises(BlockNotFound):
        await stores.blocks.get(cid)
    with pytest.raises(BlockNotFound):
        await join(stores.blocks.stream([Leaf(cid, 7, 0, 7)]))
    assert stores.damage == 0


async def test_leaving_early_leaks_nothing(stores: Stores, profile: Profile) -> None:
    """Neither tasks nor exceptions that nobody saw, which pytest would report."""
    whole = os.urandom(4 * MIB)
    cid = await add(stores, whole, profile)
    for change in (False, True):
        if change:
            [key] = await stores.keys()
            await stores.change(key, flip(3 * MIB))
        for taken in (1, 3):
            stores.restart()
            reading = (await open_file(stores.blocks, cid)).read()
            for _ in range(taken):
                await anext(reading)
            await reading.aclose()
        readers = [asyncio.create_task(stores.read(cid)) for _ in range(6)]
        await asyncio.sleep(0.001)
        for reader in readers[:5]:
            reader.cancel()
        ended = await asyncio.gather(*readers, return_exceptions=True)
        assert isinstance(ended[5], BlockCorrupt) if change else ended[5] == whole
        assert not await settled_tasks()


async def test_readers_of_one_span_share_the_hashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = Stores(local := LocalObjects(tmp_path), MemoryIndex())
    whole = os.urandom(2 * MIB)
    cid = await add(stores, whole)
    hashed = count_hashes(monkeypatch)
    assert await asyncio.gather(*(stores.read(cid) for _ in range(8))) == [whole] * 8
    assert sum(hashed) == 2 * MIB
    await local.aclose()


async def test_forgetting(index: Index) -> None:
    stores = Stores(MemoryObjects(), index)
    cid = await add(stores, b"x" * 100)
    await stores.blocks.get(cid)
    stores.blocks.forget()
    assert await stores.blocks.get(cid) == b"x" * 100


async def test_an_answer_from_before_a_deletion_is_not_remembered() -> None:
    class Slow(CountingIndex):
        async def locate(self, multihashes):  # type: ignore[no-untyped-def]
            found = await super().locate(multihashes)
            asked.set()
            await go.wait()
            return found

    asked, go = asyncio.Event(), asyncio.Event()
    index = Slow()
    stores = Stores(MemoryObjects(), index)
    cid = (await stores.content.add_raw(pieces(b"x"), RAW, stores.owned())).cid
    reading = asyncio.create_task(stores.blocks.get(cid))
    await asked.wait()
    stores.blocks.forget()
    go.set()
    assert await reading == b"x"
    index.queries.clear()
    await stores.blocks.get(cid)
    assert index.queries == [1]


async def test_locations_are_bounded_by_copies() -> None:
    from storage.locations import Locations

    stores = Stores(MemoryObjects(), index := CountingIndex())
    cids = [(await stores.content.add_raw(pieces(b"%d" % n), RAW, stores.owned())).cid for n in range(10)]
    locations = Locations(index, limit=4)
    index.queries.clear()
    for cid in cids:
        assert cid.multihash in await locations.find([cid.multihash])
    await locations.find([cid.multihash for cid in cids[6:]])
    assert index.queries == [1] * 10
    await locations.find([cid.multihash for cid in cids])
    assert index.queries[10:] == [6]


def test_packed_is_a_block_reader() -> None:
    from ipld.blocks import BlockReader

    reader: BlockReader = PackedBlocks(MemoryObjects(), MemoryIndex())
    assert reader
