"""What Filebase publishes is compared with our CIDs, against a double in front of real servers."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from aiohttp import web

from ipld.car_reader import CarReader
from ipld.cid import Cid
from ipld.errors import StoreUnavailable
from ipld.unixfs.profiles import PROFILES, UNIXFS_V0_2015, UNIXFS_V1_2025
from storage import filebase_bucket
from storage.content import Added
from storage.filebase import COPIES, FilebaseObjects, Import
from storage.filebase_bucket import PROBE_KEY
from storage.memory_index import MemoryIndex
from storage.memory_objects import MemoryObjects
from storage.objects import NotPublished, ObjectNotFound, Receipt
from storage.resilient import Patience
from storage.s3 import S3Objects, open_s3
from storage.s3_errors import StoreRefused
from storage.single_files import SingleFiles
from storage.tree import TreeEntry
from tests.storage import filebase_double as double
from tests.storage.filebase_double import FilebaseDouble, filebase_at
from tests.storage.s3_servers import LIMITS, SOON, account_of, make_bucket, with_limits
from tests.storage.stores import MIB, Stores, cut, pieces

CARS = (Import.CAR, Import.BOTH)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filebase_bucket, "FIRST_SECONDS", 0.2)


class Filebase:
    """A gateway's storage over a bucket of the double's."""

    def __init__(self, proxy: FilebaseDouble, s3: S3Objects, mode: Import) -> None:
        self.proxy = proxy
        self.s3 = s3
        self.outcomes: list[str] = []
        self.objects = FilebaseObjects(s3, mode, cid_timeout=2.5, on_cid=self.outcomes.append)
        self.stores = Stores(self.objects, MemoryIndex())
        self.stores.content._files = SingleFiles(as_cars=mode is not Import.PLAIN)

    async def add(self, data: bytes, profile: str = "unixfs-v0-2015") -> Added:
        owned = self.stores.owned(profile=PROFILES[profile])
        return await self.stores.content.add_file(cut(data), owned)

    async def add_tree(self, data: bytes) -> Added:
        async def entries() -> AsyncIterator[TreeEntry]:
            yield TreeEntry("a/b", cut(data))
            yield TreeEntry("c", cut(data[::-1]))

        return await self.stores.content.add_tree(entries(), self.stores.owned())

    async def stored(self) -> list[str]:
        return [info.key async for info in self.s3.list() if info.key != PROBE_KEY]

    async def bytes_of(self, key: str) -> bytes:
        async with self.s3.open(key) as source:
            return b"".join([bytes(piece) async for piece in source.read(0, source.size)])

    async def metadata(self, key: str) -> str | None:
        return (await self.s3.describe(key)).metadata.get("import")


@asynccontextmanager
async def filebase(url: str, mode: Import = Import.PLAIN, **options: object) -> AsyncIterator[Filebase]:
    async with filebase_at(url, **options) as proxy:
        account = account_of(proxy.url)
        await make_bucket(account)
        async with open_s3(account, with_limits(timeout=2.0), SOON) as s3:
            yield Filebase(proxy, s3, mode)


async def test_a_file_goes_up_as_itself_and_has_our_cid(s3_url: str) -> None:
    data = os.urandom(MIB + 7)
    async with filebase(s3_url) as it:
        added = await it.add(data)
        assert added.receipt == Receipt(publishes=True, published=added.cid)
        assert added.cid.version == 0
        [key] = await it.stored()
        assert await it.bytes_of(key) == data
        assert await it.metadata(key) is None
        assert it.outcomes == ["same"]
        assert await it.stores.read(added.cid) == data
        assert str(await it.objects.bucket.kind()) == "IPFS"


async def test_a_large_file_has_its_cid_after_some_looks(s3_url: str) -> None:
    """After a multipart upload only HEAD tells, and not at once."""
    data = os.urandom(2 * LIMITS.part_bytes + 7)
    async with filebase(s3_url) as it:
        await it.objects.bucket.kind()
        it.proxy.cid_delay = 0.4
        added = await it.add(data)
        assert added.receipt.published == added.cid
        assert it.proxy.count("HEAD", "files/") >= 2
        assert await it.stores.read(added.cid) == data


async def test_a_head_that_does_not_find_it_yet(one_s3_url: str) -> None:
    async with filebase(one_s3_url) as it:
        await it.objects.bucket.kind()
        it.proxy.cid_on_put = False
        it.proxy.fail(double.refuse(404, "NoSuchKey"), "HEAD", "files/", times=2)
        added = await it.add(b"data")
        assert added.receipt.published == added.cid


async def test_another_profile_has_another_cid_and_still_succeeds(
    s3_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = os.urandom(2 * MIB)
    async with filebase(s3_url) as it:
        added = await it.add(data, "unixfs-v1-2025")
        theirs = double.published(data)
        assert added.receipt == Receipt(publishes=True, published=theirs)
        assert added.cid != theirs
        assert it.outcomes == ["different"]
        assert f"Filebase published it as {theirs}" in caplog.text
        assert str(added.cid) in caplog.text
        assert await it.stores.read(added.cid) == data


async def test_a_cid_that_never_comes(one_s3_url: str) -> None:
    """With `plain` the upload does not hang on it for longer than the deadline."""
    async with filebase(one_s3_url) as it:
        await it.objects.bucket.kind()
        it.proxy.gives_cids = False
        started = time.monotonic()
        added = await it.add(b"data")
        assert time.monotonic() - started < 30
        assert added.receipt == Receipt(publishes=True, published=None)
        assert it.outcomes == ["missing"]


async def test_a_cid_that_is_none(one_s3_url: str) -> None:
    async with filebase(one_s3_url) as it:
        await it.objects.bucket.kind()
        it.proxy.wrong_cid = "<html>"
        assert (await it.add(b"data")).receipt.published is None
        assert it.outcomes == ["missing"]


@pytest.mark.parametrize("mode", list(Import))
async def test_directories_are_imported_cars(one_s3_url: str, mode: Import) -> None:
    data = os.urandom(MIB)
    async with filebase(one_s3_url, mode) as it:
        added = await it.add_tree(data)
        assert added.receipt.published == added.cid
        assert it.outcomes == ["same"]
        keys = await it.stored()
        assert len(keys) == (2 if mode is Import.BOTH else 1)
        imported = [key for key in keys if await it.metadata(key) == "car"]
        assert len(imported) == 1
        reader = CarReader()
        list(reader.feed(await it.bytes_of(imported[0])))
        assert reader.roots == (added.cid,)


@pytest.mark.parametrize("mode", CARS)
@pytest.mark.parametrize("profile", list(PROFILES))
@pytest.mark.parametrize("size", [0, 1, 100_000, 2 * MIB + 5])
async def test_files_are_cars_and_published_under_exactly_our_root(
    one_s3_url: str, mode: Import, profile: str, size: int
) -> None:
    data = os.urandom(size)
    plain = Stores(MemoryObjects(), MemoryIndex())
    expected = await plain.content.add_file(pieces(data), plain.owned(profile=PROFILES[profile]))
    async with filebase(one_s3_url, mode) as it:
        added = await it.add(data, profile)
        assert added.cid == expected.cid
        assert (added.size, added.profile) == (size, profile)
        assert added.receipt.published == added.cid
        assert await it.stores.read(added.cid) == data
        again = await it.stores.content.add_exactly(added.cid, pieces(data), it.stores.owned("again"))
        assert again.cid == added.cid
        assert len(await it.stored()) == (2 if mode is Import.BOTH else 1)


async def test_a_large_file_as_a_car(s3_url: str) -> None:
    """The metadata goes with the beginning of the upload, the root with its end."""
    data = os.urandom(2 * LIMITS.part_bytes)
    async with filebase(s3_url, Import.CAR) as it:
        added = await it.add(data, "unixfs-v1-2025")
        assert added.receipt.published == added.cid
        begun = [h for m, path, h in it.proxy.requests if m == "POST" and path.endswith("uploads")]
        assert [headers["x-amz-meta-import"] for headers in begun] == ["car"]
        assert await it.stores.read(added.cid) == data


@pytest.mark.parametrize("mode", CARS)
@pytest.mark.parametrize("what", ["wrong", "missing", "refused"])
async def test_what_is_not_published_is_not_kept(one_s3_url: str, mode: Import, what: str) -> None:
    async with filebase(one_s3_url, mode) as it:
        await it.objects.bucket.kind()
        if what == "wrong":
            it.proxy.wrong_cid = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
        elif what == "missing":
            it.proxy.gives_cids = False
        else:
            it.proxy.cid_on_put = False
            it.proxy.fail(double.refuse(403, "AccessDenied"), "HEAD", "cars/", times=99)
        with pytest.raises(NotPublished, match="Filebase published"):
            await it.add(b"data" * 1000)
        assert await it.stored() == []
        assert await it.stores.index.unsettled(0) == []
        with pytest.raises(Exception, match="is not here"):
            await it.stores.read(Cid.parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"))


@pytest.mark.parametrize("size", [1000, 2 * LIMITS.part_bytes])
@pytest.mark.parametrize("refused", ["copy", "readable"])
async def test_no_half_of_a_refused_upload_stays(one_s3_url: str, refused: str, size: int) -> None:
    """One of the two objects is refused at once, the other one is stored a while later."""
    landed = asyncio.Event()

    async def one_of_two(proxy: FilebaseDouble, request: web.Request) -> web.StreamResponse:
        if (COPIES in request.raw_path) == (refused == "copy"):
            return await double.refuse(403, "AccessDenied")(proxy, request) or web.Response()
        await asyncio.sleep(0.5)
        answer = await proxy.forward(request)
        landed.set()
        return answer

    async with filebase(one_s3_url, Import.BOTH) as it:
        await it.objects.bucket.kind()
        it.proxy.fail(one_of_two, "PUT", "/cars/", times=99)
        with pytest.raises(StoreRefused):
            await it.add(os.urandom(size))
        if size == 1000:
            await asyncio.wait_for(landed.wait(), 60)
        assert await it.stored() == []
        assert await it.s3._client.open_uploads() == []
        assert await it.stores.index.unsettled(0) == []


async def test_the_readable_copy(one_s3_url: str) -> None:
    data = os.urandom(100_000)
    async with filebase(one_s3_url, Import.BOTH, returns_cars=False) as it:
        added = await it.add(data)
        assert added.receipt.published == added.cid
        keys = await it.stored()
        [copy] = [key for key in keys if key.startswith(COPIES)]
        [readable] = [key for key in keys if not key.startswith(COPIES)]
        assert copy == COPIES + readable
        assert [await it.metadata(key) for key in (copy, readable)] == ["car", None]
        assert await it.stores.read(added.cid) == data
        assert [info.key async for info in it.objects.list()] == [readable]
        assert await it.stores.content.release(it.stores.owner, added.cid)
        assert await it.stored() == []


@pytest.mark.needs_versitygw
async def test_the_sweep_removes_parts_of_copies_as_well(versity: str) -> None:
    """moto says of every upload that it began in 2010."""
    key = "cars/00/" + "0" * 32
    async with filebase(versity, Import.BOTH, returns_cars=False) as it:
        for left in (key, COPIES + key, "theirs/upload", COPIES + "theirs"):
            await it.s3._client.begin_upload(left, {})
        assert await it.stores.content.sweep(3600) == 0
        time.sleep(1.1)  # S3 tells whole seconds.
        assert await it.stores.content.sweep(0) == 2
        assert {each.key for each in await it.s3._client.open_uploads()} == {
            "theirs/upload",
            COPIES + "theirs",
        }


async def test_cars_that_are_not_given_back_are_refused_by_name(one_s3_url: str) -> None:
    async with filebase(one_s3_url, Import.CAR, returns_cars=False) as it:
        with pytest.raises(StoreRefused, match="set FILEBASE_IMPORT=both"):
            await it.objects.check_mode()
        with pytest.raises(StoreRefused, match="set FILEBASE_IMPORT=both"):
            await it.add(b"data")
        assert await it.stored() == []


async def test_plain_keeps_directories_readable_where_cars_are_not_given_back(one_s3_url: str) -> None:
    data = os.urandom(300_000)
    async with filebase(one_s3_url, Import.PLAIN, returns_cars=False) as it:
        added = await it.add_tree(data)
        assert added.receipt.published == added.cid
        assert len(await it.stored()) == 2
        assert await it.stores.blocks.get(added.cid)


async def test_a_bucket_that_imports_no_cars(one_s3_url: str) -> None:
    """It publishes CARs as files: files may be right, and directories are said to be not."""
    async with filebase(one_s3_url, Import.PLAIN, imports_cars=False) as it:
        added = await it.add(b"data")
        assert added.receipt.published == added.cid
        tree = await it.add_tree(os.urandom(1000))
        assert tree.receipt.published not in (None, tree.cid)
        assert it.outcomes == ["same", "different"]
    async with filebase(one_s3_url, Import.CAR, imports_cars=False) as it:
        with pytest.raises(StoreRefused):
            await it.objects.check_mode()


@pytest.mark.parametrize("mode", CARS)
async def test_a_plain_bucket_cannot_promise(one_s3_url: str, mode: Import) -> None:
    async with filebase(one_s3_url, mode, gives_cids=False) as it:
        with pytest.raises(StoreRefused, match=r"this one is plain S3: it gave no CID within 2\.5 s"):
            await it.objects.check_mode()


async def test_a_plain_bucket_is_just_that(one_s3_url: str) -> None:
    async with filebase(one_s3_url, gives_cids=False) as it:
        added = await it.add(b"data")
        tree = await it.add_tree(b"data")
        assert added.receipt == tree.receipt == Receipt()
        assert it.outcomes == []
        assert [await it.metadata(key) for key in await it.stored()] == [None, None]
        assert str(await it.objects.bucket.kind()) == "plain S3 (gives no CIDs)"


async def test_a_first_cid_that_comes_late(one_s3_url: str) -> None:
    """What everything depends on is waited for as long as for any other CID."""
    async with filebase(one_s3_url, Import.CAR, cid_delay=1.0) as it:
        await FilebaseObjects(it.s3, Import.CAR, cid_timeout=60.0).check_mode()


async def test_a_bucket_is_asked_again_while_its_first_cid_may_come(one_s3_url: str) -> None:
    """With `plain` nobody waits for it."""
    async with filebase(one_s3_url, gives_cids=False) as it:
        bucket = FilebaseObjects(it.s3, Import.PLAIN, cid_timeout=600.0).bucket
        assert bucket.state == "not known yet"
        assert not (await bucket.kind()).publishes
        assert not (await bucket.kind()).publishes
        assert (bucket.known_kind, bucket.state) == (None, "plain S3 so far (gave no CID yet)")
        it.proxy.gives_cids = True
        assert (await bucket.kind()).publishes
        assert (bucket.known_kind, bucket.state) == (await bucket.kind(), "IPFS")


async def test_a_bucket_whose_time_is_over_is_plain(one_s3_url: str) -> None:
    async with filebase(one_s3_url, gives_cids=False) as it:
        bucket = FilebaseObjects(it.s3, Import.PLAIN, cid_timeout=0.5).bucket
        async with asyncio.timeout(60):
            while bucket.known_kind is None:
                assert not (await bucket.kind()).publishes
        assert bucket.state == "plain S3 (gives no CIDs)"


async def test_the_probe_is_put_once(one_s3_url: str) -> None:
    async with filebase(one_s3_url) as it:
        await it.objects.bucket.kind()
        again = FilebaseObjects(it.s3, Import.PLAIN, cid_timeout=1.0)
        assert (await again.bucket.kind()).publishes
        assert it.proxy.count("PUT", PROBE_KEY) == 1
        assert [info.key async for info in it.objects.list()] == []


async def test_a_plain_bucket_that_was_asked_before_is_known_at_once(one_s3_url: str) -> None:
    async with filebase(one_s3_url, gives_cids=False) as it:
        await it.objects.bucket.kind()
        again = FilebaseObjects(it.s3, Import.PLAIN, cid_timeout=30.0)
        started = time.monotonic()
        assert not (await again.bucket.kind()).publishes
        assert time.monotonic() - started < 15


async def test_a_bucket_that_cannot_be_asked_is_asked_again(moto: str) -> None:
    async with filebase(moto) as it:
        it.proxy.fail(double.page(502), times=1)
        with pytest.raises(StoreUnavailable):
            await it.objects.check_mode()
        assert it.objects.bucket.known_kind is None
        added = await it.add(b"data")
        assert added.receipt.published == added.cid


async def test_a_lost_answer_to_a_put(one_s3_url: str) -> None:
    async with filebase(one_s3_url) as it:
        await it.objects.bucket.kind()
        it.proxy.fail(double.lose_answer, "PUT", "files/")
        added = await it.add(b"data")
        assert added.receipt.published == added.cid
        assert len(await it.stored()) == 1


@pytest_asyncio.fixture
async def nobody() -> AsyncIterator[FilebaseObjects]:
    account = account_of("http://127.0.0.1:1", "bucket")
    async with open_s3(account, with_limits(timeout=0.3), Patience(tries=1)) as s3:
        yield FilebaseObjects(s3, Import.PLAIN, cid_timeout=1.0)


async def test_nobody_there(nobody: FilebaseObjects) -> None:
    with pytest.raises(StoreUnavailable):
        async with nobody.create("files/x"):
            pass
    with pytest.raises(StoreUnavailable):
        await nobody.head("files/x")
    with pytest.raises(StoreUnavailable):
        await nobody.delete("files/x")


async def test_reading_goes_straight_through(moto: str) -> None:
    async with filebase(moto) as it:
        added = await it.add(b"0123456789", UNIXFS_V1_2025.name)
        [key] = await it.stored()
        async with it.objects.open(key, (2, 5)) as source:
            assert b"".join([bytes(piece) async for piece in source.read(2, 5)]) == b"234"
        assert (await it.objects.head(key)).size == 10
        assert (await it.objects.metadata(key))["cid"] == str(added.receipt.published)
        with pytest.raises(ObjectNotFound):
            await it.objects.head("files/none")
        assert it.objects.run_bytes == it.s3.run_bytes
        assert UNIXFS_V0_2015.name != added.profile
