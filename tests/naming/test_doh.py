"""TXT records over HTTPS (RFC 8484), from a real HTTP server, and from one that misbehaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import dns.message
import dns.rcode
import pytest
from aiohttp import web

from ipld.errors import NameTimeout, NameUnavailable
from naming.dns import TxtAnswer
from naming.dns_by_domain import open_dns
from naming.dns_servers import DNS_MESSAGE, MAX_ANSWER_BYTES
from tests.naming.dns_server import Zone

NAME = "_dnslink.example.eth"
LINK = "dnslink=/ipfs/bafkqaaa"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def zone() -> Zone:
    zone = Zone()
    zone.put(NAME, LINK)
    return zone


@asynccontextmanager
async def https(handler: Handler) -> AsyncIterator[str]:
    """The URL of a service; in the clear, which is taken on loopback."""
    app = web.Application()
    app.router.add_route("*", "/dns-query", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/dns-query"
    finally:
        await runner.cleanup()


def answering(zone: Zone, headers: dict[str, str] | None = None) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        assert (request.method, request.content_type) == ("POST", DNS_MESSAGE)
        assert request.headers["Accept"] == DNS_MESSAGE
        wire = zone.respond(dns.message.from_wire(await request.read()), "https")
        return web.Response(body=wire, content_type=DNS_MESSAGE, headers=headers)

    return answer


async def test_a_record_and_its_ttl(zone: Zone) -> None:
    async with https(answering(zone)) as url, open_dns({"eth": url}, timeout=5) as names:
        assert await names.lookup(NAME) == TxtAnswer((LINK.encode(),), 300)
        assert (await names.lookup("_dnslink.none.eth")).texts == ()
    assert zone.asked == [("https", NAME), ("https", "_dnslink.none.eth")]


async def test_the_time_in_an_http_cache_is_taken_off(zone: Zone) -> None:
    for age, ttl in (("120", 180), ("1000", 0), ("soon", 300), ("-5", 300), ("٣", 300)):
        handler = answering(zone, {"Age": age})
        async with https(handler) as url, open_dns({"": url}, timeout=5) as names:
            assert (await names.lookup(NAME)).ttl == ttl


async def test_servfail_is_a_failure(zone: Zone) -> None:
    zone.rcodes[NAME] = dns.rcode.SERVFAIL
    async with https(answering(zone)) as url, open_dns({"": url}, timeout=5) as names:
        with pytest.raises(NameUnavailable):
            await names.lookup(NAME)


def _sends(body: bytes = b"", status: int = 200, kind: str = DNS_MESSAGE) -> Handler:
    async def send(request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, content_type=kind)

    return send


async def _other_question(request: web.Request) -> web.Response:
    asked = dns.message.from_wire(await request.read())
    other = dns.message.make_query("_dnslink.other.eth", "TXT", id=asked.id)
    return web.Response(body=dns.message.make_response(other).to_wire(), content_type=DNS_MESSAGE)


async def _wrong_id(request: web.Request) -> web.Response:
    response = dns.message.make_response(dns.message.from_wire(await request.read()))
    response.id ^= 1
    return web.Response(body=response.to_wire(), content_type=DNS_MESSAGE)


async def _cut_short(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": DNS_MESSAGE, "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"\0" * 10)
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.mark.parametrize(
    "handler",
    [
        _sends(),
        _sends(b"\0" * 12),
        _sends(b"<html>", kind="text/html"),
        _sends(status=500),
        _sends(status=404),
        _sends(b"x" * (MAX_ANSWER_BYTES + 1)),
        _cut_short,
        _other_question,
        _wrong_id,
    ],
)
async def test_what_is_no_answer_is_a_failure(handler: Handler) -> None:
    async with https(handler) as url, open_dns({"": url}, timeout=1) as names:
        with pytest.raises(NameUnavailable):
            await names.lookup(NAME)


async def test_no_redirect_takes_the_question_elsewhere(zone: Zone) -> None:
    async with https(answering(zone)) as elsewhere:

        async def redirect(request: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(elsewhere)

        async with https(redirect) as url, open_dns({"": url}, timeout=1) as names:
            with pytest.raises(NameUnavailable):
                await names.lookup(NAME)
    assert zone.asked == []


async def test_an_endless_body_is_not_read_to_its_end() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": DNS_MESSAGE})
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(b"x" * 4096)
            sent += 4096
        return response

    async with https(endless) as url, open_dns({"": url}, timeout=2) as names:
        with pytest.raises(NameUnavailable):
            await names.lookup(NAME)
        assert sent < 10_000 * 4096


async def test_silence_ends_in_time() -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with https(silent) as url, open_dns({"": url}, timeout=2) as names:
        began = time.monotonic()
        with pytest.raises(NameTimeout):
            await names.lookup(NAME)
        assert time.monotonic() - began < 3.9, "not as long as two of them"


async def test_offline_is_a_failure_in_time() -> None:
    async with https(_sends()) as url:
        pass
    async with open_dns({"": url}, timeout=20) as names:
        began = time.monotonic()
        with pytest.raises(NameUnavailable):
            await names.lookup(NAME)
        assert time.monotonic() - began < 10


async def test_one_connection_for_lookups_one_after_another(zone: Zone) -> None:
    peers = set()
    answer = answering(zone)

    async def noting(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return await answer(request)

    async with https(noting) as url, open_dns({"eth": url, "": url}, timeout=5) as names:
        for _ in range(5):
            await names.lookup(NAME)
            await names.lookup("_dnslink.other.test")
    assert len(peers) == 1
