"""What goes over the wire to Filebase, to the header: a change in what is sent is noticed.

The exchanges in `tests/cassettes` were recorded against the double in front of a real S3 server, with
every secret, date and address taken out. `CIDGATE_RECORD=1` records them anew.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest
import vcr
from vcr.request import Request

from ipld import car
from ipld.cid import RAW, Cid
from storage.filebase import FilebaseObjects, Import
from storage.objects import ObjectNotFound, Receipt
from storage.resilient import Patience
from storage.s3 import S3Objects, open_s3
from storage.s3_account import MIB, S3Account, S3Limits
from storage.s3_errors import StoreRefused
from tests.storage import filebase_double as double
from tests.storage.filebase_double import FilebaseDouble, filebase_at, published
from tests.storage.s3_servers import KEY_ID, SECRET, make_bucket
from tests.storage.stores import join, store

CASSETTES = Path(__file__).parents[1] / "cassettes"
RECORDS = bool(os.environ.get("CIDGATE_RECORD"))
BUCKET = "cassettes"
HOST = "http://s3.test"
UPSTREAM = ["nothing is recorded"]
FILE_KEY = "files/unixfs-v0-2015/ab/" + "ab" * 16
CAR_KEY = "cars/cd/" + "cd" * 16
DATA = bytes(range(256)) * 10
LARGE = bytes(range(256)) * (11 * MIB // 512)

# What is the same in every run; all else is left out, and with it whatever could be a secret.
KEPT = {"content-length", "content-type", "range", "if-match", "x-amz-content-sha256", "transfer-encoding"}
KEPT_ANSWERED = {"content-length", "content-type", "content-range", "etag", "last-modified", "x-amz-meta-cid"}
KEPT_ANSWERED |= {"x-amz-meta-import", "retry-after", "accept-ranges"}

Exchange = Callable[[FilebaseObjects, FilebaseDouble | None], Awaitable[None]]


def without_secrets(request: Request) -> Request | None:
    if request.uri.startswith(UPSTREAM[0]):
        return None  # What the double asks the server for.
    parts = urlsplit(request.uri)
    query = [(name, value) for name, value in parse_qsl(parts.query, True) if not name.startswith("X-Amz-")]
    query = [(name, "an-upload" if name == "uploadId" else value) for name, value in query]
    uri = urlunsplit(("http", urlsplit(HOST).netloc, parts.path, urlencode(query), ""))
    headers = {
        name.lower(): _text(value)
        for name, value in request.headers.items()
        if name.lower() in KEPT or name.lower().startswith(("x-amz-meta-", "x-amz-checksum", "x-amz-trailer"))
    }
    return Request(request.method, uri, _shortened(request), headers)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _shortened(request: Request) -> bytes:
    """XML is kept; content is told by its hash, which is among the headers."""
    body = request.body
    body = body.encode() if isinstance(body, str) else body
    return body if isinstance(body, bytes) and body.startswith(b"<") else b""


def without_noise(response: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    headers = {name: value for name, value in response["headers"].items() if name.lower() in KEPT_ANSWERED}
    return {**response, "headers": headers}


def same(name: str, of: Callable[[Request], object]) -> tuple[str, Callable[[Request, Request], None]]:
    def check(sent: Request, recorded: Request) -> None:
        assert of(sent) == of(recorded)

    return name, check


def recorder() -> vcr.VCR:
    made = vcr.VCR(
        cassette_library_dir=str(CASSETTES),
        record_mode=vcr.mode.ALL if RECORDS else vcr.mode.NONE,
        before_record_request=without_secrets,
        before_record_response=without_noise,
    )
    matchers = [
        same("what", lambda request: (request.method, request.uri)),
        same("headers sent", lambda request: sorted(request.headers.items())),
        same("xml", lambda request: request.body if b"<" in (request.body or b"")[:1] else None),
    ]
    for name, check in matchers:
        made.register_matcher(name, check)
    made.match_on = [name for name, _ in matchers]
    return made


async def put_a_file(objects: FilebaseObjects, _: FilebaseDouble | None) -> None:
    async with objects.create(FILE_KEY) as writer:
        await writer.write(DATA)
        assert await writer.commit(b"", published(DATA)) == Receipt(True, published(DATA))


async def put_a_car(objects: FilebaseObjects, _: FilebaseDouble | None) -> None:
    root = Cid.of(DATA, RAW)
    head = car.header([root])
    async with objects.create(CAR_KEY, len(head)) as writer:
        await writer.write(car.frame(root, len(DATA)) + DATA)
        assert await writer.commit(head, root) == Receipt(True, root)


async def put_parts(objects: FilebaseObjects, _: FilebaseDouble | None) -> None:
    async with objects.create(FILE_KEY) as writer:
        await writer.write(LARGE)
        assert await writer.commit(b"", published(LARGE)) == Receipt(True, published(LARGE))


async def read_spans(objects: FilebaseObjects, between: FilebaseDouble | None) -> None:
    await put_a_file(objects, between)
    for span in ((0, len(DATA)), (1000, 2000)):
        async with objects.open(FILE_KEY, span) as source:
            assert await join(source.read(*span)) == DATA[slice(*span)]
            assert source.size == len(DATA)
    with pytest.raises(ObjectNotFound):
        async with objects.open("cars/none", (0, 10)):
            pass


async def head_list_delete(objects: FilebaseObjects, between: FilebaseDouble | None) -> None:
    await put_a_file(objects, between)
    assert (await objects.head(FILE_KEY)).size == len(DATA)
    assert (await objects.metadata(FILE_KEY))["cid"] == str(published(DATA))
    assert [info.key async for info in objects.list("files/")] == [FILE_KEY]
    await objects.delete(FILE_KEY)
    with pytest.raises(ObjectNotFound):
        await objects.head(FILE_KEY)


async def slow_down(objects: FilebaseObjects, between: FilebaseDouble | None) -> None:
    if between is not None:
        between.fail(double.refuse(503, "SlowDown", Retry_After="1"), "PUT", FILE_KEY)
        between.fail(double.page(502), "PUT", FILE_KEY)
    await put_a_file(objects, between)


async def refused(objects: FilebaseObjects, between: FilebaseDouble | None) -> None:
    if between is not None:
        between.fail(double.refuse(403, "AccessDenied"), "PUT", FILE_KEY)
    with pytest.raises(StoreRefused, match="AccessDenied"):
        await put_a_file(objects, between)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[S3Objects]:
    account = S3Account(url, "us-east-1", BUCKET, KEY_ID, SECRET)
    limits = S3Limits(part_bytes=5 * MIB, parts_at_once=1)
    async with open_s3(account, limits, Patience(wait=0.01, longest_wait=0.02)) as s3:
        yield s3


@asynccontextmanager
async def recording(moto: str) -> AsyncIterator[FilebaseDouble]:
    """A bucket of always the same name, emptied before each exchange."""
    async with filebase_at(moto) as between:
        await make_bucket(S3Account(between.url, "us-east-1", BUCKET, KEY_ID, SECRET))
        async with opened(between.url) as s3:
            for key in [info.key async for info in s3.list()]:
                await s3.delete(key)
            await store(s3, "other/object", b"theirs")
        yield between


@pytest.mark.parametrize(
    "exchange", [put_a_file, put_a_car, put_parts, read_spans, head_list_delete, slow_down, refused]
)
async def test_what_is_sent(exchange: Exchange, request: pytest.FixtureRequest) -> None:
    cassette = f"{exchange.__name__}.yaml"
    if RECORDS:
        (CASSETTES / cassette).unlink(missing_ok=True)
        async with recording(request.getfixturevalue("moto")) as between, opened(between.url) as s3:
            UPSTREAM[0] = between.upstream
            with recorder().use_cassette(cassette):
                await exchange(FilebaseObjects(s3, Import.PLAIN, cid_timeout=5.0), between)
        return
    async with opened(HOST) as s3:
        with recorder().use_cassette(cassette) as played:
            await exchange(FilebaseObjects(s3, Import.PLAIN, cid_timeout=5.0), None)
            assert played.all_played, "everything that was sent then is sent now"


def test_nothing_secret_is_recorded() -> None:
    found = sorted(CASSETTES.glob("*.yaml"))
    assert len(found) == 7
    for path in found:
        text = path.read_text().lower()
        for secret in (KEY_ID, SECRET, "authorization", "x-amz-signature", "x-amz-credential", "127.0.0.1"):
            assert secret not in text
