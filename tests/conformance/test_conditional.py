"""Validators, conditions and the other header values against RFC 9110 section 13 and its neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import headers
from gateway.headers import Validators, Verdict

NOW, LATER, EARLIER = (
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:38 GMT",
    "Sun, 06 Nov 1994 08:49:36 GMT",
)
SECONDS = 784111777
GO, SAME, FAIL = Verdict.PROCEED, Verdict.NOT_MODIFIED, Verdict.FAILED


@pytest.mark.parametrize(
    ("sent", "etag", "modified", "verdict"),
    [
        ({}, '"a"', SECONDS, GO),
        # Section 13.1.2, weak comparison.
        ({"If-None-Match": '"a"'}, '"a"', None, SAME),
        ({"If-None-Match": 'W/"a"'}, '"a"', None, SAME),
        ({"If-None-Match": '"a"'}, 'W/"a"', None, SAME),
        ({"If-None-Match": '"x", W/"y" ,"a"'}, '"a"', None, SAME),
        ({"If-None-Match": "*"}, '"a"', None, SAME),
        ({"If-None-Match": '"b"'}, '"a"', None, GO),
        ({"If-None-Match": "a"}, '"a"', None, GO),
        ({"If-None-Match": '"a'}, '"a"', None, GO),
        ({"If-None-Match": '"a"'}, None, None, GO),
        ({"If-None-Match": '"a,b"'}, '"a,b"', None, SAME),
        # Section 13.1.3: If-None-Match decides where both are there.
        ({"If-None-Match": '"b"', "If-Modified-Since": NOW}, '"a"', SECONDS, GO),
        ({"If-Modified-Since": NOW}, '"a"', SECONDS, SAME),
        ({"If-Modified-Since": LATER}, '"a"', SECONDS + 0.9, SAME),
        ({"If-Modified-Since": EARLIER}, '"a"', SECONDS, GO),
        ({"If-Modified-Since": "yesterday"}, '"a"', SECONDS, GO),
        ({"If-Modified-Since": NOW}, '"a"', None, GO),
        # Section 13.1.1, strong comparison.
        ({"If-Match": '"a"'}, '"a"', None, GO),
        ({"If-Match": "*"}, '"a"', None, GO),
        ({"If-Match": 'W/"a"'}, 'W/"a"', None, FAIL),
        ({"If-Match": '"b"'}, '"a"', None, FAIL),
        ({"If-Match": '"b"', "If-None-Match": '"a"'}, '"a"', None, FAIL),
        ({"If-Match": '"a"', "If-None-Match": '"a"'}, '"a"', None, SAME),
        # Section 13.1.4, and section 13.2.2 step 2: only without If-Match.
        ({"If-Unmodified-Since": NOW}, '"a"', SECONDS, GO),
        ({"If-Unmodified-Since": EARLIER}, '"a"', SECONDS, FAIL),
        ({"If-Unmodified-Since": "x"}, '"a"', SECONDS, GO),
        ({"If-Unmodified-Since": EARLIER}, '"a"', None, GO),
        ({"If-Match": '"a"', "If-Unmodified-Since": EARLIER}, '"a"', SECONDS, GO),
    ],
)
def test_conditions(sent: dict[str, str], etag: str | None, modified: float | None, verdict: Verdict) -> None:
    assert headers.evaluate(sent, Validators(etag, modified), reading=True) is verdict


def test_a_write_is_refused_where_a_read_would_be_304() -> None:
    sent = {"If-None-Match": "*"}
    assert headers.evaluate(sent, Validators('"a"', None), reading=False) is FAIL


@pytest.mark.parametrize(
    "text", [NOW, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)  # RFC 9110 section 5.6.7
def test_dates(text: str) -> None:
    assert headers.parse_date(text) == SECONDS
    assert headers.http_date(SECONDS + 0.7) == NOW


@given(st.text(max_size=80))
def test_any_text_in_any_header(text: str) -> None:
    headers.parse_date(text)
    headers.accepts_html(text)
    for tag in headers.parse_etags(text):
        assert tag.endswith('"')
    names = ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
    headers.evaluate(dict.fromkeys(names, text), Validators('"a"', 1.0), reading=True)


@pytest.mark.parametrize(
    ("name", "attachment", "value"),
    [
        ("a.txt", False, "inline; filename=\"a.txt\"; filename*=UTF-8''a.txt"),
        ("źó ł.txt", True, "attachment; filename=\"__ _.txt\"; filename*=UTF-8''%C5%BA%C3%B3%20%C5%82.txt"),
        ('a"b\\c', False, "inline; filename=\"a_b_c\"; filename*=UTF-8''a_b_c"),
        (
            "../../etc/passwd",
            True,
            "attachment; filename=\".._.._etc_passwd\"; filename*=UTF-8''.._.._etc_passwd",
        ),
        ("a\r\nX: y\x00", False, "inline; filename=\"a__X: y_\"; filename*=UTF-8''a__X%3A%20y_"),
        ("50%.txt", False, "inline; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
    ],
)
def test_content_disposition(name: str, attachment: bool, value: str) -> None:
    assert headers.content_disposition(name, attachment=attachment) == value


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (None, None),
        ("attachment", None),
        ("attachment; filename=a.txt", "a.txt"),
        ('attachment; filename="a b;c.txt"', "a b;c.txt"),
        (r'attachment; filename="a\"b"', 'a"b'),
        ('form-data; name="x; filename=no"; filename="yes"', "yes"),
        ("attachment; filename=\"_.txt\"; filename*=UTF-8''%C5%BA.txt", "ź.txt"),
        ("attachment; filename*=iso-8859-1'en'%E9.txt", "é.txt"),
        ("attachment; filename=a; filename*=koi8-r''x", "a"),
        ("attachment; filename*=UTF-8''; filename=b", "b"),
        ('attachment; filename="', None),
        ("attachment; filename=../../etc/passwd", "passwd"),
        ("attachment; filename*=UTF-8''..%2F..%5Cx", "x"),
    ],
)
def test_name_of_an_upload(header: str | None, name: str | None) -> None:
    assert headers.content_disposition_name(header) == name


@given(st.text(max_size=40))
def test_names_survive_the_way_there_and_back(name: str) -> None:
    value = headers.content_disposition(name, attachment=False)
    assert headers.content_disposition_name(value) == (headers._UNSAFE.sub("_", name) or None)
    headers.content_disposition_name(name)


@given(st.text(max_size=40))
def test_content_disposition_is_one_plain_line(name: str) -> None:
    value = headers.content_disposition(name, attachment=True)
    assert value.isascii()
    assert value.isprintable()
    assert "/" not in value
    assert value.count('"') == 2


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (None, False),
        ("*/*", False),
        ("text/html", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json, TEXT/HTML;level=1", True),
        ("text/html;q=0", False),
        ("text/html; q=0.000, */*", False),
        ("text/html;q=0.5", True),
        ("application/vnd.text/html-ish", False),
    ],
)
def test_accepts_html(accept: str | None, html: bool) -> None:
    assert headers.accepts_html(accept) is html


def test_cors_exposes_what_range_readers_need() -> None:
    exposed = headers.CORS["Access-Control-Expose-Headers"].split(", ")
    assert {"Content-Length", "Content-Range", "Accept-Ranges", "ETag", "X-Ipfs-Path", "Retry-After"} <= set(
        exposed
    )
    assert headers.PREFLIGHT["Access-Control-Max-Age"] == "86400"


@pytest.mark.parametrize(
    ("ttl", "listing", "policy"),
    [
        (None, False, None),
        (0, False, None),
        (60, False, "public, max-age=60"),
        (60, True, "public, max-age=60, stale-while-revalidate=2678400"),
    ],
)
def test_mutable_policy(ttl: int | None, listing: bool, policy: str | None) -> None:
    assert headers.mutable(ttl, listing=listing) == policy
