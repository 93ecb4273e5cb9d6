"""A bucket is taken in: what this program put there, and what others did, which is never deleted."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from uuid import uuid4

import pytest
import pytest_asyncio

from ipld import car
from ipld.blocks import Block
from ipld.cid import RAW, Cid
from ipld.errors import BlockCorrupt, BlockNotFound
from ipld.unixfs.profiles import PROFILES, UNIXFS_V0_2015, UNIXFS_V1_2025
from storage.content import Added
from storage.filebase import FilebaseObjects, Import
from storage.files import KeptFile
from storage.index import OPERATOR
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.objects import ObjectInfo
from storage.reindex import Adoption, Reindex
from storage.reindex_notes import MemoryNotes, PostgresNotes, ReindexNotes
from storage.s3 import open_s3
from storage.s3_errors import StoreRefused
from tests.storage.filebase_double import FilebaseDouble, filebase_at, published, refuse
from tests.storage.s3_servers import SOON, account_of, make_bucket, with_limits
from tests.storage.stores import MIB, Stores, cut, join, pieces
from tests.storage.test_reindex import add_tree, fill


class Bucket:
    """A bucket, what indexes it, and somebody else who writes into it."""

    def __init__(self, objects: FilebaseObjects, proxy: FilebaseDouble) -> None:
        self.objects = objects
        self.proxy = proxy
        self.notes = MemoryNotes()
        self.stores = Stores(objects, MemoryIndex(), owner=OPERATOR)
        self.adoption = Adoption(objects, UNIXFS_V1_2025)

    async def theirs(self, key: str, data: bytes, **metadata: str) -> None:
        boto = self.objects._s3._client
        await boto._boto.put_object(Bucket=boto._bucket, Key=key, Body=data, Metadata=metadata)  # type: ignore[attr-defined]

    async def reindex(self, **options: bool) -> int:
        return await Reindex(self.objects, self.stores.index, self.notes, self.adoption)(**options)

    async def add(self, data: bytes) -> Added:
        owned = self.stores.owned(profile=UNIXFS_V0_2015)
        return await self.stores.content.add_file(pieces(data), owned)

    async def read(self, key: str) -> bytes:
        async with self.objects.open(key) as source:
            return await join(source.read(0, source.size))

    def files(self) -> Sequence[KeptFile]:
        assert isinstance(self.stores.index, MemoryIndex)
        return self.stores.index.files()

    async def keys(self) -> set[str]:
        return {info.key async for info in self.objects.list()}


@pytest_asyncio.fixture
async def bucket(one_s3_url: str) -> AsyncIterator[Bucket]:
    async with filebase_at(one_s3_url) as proxy:
        account = account_of(proxy.url)
        await make_bucket(account)
        async with open_s3(account, with_limits(timeout=3.0), SOON) as s3:
            yield Bucket(FilebaseObjects(s3, Import.PLAIN, cid_timeout=1.0), proxy)


def car_of(*blocks: bytes) -> tuple[Cid, bytes]:
    """A CAR of raw blocks, the first of which is the root."""
    made = [Block(Cid.of(data, RAW), data) for data in blocks]
    body = b"".join(car.frame(block.cid, len(block.data)) + block.data for block in made)
    return made[0].cid, car.header([made[0].cid]) + body


async def cid_in(data: bytes, profile: str) -> Cid:
    plain = Stores(MemoryObjects(), MemoryIndex())
    return (await plain.content.add_file(pieces(data), plain.owned(profile=PROFILES[profile]))).cid


async def test_our_own_objects(bucket: Bucket) -> None:
    before = Stores(bucket.objects, MemoryIndex())
    files = await fill(before)
    tree = await add_tree(before, {"a": os.urandom(300_000), "b/c": b"x"})
    count = len(await bucket.keys())
    assert await bucket.reindex() == count
    for cid, data in files.items():
        assert await bucket.stores.read(cid) == data
    assert await bucket.stores.blocks.get(tree)


async def test_files_of_others(bucket: Bucket) -> None:
    photo, song = os.urandom(2 * MIB + 5), os.urandom(1000)
    bucket.proxy.gives_cids = False
    await bucket.theirs("photos/Über cat.jpg", photo)
    await bucket.theirs("song.mp3", song)
    await bucket.theirs("folder/", b"")
    assert await bucket.reindex() == 2
    for data in (photo, song):
        assert await bucket.stores.read(await cid_in(data, "unixfs-v1-2025")) == data


async def test_a_file_has_the_cid_that_filebase_gave_it(bucket: Bucket) -> None:
    data = os.urandom(MIB)
    await bucket.theirs("data.bin", data)
    assert (await bucket.objects.metadata("data.bin"))["cid"] == str(published(data))
    assert await bucket.reindex() == 1
    assert await bucket.stores.read(published(data)) == data


async def test_a_cid_that_no_profile_gives(bucket: Bucket) -> None:
    data = os.urandom(1000)
    bucket.proxy.wrong_cid = str(Cid.of(b"another"))
    await bucket.theirs("data.bin", data)
    assert await bucket.reindex() == 1
    assert await bucket.stores.read(await cid_in(data, "unixfs-v1-2025")) == data


@pytest.mark.parametrize(
    ("key", "metadata"),
    [("a.car", {}), ("A.CAR", {}), ("x", {"import": "car"}), ("a.car", {"import": "car"})],
)
async def test_cars_of_others(bucket: Bucket, key: str, metadata: dict[str, str]) -> None:
    root, data = car_of(b"root", b"more" * 1000)
    await bucket.theirs(key, data, **metadata)
    assert await bucket.reindex() == 1
    assert await bucket.stores.blocks.get(root) == b"root"
    assert await bucket.stores.blocks.get(Cid.of(b"more" * 1000)) == b"more" * 1000


async def test_a_car_of_version_2(bucket: Bucket) -> None:
    root, inner = car_of(b"root", b"more")
    pragma = bytes.fromhex("0aa16776657273696f6e02")
    header = bytes(16) + (51 + 100).to_bytes(8, "little") + len(inner).to_bytes(8, "little") + bytes(8)
    await bucket.theirs("two.car", pragma + header + bytes(100) + inner)
    assert await bucket.reindex() == 1
    assert await bucket.stores.blocks.get(root) == b"root"
    assert await bucket.stores.blocks.get(Cid.of(b"more")) == b"more"


async def test_a_name_that_ends_like_that_of_a_car(bucket: Bucket) -> None:
    await bucket.theirs("my.car", b"a photograph of my car")
    assert await bucket.reindex() == 1
    assert await bucket.stores.read(await cid_in(b"a photograph of my car", "unixfs-v0-2015"))


async def test_what_was_to_be_imported_and_is_no_car(
    bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.proxy.imports_cars = False
    await bucket.theirs("broken", b"no CAR at all", **{"import": "car"})
    assert await bucket.reindex() == 0
    assert "broken is left out" in caplog.text
    caplog.clear()
    reads = bucket.proxy.count("GET", "broken")
    assert await bucket.reindex() == 0
    assert bucket.proxy.count("GET", "broken") == reads, "it was noted, and not read again"
    assert await bucket.reindex(from_start=True) == 0
    assert bucket.proxy.count("GET", "broken") > reads
    _, data = car_of(b"mended")
    await bucket.theirs("broken", data, **{"import": "car"})
    assert await bucket.reindex() == 1, "it has changed"


async def test_nothing_of_others_is_deleted(bucket: Bucket) -> None:
    data = os.urandom(1000)
    for key in ("one", "two", "deep/three"):
        await bucket.theirs(key, data)
    ours = await bucket.stores.content.add_file(
        cut(data), bucket.stores.owned(profile=PROFILES["unixfs-v0-2015"])
    )
    before = await bucket.keys()
    assert await bucket.reindex() == 0
    assert await bucket.keys() == before
    assert await bucket.stores.index.unsettled(0) == []
    await bucket.stores.content.sweep(0)
    assert await bucket.keys() == before
    assert await bucket.stores.read(ours.cid) == data
    fresh = Bucket(bucket.objects, bucket.proxy)
    assert await fresh.reindex() == 2, "the first one of theirs, and then ours in its place"
    assert await fresh.keys() == before
    assert await fresh.stores.read(ours.cid) == data


class TestTheirsChanges:
    """Others write to their objects whenever they like; the gateway neither deletes nor rests on them."""

    async def test_an_upload_of_what_they_had(self, bucket: Bucket) -> None:
        await bucket.theirs("docs/report.txt", b"version 1")
        assert await bucket.reindex() == 1
        await bucket.theirs("docs/report.txt", b"version 2, longer")
        added = await bucket.add(b"version 1")
        await bucket.stores.content.sweep(0)
        assert await bucket.read("docs/report.txt") == b"version 2, longer"
        assert await bucket.stores.read(added.cid) == b"version 1"
        assert await bucket.reindex() == 1
        assert await bucket.stores.read(published(b"version 2, longer")) == b"version 2, longer"

    async def test_nothing_of_ours_rests_on_them(self, bucket: Bucket) -> None:
        await bucket.theirs("theirs.txt", b"AAAA-1")
        assert await bucket.reindex() == 1
        first = await bucket.add(b"AAAA-1")
        await bucket.theirs("theirs.txt", b"AAAA-2")
        second = await bucket.add(b"AAAA-1")
        assert first.cid == second.cid
        assert await bucket.stores.read(first.cid) == b"AAAA-1"
        assert len(await bucket.keys()) == 2
        assert await bucket.stores.content.release(bucket.stores.owner, first.cid)
        assert await bucket.keys() == {"theirs.txt"}

    async def test_letting_go_of_them_deletes_nothing(self, bucket: Bucket) -> None:
        await bucket.theirs("photo.jpg", b"a photo")
        assert await bucket.reindex() == 1
        await bucket.theirs("photo.jpg", b"a photo, edited")
        assert await bucket.stores.content.release(OPERATOR, published(b"a photo"))
        await bucket.stores.content.sweep(0)
        assert await bucket.read("photo.jpg") == b"a photo, edited"
        with pytest.raises(BlockNotFound):
            await bucket.stores.read(published(b"a photo"))

    async def test_what_was_let_go_of_does_not_come_back(self, bucket: Bucket) -> None:
        await bucket.theirs("photo.jpg", b"a photo")
        assert await bucket.reindex() == 1
        assert await bucket.stores.content.release(OPERATOR, published(b"a photo"))
        assert await bucket.reindex() == 0
        assert await bucket.reindex(from_start=True) == 1

    @pytest.mark.parametrize("marked", [False, True])
    async def test_what_they_wrote_since_is_taken_in(self, bucket: Bucket, marked: bool) -> None:
        await bucket.theirs("text.txt", b"one")
        assert await bucket.reindex() == 1
        assert await bucket.reindex() == 0
        await bucket.theirs("text.txt", b"another")
        if marked:
            with pytest.raises(BlockCorrupt):
                await bucket.stores.read(published(b"one"))
        assert await bucket.reindex() == 1
        assert await bucket.stores.read(published(b"another")) == b"another"
        with pytest.raises(BlockNotFound):
            await bucket.stores.read(published(b"one"))
        assert not await bucket.stores.content.release(OPERATOR, published(b"one"))
        assert await bucket.reindex() == 0

    async def test_what_was_taken_in_before_there_were_notes(self, bucket: Bucket) -> None:
        await bucket.theirs("one.txt", b"one")
        await bucket.theirs("two.txt", b"two")
        assert await bucket.reindex() == 2
        [file] = [file for file in bucket.files() if file.name == "two.txt"]
        await bucket.theirs("one.txt", b"won")
        assert await bucket.reindex(from_start=True) == 1
        assert {file.name for file in bucket.files()} == {"one.txt", "two.txt"}
        assert file in bucket.files(), "it has not changed"
        assert await bucket.stores.read(published(b"won")) == b"won"

    async def test_it_becomes_what_is_there_already(self, bucket: Bucket) -> None:
        await bucket.theirs("one.txt", b"one")
        await bucket.theirs("two.txt", b"second")
        assert await bucket.reindex() == 2
        await bucket.theirs("one.txt", b"second")
        await bucket.theirs("two.txt", b"one")
        await bucket.reindex()
        assert await bucket.stores.read(published(b"one")) == b"one"
        assert await bucket.stores.read(published(b"second")) == b"second"
        assert await bucket.reindex() == 0

    async def test_it_becomes_nothing_of_use(self, bucket: Bucket) -> None:
        root, data = car_of(b"root")
        await bucket.theirs("x", data, **{"import": "car"})
        assert await bucket.reindex() == 1
        bucket.proxy.imports_cars = False
        await bucket.theirs("x", b"no CAR any more", **{"import": "car"})
        assert await bucket.reindex() == 0
        with pytest.raises(BlockNotFound):
            await bucket.stores.blocks.get(root)

    async def test_what_somebody_keeps_is_damaged_until_it_is_uploaded(self, bucket: Bucket) -> None:
        await bucket.theirs("text.txt", b"one")
        assert await bucket.reindex() == 1
        alice = uuid4()
        await bucket.stores.content.keep(published(b"one"), bucket.stores.owned("mine", alice))
        await bucket.theirs("text.txt", b"second")
        assert await bucket.reindex() == 1
        with pytest.raises(BlockCorrupt):
            await bucket.stores.read(published(b"one"))
        assert await bucket.stores.read(published(b"second")) == b"second"
        await bucket.add(b"one")
        await bucket.stores.content.release(OPERATOR, published(b"one"))
        bucket.stores.restart()
        assert await bucket.stores.read(published(b"one")) == b"one"
        assert await bucket.stores.content.release(alice, published(b"one"))
        assert await bucket.keys() == {"text.txt"}


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_one_that_cannot_be_read_stops_nothing(
    bucket: Bucket, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    """An archived one, say; it is read when it is back."""
    for key in ("file-a", "file-b", "file-c"):
        await bucket.theirs(key, key.encode())
    fault = bucket.proxy.fail(refuse(403, "InvalidObjectState"), method, "/file-b", times=99)
    assert await bucket.reindex() == 2
    assert "file-b is left out for now: the object store answered 403" in caplog.text
    assert await bucket.stores.read(published(b"file-c")) == b"file-c"
    fault.times = 0
    assert await bucket.reindex() == 1
    assert await bucket.stores.read(published(b"file-b")) == b"file-b"


async def test_one_of_ours_that_cannot_be_read_is_said(bucket: Bucket) -> None:
    await bucket.add(b"ours")
    bucket.proxy.fail(refuse(403, "AccessDenied"), "GET", "/files/", times=99)
    with pytest.raises(StoreRefused):
        await Bucket(bucket.objects, bucket.proxy).reindex()


async def test_what_came_in_before_the_index_was_lost(bucket: Bucket) -> None:
    """It goes once no address can write there any more; what only looks alike stays."""
    name = uuid4().hex
    for key in (f"incoming/{name[:2]}/{name}", "incoming/photo.jpg", f"incoming/{name[:2]}/{name}.jpg"):
        await bucket.theirs(key, b"came in")
    assert await bucket.reindex() == 0
    assert await bucket.reindex() == 0
    content = bucket.stores.content
    assert await content.sweep(0) == 0
    assert await content.sweep(-6 * 86400) == 0
    assert await content.sweep(-8 * 86400) == 1
    assert await bucket.keys() == {"incoming/photo.jpg", f"incoming/{name[:2]}/{name}.jpg"}


async def test_what_is_coming_in_is_left_alone(bucket: Bucket) -> None:
    """Its address ends in an hour, and so it stays."""
    name = uuid4().hex
    await bucket.stores.index.begin(f"incoming/{name[:2]}/{name}", 3600)
    await bucket.theirs(f"incoming/{name[:2]}/{name}", b"came in")
    assert await bucket.reindex() == 0
    assert await bucket.stores.content.sweep(-3601) == 1


async def test_it_goes_on_where_it_was(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    from storage import reindex

    monkeypatch.setattr(reindex, "_BATCH", 4)
    for n in range(12):
        await bucket.theirs(f"k{n:02}", b"data %d" % n)
    bucket.proxy.requests.clear()

    class Broken(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert total == 12
        if done == 7:
            raise Broken

    with pytest.raises(Broken):
        await Reindex(bucket.objects, bucket.stores.index, bucket.notes, bucket.adoption)(stop)
    assert await bucket.notes.cursor() == "k03"
    bucket.proxy.requests.clear()
    assert await bucket.reindex() == 5
    read = {
        path.split("?")[0].rpartition("/")[2] for method, path, _ in bucket.proxy.requests if method == "GET"
    }
    assert {f"k{n:02}" for n in range(7)} & read == set()
    assert await bucket.notes.cursor() == ""
    for n in range(12):
        assert await bucket.stores.read(await cid_in(b"data %d" % n, "unixfs-v0-2015"))


@pytest.fixture(params=["memory", "postgres"])
def notes(request: pytest.FixtureRequest) -> ReindexNotes:
    if request.param == "memory":
        return MemoryNotes()
    return PostgresNotes(request.getfixturevalue("pool"), "a store of this test")


async def test_notes(notes: ReindexNotes) -> None:
    await notes.forget()
    assert await notes.cursor() == ""
    await notes.reached("a")
    await notes.reached("b/ü")
    assert await notes.cursor() == "b/ü"
    infos = [ObjectInfo(f"k{n}", n, 1.5 + n) for n in range(3)]
    await notes.skip(infos[0], "no CAR \0")
    await notes.skip(infos[2], "no CAR")
    await notes.skip(infos[2], "still no CAR")
    assert await notes.skipped(infos) == {"k0", "k2"}
    assert await notes.skipped([ObjectInfo("k0", 1, 1.5), ObjectInfo("k2", 2, 9.0)]) == frozenset()
    await notes.forget()
    assert (await notes.cursor(), await notes.skipped(infos)) == ("", frozenset())
