"""Adding and letting go: the right CIDs, nothing stored twice, and nothing left of what failed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from ipld import car
from ipld.blocks import MAX_BLOCK_BYTES, Buffer
from ipld.cid import CBOR, DAG_PB, RAW, Cid
from ipld.errors import BlockNotFound, InvalidPath, MalformedBlock, NoLink, StoreFull, StoreUnavailable
from ipld.hashes import IDENTITY
from ipld.paths import ContentPath, resolve
from ipld.unixfs.profiles import PROFILES, UNIXFS_V0_2015, UNIXFS_V1_2025, Profile
from storage.car_import import CarTerms
from storage.content import Added, CidMismatch
from storage.deletion import Deletion
from storage.filebase import Import
from storage.index import Committed, Index, NewObject, NewUpload, UploadGone
from storage.local import LocalObjects
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.objects import ObjectWriter, Receipt
from storage.s3_errors import StoreRefused
from storage.single_files import SingleFiles
from storage.tree import TreeEntry
from tests.fixture_data import FIXTURES, content, needs_fixtures
from tests.storage.stores import MIB, Stores, cut, pieces, settled_tasks, store
from tests.storage.test_filebase import filebase

FILES = {
    0: (
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
    ),
    262145: (
        "bafkreie35w65it3sweywrsfgy6numc72s5yfxhfus4bvvlccbs7agaznue",
        "QmPUWkCpjJCgGTEQzsftEia6vantu5pcZ47QZZ3uFAJTSt",
    ),
    1048577: (
        "bafybeigmse5oppscy4j5zs44b5sfd3mv5jvb527qohkz4qmgud6lirnf3m",
        "QmSMELjpQSsXMvyCgt9XFKcxfpoN63AQ8LgR53DKY4RZAz",
    ),
}
NESTED = {
    "index.html": ("i", 64),
    "sub/one.txt": ("1", 1),
    "sub/deeper/two.txt": ("2", 2),
    "hollow": None,
}
NESTED_ROOTS = (
    "bafybeiewg5vzprchpoxc3dlzeatjrzufqrvmyhhwrm5pynrsq7xfkruo6m",
    "QmRQpphFPdBUvhDwQ13cixAP6zbPEtTH67377KdpxAztDg",
)


LEFT = f"files/unixfs-v1-2025/00/{'0' * 32}"


@pytest_asyncio.fixture
async def stores(index: Index) -> Stores:
    return Stores(MemoryObjects(), index)


@pytest.fixture(params=PROFILES.values(), ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    assert isinstance(request.param, Profile)
    return request.param


class NoNames:
    async def resolve(self, name: str) -> object:
        raise AssertionError(name)


async def at_path(stores: Stores, root: Cid, *segments: str) -> bytes:
    path = ContentPath("ipfs", str(root), tuple(segments))
    found = await resolve(NoNames(), stores.blocks, path)  # type: ignore[arg-type]
    return await stores.read(found.cid)


async def tree(entries: dict[str, bytes | None]) -> AsyncIterator[TreeEntry]:
    for path, data in entries.items():
        yield TreeEntry(path, None if data is None else cut(data))


async def add(stores: Stores, data: bytes, **more: object) -> Added:
    return await stores.content.add_file(cut(data), stores.owned(**more))  # type: ignore[arg-type]


async def add_tree(stores: Stores, entries: dict[str, bytes | None], lone: bool = False) -> Added:
    return await stores.content.add_tree(tree(entries), stores.owned("tree"), lone_file=lone)


class TestCids:
    @pytest.mark.parametrize("size", FILES)
    async def test_files(self, stores: Stores, size: int, profile: Profile) -> None:
        data = content(f"vector-{size}", size)
        added = await add(stores, data, profile=profile)
        assert str(added.cid) == FILES[size][1 - profile.cid_version]
        assert (added.size, added.profile, added.is_directory) == (size, profile.name, False)
        assert await stores.read(added.cid) == data
        assert await stores.index.unsettled(0) == []

    async def test_a_tree(self, stores: Stores, profile: Profile) -> None:
        entries = {path: content(*given) if given else None for path, given in NESTED.items()}
        added = await stores.content.add_tree(tree(entries), stores.owned(profile=profile))
        assert str(added.cid) == NESTED_ROOTS[1 - profile.cid_version]
        assert added.is_directory
        for path, data in entries.items():
            if data is not None:
                assert await at_path(stores, added.cid, *path.split("/")) == data
        assert len(await stores.keys()) == 1

    async def test_a_symlink(self, stores: Stores) -> None:
        async def entries() -> AsyncIterator[TreeEntry]:
            yield TreeEntry("real.txt", pieces(content("r", 9)))
            yield TreeEntry("link.txt", target="real.txt")

        added = await stores.content.add_tree(entries(), stores.owned())
        assert str(added.cid) == "bafybeih5phpflxgbdyq7uhjacbuksfpw76hfpjwbqwydabwxd52mjupywu"

    async def test_an_empty_tree(self, stores: Stores) -> None:
        added = await add_tree(stores, {})
        assert str(added.cid) == "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"

    @pytest.mark.parametrize("size", FILES)
    async def test_exactly(self, stores: Stores, size: int, profile: Profile) -> None:
        data = content(f"vector-{size}", size)
        cid = Cid.parse(FILES[size][1 - profile.cid_version])
        added = await stores.content.add_exactly(cid, cut(data), stores.owned())
        assert (added.cid, added.profile) == (cid, profile.name)
        assert await stores.read(cid) == data
        assert await stores.index.unsettled(0) == []
        again = await stores.content.add_exactly(cid.to_v1(), cut(data), stores.owned())
        assert again.cid == cid.to_v1()
        assert len(await stores.keys()) == 1

    async def test_exactly_a_block(self, stores: Stores) -> None:
        cid = Cid.of(b"\xa0", CBOR)
        assert (await stores.content.add_exactly(cid, pieces(b"\xa0"), stores.owned())).cid == cid
        assert await stores.blocks.get(cid) == b"\xa0"
        assert await stores.index.unsettled(0) == []
        assert len(await stores.keys()) == 1

    @pytest.mark.parametrize("size", [10, MAX_BLOCK_BYTES + 1])
    async def test_not_exactly(self, stores: Stores, size: int) -> None:
        with pytest.raises(CidMismatch):
            await stores.content.add_exactly(Cid.of(b"other"), cut(os.urandom(size)), stores.owned())
        assert await stores.nothing_left()

    async def test_raw_blocks(self, stores: Stores) -> None:
        for codec in (RAW, CBOR, DAG_PB):
            data = b"" if codec == DAG_PB else b"\x80"
            added = await stores.content.add_raw(pieces(data), codec, stores.owned())
            assert added.cid == Cid.of(data, codec)
            assert await stores.blocks.get(added.cid) == data

    async def test_a_block_that_is_too_large(self, stores: Stores) -> None:
        taken = 0

        async def body() -> AsyncIterator[Buffer]:
            nonlocal taken
            for _ in range(100):
                taken += MIB
                yield bytes(MIB)

        with pytest.raises(MalformedBlock):
            await stores.content.add_raw(body(), RAW, stores.owned())
        assert taken == 3 * MIB, "the rest of the body is not waited for"
        whole = await stores.content.add_raw(pieces(bytes(MAX_BLOCK_BYTES)), RAW, stores.owned())
        assert whole.size == MAX_BLOCK_BYTES

    async def test_a_malformed_dag_pb_block(self, stores: Stores) -> None:
        with pytest.raises(MalformedBlock):
            await stores.content.add_raw(pieces(b"\xff"), DAG_PB, stores.owned())
        assert await stores.nothing_left()

    async def test_identity_is_never_stored(self, stores: Stores) -> None:
        cid = Cid.of_digest(b"abc", RAW, code=IDENTITY)
        assert (await stores.content.add_exactly(cid, pieces(b"abc"), stores.owned())).cid == cid
        assert await stores.nothing_left()

    async def test_names_that_no_database_takes(self, stores: Stores) -> None:
        added = await add(stores, b"x", name="a\0b\udcffc")
        assert added.name == "a?b?c"


class TestVectors:
    pytestmark = needs_fixtures

    async def test_trees(self) -> None:
        path = FIXTURES / "unixfs-profiles.json"
        for vector in json.loads(path.read_text())["trees"]:
            if "entries" not in vector or any("link" in (one or {}) for one in vector["entries"].values()):
                continue
            entries = {
                path: content(one["seed"], one["size"]) if one else None
                for path, one in vector["entries"].items()
            }
            for profile in PROFILES.values():
                stores = Stores(MemoryObjects(), MemoryIndex())
                added = await stores.content.add_tree(tree(entries), stores.owned(profile=profile))
                assert str(added.cid) == vector[profile.name]


class TestForms:
    async def test_a_lone_file(self, stores: Stores) -> None:
        added = await stores.content.add_tree(tree({"a/b.txt": b"x"}), stores.owned(""), lone_file=True)
        assert (added.cid, added.name, added.is_directory) == (Cid.of(b"x"), "a/b.txt", False)

    async def test_several(self, stores: Stores) -> None:
        entries: dict[str, bytes | None] = {"a": b"1" * 100, "b": b"2" * 100, "c/d": b"3" * 100}
        added = await add_tree(stores, entries, lone=True)
        plain = await stores.content.add_tree(tree(entries), stores.owned(owner=uuid4()))
        assert added.cid == plain.cid
        for path, data in entries.items():
            assert await at_path(stores, added.cid, *path.split("/")) == data
        assert len(await stores.keys()) == 2
        assert await stores.content.release(stores.owner, added.cid)
        assert await at_path(stores, added.cid, "a") == b"1" * 100

    async def test_one_that_is_there_twice(self, stores: Stores) -> None:
        async def entries() -> AsyncIterator[TreeEntry]:
            yield TreeEntry("a", pieces(b"1"))
            yield TreeEntry("a", pieces(b"2"))

        for lone in (False, True):
            with pytest.raises(InvalidPath):
                await stores.content.add_tree(entries(), stores.owned(), lone_file=lone)
            assert await stores.nothing_left()

    async def test_the_tree_is_there_already_without_the_file(self, stores: Stores) -> None:
        entries: dict[str, bytes | None] = {"a": b"1" * 100, "b": b"2" * 100}
        other = uuid4()
        root = (await stores.content.add_tree(tree(entries), stores.owned(owner=other))).cid
        await add_tree(stores, entries, lone=True)
        assert await stores.content.release(stores.owner, root)
        assert await stores.content.release(other, root)
        assert await stores.nothing_left()


class TestKeeping:
    async def test_the_same_content_is_one_object(self, stores: Stores) -> None:
        data = os.urandom(MIB + 1)
        first = await add(stores, data)
        second = await add(stores, data, owner=uuid4())
        assert first.cid == second.cid
        assert len(await stores.keys()) == 1
        assert await stores.index.unsettled(0) == []

    async def test_eight_at_once(self, stores: Stores) -> None:
        data = os.urandom(100_000)
        owners = [uuid4() for _ in range(8)]
        await asyncio.gather(*(add(stores, data, owner=owner) for owner in owners))
        assert len(await stores.keys()) == 1
        assert await stores.index.unsettled(0) == []
        done = await asyncio.gather(*(stores.content.release(owner, Cid.of(data)) for owner in owners))
        assert all(done)
        assert await stores.nothing_left()

    async def test_the_second_owner_keeps_it(self, stores: Stores) -> None:
        other = uuid4()
        cid = (await add(stores, b"x" * 1000)).cid
        await add(stores, b"x" * 1000, owner=other)
        assert await stores.content.release(stores.owner, cid)
        assert not await stores.content.release(stores.owner, cid)
        assert await stores.read(cid) == b"x" * 1000
        assert await stores.content.release(other, cid)
        stores.restart()
        with pytest.raises(BlockNotFound):
            await stores.read(cid)
        assert await stores.nothing_left()

    async def test_a_lone_root_block_does_not_swallow_the_file(self, stores: Stores) -> None:
        """The root of a file can be computed by anybody; knowing it must not make it unreadable."""
        data = os.urandom(3 * MIB)
        elsewhere = Stores(MemoryObjects(), MemoryIndex())
        cid = (await add(elsewhere, data)).cid
        root = await elsewhere.blocks.get(cid)
        other = uuid4()
        await stores.content.add_raw(pieces(root), DAG_PB, stores.owned(owner=other))
        assert (await add(stores, data)).cid == cid
        assert await stores.read(cid) == data
        assert await stores.content.release(stores.owner, cid)
        assert await stores.read(cid) == data, "whoever added the root keeps what is under it"
        await stores.content.release(other, cid)
        assert await stores.nothing_left()

    async def test_a_dag_put_together_block_by_block(self, stores: Stores) -> None:
        data = os.urandom(3 * MIB)
        elsewhere = Stores(MemoryObjects(), MemoryIndex())
        cid = (await add(elsewhere, data)).cid
        others = uuid4()
        for at in range(0, len(data), MIB):
            await stores.content.add_raw(pieces(data[at : at + MIB]), RAW, stores.owned(owner=others))
        await stores.content.add_raw(pieces(await elsewhere.blocks.get(cid)), DAG_PB, stores.owned())
        assert await stores.read(cid) == data
        for at in range(0, len(data), MIB):
            assert await stores.content.release(others, Cid.of(data[at : at + MIB]))
        assert await stores.read(cid) == data
        await stores.content.release(stores.owner, cid)
        assert await stores.nothing_left()


class TestEdits:
    async def test_putting(self, stores: Stores, profile: Profile) -> None:
        old = {"a": b"1" * 100, "sub/b": os.urandom(2 * MIB)}
        root = (await stores.content.add_tree(tree({**old}), stores.owned(profile=profile))).cid
        owned = stores.owned("c", profile=profile)
        added = await stores.content.put(root, ["sub", "c"], cut(b"new"), owned)
        fresh = Stores(MemoryObjects(), MemoryIndex())
        built = await fresh.content.add_tree(tree({**old, "sub/c": b"new"}), fresh.owned(profile=profile))
        assert (added.cid, added.size, added.is_directory) == (built.cid, built.size, True)
        assert await stores.content.release(stores.owner, root)
        for path, data in {**old, "sub/c": b"new"}.items():
            assert await at_path(stores, added.cid, *path.split("/")) == data
        assert await stores.content.release(stores.owner, added.cid)
        assert await stores.nothing_left()

    async def test_removing(self, stores: Stores) -> None:
        root = (await add_tree(stores, {"a": b"1" * 100, "sub/b": b"2" * 100})).cid
        added = await stores.content.remove(root, ["a"], stores.owned())
        assert await stores.content.release(stores.owner, root)
        assert await at_path(stores, added.cid, "sub", "b") == b"2" * 100
        with pytest.raises(NoLink):
            await stores.content.remove(added.cid, ["a"], stores.owned())
        assert len(await stores.keys()) == 2
        assert await stores.index.unsettled(0) == []

    async def test_a_chain_of_edits(self, stores: Stores) -> None:
        root = (await add_tree(stores, {})).cid
        for n in range(6):
            added = await stores.content.put(root, [f"f{n}"], pieces(b"%d" % n * 50), stores.owned())
            assert await stores.content.release(stores.owner, root)
            root = added.cid
        for n in range(6):
            assert await at_path(stores, root, f"f{n}") == b"%d" % n * 50
        await stores.content.release(stores.owner, root)
        assert await stores.nothing_left()

    async def test_what_was_replaced_can_go(self, stores: Stores) -> None:
        """A file that is written a hundred times takes the room of one."""
        root = (await add_tree(stores, {"kept": b"k" * 100})).cid
        first = root
        for n in range(5):
            added = await stores.content.put(root, ["f"], pieces(b"%d" % n * 50), stores.owned())
            if n:
                assert await stores.content.release(stores.owner, root)
            root = added.cid
        assert len(await stores.keys()) == 3
        assert await stores.content.release(stores.owner, first)
        assert await at_path(stores, root, "f") == b"4" * 50
        assert await at_path(stores, root, "kept") == b"k" * 100

    async def test_an_edit_that_changes_nothing(self, stores: Stores) -> None:
        root = (await add_tree(stores, {"a": b"1" * 100})).cid
        added = await stores.content.put(root, ["a"], pieces(b"1" * 100), stores.owned("again"))
        assert added.cid == root
        assert await at_path(stores, root, "a") == b"1" * 100
        await stores.content.release(stores.owner, root)
        assert await stores.nothing_left()

    async def test_a_root_that_only_a_cache_still_has(self, stores: Stores) -> None:
        root = (await add_tree(stores, {"a": b"1" * 100})).cid
        kept = {root.multihash: await stores.blocks.get(root)}

        class Cached:
            async def get(self, cid: Cid) -> bytes:
                return kept.get(cid.multihash) or await stores.blocks.get(cid)

        await stores.content.release(stores.owner, root)
        stores.content._blocks = Cached()  # type: ignore[assignment]
        with pytest.raises(BlockNotFound):
            await stores.content.remove(root, ["a"], stores.owned())
        with pytest.raises(BlockNotFound):
            await stores.content.put(root, ["b"], pieces(b"x"), stores.owned())
        assert await stores.nothing_left()

    async def test_the_base_is_deleted_while_the_body_comes(self, stores: Stores) -> None:
        root = (await add_tree(stores, {"a": b"1" * 100})).cid

        async def body() -> AsyncIterator[Buffer]:
            yield b"x"
            await Stores(stores.objects, stores.index, owner=stores.owner).content.release(stores.owner, root)
            stores.blocks.forget()
            yield b"y"

        with pytest.raises(BlockNotFound):
            await stores.content.put(root, ["b"], body(), stores.owned())
        assert await stores.nothing_left()


Adding = Callable[[Stores, AsyncIterator[Buffer]], Awaitable[object]]


async def _file(stores: Stores, body: AsyncIterator[Buffer]) -> object:
    return await stores.content.add_file(body, stores.owned())


async def _exactly(stores: Stores, body: AsyncIterator[Buffer]) -> object:
    return await stores.content.add_exactly(Cid.of(b"?"), body, stores.owned())


async def _raw(stores: Stores, body: AsyncIterator[Buffer]) -> object:
    return await stores.content.add_raw(body, RAW, stores.owned())


async def _tree(stores: Stores, body: AsyncIterator[Buffer]) -> object:
    async def entries() -> AsyncIterator[TreeEntry]:
        yield TreeEntry("first", pieces(os.urandom(100)))
        yield TreeEntry("second", body)

    return await stores.content.add_tree(entries(), stores.owned())


async def _form(stores: Stores, body: AsyncIterator[Buffer]) -> object:
    async def entries() -> AsyncIterator[TreeEntry]:
        yield TreeEntry("first", pieces(os.urandom(100)))
        yield TreeEntry("second", body)

    return await stores.content.add_tree(entries(), stores.owned(), lone_file=True)


WAYS = pytest.mark.parametrize("way", [_file, _exactly, _raw, _tree, _form])


class TestFailing:
    @WAYS
    async def test_a_body_that_breaks_off(self, stores: Stores, way: Adding) -> None:
        body = pieces(os.urandom(MIB), os.urandom(MIB - 5), then=ConnectionResetError())
        with pytest.raises(ConnectionResetError):
            await way(stores, body)
        assert await stores.nothing_left()
        assert not await settled_tasks()

    @WAYS
    async def test_a_client_that_leaves(self, stores: Stores, way: Adding) -> None:
        waiting = asyncio.Event()

        async def body() -> AsyncIterator[Buffer]:
            yield os.urandom(MIB)
            waiting.set()
            await asyncio.sleep(60)

        task = asyncio.create_task(way(stores, body()))  # type: ignore[arg-type]
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await stores.nothing_left()
        assert not await settled_tasks()

    @pytest.mark.parametrize("after", range(0, 40, 3))
    async def test_a_client_that_leaves_at_any_moment(self, after: int) -> None:
        """Whatever step it was: either all of it is there or nothing."""
        stores = Stores(MemoryObjects(), MemoryIndex())
        data = os.urandom(3 * MIB)
        task = asyncio.create_task(add(stores, data))
        for _ in range(after):
            await asyncio.sleep(0.001)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(task, return_exceptions=True)
        assert not await settled_tasks()
        if await stores.keys():
            [key] = await stores.keys()
            assert await stores.index.known([key])
            assert await stores.index.unsettled(0) == []
        else:
            assert await stores.nothing_but_notes_left()

    @pytest.mark.parametrize("error", [StoreFull("full"), StoreUnavailable("away")])
    async def test_a_store_that_fails(self, stores: Stores, error: Exception) -> None:
        class Failing(MemoryObjects):
            def create(self, key: str, head_size: int = 0):  # type: ignore[no-untyped-def]
                raise error

        failing = Stores(Failing(), stores.index)
        with pytest.raises(type(error)):
            await add(failing, b"x")
        assert await failing.nothing_left()

    async def test_a_commit_is_not_torn(self) -> None:
        class Slow(MemoryIndex):
            async def commit(self, objects: list[NewObject], upload: NewUpload) -> Committed:  # type: ignore[override]
                committing.set()
                await go.wait()
                return await super().commit(objects, upload)

        committing, go = asyncio.Event(), asyncio.Event()
        stores = Stores(MemoryObjects(), Slow())
        task = asyncio.create_task(add(stores, b"x" * 100))
        await committing.wait()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await stores.read(Cid.of(b"x" * 100)) == b"x" * 100
        assert await stores.content.release(stores.owner, Cid.of(b"x" * 100))
        assert await stores.nothing_left()

    async def test_a_deletion_that_fails_is_left_to_the_sweep(self, stores: Stores) -> None:
        class Stuck(MemoryObjects):
            stuck = True

            async def delete(self, key: str) -> None:
                if self.stuck:
                    raise StoreUnavailable("away")
                await super().delete(key)

        objects = Stuck()
        stuck = Stores(objects, stores.index)
        cid = (await add(stuck, b"x")).cid
        assert await stuck.content.release(stuck.owner, cid)
        assert len(await stuck.keys()) == 1
        await stuck.content.sweep(3600)
        assert len(await stuck.index.unsettled(0)) == 1
        objects.stuck = False
        await stuck.content.sweep(3600)
        assert await stuck.nothing_left()


class Slow(MemoryObjects):
    """Its answer to a commit does not come in time; the object does, a while later."""

    failure: type[BaseException] = StoreUnavailable
    keys: list[str]

    @asynccontextmanager
    async def create(self, key: str, head_size: int = 0) -> AsyncIterator[ObjectWriter]:
        self.keys = [key]
        async with super().create(key, head_size) as writer:
            yield _LateWriter(writer, self.failure)  # type: ignore[misc]

    def comes(self) -> None:
        for key in self.keys:
            self.data[key] = (b"late", 0.0)


class _LateWriter:
    def __init__(self, inner: ObjectWriter, failure: type[BaseException]) -> None:
        self.write, self.abort, self._failure = inner.write, inner.abort, failure

    async def commit(self, head: bytes, root: Cid | None = None) -> Receipt:
        raise self._failure("no answer")


class TestSweeping:
    @pytest.mark.parametrize("failure", [StoreUnavailable, asyncio.CancelledError])
    @WAYS
    async def test_what_comes_after_its_upload_failed(
        self, index: Index, way: Adding, failure: type[BaseException]
    ) -> None:
        objects = Slow()
        objects.failure = failure
        stores = Stores(objects, index)
        with pytest.raises(failure):
            await way(stores, pieces(b"?"))
        assert await stores.content.sweep(3600) == 0, "it may still come"
        objects.comes()
        assert await stores.content.sweep(0) >= 1
        assert await stores.nothing_left()

    async def test_a_refusal_is_the_end(self, index: Index) -> None:
        objects = Slow()
        objects.failure = StoreRefused
        stores = Stores(objects, index)
        with pytest.raises(StoreRefused):
            await add(stores, b"x")
        assert await stores.nothing_left()

    async def test_what_cannot_be_removed_does_not_count(self, index: Index) -> None:
        class Stuck(MemoryObjects):
            async def delete(self, key: str) -> None:
                raise StoreRefused("403")

        stores = Stores(Stuck(), index)
        await index.begin(LEFT)
        await store(stores.objects, LEFT, b"x")
        assert await stores.content.sweep(0) == 0
        assert await stores.keys() == [LEFT]
        assert await index.unsettled(3600) == [LEFT]

    @pytest.mark.parametrize(
        "key", ["docs/report.txt", "cars/00/stranger", "incoming/photo.jpg", "cidgate/probe.car"]
    )
    async def test_no_key_of_others_is_deleted_whatever_the_notes_say(self, index: Index, key: str) -> None:
        stores = Stores(MemoryObjects(), index)
        await store(stores.objects, key, b"theirs")
        await index.begin(key)
        await stores.content.sweep(0)
        await index.begin(key)
        await Deletion(stores.objects, index).again(key)
        assert await stores.keys() == [key]
        assert await index.unsettled(0) == []

    async def test_uploads_under_way_and_strangers_stay(self, stores: Stores) -> None:
        kept = (await add(stores, b"kept")).cid
        assert isinstance(stores.objects, MemoryObjects)
        stores.objects.data["cars/00/stranger"] = (b"x", 0.0)

        async def body() -> AsyncIterator[Buffer]:
            yield b"a"
            assert await stores.content.sweep(3600) == 0
            yield b"b"

        added = await stores.content.add_file(body(), stores.owned())
        assert await stores.read(added.cid) == b"ab"
        assert await stores.read(kept) == b"kept"
        assert await stores.content.sweep(0) == 0
        assert "cars/00/stranger" in await stores.keys()

    async def test_an_upload_that_crashed(self, stores: Stores) -> None:
        """As a killed process leaves it: begun, and stored, and no more."""
        await stores.index.begin(LEFT)
        await store(stores.objects, LEFT, b"x")
        assert await stores.content.sweep(3600) == 0
        assert await stores.content.sweep(0) == 1
        assert await stores.nothing_left()

    async def test_what_a_killed_process_left_in_the_folder(self, tmp_path: Path) -> None:
        """Another one than this, which runs on: the lock of the file is gone with the process."""
        stores = Stores(LocalObjects(tmp_path), MemoryIndex())
        (tmp_path / ".incoming" / "left").write_bytes(b"x")

        async def body() -> AsyncIterator[Buffer]:
            yield b"a"
            assert await stores.content.sweep(3600) == 1
            yield b"b"

        added = await stores.content.add_file(body(), stores.owned())
        assert await stores.read(added.cid) == b"ab"
        assert list((tmp_path / ".incoming").iterdir()) == []

    @pytest.mark.parametrize("way", [_file, _exactly, _tree, _form])
    async def test_an_upload_that_ends_after_the_sweep(self, stores: Stores, way: Adding) -> None:
        async def body() -> AsyncIterator[Buffer]:
            yield b"?"
            await stores.content.sweep(0)

        with pytest.raises(UploadGone):
            await way(stores, body())
        assert await stores.nothing_left()


class TestPublishing:
    """Over the double of Filebase: what is published under our CID stays."""

    @pytest.mark.parametrize("mode", [Import.PLAIN, Import.CAR])
    async def test_a_car_takes_the_place_of_a_file(self, one_s3_url: str, mode: Import) -> None:
        data = os.urandom(1000)
        async with filebase(one_s3_url) as it:
            first = await it.add(data, "unixfs-v1-2025")
            assert first.receipt.published != first.cid
            if mode is Import.PLAIN:
                root = car.header([first.cid]) + car.frame(first.cid, len(data)) + data
                again = await it.stores.content.add_car(pieces(root), it.stores.owned(), CarTerms())
            else:
                it.objects.mode = mode
                it.stores.content._files = SingleFiles(as_cars=True)
                again = await it.add(data, "unixfs-v1-2025")
            assert again.cid == first.cid
            assert again.receipt.published == first.cid
            [key] = await it.stored()
            assert await it.metadata(key) == "car"
            assert await it.stores.read(first.cid) == data
            third = await it.add(data, "unixfs-v1-2025")
            assert third.cid == first.cid
            assert await it.stored() == [key]


async def test_the_default_profile(stores: Stores) -> None:
    assert (await add(stores, b"x")).profile == UNIXFS_V1_2025.name
    assert (await add(stores, b"y", profile=UNIXFS_V0_2015)).profile == UNIXFS_V0_2015.name
