"""A website with scripts, styles and routes of its own; each in an origin of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.hosts import LOCALHOST, Hosts
from ipld.names import ResolvedName
from ipld.paths import ContentPath
from tests.browser.chromium import Chromium, chromium_binary
from tests.gateway.gateways import Running, running

pytestmark = [
    pytest.mark.needs_browser,
    pytest.mark.skipif(chromium_binary() is None, reason="no Chromium on this machine"),
]

PAGE = b"""<!doctype html>
<html><head><meta charset="utf-8"><title>site</title>
<link rel="stylesheet" href="/style.css"></head>
<body><script type="module" src="/app.js"></script></body></html>
"""
STYLE = b"body { color: rgb(1, 2, 3); }"
SCRIPT = b"""
const seen = {
  color: getComputedStyle(document.body).color,
  path: location.pathname,
  before: localStorage.getItem("owner"),
};
localStorage.setItem("owner", OWNER);
document.body.textContent = JSON.stringify(seen);
"""
REDIRECTS = b"/* /index.html 200\n"


def files(owner: str) -> list[tuple[str, bytes]]:
    script = SCRIPT.replace(b"OWNER", f'"{owner}"'.encode())
    return [("index.html", PAGE), ("style.css", STYLE), ("app.js", script), ("_redirects", REDIRECTS)]


class Names:
    known: dict[str, str]

    def __init__(self) -> None:
        self.known = {}

    async def resolve(self, name: str) -> ResolvedName:
        # Browsers keep nothing: the next opening shows where the name leads then.
        return ResolvedName(ContentPath.parse(self.known[name]), 0)


class Sites:
    def __init__(self, gate: Running, browser: Chromium, names: Names) -> None:
        self.gate, self.browser, self.names = gate, browser, names

    async def add(self, owner: str) -> str:
        """The root of a new site."""
        answer = await self.gate.post_form(files(owner))
        assert answer.status == 201, answer
        return answer.cid

    async def open(self, host: str, path: str = "/") -> str:
        return await self.browser.open(f"http://{host}:{self.gate.port}{path}")


@pytest_asyncio.fixture
async def sites(tmp_path: Path) -> AsyncIterator[Sites]:
    names = Names()
    async with running(hosts=Hosts(LOCALHOST, sites=["*.site.example"]), names=names) as gate:
        yield Sites(gate, Chromium(tmp_path / "profile"), names)


def shown(path: str, before: str = "null") -> str:
    return f'{{"color":"rgb(1, 2, 3)","path":"{path}","before":{before}}}'


async def test_a_site_on_its_subdomain_with_routes_of_its_own(sites: Sites) -> None:
    cid = await sites.add("first")
    assert shown("/") in await sites.open(f"{cid}.ipfs.localhost")
    # A route that is no file: the page that answers all paths.
    assert shown("/some/route", '"first"') in await sites.open(f"{cid}.ipfs.localhost", "/some/route")


async def test_the_path_leads_to_the_subdomain(sites: Sites) -> None:
    cid = await sites.add("first")
    assert shown("/") in await sites.open("localhost", f"/ipfs/{cid}/")


async def test_sites_cannot_read_what_others_stored(sites: Sites) -> None:
    first, second = await sites.add("first"), await sites.add("second")
    assert shown("/") in await sites.open(f"{first}.ipfs.localhost")
    assert shown("/") in await sites.open(f"{second}.ipfs.localhost")
    assert shown("/", '"first"') in await sites.open(f"{first}.ipfs.localhost")


async def test_a_site_under_its_own_name(sites: Sites) -> None:
    sites.names.known["www.site.example"] = f"/ipfs/{await sites.add('first')}"
    assert shown("/") in await sites.open("www.site.example")
    assert shown("/a/route", '"first"') in await sites.open("www.site.example", "/a/route")
    # The name moves on, and keeps its origin.
    sites.names.known["www.site.example"] = f"/ipfs/{await sites.add('second')}"
    assert shown("/", '"first"') in await sites.open("www.site.example")
    assert shown("/", '"second"') in await sites.open("www.site.example")
