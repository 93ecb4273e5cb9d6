"""A proxy in front of a real S3 server that adds and withholds what Filebase does, and fails on command.

It stands between the program and the server as a process of the network would: nothing of our own code
is replaced. What it imitates is what public documents and field reports say of Filebase.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

from ipld.car_reader import CarReader
from ipld.cid import Cid
from ipld.unixfs.profiles import UNIXFS_V0_2015
from ipld.unixfs.writer import FileBuilder

Act = Callable[["FilebaseDouble", web.Request], Awaitable[web.StreamResponse | None]]


@dataclass
class Fault:
    """Happens to the next `times` requests of that method whose path and query contain `where`."""

    act: Act
    method: str = ""
    where: str = ""
    times: int = 1
    seen: int = 0

    def fits(self, request: web.Request) -> bool:
        return (
            self.seen < self.times and self.method in ("", request.method) and self.where in request.raw_path
        )


@dataclass
class FilebaseDouble:
    """`requests` are those that came in. `cid_delay` is how long after it is stored an object has its CID."""

    upstream: str
    url: str = ""
    gives_cids: bool = True
    cid_on_put: bool = True
    cid_delay: float = 0.0
    wrong_cid: str | None = None
    imports_cars: bool = True
    returns_cars: bool = True
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    cids: dict[str, tuple[str, float]] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    session: aiohttp.ClientSession | None = None

    def fail(self, act: Act, method: str = "", where: str = "", times: int = 1) -> Fault:
        fault = Fault(act, method, where, times)
        self.faults.append(fault)
        return fault

    def count(self, method: str, where: str = "") -> int:
        return sum(1 for verb, path, _ in self.requests if verb == method and where in path)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.raw_path, dict(request.headers)))
        for fault in self.faults:
            if fault.fits(request):
                fault.seen += 1
                response = await fault.act(self, request)
                if response is not None:
                    return response
        if request.method == "PUT" and "Content-Length" not in request.headers:
            return error(411, "MissingContentLength")
        if "aws-chunked" in request.headers.get("Content-Encoding", ""):
            return error(400, "InvalidArgument")
        return await self.forward(request)

    async def forward(
        self, request: web.Request, change: Callable[[bytes], bytes] = lambda body: body
    ) -> web.StreamResponse:
        """What the server answers, with what Filebase adds."""
        body = await request.read()
        key = request.path
        status, headers, answered = await self.ask(request, body)
        if status == 200 and request.method in ("PUT", "POST"):
            self.note(request, body, headers)
        if status in (200, 206) and request.method in ("GET", "HEAD"):
            answered = self.show(request, key, headers, answered)
        response = web.StreamResponse(status=status, headers=headers)
        length = headers.get("Content-Length")
        if request.method != "HEAD":
            answered = change(answered)
        elif length is not None:
            response.content_length = int(length)
        await response.prepare(request)
        if request.method != "HEAD":
            await response.write(answered)
        return response

    async def ask(self, request: web.Request, body: bytes) -> tuple[int, dict[str, str], bytes]:
        assert self.session is not None
        named = {k: v for k, v in request.headers.items() if k.lower() not in ("connection", "expect")}
        async with self.session.request(
            request.method,
            URL(self.upstream + request.raw_path, encoded=True),
            headers=named,
            data=io.BytesIO(body) if body else None,
            allow_redirects=False,
        ) as response:
            hop = ("transfer-encoding", "connection", "date", "server")
            kept = {k: v for k, v in response.headers.items() if k.lower() not in hop}
            return response.status, kept, await response.read()

    def note(self, request: web.Request, body: bytes, headers: dict[str, str]) -> None:
        """Remember what was stored, and under which CID it is published."""
        key, query = request.path, request.query
        is_car = request.headers.get("x-amz-meta-import") == "car" and self.imports_cars
        if request.method == "POST" and "uploads" in query:
            self.imported.discard(key)
            if is_car:
                self.imported.add(key)
            return
        if "uploadId" in query and request.method == "PUT":
            self.uploads.setdefault(query["uploadId"], {})[int(query["partNumber"])] = body
            return
        if "uploadId" in query:
            parts = self.uploads[query["uploadId"]]
            body = b"".join(parts[number] for number in sorted(parts))
        elif is_car:
            self.imported.add(key)
        else:
            self.imported.discard(key)
        cid = self.wrong_cid or str(root_of(body) if key in self.imported else published(body))
        self.cids[key] = (cid, time.monotonic() + self.cid_delay)
        if self.gives_cids and self.cid_on_put and "uploadId" not in query and not self.cid_delay:
            headers["x-amz-meta-cid"] = cid

    def show(self, request: web.Request, key: str, headers: dict[str, str], body: bytes) -> bytes:
        cid, since = self.cids.get(key, ("", 0.0))
        if self.gives_cids and cid and time.monotonic() >= since:
            headers["x-amz-meta-cid"] = cid
        if key in self.imported and not self.returns_cars and "Range" not in request.headers:
            headers["Content-Length"] = "5"
            return b"other"
        if key in self.imported and not self.returns_cars:
            return b"x" * len(body)
        return body


def published(body: bytes) -> Cid:
    """The CID that Filebase is known to give to a file."""
    builder = FileBuilder(UNIXFS_V0_2015)
    builder.add(body)
    return builder.finish().root


def root_of(body: bytes) -> Cid:
    reader = CarReader()
    for _ in reader.feed(body):
        pass
    assert reader.roots
    return reader.roots[0]


def error(status: int, code: str, **headers: str) -> web.Response:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>on command</Message></Error>"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(status=status, text=text, content_type="application/xml", headers=named)


def refuse(status: int, code: str, **headers: str) -> Act:
    """An error of S3's own kind."""

    async def act(double: FilebaseDouble, request: web.Request) -> web.StreamResponse:
        await request.read()
        return error(status, code, **headers)

    return act


def page(status: int) -> Act:
    """A page of HTML, as a proxy sends it."""

    async def act(double: FilebaseDouble, request: web.Request) -> web.StreamResponse:
        await request.read()
        text = "<html><body><h1>Something went wrong</h1></body></html>"
        return web.Response(status=status, text=text, content_type="text/html")

    return act


def hang(seconds: float) -> Act:
    """Nothing for a while, then what would have been answered."""

    async def act(double: FilebaseDouble, request: web.Request) -> None:
        await asyncio.sleep(seconds)

    return act


async def reset(double: FilebaseDouble, request: web.Request) -> web.StreamResponse:
    """The connection is gone before an answer; what was sent has not arrived."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def lose_answer(double: FilebaseDouble, request: web.Request) -> web.StreamResponse:
    """The request is carried out, and the connection gone before its answer."""
    body = await request.read()
    _, headers, _ = await double.ask(request, body)
    double.note(request, body, headers)
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def cut_body(after: int) -> Act:
    """An answer whose connection breaks after that many bytes of its body."""

    async def act(double: FilebaseDouble, request: web.Request) -> web.StreamResponse:
        status, headers, body = await double.ask(request, await request.read())
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        await response.write(body[:after])
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return response

    return act


def drip(after: int, seconds: float) -> Act:
    """An answer that stops for a while after that many bytes of its body."""

    async def act(double: FilebaseDouble, request: web.Request) -> web.StreamResponse:
        status, headers, body = await double.ask(request, await request.read())
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        await response.write(body[:after])
        await asyncio.sleep(seconds)
        await response.write(body[after:])
        return response

    return act


@asynccontextmanager
async def filebase_at(upstream: str, **options: object) -> AsyncIterator[FilebaseDouble]:
    """A double on a free port, in front of that server."""
    double = FilebaseDouble(upstream, **options)  # type: ignore[arg-type]

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return await double.answer(request)  # type: ignore[arg-type]

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    double.url = f"http://127.0.0.1:{port}"
    async with aiohttp.ClientSession(auto_decompress=False) as double.session:
        try:
            yield double
        finally:
            await runner.cleanup()
