"""The index comes back from the objects alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ipld.cid import CBOR, DAG_PB, RAW, Cid
from ipld.errors import BlockNotFound
from ipld.unixfs.profiles import PROFILES, UNIXFS_V0_2015
from storage.index import OPERATOR, Closure, Committed, Index, NewObject, NewUpload
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.objects import ObjectStore
from storage.reindex import Reindex
from storage.tree import TreeEntry
from tests.storage.stores import MIB, Stores, cut, flip, pieces, store


async def fill(stores: Stores) -> dict[Cid, bytes]:
    """One of each kind: what every CID must give again."""
    files: dict[Cid, bytes] = {}
    for profile in PROFILES.values():
        data = os.urandom(2 * MIB + 17)
        files[(await stores.content.add_file(cut(data), stores.owned(profile=profile))).cid] = data
        exact = os.urandom(600_000)
        cid = await cid_of(exact, profile.name)
        await stores.content.add_exactly(cid, cut(exact), stores.owned())
        files[cid] = exact
    empty = (await stores.content.add_file(pieces(), stores.owned(profile=UNIXFS_V0_2015))).cid
    files[empty] = b""
    return files


async def cid_of(data: bytes, profile: str) -> Cid:
    elsewhere = Stores(MemoryObjects(), MemoryIndex())
    owned = elsewhere.owned(profile=PROFILES[profile])
    return (await elsewhere.content.add_file(cut(data), owned)).cid


async def add_tree(stores: Stores, entries: dict[str, bytes], **more: object) -> Cid:
    async def each() -> AsyncIterator[TreeEntry]:
        for path, data in entries.items():
            yield TreeEntry(path, cut(data))

    return (await stores.content.add_tree(each(), stores.owned(**more))).cid  # type: ignore[arg-type]


@pytest_asyncio.fixture
async def stores(objects: ObjectStore) -> Stores:
    return Stores(objects, MemoryIndex())


def lost(stores: Stores, index: Index | None = None) -> Stores:
    """The same objects, and an index that knows nothing."""
    return Stores(stores.objects, index or MemoryIndex(), owner=OPERATOR)


async def listed(stores: Stores, root: Cid) -> dict[str, bytes]:
    from ipld.unixfs.listing import list_entries

    return {link.name: await stores.read(link.cid) async for link in list_entries(stores.blocks, root)}


async def test_everything_is_readable_again(stores: Stores, index: Index) -> None:
    files = await fill(stores)
    entries = {f"f{n}": os.urandom(300_000) for n in range(4)}
    trees = [await add_tree(stores, entries, profile=profile) for profile in PROFILES.values()]
    block = (await stores.content.add_raw(pieces(b"\xa0"), CBOR, stores.owned())).cid
    again = lost(stores, index)
    steps: list[tuple[int, int]] = []
    count = len(await stores.keys())
    assert await Reindex(again.objects, again.index)(lambda done, total: steps.append((done, total))) == count
    assert steps == [(n + 1, count) for n in range(count)]
    for cid, data in files.items():
        assert await again.read(cid) == data
        assert await again.read(cid, len(data) // 2) == data[len(data) // 2 :]
    for tree in trees:
        assert await listed(again, tree) == entries
    assert await again.blocks.get(block) == b"\xa0"
    assert await again.index.unsettled(0) == []
    assert await Reindex(again.objects, again.index)() == 0
    for cid in [*files, *trees, block]:
        assert await again.content.release(OPERATOR, cid)
    assert await again.nothing_left()


async def test_the_rows_are_those_of_the_upload(stores: Stores) -> None:
    data = os.urandom(2 * MIB)
    root = await add_tree(stores, {"file": data}, profile=UNIXFS_V0_2015)
    again = lost(stores)
    await Reindex(again.objects, again.index)()
    assert isinstance(stores.index, MemoryIndex)
    assert isinstance(again.index, MemoryIndex)
    before, after = stores.index._objects[1], again.index._objects[1]
    assert (before.rows, before.new.size, before.new.root) == (after.rows, after.new.size, root)


async def test_edits_need_other_objects(stores: Stores, index: Index) -> None:
    """A chain in which each object rests on the ones before; keys are random, and so is the order."""
    entries = {"first": os.urandom(1000)}
    root = await add_tree(stores, entries)
    for n in range(8):
        entries[f"f{n}"] = os.urandom(1000)
        added = await stores.content.put(root, [f"f{n}"], pieces(entries[f"f{n}"]), stores.owned())
        root = added.cid
    again = lost(stores, index)
    assert await Reindex(again.objects, again.index)() == len(await stores.keys())
    assert await listed(again, root) == entries
    closure = await again.index.closure([root.multihash])
    assert closure.complete
    assert len(closure.objects) == 10, "the directory, and the file of each entry"
    for n in range(8):
        assert await again.content.release(OPERATOR, Cid.of(entries[f"f{n}"]))
    assert await listed(again, root) == entries


async def test_interrupted_and_run_again(stores: Stores) -> None:
    """Cut off in the middle of a commit; then the sweep comes, and must not touch the object."""

    class Breaking(MemoryIndex):
        left = 2

        async def adopt(self, new: NewObject, upload: NewUpload) -> Committed:
            if not self.left:
                raise asyncio.CancelledError
            self.left -= 1
            return await super().adopt(new, upload)

    files = await fill(stores)
    index = Breaking()
    again = lost(stores, index)
    before = await again.keys()
    with pytest.raises(asyncio.CancelledError):
        await Reindex(again.objects, again.index)()
    await again.content.sweep(0)
    assert await again.keys() == before
    index.left = 1000
    assert await Reindex(again.objects, again.index)() == len(before) - 2
    for cid, data in files.items():
        assert await again.read(cid) == data


async def test_interrupted_while_the_database_writes(stores: Stores, pool: object) -> None:
    from storage.postgres_index import PostgresIndex

    data = os.urandom(MIB)
    cid = (await stores.content.add_file(cut(data), stores.owned())).cid
    index = PostgresIndex(pool)  # type: ignore[arg-type]
    again = lost(stores, index)
    task = asyncio.create_task(Reindex(again.objects, index)())
    while not await pool.fetchval(  # type: ignore[attr-defined]
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
    ):
        await asyncio.sleep(0)
        if task.done():
            break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await again.content.sweep(0)
    assert len(await again.keys()) == 1
    await Reindex(again.objects, index)()
    assert await again.read(cid) == data


async def test_damaged_objects_are_left_out(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    good = (await stores.content.add_raw(pieces(b"good"), RAW, stores.owned())).cid
    bad: list[str] = []
    for n in range(6):
        known = set(await stores.keys())
        if n == 5:
            await stores.content.add_exactly(Cid.of(b"x" * 100), pieces(b"x" * 100), stores.owned())
        else:
            await stores.content.add_raw(pieces(b"bad%d" % n), RAW, stores.owned())
        bad += set(await stores.keys()) - known
    length = 59 + 37 + 4
    await stores.change(bad[0], flip(length - 1))  # a byte of the block
    await stores.change(bad[1], flip(60))  # in the CID: the version or the codec
    await stores.change(bad[2], flip(62))  # the hash function
    await stores.change(bad[3], lambda data: data[:-1])
    await stores.change(bad[4], lambda data: b"")
    await stores.change(bad[5], flip(50))
    await store(stores.objects, "strange/key", b"x")
    await store(stores.objects, "files/neither/00/x", b"x")
    again = lost(stores)
    await Reindex(again.objects, again.index)()
    assert await again.blocks.get(good) == b"good"
    known_now = await again.index.known(bad)
    assert not known_now & {bad[0], bad[2], bad[3], bad[4], bad[5]}
    for key in [*bad[2:], "strange/key", "files/neither/00/x"]:
        assert f"{key} is left out" in caplog.text
    assert set(bad) <= set(await again.keys()), "nothing is deleted"


async def test_uploads_under_way_are_not_touched(stores: Stores) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        assert await Reindex(stores.objects, stores.index)() == 0
        yield b"y"

    added = await stores.content.add_file(body(), stores.owned())
    assert await Reindex(stores.objects, stores.index)() == 0
    assert await stores.read(added.cid) == b"xy"


async def test_two_at_once(stores: Stores, index: Index) -> None:
    files = await fill(stores)
    again = lost(stores, index)
    before = await again.keys()
    added = await asyncio.gather(*(Reindex(again.objects, again.index)() for _ in range(3)))
    assert sum(added) == len(before)
    assert await again.keys() == before
    for cid, data in files.items():
        assert await again.read(cid) == data


async def test_a_second_copy_is_removed(stores: Stores) -> None:
    """Only where the first is really there."""
    data = os.urandom(1000)
    await stores.content.add_file(pieces(data), stores.owned())
    other = lost(stores)
    added = await other.content.add_file(pieces(data), other.owned())
    assert len(await stores.keys()) == 2
    again = lost(stores)
    assert await Reindex(again.objects, again.index)() == 1
    [key] = await stores.keys()
    assert await again.read(added.cid) == data
    # The index knows an object that is gone; a copy of it turns up.
    await stores.remove(key)
    third = lost(stores)
    await third.content.add_file(pieces(data), third.owned())
    await Reindex(again.objects, again.index)()
    assert len(await again.keys()) == 1
    again.restart()
    assert await again.read(added.cid) == data


async def test_blocks_that_are_nowhere(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    data = os.urandom(3 * MIB)
    cid = await cid_of(data, "unixfs-v1-2025")
    elsewhere = Stores(MemoryObjects(), MemoryIndex())
    await elsewhere.content.add_file(cut(data), elsewhere.owned())
    await stores.content.add_raw(pieces(await elsewhere.blocks.get(cid)), DAG_PB, stores.owned())
    again = lost(stores)
    assert await Reindex(again.objects, again.index)() == 1
    assert "links to blocks that are nowhere" in caplog.text
    with pytest.raises(BlockNotFound):
        await again.read(cid)
    assert await again.index.closure([cid.multihash]) == Closure(frozenset({1}), complete=False)
    # So that the whole file is no twin of it.
    assert (await again.content.add_file(cut(data), again.owned())).cid == cid
    assert await again.read(cid) == data
