"""Records and servers for tests of IPNS: real signatures, real sockets."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from ipld.ipns_name import IpnsName
from ipld.ipns_record import MEDIA_TYPE, IpnsRecord, make_record
from ipld.libp2p_keys import PrivateKey
from ipld.rfc3339 import SECOND
from naming.remote import Remote, RemoteTerms

HELLO = "/ipfs/bafkqaddwgevxmmraojswg33smq"
# Without waits worth the name.
QUICK = RemoteTerms(timeout=5.0, first_wait=0.001, longest_wait=0.002, rest=30.0)


@dataclass(frozen=True)
class Owner:
    """Who can sign for one name."""

    key: PrivateKey = field(default_factory=PrivateKey.generate)

    @property
    def name(self) -> IpnsName:
        return IpnsName.of_key(self.key.public)

    def record(
        self, sequence: int = 0, value: str = HELLO, *, seconds: float = 3600.0, ttl: float = 60.0
    ) -> IpnsRecord:
        eol = time.time_ns() + int(seconds * SECOND)
        return make_record(self.key, value.encode(), sequence=sequence, eol=eol, ttl=int(ttl * SECOND))


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """Answers every request with `answer`, and remembers them."""

    url: str = ""
    answer: Answer | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    credentials: list[str | None] = field(default_factory=list)
    via: list[str | None] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs))
        self.bodies.append(await request.read())
        self.credentials.append(request.headers.get("Authorization"))
        self.via.append(request.headers.get("Via"))
        assert self.answer is not None
        return await self.answer(request)

    def gives(self, body: bytes = b"", status: int = 200, content_type: str = MEDIA_TYPE) -> None:
        async def answer(_: web.Request) -> web.StreamResponse:
            return web.Response(status=status, body=body, content_type=content_type)

        self.answer = answer


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    made = Server()
    made.gives(status=404, content_type="text/plain")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    async with TestServer(app) as running:
        made.url = str(running.make_url("")).rstrip("/")
        yield made


@asynccontextmanager
async def remote(url: str, terms: RemoteTerms = QUICK) -> AsyncIterator[Remote]:
    async with aiohttp.ClientSession() as session:
        yield Remote(session, url, terms)
