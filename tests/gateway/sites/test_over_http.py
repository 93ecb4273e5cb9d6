"""What a browser gets from a website, over a real socket: conditions, HEAD, ranges, failures."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient
from yarl import URL

from gateway.errors import errors_middleware, reason_of
from gateway.representation import send
from gateway.response_headers import complete_headers
from gateway.sites.errors import BrokenSiteFile
from tests.gateway.sites.sites import Site
from tests.gateway.sites.test_redirects_file import EXAMPLES

Client = TestClient[web.Request, web.Application]
Serve = Callable[[Site], Awaitable[Client]]

HEADERS = "/*\n Content-Security-Policy: default-src 'self'\n X-Robots-Tag: noindex\n"
FILES = {"index.html": "my index", "404.html": "my 404", "_redirects": EXAMPLES, "_headers": HEADERS}


@pytest_asyncio.fixture
async def serve(aiohttp_client: Callable[[web.Application], Awaitable[Client]]) -> AsyncIterator[Serve]:
    async def start(site: Site) -> Client:
        async def handler(request: web.Request) -> web.StreamResponse:
            return await send(request, await site.ask(request.raw_path))

        app = web.Application(middlewares=[errors_middleware])
        app.on_response_prepare.append(complete_headers)
        app.router.add_route("*", "/{tail:(?s:.*)}", handler)
        return await aiohttp_client(app)

    yield start


async def test_a_rewrite_is_a_page_like_any_other(serve: Serve) -> None:
    client = await serve(Site.of(FILES))
    async with client.get("/route") as got:
        assert (got.status, await got.text()) == (200, "my index")
        assert got.headers["Content-Security-Policy"] == "default-src 'self'"
        etag, headers = got.headers["ETag"], got.headers.copy()
    async with client.head("/route") as got:
        assert set(got.headers) == set(headers)
        assert all(got.headers[name] == headers[name] for name in set(headers) - {"X-Request-ID", "Date"})
    async with client.get("/other/route", headers={"If-None-Match": etag}) as got:
        assert (got.status, got.headers["ETag"]) == (304, etag)
    async with client.get("/route", headers={"Range": "bytes=3-"}) as got:
        assert (got.status, await got.text()) == (206, "index")


async def test_an_error_page_has_no_conditions_and_no_parts(serve: Serve) -> None:
    client = await serve(Site.of(FILES))
    async with client.get("/not-found/x") as got:
        etag = got.headers["ETag"]
    for headers in (
        {"If-None-Match": etag},
        {"If-None-Match": "*"},
        {"Range": "bytes=3-"},
        {"If-Match": '"x"'},
    ):
        async with client.get("/not-found/x", headers=headers) as got:
            assert (got.status, await got.text(), got.headers["Accept-Ranges"]) == (404, "my 404", "none")
    async with client.head("/not-found/x") as got:
        assert (got.status, got.headers["Content-Length"], await got.read()) == (404, "6", b"")


async def test_a_location_is_sent_as_it_is(serve: Serve) -> None:
    client = await serve(Site.of(FILES))
    target = URL("/splat/%C4%85%2Fb%3F%0D%0A%22?q=%26&r=%3C", encoded=True)
    async with client.get(target, allow_redirects=False) as got:
        assert got.status == 301
        assert got.headers["Location"] == "/redirected-splat/%C4%85%2Fb%3F%0D%0A%22?q=%26&r=%3C"
        assert 'href="/redirected-splat/%C4%85%2Fb%3F%0D%0A%22?q=%26&amp;r=%3C"' in await got.text()


async def test_a_broken_file_is_shown_and_not_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    client = await serve(Site.of({"index.html": "x", "_redirects": "/a /b 301!\n"}))
    why = "could not parse _redirects: line 1: forced redirects (301!) are not supported"
    with caplog.at_level(logging.INFO):
        async with client.get("/x") as got:
            assert (got.status, await got.text()) == (500, why + "\n")
            assert got.headers["Cache-Control"] == "no-store"
        async with client.get("/x", headers={"Accept": "text/html"}) as got:
            assert (got.status, "could not parse _redirects:" in await got.text()) == (500, True)
    # Anybody can publish a broken site; the log is for what the operator can mend.
    assert not [record for record in caplog.records if record.name.startswith("cidgate")]
    assert reason_of(BrokenSiteFile(why)) == "BROKEN_SITE_FILE"
