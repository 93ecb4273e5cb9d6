"""The storage from Python: over a folder and a bucket, with a real Postgres."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

import storage as package
from ipld.cid import Cid
from ipld.errors import BlockCorrupt, NoLink, StoreFull, StoreUnavailable
from ipld.unixfs.profiles import UNIXFS_V0_2015, UNIXFS_V1_2025
from storage import (
    PinningError,
    RetrieveError,
    S3Bucket,
    State,
    Storage,
    StorageError,
    UploadError,
    UploadResult,
    ValidationError,
    filebase_bucket,
    open_storage,
)
from storage.errors import failing_as
from storage.resilient import Patience
from storage.s3_errors import StoreRefused
from tests.gateway.processes import environment
from tests.ipld.dags import blocks_of
from tests.storage import filebase_double as double
from tests.storage import s3_servers
from tests.storage.conftest import emptied
from tests.storage.filebase_double import FilebaseDouble, filebase_at, published
from tests.storage.stores import MIB, cut, join, pieces

README = Path(__file__).parents[2] / "README.md"
MISSING = Cid.of(b"nobody has this")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filebase_bucket, "FIRST_SECONDS", 0.2)


@pytest_asyncio.fixture
async def dsn(shared_database: str) -> AsyncIterator[str]:
    async with emptied(shared_database):
        yield shared_database


@asynccontextmanager
async def bucket(url: str, dsn: str) -> AsyncGenerator[Storage, None]:
    account = s3_servers.account_of(url)
    await s3_servers.make_bucket(account)
    place = S3Bucket(account, limits=s3_servers.LIMITS, patience=s3_servers.SOON)
    async with open_storage(place, dsn) as opened:
        yield opened


@pytest_asyncio.fixture(params=["folder", "bucket"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path, dsn: str) -> AsyncIterator[Storage]:
    place = (
        open_storage(tmp_path, dsn)
        if request.param == "folder"
        else bucket(str(request.getfixturevalue("one_s3_url")), dsn)
    )
    async with place as found:
        yield found


async def read(opened: Storage, what: Cid | str, start: int = 0, stop: int | None = None) -> bytes:
    return await join(opened.retrieve(what, start, stop))


async def keys(opened: Storage) -> list[str]:
    return [info.key async for info in opened._place.objects.list()]


async def test_there_and_back(opened: Storage) -> None:
    data = os.urandom(11 * MIB)
    found = await opened.upload(cut(data), "a.bin")
    expected = blocks_of(data, opened._owned.profile)[0].cid
    assert found == UploadResult(expected, len(data), (await keys(opened))[0])
    assert await read(opened, found.cid) == data
    assert await read(opened, str(found.cid), 5_000_000, 7_000_001) == data[5_000_000:7_000_001]
    assert await read(opened, f"/ipfs/{found.cid}", 11 * MIB - 1, 12 * MIB) == data[-1:]
    assert await read(opened, found.cid, 12 * MIB) == b""


async def test_the_same_again_is_the_same_object(opened: Storage) -> None:
    first = await opened.upload(b"same", profile="unixfs-v1-2025")
    assert await opened.upload(bytearray(b"same"), profile="unixfs-v1-2025") == first
    other = await opened.upload(memoryview(b"same"), profile="unixfs-v0-2015")
    assert other.cid == blocks_of(b"same", UNIXFS_V0_2015)[0].cid
    assert first.cid == blocks_of(b"same", UNIXFS_V1_2025)[0].cid
    assert len(await keys(opened)) == 2


async def test_files_and_directories_of_this_machine(opened: Storage, tmp_path: Path) -> None:
    site = tmp_path / "my site"
    (site / "a b").mkdir(parents=True)
    (site / "a b" / "ż.txt").write_bytes(b"zet")
    (site / "link").symlink_to("a b/ż.txt")
    (site / "empty").mkdir()
    found = await opened.upload(site)
    assert await read(opened, f"{found.cid}/a%20b/%C5%BC.txt") == b"zet"
    assert await read(opened, f"/ipfs/{found.cid}/a b/ż.txt", 1) == b"et"
    assert await read(opened, f"{found.cid}/link") == "a b/ż.txt".encode()
    alone = await opened.upload(site / "a b" / "ż.txt")
    assert await read(opened, alone.cid) == b"zet"
    with pytest.raises(FileNotFoundError):
        await opened.upload(tmp_path / "nowhere")


async def test_pinned_by_another_owner(opened: Storage, dsn: str) -> None:
    """A root and a part of it, each for itself; the object goes when nobody keeps any of it."""
    other = Storage(opened._place, opened._index, opened._owned)
    other._owned = type(opened._owned)(uuid4(), "", opened._owned.profile)
    root = await opened.upload(Path(__file__).parent / "__init__.py")
    whole = await opened.upload(os.urandom(3 * MIB))
    part = (await _links(opened, whole.cid))[1]
    await other.pin(str(root.cid))
    await other.pin(part, "a part")
    assert await opened.unpin(root.cid)
    assert await opened.unpin(str(whole.cid))
    assert not await opened.unpin(whole.cid)
    assert len(await keys(opened)) == 2
    assert await read(other, part)
    assert await other.unpin(root.cid)
    assert await other.unpin(part)
    assert await keys(opened) == []
    with pytest.raises(PinningError, match="not here"):
        await other.pin(root.cid)


async def _links(opened: Storage, cid: Cid) -> list[Cid]:
    from ipld import dag_pb

    return [link.cid for link in dag_pb.decode(await opened.packed.get(cid)).links]


async def test_pinning_what_is_not_whole(opened: Storage) -> None:
    link, made = blocks_of(os.urandom(3 * MIB))
    root = next(block for block in made if block.cid == link.cid)
    await opened.content.add_block(root.cid, root.data, opened._owned)
    other = Storage(opened._place, opened._index, type(opened._owned)(uuid4(), "", UNIXFS_V1_2025))
    with pytest.raises(PinningError, match="not all that is under"):
        await other.pin(root.cid)
    assert not await other.unpin(root.cid)


async def test_what_cannot_be_read(opened: Storage, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    site = (await opened.upload(tmp_path / "site")).cid
    for what, cause in ((MISSING, LookupError), (site, Exception), (f"{site}/no", NoLink)):
        with pytest.raises(RetrieveError) as caught:
            await read(opened, what)
        assert isinstance(caught.value.__cause__, cause)
        assert caught.value.retry_after is None


@pytest.mark.parametrize("what", ["", "nonsense", "/ipns/docs.ipfs.tech", "/ipfs/", f"{MISSING}/%zz"])
async def test_what_is_no_place(tmp_path: Path, dsn: str, what: str) -> None:
    async with open_storage(tmp_path, dsn) as opened:
        with pytest.raises(ValidationError):
            await read(opened, what)


async def test_arguments_that_are_wrong(opened: Storage) -> None:
    for start, stop in ((-1, None), (5, 4)):
        with pytest.raises(ValidationError, match="no span"):
            await read(opened, MISSING, start, stop)
    for work in (opened.pin("nonsense"), opened.unpin("nonsense")):
        with pytest.raises(ValidationError):
            await work
    with pytest.raises(ValidationError, match="unixfs-v1-2025"):
        await opened.upload(b"x", profile="best")
    with pytest.raises(ValidationError, match=r"pathlib\.Path"):
        await opened.upload("photo.jpg")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="needs a database"):
        async with open_storage(S3Bucket(s3_servers.account_of("http://127.0.0.1:1"))):
            pass


async def test_a_source_that_fails(opened: Storage) -> None:
    """Its own error comes out, and nothing of the upload stays."""
    with pytest.raises(ZeroDivisionError):
        await opened.upload(pieces(b"x" * 100_000, then=ZeroDivisionError()))
    assert await keys(opened) == []
    assert await opened._index.unsettled(0) == []


async def test_damage_is_said(tmp_path: Path, dsn: str) -> None:
    async with open_storage(tmp_path, dsn) as opened:
        found = await opened.upload(os.urandom(100_000))
        with (tmp_path / "objects" / found.key).open("r+b") as file:
            file.write(b"damage")
        with pytest.raises(RetrieveError) as caught:
            await read(opened, found.cid)
        assert isinstance(caught.value.__cause__, BlockCorrupt)


async def test_a_bucket_of_filebase_that_goes_away(one_s3_url: str, dsn: str) -> None:
    async with filebase_at(one_s3_url) as proxy:
        account = s3_servers.account_of(proxy.url)
        await s3_servers.make_bucket(account)
        patience = Patience(fail_max=2, rest=30.0, wait=0.01, longest_wait=0.02)
        async with open_storage(S3Bucket(account, patience=patience), dsn) as opened:
            data = os.urandom(3 * MIB)
            found = await opened.upload(data)
            assert found.cid == found.published == published(data)
            assert await opened.state() == State("closed", "IPFS", None)
            await away(opened, proxy, found.cid)


async def away(opened: Storage, proxy: FilebaseDouble, cid: Cid) -> None:
    proxy.fail(double.page(502), times=1000)
    for kind, work in ((RetrieveError, read(opened, cid)), (UploadError, opened.upload(b"more"))):
        with pytest.raises(kind) as caught:
            await work
        assert caught.value.retry_after
        assert caught.value.retry_after > 10
    state = await opened.state()
    assert (state.breaker, state.bucket) == ("open", "IPFS")
    assert state.problem


async def test_a_folder_has_no_breaker(tmp_path: Path, dsn: str) -> None:
    async with open_storage(tmp_path, dsn) as opened:
        assert await opened.state() == State("closed", None, None)
        (tmp_path / "objects" / ".incoming").rmdir()
        (tmp_path / "objects").rmdir()
        assert "is not there" in str((await opened.state()).problem)


async def test_what_cannot_be_opened(tmp_path: Path, one_s3_url: str, dsn: str) -> None:
    with pytest.raises(StorageError, match="does not accept connections"):
        async with open_storage(tmp_path, "postgresql://127.0.0.1:1/none"):
            pass
    with pytest.raises(StorageError, match="NoSuchBucket"):
        async with open_storage(S3Bucket(s3_servers.account_of(one_s3_url, "no-such-bucket")), dsn):
            pass


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bucket", "bad bucket"),
        ("bucket", ""),
        ("endpoint_url", "nonsense"),
        ("endpoint_url", "http://[::1"),
        ("region", "a b"),
        ("key_id", ""),
        ("secret", ""),
    ],
)
async def test_an_account_that_is_none(dsn: str, field: str, value: str) -> None:
    account = s3_servers.account_of("http://127.0.0.1:1")
    place = S3Bucket(replace(account, **{field: value}), patience=s3_servers.SOON)  # type: ignore[arg-type]
    with pytest.raises(StorageError) as caught:
        async with open_storage(place, dsn):
            pass
    assert caught.value.retry_after is None
    assert isinstance(caught.value.__cause__, StoreRefused)


def test_what_a_failure_becomes() -> None:
    for cause, retry_after in (
        (StoreUnavailable("away", 7), 7),
        (StoreRefused("no"), None),
        (StoreFull("full"), None),
    ):
        with pytest.raises(UploadError) as caught, failing_as(UploadError):
            raise cause
        assert (caught.value.retry_after, caught.value.__cause__) == (retry_after, cause)
    with pytest.raises(KeyError), failing_as(UploadError):
        raise KeyError("a defect is not dressed up")


def test_every_name_is_there() -> None:
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        package.nothing  # noqa: B018


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    """As it stands there, with a database of its own."""
    section = README.read_text().partition("### From Python\n")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    data = os.urandom(5000)
    (tmp_path / "photo.jpg").write_bytes(data)
    (tmp_path / "example.py").write_text(found[1])
    done = subprocess.run(
        [sys.executable, "example.py"],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cid, size, key = done.stdout.splitlines()[0].split()
    assert (cid, size) == (str(blocks_of(data)[0].cid), "5000")
    assert "1000 bytes, checked against the CID" in done.stdout
    assert "State(breaker='closed', bucket=None, problem=None)" in done.stdout
    assert not (tmp_path / "data" / "objects" / key).exists(), "let go of at the end"
