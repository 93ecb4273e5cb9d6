"""send() over a real server: lengths, ranges, conditions, and bodies that break or are left."""

from __future__ import annotations

import asyncio
import email
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDictProxy

from gateway.errors import errors_middleware
from gateway.ranges import parse_range
from gateway.representation import Representation, send
from gateway.response_headers import complete_headers
from gateway.streaming import BODY_BYTES, SendLimits
from ipld.errors import BlockNotFound, StoreUnavailable

Client = TestClient[web.Request, web.Application]
Serve = Callable[..., Awaitable[Client]]

SMALL = bytes(range(256)) * 4
LARGE = bytes(range(256)) * 8192
MODIFIED = 784111777.0


@dataclass
class Source:
    """A lazy body with a fault of our choosing: fails, ends or hangs before the byte `stop_at`."""

    body: bytes
    piece: int = 100_000
    stop_at: int | None = None
    fault: Exception | None = None
    hang: bool = False
    opened: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        self.opened += 1
        try:
            for position in range(start, min(stop, len(self.body)), self.piece):
                if self.stop_at is not None and position >= self.stop_at:
                    if self.hang:
                        await asyncio.Event().wait()
                    if self.fault:
                        raise self.fault
                    return
                yield self.body[position : min(position + self.piece, stop)]
                await asyncio.sleep(0)
        finally:
            self.closed.set()


@pytest.fixture
def serve(aiohttp_client: Callable[[web.Application], Awaitable[Client]]) -> Serve:
    async def start(shown: Representation, limits: SendLimits | None = None) -> Client:
        async def handler(request: web.Request) -> web.StreamResponse:
            return await send(request, shown, limits or SendLimits())

        app = web.Application(middlewares=[errors_middleware])
        app.on_response_prepare.append(complete_headers)
        app.router.add_route("*", "/ipfs/x", handler)
        return await aiohttp_client(app)

    return start


def whole(body: bytes, lazy: bool, **more: object) -> Representation:
    source = Source(body)
    given = {"size": len(body), "read": source.read} if lazy else {"body": body}
    return Representation("text/x", '"cid"', last_modified=MODIFIED, **given, **more)  # type: ignore[arg-type]


def comparable(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in ("date", "x-request-id")}


BODIES = [(b"", False), (b"", True), (SMALL, False), (SMALL, True), (LARGE, False), (LARGE, True)]


@pytest.mark.parametrize(("body", "lazy"), BODIES)
async def test_head_is_get_without_the_body(serve: Serve, body: bytes, lazy: bool) -> None:
    shown = whole(body, lazy, headers={"Cache-Control": "public", "X-Ipfs-Path": "/ipfs/x"})
    client = await serve(shown)
    async with client.get("/ipfs/x") as got, client.head("/ipfs/x") as head:
        assert await got.read() == body
        assert comparable(got.headers) == comparable(head.headers)
        assert got.headers["Content-Length"] == str(len(body))
        assert got.headers["ETag"] == '"cid"'
        assert got.headers["Accept-Ranges"] == "bytes"
        assert got.headers["Last-Modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"
        assert "ETag" in got.headers["Access-Control-Expose-Headers"]
        assert len(got.headers.getall("X-Request-Id")) == 1


async def test_head_and_304_read_nothing(serve: Serve) -> None:
    source = Source(LARGE)
    client = await serve(Representation("text/x", '"cid"', len(LARGE), read=source.read))
    async with client.head("/ipfs/x") as head:
        assert head.status == 200
    async with client.get("/ipfs/x", headers={"If-None-Match": '"cid"'}) as same:
        assert same.status == 304
    assert source.opened == 0


@pytest.mark.parametrize("body", [SMALL, LARGE])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("header", ["bytes=0-0", "bytes=5-", "bytes=-7", "bytes=3-900", "bytes=0-"])
async def test_one_range(serve: Serve, body: bytes, lazy: bool, header: str) -> None:
    client = await serve(whole(body, lazy))
    (span,) = parse_range(header, len(body)) or []
    async with client.get("/ipfs/x", headers={"Range": header}) as got:
        assert got.status == 206
        assert await got.read() == body[span.start : span.stop]
        assert got.headers["Content-Length"] == str(span.size)
        assert got.headers["Content-Range"] == f"bytes {span.start}-{span.stop - 1}/{len(body)}"
        assert got.headers["ETag"] == '"cid"'


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("header", ["bytes=6-16,0-4", "bytes=0-299999, 1000000-1400000, -1"])
async def test_several_ranges(serve: Serve, lazy: bool, header: str) -> None:
    # RFC 9110 section 14.6.
    client = await serve(whole(LARGE, lazy))
    async with client.get("/ipfs/x", headers={"Range": header}) as got:
        body = await got.read()
    assert got.status == 206
    assert got.headers["Content-Length"] == str(len(body))
    assert "Content-Range" not in got.headers
    message = email.message_from_bytes(
        b"MIME-Version: 1.0\r\nContent-Type: " + got.headers["Content-Type"].encode() + b"\r\n\r\n" + body
    )
    parts = [part for part in message.walk() if not part.is_multipart()]
    spans = parse_range(header, len(LARGE))
    assert spans is not None
    for part, span in zip(parts, spans, strict=True):
        assert part["Content-Range"] == f"bytes {span.start}-{span.stop - 1}/{len(LARGE)}"
        assert part["Content-Type"] == "text/x"
        start = body.index(f"Content-Range: {part['Content-Range']}\r\n\r\n".encode())
        assert body[start:].split(b"\r\n\r\n", 1)[1][: span.size] == LARGE[span.start : span.stop]


@pytest.mark.parametrize(
    ("method", "sent", "status"),
    [
        ("GET", {"If-None-Match": '"cid"'}, 304),
        ("HEAD", {"If-None-Match": 'W/"cid"'}, 304),
        ("GET", {"If-None-Match": '"cid"', "Range": "bytes=0-1"}, 304),
        ("GET", {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}, 304),
        ("GET", {"If-Match": '"other"'}, 412),
        ("HEAD", {"If-Match": '"other"'}, 412),
        ("GET", {"If-Match": '"cid"', "Range": "bytes=0-1"}, 206),
        ("GET", {"Range": "bytes=0-1", "If-Range": '"cid"'}, 206),
        ("GET", {"Range": "bytes=0-1", "If-Range": '"other"'}, 200),
        # A range that will not be obeyed is not judged either (section 13.1.5).
        ("GET", {"Range": "bytes=99999-", "If-Range": '"other"'}, 200),
        ("GET", {"Range": "items=0-1"}, 200),
        ("GET", {"Range": "bytes=" + "0-1," * 20}, 200),
        ("GET", {"Range": "bytes=2-1"}, 400),
        ("GET", {"Range": "bytes=99999-"}, 416),
        # RFC 9110 section 14.2: Range is defined for GET alone.
        ("HEAD", {"Range": "bytes=0-1"}, 200),
    ],
)
async def test_conditions_and_ranges(serve: Serve, method: str, sent: dict[str, str], status: int) -> None:
    client = await serve(whole(SMALL, False))
    async with client.request(method, "/ipfs/x", headers=sent) as got:
        assert got.status == status
        assert got.headers["Access-Control-Allow-Origin"] == "*"
        if status == 416:
            assert got.headers["Content-Range"] == "bytes */1024"
        if status == 400:
            assert (await got.text()).strip() == "invalid range request"


async def test_304_carries_what_caches_need(serve: Serve) -> None:
    kept = {"Cache-Control": "public, max-age=5", "Content-Location": "/ipfs/x?format=raw", "Vary": "Accept"}
    shown = whole(SMALL, False, headers={**kept, "Content-Disposition": "inline"})
    client = await serve(shown)
    async with client.get("/ipfs/x", headers={"If-None-Match": "*"}) as got:
        assert {name: got.headers[name] for name in kept} == kept
        assert got.headers["ETag"] == '"cid"'
        assert not {"Content-Type", "Content-Length", "Content-Disposition", "Last-Modified"} & set(
            got.headers
        )


async def test_several_fields_of_one_name_are_one_list(serve: Serve) -> None:
    client = await serve(whole(SMALL, False))
    sent = [("If-None-Match", '"other"'), ("If-None-Match", '"cid"')]
    async with client.get("/ipfs/x", headers=sent) as got:
        assert got.status == 304


async def test_no_ranges_where_the_size_is_unknown(serve: Serve) -> None:
    client = await serve(Representation("application/x-tar", 'W/"t"', read=Source(LARGE).read))
    async with client.get("/ipfs/x", headers={"Range": "bytes=0-1"}) as got:
        assert (got.status, got.headers["Accept-Ranges"]) == (200, "none")
        assert await got.read() == LARGE
        assert got.headers["Transfer-Encoding"] == "chunked"


async def test_conditions_do_not_touch_a_page_that_is_no_success(serve: Serve) -> None:
    # RFC 9110 section 13.2.1.
    client = await serve(Representation("text/html", '"page"', body=b"gone", status=404))
    async with client.get("/ipfs/x", headers={"If-None-Match": '"page"', "Range": "bytes=0-1"}) as got:
        assert (got.status, await got.read()) == (404, b"gone")


@pytest.mark.parametrize(
    ("size", "fault", "hang"),
    [
        pytest.param(len(LARGE), StoreUnavailable("away"), False, id="length-store"),
        pytest.param(len(LARGE), RuntimeError("bug"), False, id="length-bug"),
        pytest.param(len(LARGE), None, False, id="length-short"),
        pytest.param(len(LARGE), None, True, id="length-stall"),
        pytest.param(None, StoreUnavailable("away"), False, id="chunked-store"),
        pytest.param(None, RuntimeError("bug"), False, id="chunked-bug"),
        pytest.param(None, None, True, id="chunked-stall"),
    ],
)
async def test_a_failure_after_the_headers_breaks_the_body(
    serve: Serve, size: int | None, fault: Exception | None, hang: bool
) -> None:
    source = Source(LARGE, stop_at=1_000_000, fault=fault, hang=hang)
    client = await serve(
        Representation("x/y", None, size, read=source.read), SendLimits(retrieval_timeout=1.0)
    )
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError)):
        async with client.get("/ipfs/x") as got:
            assert got.status == 200
            await got.read()
    assert source.closed.is_set()


async def test_http_1_0_sees_a_reset_and_not_an_end(serve: Serve) -> None:
    # RFC 9112 section 8: without length and chunks only a reset tells a cut from an end.
    source = Source(LARGE, stop_at=1_000_000, fault=StoreUnavailable("away"))
    client = await serve(Representation("x/y", read=source.read))
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"GET /ipfs/x HTTP/1.0\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("fault", "status", "retry"),
    [
        (BlockNotFound("no such block"), 404, None),
        (StoreUnavailable("away", 7), 503, "7"),
        (RuntimeError("x"), 500, None),
    ],
)
@pytest.mark.parametrize("sent", [{}, {"Range": "bytes=0-1"}, {"Range": "bytes=0-9,500000-1500000"}])
async def test_a_failure_of_the_first_read_has_a_status(
    serve: Serve, fault: Exception, status: int, retry: str | None, sent: dict[str, str]
) -> None:
    source = Source(LARGE, stop_at=0, fault=fault)
    client = await serve(
        Representation("x/y", '"e"', len(LARGE), {"Cache-Control": "public"}, read=source.read)
    )
    async with client.get("/ipfs/x", headers=sent) as got:
        assert (got.status, got.headers.get("Retry-After")) == (status, retry)
        assert got.headers["Cache-Control"] == "no-store"
        assert "ETag" not in got.headers
        assert "x" not in (await got.text()) if status == 500 else True


async def test_a_stall_before_the_headers_is_504(serve: Serve) -> None:
    source = Source(LARGE, stop_at=0, hang=True)
    client = await serve(Representation("x/y", None, len(LARGE), read=source.read), SendLimits(0.2))
    async with client.get("/ipfs/x") as got:
        assert got.status == 504
        assert got.headers["Retry-After"] == "10"
    assert source.closed.is_set()


async def test_a_client_that_leaves_closes_the_reader(serve: Serve) -> None:
    source = Source(LARGE * 20)
    client = await serve(Representation("x/y", None, len(source.body), read=source.read))
    async with client.get("/ipfs/x") as got:
        await got.content.read(10)
        got.close()
    await asyncio.wait_for(source.closed.wait(), 3)


async def test_a_client_that_leaves_is_noticed_while_waiting_for_the_store(serve: Serve) -> None:
    source = Source(LARGE, stop_at=300_000, hang=True)
    client = await serve(Representation("x/y", None, len(LARGE), read=source.read))
    async with client.get("/ipfs/x") as got:
        await got.content.read(10)
        got.close()
    await asyncio.wait_for(source.closed.wait(), 3)


async def test_a_client_that_does_not_read_is_cut_off(serve: Serve) -> None:
    source = Source(LARGE * 100)
    client = await serve(Representation("x/y", None, len(source.body), read=source.read), SendLimits(0.4))
    _, writer = await asyncio.open_connection(client.host, client.port, limit=1024)
    writer.write(b"GET /ipfs/x HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.wait_for(source.closed.wait(), 5)
    writer.close()


async def test_a_slow_client_that_does_read_gets_it_all(serve: Serve) -> None:
    source = Source(LARGE)
    client = await serve(Representation("x/y", None, len(LARGE), read=source.read), SendLimits(0.4))
    async with client.get("/ipfs/x") as got:
        size = 0
        while piece := await got.content.read(200_000):
            size += len(piece)
            await asyncio.sleep(0.1)
    assert size == len(LARGE)


async def test_the_connection_lives_on_after_every_kind_of_answer(serve: Serve) -> None:
    client = await serve(whole(LARGE, True))
    reader, writer = await asyncio.open_connection(client.host, client.port)
    for extra, method in [
        ("", b"HEAD"),
        ("Range: bytes=0-9\r\n", b"GET"),
        ('If-None-Match: "cid"\r\n', b"GET"),
        ("", b"GET"),
    ]:
        writer.write(method + b" /ipfs/x HTTP/1.1\r\nHost: x\r\n" + extra.encode() + b"\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line[15:]) for line in head.splitlines() if line.startswith("Content-Length")), 0)
        assert "Connection: close" not in head
        await reader.readexactly(length if method == b"GET" else 0)
    writer.close()


async def test_bytes_sent_are_known_to_the_access_log(
    aiohttp_server: Callable[..., Awaitable[TestServer]],
) -> None:
    seen: list[int] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = await send(request, whole(LARGE, True))
        seen.append(response[BODY_BYTES])
        return response

    app = web.Application()
    app.router.add_get("/", handler)
    server = await aiohttp_server(app)
    async with aiohttp.ClientSession() as session, session.get(server.make_url("/")) as got:
        await got.read()
    assert seen == [len(LARGE)]
