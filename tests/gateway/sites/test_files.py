"""Site files are read once for each root, and that there are none is remembered as well."""

from __future__ import annotations

import string
from contextlib import suppress
from itertools import product

import pytest

from gateway.sites.errors import BrokenSiteFile
from gateway.sites.files import MAX_BYTES, SiteFiles
from gateway.sites.redirects_file import MAX_FILE_BYTES
from ipld.errors import NoLink
from tests.gateway.sites.sites import Site


async def asked_for(site: Site, path: str) -> int:
    """How many blocks it took to answer."""
    before = site.blocks.asked
    with suppress(NoLink, BrokenSiteFile):
        await site.ask(path)
    return site.blocks.asked - before


async def test_a_site_without_files_is_looked_at_once() -> None:
    site = Site.of({"one.html": "1"})
    assert [await asked_for(site, "/one.html") for _ in range(3)] == [4, 3, 3]
    assert [await asked_for(site, "/missing") for _ in range(3)] == [2, 1, 1]


async def test_files_are_read_once() -> None:
    site = Site.of({"one.html": "1", "_redirects": "/a /one.html", "_headers": "/*\n A: 1"})
    assert [await asked_for(site, "/one.html") for _ in range(3)] == [5, 3, 3]
    assert [await asked_for(site, "/a") for _ in range(3)] == [3, 1, 1]


async def test_a_broken_file_is_parsed_once() -> None:
    site = Site.of({"_redirects": "hello", "_headers": "/*\n A: 1"})
    assert [await asked_for(site, "/a") for _ in range(3)] == [3, 1, 1]


async def test_clear_forgets_everything() -> None:
    site = Site.of({"one.html": "1", "_redirects": "/a /one.html", "_headers": "/*\n A: 1"})
    first = [await asked_for(site, path) for path in ("/one.html", "/a")]
    site.files.clear()
    assert [await asked_for(site, path) for path in ("/one.html", "/a")] == first


async def test_what_was_read_before_is_not_kept_after() -> None:
    site = Site.of({"_redirects": "/a /b"})
    files = SiteFiles()

    class Deleting:
        get_before = site.blocks.get
        stream, spans = site.blocks.stream, site.blocks.spans

        async def get(self, cid: object) -> bytes:
            files.clear()
            return await site.blocks.get(cid)  # type: ignore[arg-type]

    assert await files.redirects(Deleting(), site.root)
    before = site.blocks.asked
    assert await files.redirects(site.blocks, site.root)
    assert site.blocks.asked > before


async def test_the_file_of_the_most_rules_is_kept() -> None:
    names = [
        "".join(letters) for size in (1, 2, 3) for letters in product(string.ascii_lowercase, repeat=size)
    ]
    text = "".join(f"/{name} /\n" for name in names)[:MAX_FILE_BYTES].rpartition("\n")[0]
    site = Site.of({"_redirects": text})
    assert (await asked_for(site, "/missing"), await asked_for(site, "/missing")) == (3, 1)
    headers = "".join(f"/{name}\n A: 1\n" for name in names[:2500])
    site = Site.of({"one.html": "1", "_headers": headers})
    assert (await asked_for(site, "/one.html"), await asked_for(site, "/one.html")) == (5, 3)


@pytest.mark.parametrize("room", [0, 4096])
async def test_without_room_files_are_read_each_time(room: int) -> None:
    assert room < MAX_BYTES
    site = Site.of({"_redirects": "/a /one.html\n" * 100})
    site.files = SiteFiles(room)
    assert [await asked_for(site, "/a") for _ in range(2)] == [3, 3]
