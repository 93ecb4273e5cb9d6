"""The table of failures, and the three shapes an answer takes."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientError, web
from aiohttp.test_utils import TestClient

from auth.errors import Forbidden, KeysUnavailable, Unauthenticated
from gateway import refusals
from gateway.errors import errors_middleware, reason_of, status_of
from gateway.ranges import MalformedRange, UnsatisfiableRange
from gateway.request import CONTENT_PATH
from gateway.response_headers import complete_headers
from ipld import errors as ipld

Client = TestClient[web.Request, web.Application]
Fail = Callable[[Exception], Awaitable[Client]]

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def fail(aiohttp_client: Callable[[web.Application], Awaitable[Client]]) -> Fail:
    async def start(exc: Exception, *, after: bytes = b"") -> Client:
        async def handler(request: web.Request) -> web.StreamResponse:
            request[CONTENT_PATH] = request.path
            if after:
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(after)
            raise exc

        app = web.Application(middlewares=[errors_middleware])
        app.on_response_prepare.append(complete_headers)
        app.router.add_route("*", "/{tail:.*}", handler)
        return await aiohttp_client(app)

    return start


@pytest.mark.parametrize(
    ("exc", "status", "reason"),
    [
        (ipld.InvalidCid("x"), 400, "INVALID_CID"),
        (ipld.UnsupportedHash("x"), 400, "UNSUPPORTED_HASH"),
        (ipld.InvalidPath("x"), 400, "INVALID_PATH"),
        (MalformedRange(), 400, "MALFORMED_RANGE"),
        (Unauthenticated("NO_KEY", "x"), 401, "NO_KEY"),
        (Forbidden("READ_ONLY", "x"), 403, "READ_ONLY"),
        (ipld.BlockNotFound("x"), 404, "BLOCK_NOT_FOUND"),
        (ipld.NoLink("x"), 404, "NO_LINK"),
        (ipld.NotUnixFs("x"), 406, "NOT_UNIX_FS"),
        (refusals.Conflict("x"), 409, "CONFLICT"),
        (refusals.Gone("x"), 410, "GONE"),
        (refusals.LengthRequired("x"), 411, "LENGTH_REQUIRED"),
        (refusals.PreconditionFailed("x"), 412, "PRECONDITION_FAILED"),
        (refusals.PayloadTooLarge("x"), 413, "PAYLOAD_TOO_LARGE"),
        (UnsatisfiableRange(5), 416, "UNSATISFIABLE_RANGE"),
        (ipld.MalformedBlock("x"), 422, "MALFORMED_BLOCK"),
        (refusals.TooManyRequests(), 429, "TOO_MANY_REQUESTS"),
        (refusals.NotSupported("x"), 501, "NOT_SUPPORTED"),
        (ipld.BlockCorrupt("x"), 502, "BLOCK_CORRUPT"),
        (ipld.StoreUnavailable("x"), 503, "STORE_UNAVAILABLE"),
        (KeysUnavailable("x"), 503, "KEYS_UNAVAILABLE"),
        (TimeoutError(), 504, "RETRIEVAL_TIMEOUT"),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, "METHOD_NOT_ALLOWED"),
        (KeyError("secret"), 500, "INTERNAL_ERROR"),
    ],
)
def test_table(exc: Exception, status: int, reason: str) -> None:
    assert (status_of(exc), reason_of(exc)) == (status, reason)


async def test_text_for_readers(fail: Fail) -> None:
    client = await fail(ipld.InvalidPath('invalid path "/ipfs/QmInvalidCID":\r\n no'))
    async with client.get("/ipfs/QmInvalidCID") as got:
        assert got.status == 400
        assert await got.text() == 'invalid path "/ipfs/QmInvalidCID": no\n'
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Cache-Control"] == "no-store"
        assert got.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(("method", "path"), [("POST", "/ipfs/"), ("PUT", "/ipfs/x"), ("GET", "/api/keys")])
async def test_json_for_the_api_and_for_writes(fail: Fail, method: str, path: str) -> None:
    client = await fail(refusals.PayloadTooLarge("at most 5 bytes"))
    async with client.request(method, path, headers=BROWSER) as got:
        assert got.status == 413
        assert await got.json() == {"error": {"reason": "PAYLOAD_TOO_LARGE", "details": "at most 5 bytes"}}


async def test_a_page_for_browsers(fail: Fail) -> None:
    client = await fail(ipld.StoreUnavailable("<b>away</b>", 3))
    async with client.get("/ipfs/x?a=1&b", headers={**BROWSER, "X-Request-Id": "abc"}) as got:
        page = await got.text()
        assert (got.status, got.headers["Retry-After"], got.headers["X-Request-Id"]) == (503, "3", "abc")
        assert got.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in got.headers["Content-Security-Policy"]
        assert "&lt;b&gt;away" in page
        assert 'href="/ipfs/x?a=1&amp;b"' in page
        assert ">abc<" in page


async def test_a_key_is_asked_for(fail: Fail) -> None:
    client = await fail(Unauthenticated("NO_KEY", "send a key"))
    async with client.put("/ipfs/x") as got:
        assert (got.status, got.headers["WWW-Authenticate"]) == (401, 'Bearer realm="cidgate"')


@pytest.mark.parametrize(("path", "policy"), [("/ipfs/x/y", "public, max-age=60"), ("/ipns/x/y", "no-store")])
async def test_a_name_known_to_be_missing_is_cached_for_a_minute(fail: Fail, path: str, policy: str) -> None:
    client = await fail(ipld.NoLink("no link named y"))
    async with client.get(path) as got:
        assert (got.status, got.headers["Cache-Control"]) == (404, policy)


async def test_unknown_failures_tell_the_log_and_not_the_client(
    fail: Fail, caplog: pytest.LogCaptureFixture
) -> None:
    client = await fail(KeyError("secret detail"))
    with caplog.at_level(logging.ERROR):
        async with client.get("/ipfs/x", headers={"X-Request-Id": "id-42"}) as got:
            assert (got.status, await got.text()) == (500, "internal error\n")
    assert "id-42" in caplog.text
    assert "secret detail" in caplog.text


async def test_redirects_and_allow_pass_through(fail: Fail) -> None:
    client = await fail(web.HTTPMovedPermanently("/there"))
    async with client.get("/", allow_redirects=False) as got:
        assert (got.status, got.headers["Location"]) == (301, "/there")
    client = await fail(web.HTTPMethodNotAllowed("GET", ["PUT"]))
    async with client.get("/") as got:
        assert (got.status, got.headers["Allow"]) == (405, "PUT")


async def test_no_second_status_line_in_a_body(fail: Fail) -> None:
    client = await fail(ipld.StoreUnavailable("away"), after=b"begun")  # type: ignore[call-arg]
    with pytest.raises(ClientError):
        async with client.get("/ipfs/x") as got:
            await got.read()
