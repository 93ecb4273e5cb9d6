"""Websites on hosts of their own: rewrites, redirects, error pages and custom headers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.formats.pages import PAGE_HEADERS
from gateway.headers import IMMUTABLE, Validators, Verdict, evaluate
from gateway.refusals import Gone, LegallyUnavailable
from gateway.representation import Representation
from gateway.sites.errors import BrokenSiteFile
from ipld import dag_pb
from ipld.blocks import Block
from ipld.cid import DAG_CBOR, Cid
from ipld.errors import BlockNotFound, InvalidPath, NoLink
from ipld.names import ResolvedName
from ipld.paths import ContentPath, resolve
from ipld.unixfs.listing import find_entry
from ipld.unixfs.profiles import UNIXFS_V0_2015, UNIXFS_V1_2025, Profile
from tests.gateway.sites.sites import Site
from tests.gateway.sites.test_redirects_file import EXAMPLES
from tests.ipld.dags import blocks_of, dag_pb_block

FILES = {
    "index.html": "<h1>my index</h1>",
    "one.html": "my one",
    "404.html": "my 404",
    "410.html": "my 410",
    "451.html": "my 451",
    "app/index.html": "my app",
    "empty/nested/file": "x",
    "data.json": "{}",
}


def media_type(shown: Representation) -> str:
    return (shown.content_type or "").partition(";")[0]


def site_with(redirects: str | bytes = EXAMPLES, headers: str | None = None) -> Site:
    extra = {} if headers is None else {"_headers": headers}
    return Site.of({**FILES, "_redirects": redirects, **extra})


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/redirect-one", 301, "/one.html"),
        ("/302-redirect-two?a=1", 302, "/two.html?a=1"),
        ("/posts/2022/01/01/hello-world", 301, "/articles/2022/01/01/hello-world"),
        ("/splat/%C4%85%20/b", 301, "/redirected-splat/%C4%85%20/b"),
    ],
)
async def test_redirects(path: str, status: int, location: str) -> None:
    site = site_with()
    shown = await site.ask(path)
    assert (shown.status, shown.headers["Location"]) == (status, location)
    assert shown.headers["X-Ipfs-Path"] == site.prefix + path.partition("?")[0]
    assert shown.headers["X-Ipfs-Roots"] == str(site.root)
    assert shown.headers["Cache-Control"] == IMMUTABLE


async def test_single_page_applications() -> None:
    site = site_with()
    shown = await site.ask("/some/route")
    index = await site.cid_of("/index.html")
    assert (shown.status, shown.body, media_type(shown)) == (200, b"<h1>my index</h1>", "text/html")
    assert shown.etag == f'"{index}"'
    assert shown.headers["Cache-Control"] == IMMUTABLE
    # What was asked for, and where the bytes lie.
    assert shown.headers["X-Ipfs-Path"] == f"{site.prefix}/some/route"
    assert shown.headers["X-Ipfs-Roots"] == f"{site.root},{index}"
    validators = Validators(shown.etag, shown.last_modified)
    again = evaluate({"If-None-Match": shown.etag}, validators, reading=True)
    assert again is Verdict.NOT_MODIFIED
    assert shown.has_ranges


@pytest.mark.parametrize(("path", "status"), [("/not-found/x", 404), ("/gone/x", 410), ("/unavail/x", 451)])
async def test_error_pages(path: str, status: int) -> None:
    site = site_with()
    shown = await site.ask(path)
    assert (shown.status, shown.body, media_type(shown)) == (status, f"my {status}".encode(), "text/html")
    assert shown.etag == f'"{await site.cid_of(f"/{status}.html")}"'
    assert shown.headers["Cache-Control"] == IMMUTABLE
    assert not shown.has_ranges


async def test_what_is_there_is_never_redirected() -> None:
    site = site_with("/one.html /404.html 404\n/app /x\n/empty/* /y\n/* /index.html 200")
    assert (await site.ask("/one.html")).body == b"my one"
    assert (await site.ask("/app/")).body == b"my app"
    # A directory without an index is there, too.
    assert b"nested" in ((await site.ask("/empty/")).body or b"")
    assert (await site.ask("/app")).headers["Location"] == "/app/"
    assert (await site.ask("/one.html/below-a-file")).body == b"<h1>my index</h1>"


async def test_no_rule_matches() -> None:
    with pytest.raises(NoLink, match="no link named"):
        await site_with("/a /b").ask("/c")
    with pytest.raises(NoLink):
        await Site.of(FILES).ask("/c")


async def test_only_where_the_site_has_an_origin_of_its_own() -> None:
    with pytest.raises(NoLink):
        await site_with().ask("/some/route", isolated=False)
    with pytest.raises(NoLink):
        await site_with("broken").ask("/some/route", isolated=False)


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ("?format=raw", None),
        ("?format=car", None),
        ("?format=json", None),
        ("", "application/vnd.ipld.raw"),
        ("", "application/json"),
    ],
)
async def test_only_for_what_a_browser_opens(query: str, accept: str | None) -> None:
    with pytest.raises(NoLink):
        await site_with().ask(f"/some/route{query}", accept)


async def test_the_parameters_of_the_request_still_count() -> None:
    shown = await site_with().ask("/route?filename=a.txt&download=true")
    assert media_type(shown) == "text/plain"
    assert shown.headers["Content-Disposition"].startswith('attachment; filename="a.txt"')


@pytest.mark.parametrize("to", ["/app", "/app/", "/app/index.html", "/a%70p", "//app"])
async def test_a_rewrite_to_a_directory_shows_its_index(to: str) -> None:
    shown = await site_with(f"/x/* {to} 200").ask("/x/y")
    assert (shown.status, shown.body) == (200, b"my app")


async def test_placeholders_in_rewrites() -> None:
    site = site_with("/de/:page /:page.html 200\n/raw/* /:splat 404")
    assert (await site.ask("/de/one")).body == b"my one"
    assert (await site.ask("/raw/empty/nested/file")).body == b"x"


@pytest.mark.parametrize(
    ("status", "error"), [(200, NoLink), (404, NoLink), (410, Gone), (451, LegallyUnavailable)]
)
async def test_a_page_that_is_not_there_either(status: int, error: type[Exception]) -> None:
    with pytest.raises(
        error, match=r"^line 2 of _redirects leads to /missing.html, which is not in this site$"
    ):
        await site_with(f"# pages\n/* /missing.html {status}").ask("/x")


async def test_no_rule_leads_out_of_the_site() -> None:
    site = site_with("/x/* /:splat 200")
    for path in ("/x/../index.html", "/x/%2e%2e/index.html", "/x/..%2f..%2fipfs"):
        with pytest.raises(NoLink):
            await site.ask(path)


async def test_a_path_that_grows_too_long() -> None:
    site = site_with("/* /:splat/:splat 200")
    with pytest.raises(InvalidPath):
        await site.ask("/x" * 200)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"_redirects": "/a /b 301!"}, r"^could not parse _redirects: line 1: forced redirects \(301!\)"),
        ({"_redirects": "hello"}, "^could not parse _redirects: line 1: 'to' is missing$"),
        (
            {"_redirects": b"#" * 65537},
            "^could not parse _redirects: redirects file size cannot exceed 65536",
        ),
        ({"_redirects/file": "/a /b"}, "^could not parse _redirects: it is not a file$"),
    ],
)
async def test_a_broken_file_is_told_about(files: dict[str, bytes | str], why: str) -> None:
    site = Site.of({**FILES, **files})
    for _ in range(2):
        with pytest.raises(BrokenSiteFile, match=why):
            await site.ask("/x")
    # The spec, "No Forced Redirects": only where something is missing.
    assert (await site.ask("/one.html")).body == b"my one"


async def test_a_file_that_cannot_be_read() -> None:
    site = site_with()
    block = site.blocks.forget(await site.cid_of("/_redirects"))
    with pytest.raises(BrokenSiteFile, match=r"^could not read _redirects: .* is not here$"):
        await site.ask("/x")
    site.blocks.put(block)
    assert (await site.ask("/x")).status == 200


async def test_a_page_whose_block_is_missing() -> None:
    site = site_with()
    site.blocks.forget(await site.cid_of("/index.html"))
    with pytest.raises(BlockNotFound):
        await site.ask("/x")


@pytest.mark.parametrize(
    "profile", [UNIXFS_V1_2025, UNIXFS_V0_2015, replace(UNIXFS_V1_2025, shard_threshold=64)]
)
async def test_every_kind_of_directory(profile: Profile) -> None:
    site = Site.of({**FILES, "_redirects": EXAMPLES, "_headers": "/*\n A: 1"}, profile)
    assert (await site.ask("/x")).body == b"<h1>my index</h1>"
    assert (await site.ask("/one.html")).headers["A"] == "1"


@pytest.mark.parametrize(("ttl", "policy"), [(300, "public, max-age=300"), (None, None)])
async def test_a_site_behind_a_name(ttl: int | None, policy: str | None) -> None:
    site = site_with().named("example.org", ttl)
    page = await site.ask("/not-found/x")
    assert (page.status, page.body) == (404, b"my 404")
    assert page.headers.get("Cache-Control") == policy
    assert page.headers["X-Ipfs-Path"] == "/ipns/example.org/not-found/x"
    moved = await site.ask("/redirect-one")
    assert (moved.headers["Location"], moved.headers.get("Cache-Control")) == ("/one.html", policy)
    assert (await site.ask("/route")).headers.get("Cache-Control") == policy


async def test_a_name_that_leads_to_a_directory_below_a_root() -> None:
    outer = {"_redirects": "/* /outer 302", "_headers": "/*\n A: 2"}
    inner = {"index.html": "inner", "_redirects": "/* / 200\n", "_headers": "/*\n A: 1"}
    below = {f"site/{name}": text for name, text in inner.items()}
    site = Site.of({**outer, **below}).named("example.org", 60, below="/site")
    for path in ("/", "/route/deep"):
        shown = await site.ask(path)
        assert (shown.body, shown.headers["A"]) == (b"inner", "1")


HEADERS = """
/*
  Content-Security-Policy: default-src 'self'
  Content-Security-Policy: object-src 'none'
  Referrer-Policy: origin
  Cache-Control: public, max-age=60
  X-Ipfs-Path: /ipfs/other
  Set-Cookie: a=b
  Content-Type: application/x-all
/one.html
  X-Robots-Tag: noindex
"""


async def test_custom_headers() -> None:
    shown = await site_with(headers=HEADERS).ask("/one.html")
    assert shown.headers["Content-Security-Policy"] == "default-src 'self', object-src 'none'"
    assert shown.headers["X-Robots-Tag"] == "noindex"
    assert shown.content_type == "application/x-all"
    assert "Set-Cookie" not in shown.wire
    assert shown.wire["Content-Type"] == "application/x-all"


async def test_what_the_gateway_says_stays() -> None:
    site = site_with(headers=HEADERS)
    shown = await site.ask("/one.html")
    assert shown.headers["X-Ipfs-Path"] == f"{site.prefix}/one.html"
    # It can never change, whatever the site says.
    assert shown.headers["Cache-Control"] == IMMUTABLE


async def test_how_long_the_content_of_a_name_is_kept() -> None:
    site = site_with(headers=HEADERS).named("example.org", 300)
    assert (await site.ask("/one.html")).headers["Cache-Control"] == "public, max-age=60"
    assert (await site.ask("/route")).headers["Cache-Control"] == "public, max-age=60"
    # A page that is not there may be there soon.
    assert (await site.ask("/not-found/x")).headers["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize(("path", "status"), [("/route", 200), ("/not-found/x", 404), ("/gone/x", 410)])
async def test_headers_of_pages_shown_instead(path: str, status: int) -> None:
    shown = await site_with(headers=HEADERS).ask(path)
    assert shown.status == status
    assert shown.headers["Referrer-Policy"] == "origin"
    # The pattern was made for files, and this is not the file.
    assert media_type(shown) == "text/html"


@pytest.mark.parametrize("path", ["/redirect-one", "/app"])
async def test_redirects_have_no_custom_headers(path: str) -> None:
    shown = await site_with(headers=HEADERS).ask(path)
    assert shown.status == 301
    assert "Content-Security-Policy" not in shown.headers


async def test_pages_of_the_gateway_keep_their_own_headers() -> None:
    shown = await site_with(headers=HEADERS).ask("/empty/")
    assert {name: shown.headers[name] for name in PAGE_HEADERS} == dict(PAGE_HEADERS)
    assert shown.content_type == "text/html; charset=utf-8"


async def test_the_name_that_the_client_gives_comes_first() -> None:
    site = site_with(headers="/*\n Content-Disposition: attachment")
    assert (await site.ask("/one.html")).headers["Content-Disposition"] == "attachment"
    shown = await site.ask("/one.html?filename=a.txt")
    assert shown.headers["Content-Disposition"].startswith("inline; ")


async def test_headers_only_for_sites_and_what_browsers_open() -> None:
    site = site_with(headers=HEADERS)
    assert "Referrer-Policy" not in (await site.ask("/one.html", isolated=False)).headers
    assert "Referrer-Policy" not in (await site.ask("/one.html?format=raw")).headers


async def test_a_headers_file_over_a_limit() -> None:
    site = site_with(headers="/a\n" * 5001)
    with pytest.raises(BrokenSiteFile, match=r"^could not parse _headers: "):
        await site.ask("/one.html")


async def test_a_headers_file_that_cannot_be_read() -> None:
    site = site_with(headers=HEADERS)
    site.blocks.forget(await site.cid_of("/_headers"))
    with pytest.raises(BrokenSiteFile, match=r"^could not read _headers: "):
        await site.ask("/one.html")


async def test_nobody_knows_whether_there_are_headers() -> None:
    site = Site.of(
        {f"file-{number}": "x" for number in range(200)},
        replace(UNIXFS_V1_2025, shard_threshold=64, fanout=8),
    )
    needed = (await resolve(site.names, site.blocks, ContentPath.parse(f"{site.prefix}/file-1"))).trail
    lookup = await find_entry(site.blocks, site.root, "_headers")
    missing = [cid for cid in lookup.trail if cid not in needed]
    assert missing
    site.blocks.forget(missing[0])
    assert (await site.ask("/file-1")).body == b"x"


async def test_a_file_or_data_as_the_root_of_a_host() -> None:
    link, blocks = blocks_of(b"alone")
    site = Site.of(FILES)
    site.blocks.put_all(blocks)
    site = replace(site, prefix=f"/ipfs/{link.cid}")
    assert (await site.ask("/")).body == b"alone"
    with pytest.raises(NoLink):
        await site.ask("/x")
    data = Block(Cid.of(b"\xa1aa\x01", DAG_CBOR), b"\xa1aa\x01")
    site.blocks.put(data)
    site = replace(site, prefix=f"/ipfs/{data.cid}")
    with pytest.raises(NoLink):
        await site.ask("/x")


async def test_directories_that_are_no_unixfs() -> None:
    site = site_with("/data/* /data/:splat 200\n/* /x 404")
    plain = dag_pb_block(dag_pb.encode([dag_pb.PBLink(await site.cid_of("/one.html"), "one.html", 6)], None))
    data = Block(Cid.of(b"\xa1aa\x01", DAG_CBOR), b"\xa1aa\x01")
    site.blocks.put_all([plain, data])
    by_hand = replace(site, prefix=f"/ipfs/{plain.cid}")
    assert (await by_hand.ask("/one.html")).body == b"my one"
    with pytest.raises(NoLink):
        await by_hand.ask("/x")
    site.names.known["data.example"] = ResolvedName(ContentPath.parse(f"/ipfs/{data.cid}/a"), None)
    with pytest.raises(NoLink):
        await replace(site, prefix="/ipns/data.example").ask("/x")
