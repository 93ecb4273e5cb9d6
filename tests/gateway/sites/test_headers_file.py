"""Reading `_headers`: Netlify's format, and what a site cannot say."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.pages import PAGE_HEADERS
from gateway.headers import CORS
from gateway.sites.errors import BrokenSiteFile
from gateway.sites.headers_file import (
    MAX_ADDED,
    MAX_FILE_BYTES,
    MAX_HEADER,
    MAX_LINES,
    MAX_WILDCARDS,
    parse_headers,
    weight_of,
)


def given_to(text: str, path: str) -> dict[str, str]:
    segments = [part for part in path.split("/") if part]
    return dict(parse_headers(text.encode()).headers_of(segments).values())


def ignored(text: str) -> list[tuple[int, str]]:
    return [(entry.line, entry.reason) for entry in parse_headers(text.encode()).ignored]


def refused(text: str) -> str:
    with pytest.raises(BrokenSiteFile) as failure:
        parse_headers(text.encode())
    return str(failure.value)


NETLIFY = """\
# a path:
/templates/index.html
  # headers for that path:
  X-Frame-Options: DENY
  X-XSS-Protection: 1; mode=block

# another path:
/templates/index2.html
  # headers for that path:
  X-Frame-Options: SAMEORIGIN
# multi-value header:
/*
  x-robots-tag: noindex
  X-Robots-Tag: nofollow
  Cross-Origin-Opener-Policy:same-origin
"""


def test_netlifys_example() -> None:
    everywhere = {"x-robots-tag": "noindex, nofollow", "Cross-Origin-Opener-Policy": "same-origin"}
    assert given_to(NETLIFY, "/templates/index.html") == {
        "X-Frame-Options": "DENY",
        "X-XSS-Protection": "1; mode=block",
        **everywhere,
    }
    assert given_to(NETLIFY, "/templates/index2.html")["X-Frame-Options"] == "SAMEORIGIN"
    assert given_to(NETLIFY, "/") == everywhere
    assert ignored(NETLIFY) == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_white_space_and_line_ends(end: str) -> None:
    text = end.join(["\ufeff/path ", "\t test :  one  ", "", "", "   # comment", " other: a: b"])
    assert given_to(text, "/path") == {"test": "one", "other": "a: b"}


def test_of_two_paths_that_match_the_later_one_counts() -> None:
    text = "/*\n  A: 1\n  B: 1\n/a\n  a: 2\n/b\n  A: 3\n"
    assert given_to(text, "/a") == {"a": "2", "B": "1"}
    turned = "/a\n  a: 2\n/*\n  A: 1\n"
    assert given_to(turned, "/a") == {"A": "1"}


def test_a_path_may_come_twice() -> None:
    assert given_to("/a\n A: 1\n/b\n B: 1\n/a/\n A: 2\n C: 1", "/a") == {"A": "2", "C": "1"}


def test_a_media_type_is_not_joined() -> None:
    assert given_to("/a\n Content-Type: text/css\n content-type: text/html", "/a") == {
        "content-type": "text/html"
    }


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("A: 1", 1, "the path that this header is for is missing"),
        ("/a\n\nno colon", 3, "not a header: 'Name: value'"),
        ("/a\n! A", 2, "not a header: 'Name: value'"),
        ("/a\n : b", 2, "not a header: 'Name: value'"),
        ("/a\n A b: c", 2, "not a header: 'Name: value'"),
        ("/a\n Ä: c", 2, "not a header: 'Name: value'"),
        ("/a\n A:", 2, "the value of a header is visible ASCII text"),
        ("/a\n A: ü", 2, "the value of a header is visible ASCII text"),
        ("/a\n A: b\x0bc", 2, "the value of a header is visible ASCII text"),
        ("/a\n A: b\rB: c", 2, "the value of a header is visible ASCII text"),
        ("/a\n A: b\x00", 2, "the value of a header is visible ASCII text"),
        ("https://example.com/a", 1, "a path begins with '/': headers for single hosts are not supported"),
        ("/*/:b", 1, "a placeholder cannot come after an asterisk"),
        ("/a\n X-Content-Type-Options: none", 2, "nosniff is the only value, and cannot be taken back"),
    ],
)
def test_a_line_that_means_nothing_changes_nothing(text: str, line: int, why: str) -> None:
    assert ignored(text) == [(line, why)]
    assert given_to(text + "\n/a\n Fine: 1\n", "/a") == {"Fine": "1"}


def test_headers_of_a_path_that_means_nothing_go_nowhere() -> None:
    text = "/a\n A: 1\nhttps://example.com/*\n B: 2\n/%\n C: 3\n"
    assert given_to(text, "/a") == {"A": "1"}
    assert [line for line, _ in ignored(text)] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "Keep-Alive", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Proxy-Authenticate"),
        *("Content-Length", "Content-Encoding", "Content-Range", "Content-Location", "Accept-Ranges"),
        *("Set-Cookie", "Set-Cookie2", "Clear-Site-Data", "WWW-Authenticate", "Basic-Auth", "Alt-Svc"),
        *("ETag", "Last-Modified", "Location", "Date", "Age", "Server", "Via", "X-Request-Id", "Expires"),
        *("X-Ipfs-Path", "X-Ipfs-Roots", "IPFS-Hash", "X-Accel-Redirect", "X-Sendfile", "Surrogate-Control"),
        *CORS,
        "Access-Control-Allow-Credentials",
    ],
)
def test_what_is_the_gateways_own(name: str) -> None:
    text = f"/*\n  {name}: 1\n  {name.upper()}: 2\n  Fine: 1"
    assert given_to(text, "/a") == {"Fine": "1"}
    assert ignored(text) == [(2, "this header is the gateway's own"), (3, "this header is the gateway's own")]


@pytest.mark.parametrize(
    "name",
    [
        *("Content-Security-Policy", "Content-Security-Policy-Report-Only", "X-Frame-Options"),
        *(
            "Permissions-Policy",
            "Referrer-Policy",
            "Strict-Transport-Security",
            "Cross-Origin-Embedder-Policy",
        ),
        *("Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Origin-Agent-Cluster", "Link"),
        *("X-Robots-Tag", "Content-Type", "Content-Language", "Cache-Control", "Service-Worker-Allowed"),
        *("Docker-Content-Digest", "Vary"),
    ],
)
def test_what_a_site_may_say(name: str) -> None:
    assert given_to(f"/*\n {name}: x", "/") == {name: "x"}


def test_nosniff_may_be_said_again() -> None:
    assert given_to("/*\n X-Content-Type-Options: NoSniff", "/") == {"X-Content-Type-Options": "NoSniff"}
    assert "X-Content-Type-Options" in PAGE_HEADERS


def test_the_size_of_the_file() -> None:
    start = "/a\n A: 1\n#"
    assert given_to(start + "a" * (MAX_FILE_BYTES - len(start)), "/a") == {"A": "1"}
    why = "could not parse _headers: headers file size cannot exceed 262144 bytes"
    assert refused(start + "a" * (MAX_FILE_BYTES - len(start) + 1)) == why


def test_the_number_of_lines() -> None:
    whole = "/a\n A: 1\n" * (MAX_LINES // 2)
    assert given_to(whole, "/a") == {"A": "1"}
    assert "more than 5000 lines" in refused(whole + "/a")


def test_the_number_of_wildcards() -> None:
    whole = "/*\n A: 1\n" * MAX_WILDCARDS
    # Those without headers cost nothing.
    assert given_to(whole + "/*\n", "/a") == {"A": "1"}
    assert "more than 100 paths with wildcards" in refused(whole + "/:a\n A: 1")


def test_the_length_of_a_header() -> None:
    assert given_to(f"/a\n A: {'b' * (MAX_HEADER - 1)}", "/a")
    assert "more than 8190 characters" in refused(f"/a\n A: {'b' * MAX_HEADER}")
    assert "more than 8190 characters" in refused(f"/a\n A: b\n A: {'b' * (MAX_HEADER - 3)}")
    assert given_to(f"/a\n A: b\n A: {'b' * (MAX_HEADER - 4)}", "/a")


def test_the_length_of_all_headers() -> None:
    lines = [f" {name}: {'b' * (MAX_ADDED // 4 - 1)}" for name in "ABCD"]
    file = parse_headers("\n".join(["/a", *lines, "/a/*", " E: "]).encode())
    assert len(file.headers_of(["a"])) == 4
    more = parse_headers("\n".join(["/a", *lines, "/a/*", " E: 1"]).encode())
    assert len(more.headers_of(["a", "b"])) == 1
    with pytest.raises(BrokenSiteFile, match="adds more than 16384 characters"):
        more.headers_of(["a"])


def test_a_site_of_many_pages_costs_a_lookup() -> None:
    lines = [f"/page-{number}\n Link: </{number}.js>\n" for number in range(MAX_LINES // 2)]
    file = parse_headers("".join(lines).encode())
    assert weight_of(file) < 4_000_000
    started = time.process_time()
    for _ in range(1000):
        file.headers_of(["page-7"])
    assert time.process_time() - started < 0.5


@given(st.one_of(st.binary(max_size=200), st.text("/:*a \n\r\tA#!%ü\\\x00", max_size=200).map(str.encode)))
def test_anything_is_a_file_or_the_typed_error(data: bytes) -> None:
    try:
        file = parse_headers(data)
    except BrokenSiteFile:
        return
    for segments in ([], ["a"], ["a", "A"]):
        for name, value in file.headers_of(segments).values():
            assert name.isascii()
            assert value.isascii()
            assert not set(name + value) & set("\r\n\0")
            assert value.strip() == value != ""
