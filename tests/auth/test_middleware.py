"""Reads are open, writes need a key with the right scope, and no header breaks anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from auth.errors import Forbidden, KeysUnavailable, Unauthenticated
from auth.keys import ApiKey, KeyRequest, Scope, make_secret
from auth.memory import MemoryKeys
from auth.middleware import ANONYMOUS, authenticate, identify, identity_of, require


@dataclass
class Spy:
    """Keys that remember what they were asked."""

    keys: MemoryKeys = field(default_factory=MemoryKeys)
    asked: list[str] = field(default_factory=list)
    broken: bool = False

    async def authenticate(self, secret: str) -> ApiKey | None:
        self.asked.append(secret)
        if self.broken:
            raise KeysUnavailable("down")
        return await self.keys.authenticate(secret)

    async def make(self, *scopes: Scope) -> str:
        return (await self.keys.create(KeyRequest("a key", frozenset(scopes)))).secret


def request_of(method: str, *headers: tuple[str, str]) -> web.Request:
    return make_mocked_request(method, "/ipfs/", headers=CIMultiDict(headers))


def bearer(secret: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {secret}")


async def answer(spy: Spy, request: web.Request) -> ApiKey | None:
    """Whose request it is, as the handler behind the middleware sees it."""
    seen: list[ApiKey | None] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(identity_of(request).key)
        return web.Response()

    await authenticate(spy)(request, handler)
    return seen[0]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "headers", [(), (("Authorization", "Basic dTpw"),), (bearer("somebody-elses-token-0123"),)]
)
async def test_reads_are_open_and_ask_nobody(method: str, headers: tuple[tuple[str, str], ...]) -> None:
    spy = Spy()
    assert await answer(spy, request_of(method, *headers)) is None
    assert spy.asked == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_read_with_a_key(method: str) -> None:
    spy = Spy()
    secret = await spy.make(Scope.READ)
    found = await answer(spy, request_of(method, bearer(secret)))
    assert found is not None
    with pytest.raises(Unauthenticated) as caught:
        await answer(spy, request_of(method, bearer(make_secret())))
    assert caught.value.challenge == 'Bearer realm="cidgate", error="invalid_token"'


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "MKCOL"])
async def test_writes_without_a_key(method: str) -> None:
    for headers in ((), (("Authorization", "Basic dTpw"),), (("X-API-Key", ""),)):
        with pytest.raises(Unauthenticated) as caught:
            await answer(Spy(), request_of(method, *headers))
        assert caught.value.reason == "UNAUTHORIZED"
        assert caught.value.challenge.startswith('Bearer realm="cidgate"')


@pytest.mark.parametrize(
    ("method", "needed"),
    [("POST", "upload"), ("PUT", "upload"), ("PATCH", "upload"), ("DELETE", "delete"), ("MKCOL", "admin")],
)
@pytest.mark.parametrize("scope", list(Scope))
async def test_every_method_with_every_scope(method: str, needed: str, scope: Scope) -> None:
    spy = Spy()
    request = request_of(method, bearer(await spy.make(scope)))
    if scope in (Scope(needed), Scope.ADMIN):
        assert await answer(spy, request) is not None
        return
    with pytest.raises(Forbidden, match=f"`{needed}`") as caught:
        await answer(spy, request)
    assert caught.value.challenge.endswith(f'error="insufficient_scope", scope="{needed}"')


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {}", " Bearer {} "])
async def test_forms_of_the_header(form: str) -> None:
    spy = Spy()
    secret = await spy.make(Scope.UPLOAD)
    assert await answer(spy, request_of("POST", ("authorization", form.format(secret))))
    assert await answer(spy, request_of("POST", ("x-api-key", secret)))
    assert await answer(spy, request_of("POST", bearer(secret), ("X-API-Key", secret)))


async def test_two_different_keys_are_refused() -> None:
    spy = Spy()
    one, two = await spy.make(Scope.UPLOAD), await spy.make(Scope.UPLOAD)
    for headers in ((bearer(one), bearer(two)), (bearer(one), ("X-API-Key", two))):
        with pytest.raises(Unauthenticated, match="more than one"):
            await answer(spy, request_of("POST", *headers))


async def test_revoked_key() -> None:
    spy = Spy()
    secret = await spy.make(Scope.UPLOAD)
    await spy.keys.revoke("a key")
    with pytest.raises(Unauthenticated, match="revoked"):
        await answer(spy, request_of("POST", bearer(secret)))


async def test_without_the_store_nobody_is_let_in() -> None:
    spy = Spy()
    request = request_of("POST", bearer(await spy.make(Scope.ADMIN)))
    spy.broken = True
    with pytest.raises(KeysUnavailable):
        await answer(spy, request)
    assert await answer(spy, request_of("GET")) is None


async def test_identity_is_found_out_once() -> None:
    spy = Spy()
    request = request_of("POST", bearer(await spy.make(Scope.UPLOAD)))
    assert identity_of(request) is ANONYMOUS
    first = await identify(spy, request)
    assert await identify(spy, request) is first
    assert await answer(spy, request) is first.key
    assert len(spy.asked) == 1


@given(
    st.sampled_from(["GET", "POST", "DELETE"]),
    st.text(max_size=200),
    st.sampled_from(["", "Bearer ", "bearer\t"]),
)
def test_any_header_is_anonymous_or_refused(method: str, text: str, scheme: str) -> None:
    spy = Spy()
    for name in ("Authorization", "X-API-Key"):
        try:
            assert asyncio.run(answer(spy, request_of(method, (name, scheme + text)))) is None
            assert method == "GET"
        except Unauthenticated:
            assert method != "GET" or text.strip().startswith("cidgate_")


@pytest_asyncio.fixture
async def client() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    @web.middleware
    async def errors(request: web.Request, handler: object) -> web.StreamResponse:
        try:
            return await handler(request)  # type: ignore[operator, no-any-return]
        except Unauthenticated as error:
            return web.Response(status=401, headers={"WWW-Authenticate": error.challenge})

    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app = web.Application(middlewares=[errors, authenticate(MemoryKeys())])
    app.router.add_post("/ipfs/", read)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_refused_before_the_body_is_read(client: TestClient[web.Request, web.Application]) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"POST /ipfs/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nthe beginning")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    assert head.startswith(b"HTTP/1.1 401")
    assert b'WWW-Authenticate: Bearer realm="cidgate"' in head
    writer.close()
    await writer.wait_closed()


class TestReadsThatNeedAKey:
    async def test_without_one(self) -> None:
        with pytest.raises(Unauthenticated):
            await require(Spy(), request_of("GET"), Scope.READ)
        with pytest.raises(Unauthenticated):
            await require(Spy(), request_of("GET", bearer(make_secret())), Scope.READ)

    async def test_with_one_in_any_form(self) -> None:
        spy = Spy()
        secret = await spy.make(Scope.READ)
        for header in (bearer(secret), ("X-API-Key", secret)):
            request = request_of("GET", header)
            key = await require(spy, request, Scope.READ)
            assert identity_of(request).key == key

    async def test_one_that_an_operator_chose(self) -> None:
        """On other reads it counts as somebody else's token."""
        spy = Spy()
        secret = "chosen-by-an-operator"
        await spy.keys.create(KeyRequest("first", frozenset({Scope.READ}), secret=secret))
        assert await answer(spy, request_of("GET", bearer(secret))) is None
        assert (await require(spy, request_of("GET", bearer(secret)), Scope.READ)).name == "first"

    async def test_the_scope_counts(self) -> None:
        spy = Spy()
        request = request_of("GET", bearer(await spy.make(Scope.UPLOAD)))
        await identify(spy, request)
        with pytest.raises(Forbidden):
            await require(spy, request, Scope.READ)
        assert await require(spy, request, Scope.UPLOAD)
