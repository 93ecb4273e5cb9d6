"""The pages made by the gateway: the bytes that the conformance suite looks for, and no way out of them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.directory_page import (
    DirectoryPage,
    Listed,
    listing_etag,
    render_directory,
)
from gateway.formats.error_page import ErrorPage, render_error
from gateway.formats.page_links import Links, dnslink_links, path_links, subdomain_links
from gateway.formats.pages import PAGE_HEADERS, human_size
from gateway.formats.welcome_page import Welcome, render_welcome, render_welcome_text

CID = "bafybeig6ka5mlwkl4subqhaiatalkcleo4jgnr3hqwvpmsqfca27cijp3i"
FILE = "bafkreialihlqnf5uwo4byh4n3cmwlntwqzxxs2fg5vanqdi3d7tb2l5xkm"
FILE_ROW = Listed("file-źł.txt", FILE, 34, False)


def page(links: Links, path: Sequence[str] = ("ą", "ę"), entries: Sequence[Listed] = (FILE_ROW,)) -> str:
    return render_directory(DirectoryPage(links, CID, path, entries, count=len(entries), size=34))


def test_path_gateway() -> None:
    html = page(path_links("ipfs", CID))
    for part in (
        "Index of",
        (
            f'/ipfs/<a href="/ipfs/{CID}">{CID}</a>/<a href="/ipfs/{CID}/%C4%85">ą</a>'
            f'/<a href="/ipfs/{CID}/%C4%85/%C4%99">ę</a>'
        ),
        f'<a href="/ipfs/{CID}/%C4%85/%C4%99/..">..</a>',
        f'<a href="/ipfs/{CID}/%C4%85/%C4%99/file-%C5%BA%C5%82.txt">file-źł.txt</a>',
        f'<a class="ipfs-hash" translate="no" href="/ipfs/{FILE}?filename=file-%25C5%25BA%25C5%2582.txt">',
    ):
        assert part in html


def test_subdomain_gateway() -> None:
    host = "example.com:8080"
    html = page(subdomain_links("ipfs", CID, host))
    for part in (
        (
            f'/ipfs/<a href="//{host}/ipfs/{CID}">{CID}</a>/<a href="//{host}/ipfs/{CID}/%C4%85">ą</a>'
            f'/<a href="//{host}/ipfs/{CID}/%C4%85/%C4%99">ę</a>'
        ),
        '<a href="/%C4%85/%C4%99/..">..</a>',
        '<a href="/%C4%85/%C4%99/file-%C5%BA%C5%82.txt">file-źł.txt</a>',
        (
            '<a class="ipfs-hash" translate="no" '
            f'href="//{host}/ipfs/{FILE}?filename=file-%25C5%25BA%25C5%2582.txt">'
        ),
    ):
        assert part in html
    assert '<a href="/ipfs">ipfs</a>' in page(
        subdomain_links("ipfs", CID, host), (), [Listed("ipfs", CID, None, True)]
    )


def test_dnslink_gateway() -> None:
    host = "dnslink.example.org"
    html = page(dnslink_links(host))
    for part in (
        (
            f'/ipns/<a href="//{host}/">{host}</a>/<a href="//{host}/%C4%85">ą</a>'
            f'/<a href="//{host}/%C4%85/%C4%99">ę</a>'
        ),
        '<a href="/%C4%85/%C4%99/..">..</a>',
        (
            f'<a class="ipfs-hash" translate="no" href="https://cid.ipfs.tech/#{FILE}" target="_blank" '
            'rel="noreferrer noopener">'
        ),
    ):
        assert part in html


@pytest.mark.parametrize(
    "links", [path_links("ipfs", CID), subdomain_links("ipfs", CID, "h"), dnslink_links("h")]
)
def test_no_way_up_from_the_root(links: Links) -> None:
    assert ">..<" not in page(links, ())


def test_empty_and_paged() -> None:
    assert "This directory is empty" in page(path_links("ipfs", CID), (), [])
    more = render_directory(
        DirectoryPage(path_links("ipfs", CID), CID, [], [FILE_ROW], following="cursor=a%2Fb%26c&limit=2")
    )
    assert 'rel="next" href="?cursor=a%2Fb%26c&amp;limit=2"' in more


def test_etag() -> None:
    assert re.fullmatch(rf'"DirIndex-[0-9a-f]+_CID-{CID}"', listing_etag(CID))
    assert listing_etag(CID, 'x"y') != listing_etag(CID)
    assert listing_etag(CID, 'x"y').count('"') == 2


@given(st.text(max_size=30), st.text(max_size=30))
def test_names_stay_text(name: str, parent: str) -> None:
    html = page(path_links("ipfs", CID), [parent], [Listed(name, FILE, 1, False)])
    plain = page(path_links("ipfs", CID), ["a"], [Listed("b", FILE, 1, False)])
    assert html.count("<") == plain.count("<")
    assert html.count('"') == plain.count('"')


def test_names_that_are_no_utf_8_are_shown_and_linked() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    html = page(path_links("ipfs", CID), [name], [Listed(name, FILE, 1, False)])
    assert f'<a href="/ipfs/{CID}/caf%E9/caf%E9">caf\N{REPLACEMENT CHARACTER}</a>' in html
    html.encode()


def test_pages_load_nothing_and_run_nothing() -> None:
    style_hash = re.search(r"'sha256-([^']+)'", PAGE_HEADERS["Content-Security-Policy"])
    assert style_hash is not None
    for html in (
        page(path_links("ipfs", CID)),
        render_error(ErrorPage(404, "x", "id", "/ipfs/x")),
        render_welcome(Welcome("http://h", "1")),
    ):
        (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() == style_hash[1]
        assert "<script" not in html
        assert " style=" not in html
        assert not re.search(r'(src|<link[^>]*href)="?(http|//|/)', html)


@pytest.mark.parametrize(
    ("target", "status", "linked"),
    [
        ("/ipfs/x", 504, True),
        ("//evil.example/x", 504, False),
        ("http://evil/x", 504, False),
        ("/ipfs/x", 404, False),
    ],
)
def test_try_again_leads_nowhere_else(target: str, status: int, linked: bool) -> None:
    html = render_error(ErrorPage(status, "x", "id", target, 10 if status == 504 else None))
    assert ("Try again</a>" in html) is linked


def test_the_welcome_of_a_host_that_gives_out_verifiable_formats_alone() -> None:
    welcome = Welcome("http://h", "1", CID, verifiable_only=True)
    assert f'curl -L "http://h/ipfs/{CID}?format=raw"' in render_welcome_text(welcome)
    for text in (render_welcome(welcome), render_welcome_text(welcome)):
        assert "?format=car" in text
        assert "directory page" not in text
        assert "?format=tar" not in text
    assert f'href="/ipfs/{CID}"' not in render_welcome(welcome)


def test_welcome_is_ready_to_paste() -> None:
    welcome = Welcome("http://127.0.0.1:8080", "0.1.0", CID)
    for text in (render_welcome(welcome), render_welcome_text(welcome)):
        assert f"curl -L http://127.0.0.1:8080/ipfs/{CID}" in text
        assert "curl -T" in text
        assert "0.1.0" in text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10**6, "977 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (1024**6, "1024 PiB"),
    ],
)
def test_human_size(size: int, text: str) -> None:
    assert human_size(size) == text
