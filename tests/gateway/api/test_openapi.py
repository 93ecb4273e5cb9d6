"""The OpenAPI document says what the routes do, all of it and nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest

from auth.keys import KeyRequest, Scope
from gateway.api.document import DOCUMENT, operations, render
from gateway.api.routes import BASE, ROUTES
from gateway.app import create_app
from gateway.errors import STATUS, reason_of
from tests.gateway.api.test_uploads import moto as moto  # noqa: PLC0414 - a fixture
from tests.gateway.api.test_uploads import opened
from tests.gateway.api.words import FILES
from tests.gateway.gateways import Running, make_gateway

ROOT = Path(__file__).parents[3]
SECONDS = 270


def described() -> set[tuple[str, str]]:
    return {(operation.method, operation.path) for operation in operations()}


def test_every_route_is_described_and_the_other_way_round() -> None:
    app = create_app(make_gateway()[0])
    routed = {
        (route.method, route.resource.canonical.removeprefix(BASE))
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical.startswith(BASE)
    }
    # Whatever answers GET answers HEAD, and every path answers OPTIONS.
    assert {(method, path) for method, path in routed if method not in ("HEAD", "OPTIONS")} == described()
    assert {path for method, path in routed if method == "HEAD"} == {
        path for method, path in routed if method == "GET"
    }
    assert {path for method, path in routed if method == "OPTIONS"} == {path for _, path in routed}
    assert {(method, path) for method, path, _ in ROUTES} == described()


def test_what_needs_no_key_is_the_document_alone() -> None:
    assert {each.path for each in operations() if not each.needs_key} == {"/openapi.json", "/docs"}


def test_every_reason_it_names_is_one() -> None:
    known = {reason_of(kind.__new__(kind)) for kind in STATUS} | {"UNAUTHORIZED", "FORBIDDEN"}
    named = set(re.findall(r"`([A-Z_]{4,})`", json.dumps(DOCUMENT)))
    assert named - {"PUT", "POST", "DELETE"} <= known


def test_completing_says_what_the_bucket_may_say() -> None:
    [complete] = [each for each in operations() if each.path == "/uploads/complete"]
    said = {each.status: each.meaning for each in complete.answers}
    assert "`NOT_PUBLISHED`" in said["502"]
    assert "`STORE_FULL`" in said["507"]


async def test_served(gate: Running) -> None:
    answer = await gate.get(f"{BASE}/openapi.json")
    assert (answer.status, answer.json) == (200, DOCUMENT)
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    head = await gate.ask("HEAD", f"{BASE}/openapi.json")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(answer.body)))
    options = await gate.ask("OPTIONS", f"{BASE}/files")
    assert (options.status, options.headers["Allow"]) == (200, "GET, HEAD, OPTIONS")


async def test_the_page(gate: Running) -> None:
    answer = await gate.get(f"{BASE}/docs")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for operation in operations():
        assert f"{operation.method} {BASE}{operation.path}</code>" in answer.text
        assert operation.summary in answer.text
    for name in re.findall(r'href="#([^"]+)"', answer.text):
        assert f'id="{name}"' in answer.text
    # Whatever it needs stands in it.
    assert "<script" not in answer.text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)


def test_the_page_of_a_host_with_markup_in_it() -> None:
    assert "<b>" not in render("http://<b>")


async def test_it_is_answered_by_the_gateway_alone(gate: Running) -> None:
    """Not on the host of a content root, where the page would share its origin."""
    cid = await gate.put("a", b"a")
    answer = await gate.ask("GET", f"{BASE}/docs", {"Host": f"{cid}.ipfs.localhost"})
    assert "The API" not in answer.text


async def test_schemathesis_finds_nothing(moto: str, database: str, tmp_path: Path) -> None:
    """Requests that the document allows and forbids, made up from it, with every check that there is."""
    async with opened(moto, database, tmp_path, "5GiB") as direct:
        # Methods that are no method need this scope, before it is said that they are none.
        key = await direct.gateway.keys.create(KeyRequest("tester", frozenset({Scope.ADMIN})))
        files = []
        for number in range(9):
            path = f"/ipfs/?filename={number}" + ("&expires-in=1h" if number % 2 else "")
            added = await direct.api("POST", path, key=key.secret, raw=bytes([number]) * 10)
            files.append(str(added.json["id"]))
        direct.key = key.secret
        upload = await direct.presign()
        await direct.put(upload)
        await check(direct.url, key.secret, [*files, str(upload["id"])])


async def check(url: str, key: str, files: list[str]) -> None:
    more = {"SCHEMATHESIS_HOOKS": "tests.gateway.api.generators", FILES: ",".join(files)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", f"{url}{BASE}/openapi.json",
        "--header", f"Authorization: Bearer {key}", "--checks", "all", "--max-examples", "15",
        "--seed", "1", "--generation-database", "none", "--no-color", "--request-timeout", "30",
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": str(ROOT), **more},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        # To its end, and not only to that of its output: one that was still ending must not be killed.
        said, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    print(said.decode())
    if process.returncode:
        pytest.fail(said.decode())
