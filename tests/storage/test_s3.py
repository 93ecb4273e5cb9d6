"""A bucket on real servers: parts, heads, bounded memory, and every way in which a network fails."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from ipld.errors import StoreFull, StoreUnavailable
from storage import s3_writer
from storage.objects import OUR_KEY, ObjectNotFound
from storage.resilient import Patience, Transient
from storage.s3 import S3Events, S3Objects, open_s3
from storage.s3_account import MIB, S3Account, S3Limits, part_bytes_for
from storage.s3_client import OpenUpload, S3Client
from storage.s3_errors import StoreRefused
from storage.s3_reader import SMALL_BYTES
from tests.storage import filebase_double as double
from tests.storage.filebase_double import FilebaseDouble, filebase_at
from tests.storage.s3_servers import LIMITS, SOON, account_of, bucket_at, make_bucket, with_limits
from tests.storage.stores import join, store

KEY = "cars/ab/" + "ab" * 16
PART = LIMITS.part_bytes
QUICK = with_limits(timeout=1.5, connect_timeout=1.5, complete_timeout=1.5)


@pytest_asyncio.fixture
async def bucket(s3_url: str) -> AsyncIterator[S3Objects]:
    async with bucket_at(s3_url) as objects:
        yield objects


@pytest_asyncio.fixture
async def proxy(s3_url: str) -> AsyncIterator[FilebaseDouble]:
    """A plain S3 server behind a network that fails on command."""
    async with filebase_at(s3_url, gives_cids=False) as between:
        yield between


@asynccontextmanager
async def behind(
    proxy: FilebaseDouble,
    limits: S3Limits = QUICK,
    patience: Patience = SOON,
    events: S3Events | None = None,
) -> AsyncIterator[S3Objects]:
    """A fresh bucket, reached through the proxy, and with what came before forgotten."""
    account = account_of(proxy.url)
    await make_bucket(account)
    proxy.requests.clear()
    async with open_s3(account, limits, patience, events) as objects:
        yield objects


async def read(objects: S3Objects, key: str = KEY, start: int = 0, stop: int | None = None) -> bytes:
    if stop is not None:
        async with objects.open(key, (start, stop)) as source:
            return await join(source.read(start, stop))
    async with objects.open(key) as source:
        return await join(source.read(start, source.size))


async def keys(objects: S3Objects, after: str = "") -> list[str]:
    return [info.key async for info in objects.list("", after)]


@pytest.mark.parametrize(
    ("size", "parts"), [(0, 0), (PART - 4, 0), (PART - 3, 2), (2 * PART - 4, 2), (3 * PART + 17, 4)]
)
async def test_what_fits_into_one_part_is_one_put(proxy: FilebaseDouble, size: int, parts: int) -> None:
    data = os.urandom(size)
    async with behind(proxy) as objects:
        await store(objects, KEY, data, head=b"head")
        assert await read(objects) == b"head" + data
    assert proxy.count("PUT", "partNumber") == parts
    assert proxy.count("PUT", KEY) == max(parts, 1)


async def test_every_request_has_a_length_and_no_trailer(proxy: FilebaseDouble) -> None:
    async with behind(proxy) as objects:
        await store(objects, KEY, os.urandom(2 * PART), head=b"head")
        await store(objects, KEY, b"small")
    for method, _, headers in proxy.requests:
        named = {name.lower(): value for name, value in headers.items()}
        assert method not in ("PUT", "POST") or "content-length" in named
        assert not {"x-amz-trailer", "transfer-encoding", "x-amz-sdk-checksum-algorithm"} & named.keys()
        assert method != "PUT" or len(named["x-amz-content-sha256"]) == 64


async def test_a_head_longer_than_a_part(bucket: S3Objects) -> None:
    head, data = os.urandom(PART + 100), os.urandom(2 * PART)
    await store(bucket, KEY, data, head=head)
    assert await read(bucket) == head + data


async def test_parts_are_sent_while_more_comes_in(proxy: FilebaseDouble) -> None:
    """And the first one, which holds the head, at the end."""
    async with behind(proxy) as objects, objects.create(KEY, 4) as writer:
        await writer.write(os.urandom(4 * PART))
        for _ in range(100):
            if proxy.count("PUT", "partNumber") >= 3:
                break
            await asyncio.sleep(0.02)
        assert proxy.count("PUT", "partNumber=1&") == 0
        assert await keys(objects) == []
        await writer.commit(b"head")
        assert proxy.count("PUT", "partNumber=1&") == 1


async def test_few_parts_are_in_memory(s3_url: str) -> None:
    """Whoever writes faster than the store takes is slowed down."""
    held = 0

    async with filebase_at(s3_url, gives_cids=False) as proxy:
        proxy.fail(double.hang(0.05), "PUT", times=100)
        async with (
            behind(proxy, with_limits(parts_at_once=2)) as objects,
            objects.create(KEY, 4) as writer,
        ):
            for _ in range(10):
                await writer.write(bytes(PART))
                sending = len(writer._sending)
                held = max(held, sending)
            await writer.commit(b"head")
            assert (await objects.head(KEY)).size == 10 * PART + 4
    assert held <= 3


async def test_too_many_parts(bucket: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_writer, "MAX_PARTS", 2)
    with pytest.raises(StoreFull, match="at most 2 parts"):
        await store(bucket, KEY, bytes(3 * PART))
    assert await keys(bucket) == []


def test_parts_grow_with_the_largest_upload() -> None:
    assert part_bytes_for(64 * 1024**3, 8 * MIB) == 8 * MIB
    larger = part_bytes_for(1024**4, 8 * MIB)
    assert larger % MIB == 0
    assert 9_000 * larger >= 1024**4


@pytest.mark.parametrize("span", [(0, 10), (5, SMALL_BYTES + 5), (7, SMALL_BYTES + 8), (0, 2 * MIB)])
async def test_one_request_finds_and_reads(proxy: FilebaseDouble, span: tuple[int, int]) -> None:
    data = os.urandom(2 * MIB)
    async with behind(proxy) as objects:
        await store(objects, KEY, data)
        before = len(proxy.requests)
        assert await read(objects, KEY, *span) == data[slice(*span)]
        assert len(proxy.requests) == before + 1
        for missing in ((2 * MIB - 5, 2 * MIB + 1), (2 * MIB, 2 * MIB + 1), (0, 3 * MIB)):
            with pytest.raises(ObjectNotFound):
                await read(objects, KEY, *missing)
        with pytest.raises(ObjectNotFound):
            await read(objects, "cars/no", *span)


async def test_a_second_span_of_an_open_object(bucket: S3Objects) -> None:
    data = os.urandom(2 * MIB)
    await store(bucket, KEY, data)
    async with bucket.open(KEY, (0, MIB)) as source:
        assert await join(source.read(5, 10)) == data[5:10]
        assert await join(source.read(0, MIB)) == data[:MIB]
        assert await join(source.read(MIB, 2 * MIB)) == data[MIB:]
        with pytest.raises(ObjectNotFound):
            await join(source.read(MIB, 2 * MIB + 1))
    async with bucket.open(KEY, (0, 2 * MIB)):
        pass


async def test_keys_of_others(bucket: S3Objects) -> None:
    for name in ("a b/ü+%41&=?#.txt", "über/日本"):
        await store(bucket, "x")
        # Written by another client, whose keys may have any form.
        await bucket._client._boto.put_object(Bucket=bucket._client._bucket, Key=name, Body=b"theirs")  # type: ignore[attr-defined]
        assert await read(bucket, name) == b"theirs"
        assert name in await keys(bucket)
        await bucket.delete(name)
        assert name not in await keys(bucket)


async def test_listing_in_pages(bucket: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"cars/{n:03}" for n in range(25)]
    await asyncio.gather(*(store(bucket, name, b"x") for name in names))
    client = type(bucket._client)
    page = client.page

    async def small(self: object, prefix: str, after: str, token: str | None, limit: int = 7) -> object:
        return await page(self, prefix, after, token, limit)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "page", small)
    assert await keys(bucket) == names
    assert await keys(bucket, names[9]) == names[10:]
    assert await keys(bucket, "cars/0095") == names[10:]


@pytest.mark.needs_versitygw
async def test_stale_uploads_are_removed_and_no_others(versity: str) -> None:
    """moto says of every upload that it began in 2010."""
    async with bucket_at(versity) as bucket:
        await stale_uploads(bucket)


async def stale_uploads(bucket: S3Objects) -> None:
    begin, listed = bucket._client.begin_upload, bucket._client.open_uploads
    await begin(KEY, {})
    await begin("theirs/upload", {})
    assert await bucket.remove_unfinished(3600) == 0
    await asyncio.sleep(1.1)  # S3 tells whole seconds.
    assert await bucket.remove_unfinished(0.01) == 1
    assert [each.key for each in await listed()] == ["theirs/upload"]


@pytest.mark.needs_versitygw
async def test_stale_uploads_behind_those_of_others(versity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """moto knows no pages of uploads."""
    async with bucket_at(versity) as bucket:
        begin, listed = bucket._client.begin_upload, type(bucket._client).open_uploads
        for number in range(5):
            await begin(f"a/{number // 2}", {})
            await begin(KEY[:-1] + str(number), {})

        async def small(self: S3Client, after: str = "", limit: int = 2) -> list[OpenUpload]:
            return await listed(self, after, limit)

        monkeypatch.setattr(type(bucket._client), "open_uploads", small)
        assert await bucket.remove_unfinished(3600) == 0
        await asyncio.sleep(1.1)  # S3 tells whole seconds.
        assert await bucket.remove_unfinished(0.01) == 5
        left = await listed(bucket._client)
        assert [each.key for each in left] == ["a/0", "a/0", "a/1", "a/1", "a/2"]


async def test_a_store_that_gives_its_first_page_of_uploads_again(moto: str) -> None:
    async with bucket_at(moto) as bucket:
        for _ in range(3):
            await bucket._client.begin_upload(KEY, {})
        assert await bucket.remove_unfinished(3600) == 3, "it says of all that they began in 2010"
        assert await bucket._client.open_uploads() == []


def test_which_keys_are_ours() -> None:
    assert OUR_KEY.fullmatch("files/unixfs-v1-2025/0a/" + "0a" * 16)
    assert OUR_KEY.fullmatch(KEY)
    assert not OUR_KEY.fullmatch("photos/cat.jpg")
    assert not OUR_KEY.fullmatch(KEY + "x")


async def test_a_store_that_lists_no_uploads(proxy: FilebaseDouble) -> None:
    async with behind(proxy) as objects:
        proxy.fail(double.refuse(501, "NotImplemented"), "GET", "uploads")
        assert await objects.remove_unfinished(0) == 0


class TestWritesFail:
    @pytest_asyncio.fixture
    async def proxy(self, one_s3_url: str) -> AsyncIterator[FilebaseDouble]:
        async with filebase_at(one_s3_url, gives_cids=False) as between:
            yield between

    @pytest.mark.parametrize(
        "act",
        [
            double.refuse(500, "InternalError"),
            double.refuse(503, "SlowDown"),
            double.refuse(400, "RequestTimeout"),
            double.page(502),
            double.page(200),
            double.reset,
            double.lose_answer,
            double.hang(30),
        ],
        ids=["500", "SlowDown", "RequestTimeout", "html-502", "html-200", "reset", "lost", "hang"],
    )
    @pytest.mark.parametrize(
        ("method", "where"), [("PUT", "partNumber=2"), ("POST", "uploadId")], ids=["part", "complete"]
    )
    async def test_a_passing_failure_is_not_noticed(
        self, proxy: FilebaseDouble, act: double.Act, method: str, where: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(s3_writer, "_SLOWEST_BYTES_PER_SECOND", 100 * MIB)
        data = os.urandom(2 * PART)
        async with behind(proxy) as objects:
            fault = proxy.fail(act, method, where)
            await store(objects, KEY, data, head=b"head")
            assert fault.seen == 1
            assert await read(objects) == b"head" + data

    async def test_an_upload_whose_beginning_fails(self, proxy: FilebaseDouble) -> None:
        async with behind(proxy) as objects:
            for act in (double.page(200), double.lose_answer):
                proxy.fail(act, "POST", "uploads")
            await store(objects, KEY, bytes(PART + 1))
            assert (await objects.head(KEY)).size == PART + 1

    @pytest.mark.parametrize("act", [double.reset, double.lose_answer, double.refuse(503, "SlowDown")])
    async def test_a_single_put(self, proxy: FilebaseDouble, act: double.Act) -> None:
        async with behind(proxy) as objects:
            fault = proxy.fail(act, "PUT", KEY)
            await store(objects, KEY, b"small")
            assert fault.seen == 1
            assert await read(objects) == b"small"

    @pytest.mark.parametrize(
        ("act", "error"),
        [
            (double.refuse(403, "AccessDenied"), StoreRefused),
            (double.refuse(411, "MissingContentLength"), StoreRefused),
            (double.refuse(400, "EntityTooLarge"), StoreRefused),
            (double.refuse(403, "QuotaExceeded"), StoreFull),
            (double.refuse(507, "InsufficientStorage"), StoreFull),
            (double.refuse(404, "NoSuchBucket"), StoreRefused),
            (double.refuse(500, "InternalError"), Transient),
        ],
    )
    @pytest.mark.parametrize(("size", "where"), [(10, KEY), (3 * PART, "partNumber=2")])
    async def test_a_lasting_failure_leaves_nothing(
        self, proxy: FilebaseDouble, act: double.Act, error: type[Exception], size: int, where: str
    ) -> None:
        async with behind(proxy, patience=Patience(fail_max=99, wait=0.01, longest_wait=0.02)) as objects:
            fault = proxy.fail(act, "PUT", where, times=1000)
            with pytest.raises(error):
                await store(objects, KEY, bytes(size), head=b"head")
            assert fault.seen == (3 if error is Transient else 1)
            assert await keys(objects) == []
            assert await objects._client.open_uploads() == []

    async def test_an_upload_whose_completion_was_lost_for_good(self, proxy: FilebaseDouble) -> None:
        """Done by the server, three times unheard of: it must not stay."""
        async with behind(proxy, patience=Patience(fail_max=99, wait=0.01, longest_wait=0.02)) as objects:
            proxy.fail(double.lose_answer, "POST", "uploadId")
            proxy.fail(double.reset, "POST", "uploadId", times=9)
            with pytest.raises(StoreUnavailable):
                await store(objects, KEY, bytes(2 * PART))
            assert await keys(objects) == []

    async def test_a_completion_that_was_done_and_is_tried_again(self, proxy: FilebaseDouble) -> None:
        """S3 then says NoSuchUpload; some servers say 200 again."""
        async with behind(proxy) as objects:
            proxy.fail(double.lose_answer, "POST", "uploadId")
            proxy.fail(double.refuse(404, "NoSuchUpload"), "POST", "uploadId")
            await store(objects, KEY, bytes(2 * PART))
            assert (await objects.head(KEY)).size == 2 * PART

    async def test_an_upload_that_is_gone(self, proxy: FilebaseDouble) -> None:
        async with behind(proxy) as objects:
            proxy.fail(double.refuse(404, "NoSuchUpload"), "POST", "uploadId")
            with pytest.raises((StoreRefused, ObjectNotFound)):
                await store(objects, KEY, bytes(2 * PART))
            assert await keys(objects) == []

    @pytest.mark.parametrize("size", [10, 4 * PART])
    async def test_a_client_that_leaves(self, proxy: FilebaseDouble, size: int) -> None:
        async with behind(proxy) as objects:
            proxy.fail(double.hang(0.2), "PUT", times=99)
            task = asyncio.create_task(store(objects, KEY, bytes(size), head=b"head"))
            while not proxy.count("PUT"):
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await keys(objects) == []
            assert await objects._client.open_uploads() == []


class TestReadsFail:
    @pytest_asyncio.fixture
    async def proxy(self, one_s3_url: str) -> AsyncIterator[FilebaseDouble]:
        async with filebase_at(one_s3_url, gives_cids=False) as between:
            yield between

    @pytest_asyncio.fixture
    async def data(self) -> bytes:
        return os.urandom(3 * MIB)

    @pytest.mark.parametrize(
        "act",
        [
            double.refuse(500, "InternalError"),
            double.refuse(503, "SlowDown"),
            double.page(502),
            double.page(200),
            double.reset,
            double.hang(30),
            double.cut_body(100_000),
            double.drip(100_000, 30),
        ],
        ids=["500", "SlowDown", "html-502", "html-200", "reset", "hang", "cut", "stalled"],
    )
    @pytest.mark.parametrize("span", [(0, 200_000), (0, 3 * MIB), (12_345, 2 * MIB + 7)])
    async def test_a_passing_failure_is_not_noticed(
        self, proxy: FilebaseDouble, data: bytes, act: double.Act, span: tuple[int, int]
    ) -> None:
        async with behind(proxy) as objects:
            await store(objects, KEY, data)
            fault = proxy.fail(act, "GET", KEY)
            assert await read(objects, KEY, *span) == data[slice(*span)]
            assert fault.seen == 1

    async def test_a_body_goes_on_at_the_byte_where_it_broke(
        self, proxy: FilebaseDouble, data: bytes
    ) -> None:
        async with behind(proxy) as objects:
            await store(objects, KEY, data)
            for _ in range(5):
                proxy.fail(double.cut_body(400_000), "GET", KEY)
            assert await read(objects, KEY, 10, 3 * MIB) == data[10:]
        ranges = [
            headers["Range"] for method, path, headers in proxy.requests if method == "GET" and KEY in path
        ]
        assert len(ranges) == 6
        starts = [int(each.removeprefix("bytes=").split("-")[0]) for each in ranges]
        assert starts == sorted(set(starts))
        assert all(each.endswith(f"-{3 * MIB - 1}") for each in ranges)

    async def test_a_body_that_never_moves_is_given_up(self, proxy: FilebaseDouble, data: bytes) -> None:
        async with behind(proxy) as objects:
            await store(objects, KEY, data)
            fault = proxy.fail(double.cut_body(0), "GET", KEY, times=99)
            with pytest.raises(StoreUnavailable):
                await read(objects, KEY, 0, 3 * MIB)
            assert fault.seen == 4

    async def test_never_half_of_one_and_half_of_another(self, proxy: FilebaseDouble, data: bytes) -> None:
        async with behind(proxy) as objects:
            await store(objects, KEY, data)

            async def replaced(between: FilebaseDouble, request: object) -> None:
                if not replaced_once:
                    replaced_once.append(1)
                    await store(objects, KEY, os.urandom(len(data)))

            replaced_once: list[int] = []
            proxy.fail(double.cut_body(500_000), "GET", KEY)
            proxy.fail(replaced, "GET", KEY, times=1)  # type: ignore[arg-type]
            with pytest.raises((ObjectNotFound, StoreUnavailable)):
                await read(objects, KEY, 0, 3 * MIB)

    async def test_the_breaker(self, proxy: FilebaseDouble, data: bytes) -> None:
        async with behind(proxy) as objects:
            await store(objects, KEY, data)
            fault = proxy.fail(double.page(502), "GET", KEY, times=5)
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    await read(objects, KEY, 0, 100)
            assert (fault.seen, objects.guard.state) == (5, "open")
            before = len(proxy.requests)
            with pytest.raises(StoreUnavailable) as refused:
                await read(objects, KEY, 0, 100)
            assert len(proxy.requests) == before
            assert 1 <= refused.value.retry_after <= 2
            await asyncio.sleep(1.05)
            assert await read(objects, KEY, 0, 100) == data[:100]
            assert objects.guard.state == "closed"

    async def test_what_is_missing_never_opens_it(self, proxy: FilebaseDouble) -> None:
        async with behind(proxy) as objects:
            for n in range(12):
                with pytest.raises(ObjectNotFound):
                    await read(objects, f"cars/{n}", 0, 100)
                with pytest.raises(ObjectNotFound):
                    await objects.head(f"cars/{n}")
            assert objects.guard.state == "closed"

    async def test_a_slow_read_is_hedged(self, proxy: FilebaseDouble, data: bytes) -> None:
        hedged: list[int] = []
        events = S3Events(hedge=lambda: hedged.append(1))
        async with behind(proxy, LIMITS, events=events) as objects:
            await store(objects, KEY, data)
            for n in range(60):
                await read(objects, KEY, n, n + 100)
            hedged.clear()
            proxy.fail(double.hang(60), "GET", KEY)
            started = time.monotonic()
            assert await read(objects, KEY, 0, 100) == data[:100]
            assert time.monotonic() - started < 30
            assert hedged

    async def test_a_reader_that_leaves_closes_its_connection(
        self, proxy: FilebaseDouble, data: bytes
    ) -> None:
        async with behind(proxy) as objects:
            await store(objects, KEY, data)
            async with objects.open(KEY, (0, 3 * MIB)) as source:
                reading = source.read(0, 3 * MIB)
                await anext(reading)
                await reading.aclose()
            acquired = objects._reading.http._session.connector._acquired  # type: ignore[union-attr]
            assert not acquired

    async def test_a_slow_reader_is_not_cut_off(self, proxy: FilebaseDouble, data: bytes) -> None:
        async with behind(proxy, with_limits(timeout=1)) as objects:
            await store(objects, KEY, data)
            got = bytearray()
            async with objects.open(KEY, (0, 3 * MIB)) as source:
                async for piece in source.read(0, 3 * MIB):
                    if len(got) < 100_000:
                        await asyncio.sleep(1.5)
                    got += piece
            assert got == data


async def test_nobody_there() -> None:
    account = S3Account("http://127.0.0.1:1", "us-east-1", "bucket", "key", "secret")
    async with open_s3(account, QUICK, SOON) as objects:
        with pytest.raises(StoreUnavailable):
            await objects.head(KEY)
        with pytest.raises(StoreUnavailable):
            await read(objects, KEY, 0, 10)
        with pytest.raises(StoreUnavailable):
            await store(objects, KEY, b"x")


@pytest.mark.needs_versitygw
async def test_signatures_are_checked(versity: str) -> None:
    good = account_of(versity)
    await make_bucket(good)
    bad = S3Account(good.endpoint_url, good.region, good.bucket, good.key_id, "another-secret")
    async with open_s3(good, LIMITS, SOON) as objects:
        await store(objects, KEY, os.urandom(2 * PART))
    async with open_s3(bad, LIMITS, SOON) as objects:
        for refused in (
            objects.check(),
            objects.head(KEY),
            read(objects, KEY, 0, 10),
            store(objects, KEY, b"x"),
            store(objects, KEY, bytes(2 * PART)),
        ):
            with pytest.raises(StoreRefused):
                await refused
        assert objects.guard.state == "closed"


@pytest.mark.needs_versitygw
async def test_bytes_that_changed_on_the_way_are_refused(
    versity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash of each part is signed, and checked by the server."""
    async with bucket_at(versity) as objects:
        put = type(objects._writing.http).put

        async def other(self: object, key: str, query: str, body: bytearray, *rest: object) -> object:
            return await put(self, key, query, bytearray(len(body)), *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(type(objects._writing.http), "put", other)
        with pytest.raises(StoreRefused):
            await store(objects, KEY, os.urandom(1000))
        assert await keys(objects) == []
