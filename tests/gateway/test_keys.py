"""Who may write: every route asks for a key, and a key counts only while it is good."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from auth.keys import KeyRequest, Scope
from gateway.app import create_app
from tests.gateway.gateways import MIB, Running

HELLO = b"hello\n"
READS = {"GET", "HEAD", "OPTIONS"}


async def test_every_route_that_writes_asks_for_a_key(gate: Running) -> None:
    routes = list(create_app(gate.gateway).router.routes())
    writing = [route for route in routes if route.method not in READS]
    assert {route.method for route in writing} >= {"POST", "PUT", "DELETE"}
    for route in writing:
        assert route.resource is not None
        target = route.resource.canonical.replace("{path}", "bafkqaaa")
        method = "PURGE" if route.method == "*" else route.method
        answer = await gate.ask(method, target, {"Accept": "text/html"})
        assert (answer.status, answer.reason) == (401, "UNAUTHORIZED"), (route.method, target)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="cidgate"'
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
@pytest.mark.parametrize("target", ["/", "/ipfs/", "/ipfs/x", "/nowhere", "/healthz", "/metrics", "/ipns/x"])
async def test_every_other_method_asks_too(gate: Running, method: str, target: str) -> None:
    assert (await gate.ask(method, target)).status == 401


async def key_of(gate: Running, *scopes: Scope, **more: object) -> str:
    request = KeyRequest(f"key {len(await gate.keys.list())}", frozenset(scopes), **more)  # type: ignore[arg-type]
    return (await gate.keys.create(request)).secret


async def test_keys_that_do_not_count(gate: Running) -> None:
    revoked = (await gate.keys.create(KeyRequest("gone", frozenset({Scope.UPLOAD})))).secret
    await gate.keys.revoke("gone")
    expired = await key_of(gate, Scope.UPLOAD, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    for headers in (
        {"Authorization": f"Bearer {revoked}"},
        {"X-API-Key": expired},
        {"Authorization": "Bearer cidgate_unknown"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": f"Bearer {gate.key}", "X-API-Key": expired},
    ):
        answer = await gate.ask("PUT", "/ipfs/x", headers, HELLO)
        assert (answer.status, answer.reason) == (401, "UNAUTHORIZED"), headers
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="cidgate"')
    assert await gate.nothing_stored()


async def test_both_headers_are_taken(gate: Running) -> None:
    assert (await gate.ask("PUT", "/ipfs/x", {"X-API-Key": gate.key}, HELLO)).status == 201
    assert (await gate.ask("PUT", "/ipfs/x", {"Authorization": f"bearer  {gate.key}"}, HELLO)).status == 201


async def test_a_scope_that_is_missing(gate: Running) -> None:
    reader, uploader = await key_of(gate, Scope.READ), await key_of(gate, Scope.UPLOAD)
    admin = await key_of(gate, Scope.ADMIN)
    for method, key, scope in [
        ("PUT", reader, "upload"),
        ("DELETE", uploader, "delete"),
        ("DELETE", reader, "delete"),
    ]:
        answer = await gate.ask(method, "/ipfs/x", {"X-API-Key": key}, HELLO)
        assert (answer.status, answer.reason) == (403, "FORBIDDEN")
        assert f'scope="{scope}"' in answer.headers["WWW-Authenticate"]
    assert (await gate.ask("PUT", "/ipfs/x", {"X-API-Key": admin}, HELLO)).status == 201


async def test_what_one_key_keeps_another_cannot_let_go(gate: Running) -> None:
    other = await key_of(gate, Scope.UPLOAD, Scope.DELETE)
    cid = await gate.put("x", HELLO)
    answer = await gate.ask("DELETE", f"/ipfs/{cid}", {"X-API-Key": other})
    assert (answer.status, answer.reason) == (404, "NOT_KEPT")
    assert (await gate.get(f"/ipfs/{cid}")).body == HELLO
    assert (await gate.ask("PUT", f"/ipfs/{cid}", {"X-API-Key": other}, HELLO)).status == 201
    assert (await gate.write("DELETE", f"/ipfs/{cid}")).status == 204
    assert (await gate.get(f"/ipfs/{cid}")).body == HELLO
    assert (await gate.ask("DELETE", f"/ipfs/{cid}", {"X-API-Key": other})).status == 204
    assert (await gate.get(f"/ipfs/{cid}")).status == 404


@pytest.mark.parametrize("form", [False, True])
async def test_a_key_that_is_revoked_during_the_upload(gate: Running, form: bool) -> None:
    async def body() -> object:
        if form:
            yield b'--B\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
        yield bytes(MIB)
        await asyncio.sleep(0.05)
        await gate.keys.revoke("uploader")
        yield b"\r\n--B--\r\n" if form else b"end"

    kind = "multipart/form-data; boundary=B" if form else "text/plain"
    answer = await gate.write("POST", "/ipfs/", body(), Content_Type=kind)
    assert (answer.status, answer.reason) == (401, "UNAUTHORIZED")
    assert "WWW-Authenticate" in answer.headers
    assert await gate.nothing_stored()


async def test_reading_needs_no_key_but_a_bad_one_is_told(gate: Running) -> None:
    cid = await gate.put("x", HELLO)
    for headers, status in [
        ({}, 200),
        (gate.auth, 200),
        ({"Authorization": "Basic eDp5"}, 200),
        ({"Authorization": "Bearer cidgate_wrong"}, 401),
    ]:
        for _ in range(2):
            answer = await gate.ask("GET", f"/ipfs/{cid}", headers)
            assert answer.status == status, headers


@pytest.mark.parametrize(
    ("method", "target", "status", "allow"),
    [
        ("PATCH", "/ipfs/bafkqaaa", 405, "DELETE,GET,HEAD,OPTIONS,PUT"),
        ("PUT", "/healthz", 405, "GET,HEAD"),
        ("PUT", "/nowhere", 404, None),
    ],
)
async def test_what_no_route_takes(
    gate: Running, method: str, target: str, status: int, allow: str | None
) -> None:
    admin = await key_of(gate, Scope.ADMIN)
    answer = await gate.ask(method, target, {"X-API-Key": admin, "Expect": "100-continue"}, HELLO)
    assert (answer.status, answer.headers.get("Allow")) == (status, allow)
