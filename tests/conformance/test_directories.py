"""Directories: redirects, index.html, and the listing whose strings other tools look for."""

from __future__ import annotations

import pytest

from ipld.unixfs.profiles import UNIXFS_V0_2015, UNIXFS_V1_2025, Profile
from tests.gateway.gateways import Running
from tests.ipld.dags import directory, raw_leaf

LISTING = "public, max-age=604800, stale-while-revalidate=2678400"


@pytest.mark.parametrize("query", ["", "?a=1&b=%2f", "?filename=x&download=true"])
@pytest.mark.parametrize("path", ["", "/a%62c", "/%c4%85"])
async def test_a_directory_has_a_slash_at_its_end(gate: Running, path: str, query: str) -> None:
    root = (await gate.post_form([("abc/x", b"1"), ("ą/y", b"2")])).cid
    answer = await gate.get(f"/ipfs/{root}{path}{query}")
    assert answer.status == 301
    assert answer.headers["Location"] == f"/ipfs/{root}{path}/{query}"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    followed = await gate.get(answer.headers["Location"])
    assert followed.status == 200


async def test_index_html_stands_for_its_directory(gate: Running) -> None:
    root = (await gate.post_form([("index.html", b"hello"), ("sub/index.html/x", b""), ("b", b"")])).cid
    answer = await gate.get(f"/ipfs/{root}/")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"hello", "text/html")
    assert answer.headers["ETag"] == f'"{root}"'
    assert answer.headers["X-Ipfs-Roots"] == root
    assert answer.headers["Cache-Control"].endswith("immutable")
    wrong = await gate.get(f"/ipfs/{root}/sub/")
    assert wrong.status == 422
    part = await gate.get(f"/ipfs/{root}/", Range="bytes=1-2")
    assert (part.status, part.body) == (206, b"el")


@pytest.mark.parametrize("profile", [UNIXFS_V1_2025, UNIXFS_V0_2015], ids=lambda profile: profile.name)
async def test_the_listing_to_the_byte(gate: Running, profile: Profile) -> None:
    added = await gate.post_form([("ą/ę/file-źł.txt", b"text"), ("z", b"")], f"?profile={profile.name}")
    root = added.cid
    answer = await gate.get(f"/ipfs/{root}/%C4%85/%C4%99/")
    file = (
        (await gate.get(f"/ipfs/{root}/%C4%85/%C4%99/file-%C5%BA%C5%82.txt"))
        .headers["X-Ipfs-Roots"]
        .split(",")[-1]
    )
    for wanted in (
        "Index of",
        (
            f'/ipfs/<a href="/ipfs/{root}">{root}</a>/<a href="/ipfs/{root}/%C4%85">ą</a>/'
            f'<a href="/ipfs/{root}/%C4%85/%C4%99">ę</a>'
        ),
        f'<a href="/ipfs/{root}/%C4%85/%C4%99/..">..</a>',
        f'<a href="/ipfs/{root}/%C4%85/%C4%99/file-%C5%BA%C5%82.txt">file-źł.txt</a>',
        f'<a class="ipfs-hash" translate="no" href="/ipfs/{file}?filename=file-%25C5%25BA%25C5%2582.txt">',
    ):
        assert wanted in answer.text
    assert answer.headers["ETag"].startswith('"DirIndex-')
    assert root in (await gate.get(f"/ipfs/{root}/")).headers["ETag"]
    assert answer.headers["Cache-Control"] == LISTING
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Ipfs-Path"] == f"/ipfs/{root}/%C4%85/%C4%99/"
    assert ">..<" not in (await gate.get(f"/ipfs/{root}/")).text
    same = await gate.get(f"/ipfs/{root}/%C4%85/%C4%99/", If_None_Match=answer.headers["ETag"])
    assert same.status == 304


async def test_names_never_become_markup(gate: Running) -> None:
    name = "<script>alert(1)</script>&\"'.txt"
    root = (await gate.post_form([("a", b"1"), ("b", b"2")])).cid
    from urllib.parse import quote

    changed = (await gate.write("PUT", f"/ipfs/{root}/{quote(name, safe='')}".replace("%2F", ""), b"x")).cid
    page = (await gate.get(f"/ipfs/{changed}/")).text
    assert "<script" not in page


async def test_a_long_listing_comes_in_pages(gate: Running) -> None:
    root = (await gate.post_form([(f"file-{number:05}", b"") for number in range(1100)])).cid
    page = await gate.get(f"/ipfs/{root}/")
    assert "file-00999" in page.text
    assert "file-01000" not in page.text
    assert 'rel="next"' in page.text
    cursor = page.text.partition("?cursor=")[2].partition('"')[0]
    rest = await gate.get(f"/ipfs/{root}/?cursor={cursor}")
    assert "file-00999" not in rest.text
    assert 'rel="next"' not in rest.text
    assert "file-01099" in rest.text
    assert rest.headers["ETag"] != page.headers["ETag"]
    assert (await gate.get(f"/ipfs/{root}/?cursor=x")).status == 400


async def test_the_next_page_is_of_what_was_asked_for(gate: Running) -> None:
    root = (await gate.post_form([("index.html", b"<p>"), *((f"{n:02}", b"") for n in range(8))])).cid
    page = await gate.get(f"/ipfs/{root}/?index=false&limit=5")
    query = page.text.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert query.startswith("?cursor=")
    rest = await gate.get(f"/ipfs/{root}/{query}")
    assert [name in rest.text for name in ("/04", "/05", "/07", "index.html")] == [False, True, True, True]
    assert 'rel="next"' not in rest.text
    assert (await gate.get(f"/ipfs/{root}/?index=false&limit=all")).status == 400


async def test_a_limit_is_for_pages_alone(gate: Running) -> None:
    """Websites have parameters of their own."""
    root = (await gate.post_form([("index.html", b"hello"), ("b", b"2")])).cid
    for target in (
        f"{root}/?limit=all",
        f"{root}/b?limit=0",
        f"{root}/?" + "&".join(f"p{n}" for n in range(300)),
    ):
        assert (await gate.get(f"/ipfs/{target}")).status == 200


FORMATS = ("", "raw", "car", "tar", "zip", "dir-json")


async def test_names_that_are_no_utf8_lead_somewhere(gate: Running) -> None:
    inside = raw_leaf(b"inside")
    below = directory(("\udcfe", inside))
    root = directory(("\udcff", below), ("?", raw_leaf(b"another")))
    await gate.add_blocks(inside, raw_leaf(b"another"), below, root)
    page = await gate.get(f"/ipfs/{root.cid}/")
    assert f'href="/ipfs/{root.cid}/%FF"' in page.text
    for format in FORMATS:
        answer = await gate.get(f"/ipfs/{root.cid}/%FF/?format={format}")
        assert answer.status == 200
        assert answer.headers["X-Ipfs-Path"] == f"/ipfs/{root.cid}/%FF/"
    assert (await gate.get(f"/ipfs/{root.cid}/%FF")).headers["Location"] == f"/ipfs/{root.cid}/%FF/"
    file = await gate.get(f"/ipfs/{root.cid}/%ff/%fe?download=true")
    assert (file.status, file.body) == (200, b"inside")
    assert (await gate.get(f"/ipfs/{root.cid}/%fe")).status == 404
    entries = (await gate.get(f"/ipfs/{root.cid}/?format=dir-json")).json["entries"]
    assert isinstance(entries, list)
    assert {(entry["name"], entry.get("encoded_name")) for entry in entries} == {("?", None), ("?", "%FF")}
    less = await gate.write("DELETE", f"/ipfs/{root.cid}/%FF")
    assert (less.status, "another" in (await gate.get(f"/ipfs/{less.cid}/%3F")).text) == (201, True)
    assert (await gate.write("PUT", f"/ipfs/{root.cid}/%FF", b"x")).status == 400


async def test_go_get_is_not_redirected(gate: Running) -> None:
    root = (await gate.post_form([("a", b"1"), ("b", b"2")])).cid
    assert (await gate.get(f"/ipfs/{root}?go-get=1")).status == 200


async def test_an_empty_directory(gate: Running) -> None:
    root = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
    await gate.write("PUT", f"/ipfs/{root}", b"\x0a\x02\x08\x01")
    answer = await gate.get(f"/ipfs/{root}/")
    assert (answer.status, "empty" in answer.text) == (200, True)
