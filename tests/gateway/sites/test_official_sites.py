"""The websites of the official conformance suite (`tests/redirects_file_test.go`), asked for as it asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.sites.errors import BrokenSiteFile
from ipld.blocks import Block
from ipld.car import CarParser
from tests.fixture_data import FIXTURES, needs_fixtures
from tests.gateway.sites.sites import Counted, Site
from tests.gateway.sites.test_redirects_file import EXAMPLES

pytestmark = needs_fixtures

CARS = FIXTURES / "gateway-conformance" / "redirects_file"
EXAMPLES_CID = "QmYBhLYDwVFvxos9h8CGU2ibaY66QNgv8hpfewxaQrPiZj"


def opened(car: Path) -> Site:
    blocks, parser = Counted(), CarParser()
    for section in parser.feed(car.read_bytes()):
        blocks.put(Block(section.cid, bytes(section.data)))
    parser.close()
    return Site(f"/ipfs/{parser.roots[0]}", blocks)


async def site_of(name: str) -> Site:
    whole = opened(CARS / "redirects.car")
    return Site(f"/ipfs/{await whole.cid_of('/' + name)}", whole.blocks)


async def test_the_spec_prints_what_is_in_the_fixture() -> None:
    site = await site_of("examples")
    assert site.prefix == f"/ipfs/{EXAMPLES_CID}"
    assert (await site.ask("/_redirects")).body == EXAMPLES


@pytest.mark.parametrize(
    ("name", "path", "status", "location"),
    [
        ("examples", "/redirect-one", 301, "/one.html"),
        ("examples", "/301-redirect-one", 301, "/one.html"),
        ("examples", "/302-redirect-two", 302, "/two.html"),
        ("examples", "/posts/2022/01/01/hello-world", 301, "/articles/2022/01/01/hello-world"),
        ("examples", "/splat/one.html", 301, "/redirected-splat/one.html"),
        ("newlines", "/redirect-one", 301, "/one.html"),
        *(("good-codes", f"/a{status}", status, f"/b{status}") for status in (301, 302, 303, 307, 308)),
    ],
)
async def test_redirects(name: str, path: str, status: int, location: str) -> None:
    shown = await (await site_of(name)).ask(path)
    assert (shown.status, shown.headers["Location"]) == (status, location)


@pytest.mark.parametrize(
    ("path", "status", "page"),
    [
        ("/not-found/has-no-redirects-entry", 404, "Qmd9GD7Bauh6N2ZLfNnYS3b7QVAijbud83b8GE8LPMNBBP"),
        ("/gone/has-no-redirects-entry", 410, "QmSmR9NShZ89VEBrn9SBy7Xxvjw8Qe6XArD5GqtHvbtBM3"),
        ("/unavail/has-no-redirects-entry", 451, "QmVQqj9oZig9tH3ENHo4bxV5pNgssUwFCXUjAJAVcZVbJG"),
    ],
)
async def test_error_pages(path: str, status: int, page: str) -> None:
    site = await site_of("examples")
    shown = await site.ask(path)
    assert (shown.status, shown.etag) == (status, f'"{page}"')
    assert shown.headers["Cache-Control"] == "public, max-age=29030400, immutable"
    assert f"my {status}".encode() in (shown.body or b"")
    named = await site.named("dnslink-redirects-examples.example.org", 60).ask(path)
    assert (named.status, named.etag, named.body) == (status, shown.etag, shown.body)
    assert "immutable" not in named.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("name", "path"), [("examples", "/200-index"), ("examples", "/catch-all"), ("newlines", "/200-index")]
)
async def test_rewrites(name: str, path: str) -> None:
    shown = await (await site_of(name)).ask(path)
    assert shown.status == 200
    assert b"my index" in (shown.body or b"")


@pytest.mark.parametrize("name", ["forced", "invalid", "too-large", "bad-codes"])
async def test_broken_files(name: str) -> None:
    with pytest.raises(BrokenSiteFile, match=r"^could not parse _redirects: ") as failure:
        await (await site_of(name)).ask("/not-found")
    assert ("redirects file size cannot exceed" in str(failure.value)) == (name == "too-large")


async def test_what_is_there_is_shown_whatever_the_file_says() -> None:
    assert b"my found" in ((await (await site_of("bad-codes")).ask("/found.html")).body or b"")


async def test_a_single_page_application() -> None:
    site = opened(CARS / "redirects-spa.car")
    shown = await site.ask("/missing-page", "text/html")
    assert (shown.status, shown.body) == (200, b"hello world\n")
    assert shown.etag == f'"{await site.cid_of("/index.html")}"'
